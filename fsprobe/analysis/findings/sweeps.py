"""Rules on many paths at once: directories walked and files asked for again and again, many files written, real paths at import."""

from __future__ import annotations

import re

from fsprobe.analysis.counting.estimated import package_of
from fsprobe.analysis.counting.tally import PathTally
from fsprobe.analysis.findings.data import data_root, is_data
from fsprobe.analysis.findings.evidence import (
    Evidence,
    Seen,
    is_file,
    n_calls,
    n_pythons,
    n_requests_below,
    on_network,
    plural,
    tells_modules,
    weigh,
)
from fsprobe.analysis.findings.images import choose_a_line, image_commands
from fsprobe.model.events import is_under
from fsprobe.model.formats import text

_LIBRARY = re.compile(rb"\.so(?:\.[0-9.]+)?$|/glibc-hwcaps/|/bin/[^/]+$")


def swept_paths(evidence: Evidence) -> Seen | None:
    """Many paths are only looked at.

    Seen: directories that were listed and files that were asked for and not opened, outside the environment: a walk
    (os.walk, glob, find), or a test for each of many files.

    Costs: each is a request to the metadata server, and on Lustre the size of a file is another one to a data server. A
    sweep that every rank makes, or that is made again for each step, is multiplied by that.

    Do: look once and keep what was found; let one rank look and tell the others; keep a list of the files beside them.
    What does not change can be packed into an image.

    Saving: where the same paths were asked for again, all but the first time in each interpreter. Where they were asked for
    once, on a network filesystem, and nothing was written there: the requests below their directory, less the two for an
    image.
    """
    places = {str(entry) for fact in evidence.facts for entry in fact.get("path") or ()}
    rows = [
        (path, counted)
        for path, counted in evidence.tally.by_path.items()
        if path.startswith(b"/") and _n_asked(counted) and not _LIBRARY.search(path) and is_data(evidence, path)
    ]
    rows = [(path, c) for path, c in rows if not places or _directory(path) not in places]
    if not rows:
        return None
    # a directory that was listed is itself the place
    root = data_root(evidence, [path + b"/." if counted.counts.n_list else path for path, counted in rows])
    inside = [(path, counted) for path, counted in rows if is_under(path, root)]
    severity = weigh(evidence, "swept_paths", len(inside), [root + b"/x"])
    if severity is None:
        return None
    n_listed = sum(1 for _, counted in inside if counted.counts.n_list)
    n_asked = sum(_n_asked(counted) for _, counted in inside)
    again = sum(_n_again(evidence, counted) for _, counted in inside)
    n_absent = sum(1 for _, counted in inside if counted.counts.n_not_found)
    seen = f"{plural(len(inside), 'path')} below {text(root)} {'was' if len(inside) == 1 else 'were'} looked at and not opened"
    kinds = [
        (n_listed, "a directory that was listed", "directories that were listed"),
        (n_absent, "not found", "not found"),
    ]
    told = [f"{n:,} of them {one if n == 1 else many}" for n, one, many in kinds if n]
    seen += "".join(f", {words}" for words in told) + f": {plural(n_calls(inside), 'call')}"
    if again:
        return Seen(
            severity=severity,
            evidence=f"{seen}. Each was asked for {n_asked / len(inside):,.1f} times on average.",
            advice="Look once and keep what was found; in a parallel job let one rank look and tell the others.",
            commands=[],
            saves={"calls": again},
        )
    written = evidence.watch.written if evidence.watch is not None else {}
    is_fixed = on_network(evidence, root + b"/x") and not any(is_under(path, root) for path in written)
    requests = n_requests_below(evidence, root) if is_fixed else None
    return Seen(
        severity=severity,
        evidence=f"{seen}, once each.",
        advice="In a parallel job let one rank look and tell the others; keep a list of the files, so that no run has to look."
        + (" What does not change can be packed into an image." + choose_a_line(evidence) if is_fixed else ""),
        commands=image_commands(evidence, root) if is_fixed else [],
        saves={"requests": requests - 2} if requests and requests > 2 else {},
    )


def _directory(path: bytes) -> str:
    return path.rpartition(b"/")[0].decode("utf-8", "surrogateescape")


def _n_asked(counted: PathTally) -> int:
    """How often a path was looked at without being read: a directory by its listings, a file by its stats."""
    counts = counted.counts
    if counts.n_list:
        return max(counts.n_open, 1)
    return 0 if is_file(counted) or counts.n_change or counts.n_exec else counts.n_stat


def _n_again(evidence: Evidence, counted: PathTally) -> int:
    n = _n_asked(counted)
    return counted.counts.n_metadata * max(0, n - n_pythons(evidence)) // n


def files_written(evidence: Evidence) -> Seen | None:
    """Many files are written.

    Seen: many files that the run created or emptied, bytecode left out.

    Costs: to create a file is the most expensive request of a metadata server; each file counts against the quota, and
    whoever reads them pays again for each.

    Do: write one file: append to it, or use HDF5, Zarr with sharding, SQLite, or a tar archive. Or write to node-local storage,
    and copy one archive of it at the end.

    Saving: the calls on these files, less those on one of them.
    """
    written = evidence.watch.written if evidence.watch is not None else {}
    rows = [
        (path, evidence.tally.by_path[path])
        for path in written
        if path in evidence.tally.by_path and not path.endswith((b".pyc", b".py"))
    ]
    if not rows:
        return None
    root = data_root(evidence, [path for path, _ in rows])
    inside = [(path, counted) for path, counted in rows if is_under(path, root)]
    severity = weigh(evidence, "written_files", len(inside), [root + b"/x"])
    if severity is None:
        return None
    calls = n_calls(inside)
    return Seen(
        severity=severity,
        evidence=f"{plural(len(inside), 'file')} below {text(root)} were created or written anew: {plural(calls, 'call')}.",
        advice="Write one file (append, HDF5, Zarr with sharding, SQLite, tar), or write to node-local storage and copy one "
        "archive of it at the end.",
        commands=[],
        saves={"calls": calls - calls // len(inside)},
    )


def real_paths(evidence: Evidence) -> Seen | None:
    """Real paths looked up at import.

    Seen: lstat and readlink calls while a module was imported. The import system makes none: os.path.realpath does, for each
    directory on the way to a file (inspect.getmodule asks so for every module that is loaded).

    Costs: a call for each directory of each path, again for each further file in the same directory. On a network filesystem
    the client answers most of them while its cache is valid.

    Do: nothing that fsprobe knows for every package. An environment nearer to the root has fewer directories to ask for; the
    package's authors can look later, or keep the answers.

    Saving: all but the first call for each path, in each process that imported the module: what keeping the answers would save.
    """
    components = evidence.watch.components if evidence.watch is not None else {}
    if not components:
        return None
    if not tells_modules(evidence):
        components = _by_package(components)
    module = max(components, key=lambda name: (sum(components[name].values()), name))
    paths = components[module]
    n = sum(paths.values())
    severity = weigh(evidence, "component_calls", n, list(paths))
    if severity is None:
        return None
    n_times = max(1, evidence.notes.n_imports.get(module, 1))
    again = sum(max(0, count - n_times) for count in paths.values())
    top = max(paths, key=lambda path: (paths[path], -len(path)))
    how = " (estimated)" if evidence.profile.quality.n_estimated else ""
    calls = plural(n, "lstat and readlink call was made", "lstat and readlink calls were made")
    return Seen(
        severity=severity,
        evidence=f"While {module} was imported{how}, {calls} for {plural(len(paths), 'path')}, {text(top)} alone "
        f"{plural(paths[top], 'time')}: os.path.realpath asks for each directory on the way to a file.",
        advice=f"No switch is known. Each directory less on the way to the environment saves up to {paths[top]:,} of them; the "
        "authors of the package could keep the answers.",
        commands=[],
        saves={"calls": again} if again else {},
    )


def _by_package(components: dict[str, dict[bytes, int]]) -> dict[str, dict[bytes, int]]:
    table: dict[str, dict[bytes, int]] = {}
    for module, paths in components.items():
        of_package = table.setdefault(package_of(module), {})
        for path, n in paths.items():
            of_package[path] = of_package.get(path, 0) + n
    return table
