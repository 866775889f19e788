"""Rules on bytecode: modules that were compiled from source because their .pyc was not there, or was stale."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from fsprobe.analysis.counting.tally import PathTally
from fsprobe.analysis.findings.evidence import (
    Evidence,
    Seen,
    environment,
    fs_class,
    n_pythons,
    plural,
    python_of,
    quote,
    some,
    version_of,
    weigh,
)
from fsprobe.analysis.findings.watch import TEMPORARY_PYC
from fsprobe.model.events import is_under
from fsprobe.model.formats import text

_PYC = re.compile(rb"^(.*/)?__pycache__/([^/]+?)\.[a-z]+-\d+[a-z]*(?:\.opt-[0-9a-z]+)?\.pyc$", re.DOTALL)
_SITE = re.compile(rb"^(.*?/(?:site|dist)-packages)/", re.DOTALL)


@dataclass(slots=True)
class Compiled:
    """What the run compiled from source."""

    sources: list[bytes] = field(default_factory=list)
    n_read: int = 0
    """Opens of source files that a .pyc would have spared."""
    n_writing: int = 0
    """Calls that were made to write .pyc files."""
    n_written: int = 0
    n_refused: int = 0

    @property
    def n_calls(self) -> int:
        return self.n_read + self.n_writing


def compiled(evidence: Evidence) -> Compiled:
    """Find the modules that were compiled in the run and the calls that this took.

    Per module: the source is opened; and unless writing is off, importlib asks for the source's mode, for `__pycache__`
    (and, where that is missing, for the package's directory, and makes it), opens a temporary file and renames it.

    Source: importlib._bootstrap_external, SourceLoader.get_code and SourceFileLoader.set_data, CPython 3.6 to 3.13.
    """
    found: Compiled | None = evidence.worked_out.get("compiled")
    if found is None:
        found = evidence.worked_out["compiled"] = _compiled(evidence)
    return found


def _compiled(evidence: Evidence) -> Compiled:
    table = evidence.tally.by_path
    found = Compiled()
    written = _written(evidence)
    directories: dict[bytes, int] = {}
    for path, counted in table.items():
        source = _source_of(path, evidence)
        if source is None:
            continue
        asked = table.get(source)
        if asked is None or not asked.counts.n_open:
            continue
        n_stale = 0
        if path in written and counted.resolved is not None and not counted.counts.n_not_found:
            n_stale = asked.counts.n_open
        n = min(asked.counts.n_open, counted.counts.n_not_found or n_stale)
        if n:
            found.sources.append(source)
            found.n_read += n
            directory = path.rpartition(b"/")[0]
            directories[directory] = directories.get(directory, 0) + n
    for attempts in written.values():
        found.n_writing += sum(counted.counts.n_metadata for counted in attempts)
    _count_directories(evidence, directories, found)
    found.n_written = sum(1 for attempts in written.values() if any(c.counts.n_change for c in attempts))
    found.n_refused = _n_refused(evidence, directories)
    return found


def _written(evidence: Evidence) -> dict[bytes, list[PathTally]]:
    """.pyc -> its temporary files: each is one attempt to write it."""
    table: dict[bytes, list[PathTally]] = {}
    for path, counted in evidence.tally.by_path.items():
        temporary = TEMPORARY_PYC.match(path)
        if temporary:
            table.setdefault(temporary.group(1), []).append(counted)
    return table


def _count_directories(evidence: Evidence, directories: dict[bytes, int], found: Compiled) -> None:
    table = evidence.tally.by_path
    for directory, n_compiled in directories.items():
        asked = table.get(directory)
        if asked is None:
            continue
        n_attempts = min(asked.counts.n_stat, n_compiled)  # a program may look at the directory for itself
        # __pycache__ itself, the package's directory where it was missing, mkdir, and the mode of each source
        found.n_writing += n_attempts + asked.counts.n_not_found + asked.counts.n_change + n_attempts
        package = table.get(directory.rpartition(b"/")[0])
        if asked.counts.n_change and package is not None and package.counts.n_list:
            # a new __pycache__ changes the directory: its listing is read again
            n_again = max(0, package.counts.n_open - n_pythons(evidence))
            found.n_writing += n_again + package.counts.n_list * n_again // max(1, package.counts.n_open)


def _n_refused(evidence: Evidence, directories: dict[bytes, int]) -> int:
    """Refused attempts to write bytecode of these directories: of a temporary .pyc, or of the directory that it needs."""
    refused = evidence.watch.refused if evidence.watch is not None else {}
    return sum(
        n
        for path, n in refused.items()
        if (path.rpartition(b"/")[0] in directories if TEMPORARY_PYC.match(path) else False)
        or any(is_under(directory, path) for directory in directories)
    )


def _source_of(path: bytes, evidence: Evidence) -> bytes | None:
    if not path.endswith(b".pyc"):
        return None
    matched = _PYC.match(path)
    if matched:
        return (matched.group(1) or b"") + matched.group(2) + b".py"
    for fact in evidence.facts:
        prefix = fact.get("pycache_prefix")
        head = os.fsencode(str(prefix)) if prefix else None
        if head and path.startswith(head + b"/"):
            directory, _, name = path[len(head) :].rpartition(b"/")
            return directory + b"/" + name.partition(b".")[0] + b".py"
    return None


def _roots(sources: list[bytes]) -> list[bytes]:
    """Directories to compile: site-packages, else a source's top-level directory, the busiest first."""
    table: dict[bytes, int] = {}
    for source in sources:
        site = _SITE.match(source)
        root = site.group(1) if site else source.rpartition(b"/")[0]
        table[root] = table.get(root, 0) + 1
    tops = [root for root in table if not any(root != other and root.startswith(other + b"/") for other in table)]
    return sorted(tops, key=lambda root: (-table[root], root))


def _compile_commands(evidence: Evidence, found: Compiled) -> list[str]:
    roots = _roots(found.sources)
    words = " ".join(quote(root) for root in roots)
    return [f"{quote(python_of(evidence))} -m compileall -q -j 0 {words}"]


def _saves(evidence: Evidence, found: Compiled) -> dict[str, int]:
    return {"calls": found.n_calls}


def _writes_nothing(evidence: Evidence) -> bool:
    if any("dont_write_bytecode" in fact for fact in evidence.facts):
        return all(bool(fact.get("dont_write_bytecode")) for fact in evidence.facts)
    return bool(environment(evidence).get("PYTHONDONTWRITEBYTECODE"))


def missing_bytecode(evidence: Evidence) -> Seen | None:
    """Modules without bytecode.

    Seen: source files that were opened because their .pyc was missing or stale, and .pyc files that were then written.

    Costs: each module is read, compiled and written again: CPU time, and three to six calls more than a .pyc needs. In a
    fresh environment every rank of the first job does this at once, to the same files.

    Do: compile once, right after installing (uv does not do it by default) and before an image is made.

    Saving: the opens of the source files and all calls that wrote .pyc files.
    """
    found = compiled(evidence)
    if _writes_nothing(evidence) or found.n_refused:
        return None
    severity = weigh(evidence, "missing_bytecode_modules", len(found.sources), found.sources)
    if severity is None:
        return None
    return Seen(
        severity=severity,
        evidence=f"{plural(len(found.sources), 'module')} had no usable bytecode and "
        f"{plural(found.n_written, '.pyc file was', '.pyc files were')} written: {plural(found.n_calls, 'call')}. "
        "A second run here finds them, unless the directory is new for each job.",
        advice="Compile once after installing, before the first job or the image: `UV_COMPILE_BYTECODE=1` for uv.",
        commands=_compile_commands(evidence, found),
        saves=_saves(evidence, found),
    )


def refused_bytecode(evidence: Evidence) -> Seen | None:
    """Bytecode that can't be written.

    Seen: modules without a usable .pyc in directories where writing one was refused (read-only image, no permission).

    Costs: as nothing is kept, every start of every process compiles them again.

    Do: rebuild the image with bytecode; or, if that is not in your hands, let `PYTHONPYCACHEPREFIX` point to node-local
    storage (Python 3.8+), which serves the second start on each node.

    Saving: the opens of the source files and all calls of the refused attempts, by rebuilding with bytecode.
    """
    found = compiled(evidence)
    if _writes_nothing(evidence) or not found.n_refused:
        return None
    value = len(found.sources)
    severity = weigh(evidence, "missing_bytecode_modules", value)
    if severity is None:
        return None
    commands = [f"{line}  # by whoever may write there" for line in _compile_commands(evidence, found)]
    places = _roots(found.sources)
    mount = next((evidence.mounts_of(root) for root in places if fs_class(evidence, root) == "image"), None)
    if mount is not None:
        # -s and -p: tracebacks name the place where the image is mounted
        commands = [
            'unsquashfs -d unpacked "$IMAGE"',
            f"{quote(python_of(evidence))} -m compileall -q -j 0 -s unpacked -p {quote(mount.path)} unpacked",
            'mksquashfs unpacked "$IMAGE" -noappend -processors 1 -no-xattrs',
        ]
    has_prefix = not version_of(evidence) or version_of(evidence) >= (3, 8)
    return Seen(
        severity=severity,
        evidence=f"{plural(value, 'module')} had no usable bytecode in {some(places)}, and writing it was refused "
        f"{plural(found.n_refused, 'time')}: {plural(found.n_calls, 'call')}, again at each start.",
        advice="Rebuild the environment or image with bytecode"
        + (", or keep it on the node (last line)." if has_prefix else ".")
        + (f" Set IMAGE to the image that is mounted at {text(mount.path)}." if mount is not None else ""),
        commands=[*commands, *(['export PYTHONPYCACHEPREFIX="/tmp/$USER/pycache"'] if has_prefix else [])],
        saves=_saves(evidence, found),
    )


def bytecode_off(evidence: Evidence) -> Seen | None:
    """PYTHONDONTWRITEBYTECODE, and no bytecode there.

    Seen: writing of bytecode is switched off (the variable, or -B) and modules had none.

    Costs: every start of every process compiles these modules again. On a shared filesystem the switch is right at run
    time, but only if the bytecode was made when the environment was installed.

    Do: compile once; unset the variable while installing.

    Saving: the opens of the source files.
    """
    found = compiled(evidence)
    if not _writes_nothing(evidence):
        return None
    severity = weigh(evidence, "missing_bytecode_modules", len(found.sources))
    if severity is None:
        return None
    return Seen(
        severity=severity,
        evidence=f"{plural(len(found.sources), 'module')} had no bytecode, and writing it is switched off: "
        f"{plural(found.n_calls, 'source file was', 'source files were')} opened and compiled, again at each start.",
        advice="Compile once, and unset PYTHONDONTWRITEBYTECODE while installing.",
        commands=_compile_commands(evidence, found),
        saves=_saves(evidence, found),
    )
