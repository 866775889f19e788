"""What the rules look at: one run, read only. And the questions that several rules ask of it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.counting.tally import PathTally, Tally
from fsprobe.analysis.findings.thresholds import DEFAULTS, SEVERITIES, Thresholds
from fsprobe.analysis.findings.watch import Watch as Watch
from fsprobe.analysis.findings.watch import watch as watch
from fsprobe.analysis.requests.model import Requests
from fsprobe.capture.machine import ranks
from fsprobe.foreign_numbers import count
from fsprobe.model.events import Mount, plain
from fsprobe.model.formats import text
from fsprobe.model.profile import Profile
from fsprobe.numbers import plural as plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One run as the rules see it. All of it is read only."""

    tally: Tally
    notes: Notes
    profile: Profile
    """The profile so far: manifest, quality, metrics."""
    facts: Sequence[Mapping[str, Any]]
    """What each interpreter said of itself."""
    mounts_of: Callable[[bytes], Mount | None]
    requests: Requests | None = None
    """What a cold client would ask; None: not predicted."""
    count_without: Callable[[Callable[[bytes], bool]], Requests] | None = None
    """`RequestModel.count`: what it would ask were some paths not named; None: savings in requests are not computed."""
    watch: Watch | None = None
    """None: what needs counts by process and phase can't be computed."""
    thresholds: Thresholds = field(default_factory=lambda: DEFAULTS)
    worked_out: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What one rule has worked out and others ask for too, by the name of the function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a rule returns when it has seen something; its code, title and source stand in the table of rules."""

    severity: str
    evidence: str
    advice: str
    commands: Sequence[str]
    saves: Mapping[str, int] = field(default_factory=dict)


# -- the run ------------------------------------------------------------------------------------------------------------


def environment(evidence: Evidence) -> Mapping[str, str]:
    """The recorded variables as the command was given them."""
    return evidence.profile.manifest.environment


def directories(value: str) -> list[bytes]:
    """The entries of a search path, without trailing slashes, each once; empty entries (the working directory) are left out."""
    entries = (plain(os.fsencode(entry)) for entry in value.split(":"))
    return list(dict.fromkeys(entry.rstrip(b"/") or b"/" for entry in entries if entry))


def n_ranks(evidence: Evidence) -> int:
    """How many processes the launcher started like this one.

    1 where no launcher did: a program that a batch script runs by itself has the job's variables too, but runs once.
    """
    rank = ranks.identify(evidence.profile.manifest.job)
    return max(1, rank.size or 1) if rank is not None else 1


def n_nodes(evidence: Evidence) -> int:
    """On how many nodes the launcher started processes like this one; 1 where no launcher did."""
    job = evidence.profile.manifest.job
    rank = ranks.identify(job)
    if rank is None:
        return 1
    # mpirun does not tell the number of nodes, the batch job around it does
    words = (str(rank.n_nodes or ""), job.get("SLURM_JOB_NUM_NODES", ""), job.get("SLURM_NNODES", ""))
    return max(1, next((number for word in words if (number := count(word)) is not None), 1))


def n_pythons(evidence: Evidence) -> int:
    """How many interpreters told of themselves; at least 1."""
    return max(1, len(evidence.facts))


def prefixes(evidence: Evidence) -> list[bytes]:
    """The prefixes of the run's interpreters, each once, in order of their start."""
    found: list[bytes] | None = evidence.worked_out.get("prefixes")
    if found is None:  # some ask for each path
        facts = sorted(evidence.facts, key=lambda fact: int(fact.get("ns") or 0))
        found = list(dict.fromkeys(os.fsencode(str(fact["prefix"])) for fact in facts if fact.get("prefix")))
        evidence.worked_out["prefixes"] = found
    return found


def python_of(evidence: Evidence) -> bytes:
    """The interpreter to type in commands: the first one that the run started."""
    facts = sorted(evidence.facts, key=lambda fact: int(fact.get("ns") or 0))
    return os.fsencode(str(facts[0].get("executable") or "python")) if facts else b"python"


def version_of(evidence: Evidence) -> tuple[int, ...]:
    """Major and minor version of the newest interpreter of the run; () where none told of itself."""
    versions = [str(fact.get("version") or "").split(".")[:2] for fact in evidence.facts]
    numbers = [[number for number in map(count, v) if number is not None] for v in versions]
    return max((tuple(found) for found in numbers if len(found) == 2), default=())


def tells_modules(evidence: Evidence) -> bool:
    """Whether imports are known by module; where they are estimated by package, no module is named."""
    return evidence.profile.metrics.imports_by != "package"


# -- paths --------------------------------------------------------------------------------------------------------------


def under(evidence: Evidence, roots: Iterable[bytes]) -> Iterator[tuple[bytes, PathTally]]:
    """The paths of the run at or below any of the roots, each once."""
    roots = tuple(roots)
    heads = tuple(root.rstrip(b"/") + b"/" for root in roots)
    exact = frozenset(roots)
    for path, counted in evidence.tally.by_path.items():
        if path.startswith(heads) or path in exact:
            yield path, counted


def under_each(evidence: Evidence, roots: Iterable[bytes]) -> dict[bytes, list[tuple[bytes, PathTally]]]:
    """For each of many roots the paths of the run at or below it, as `under` gives them for one."""
    found: dict[bytes, list[tuple[bytes, PathTally]]] = {root: [] for root in roots}
    by_head: dict[bytes, list[bytes]] = {}
    for root in found:
        by_head.setdefault(root.rstrip(b"/"), []).append(root)

    @cache  # most paths lie beside others
    def holding(directory: bytes) -> list[bytes]:
        roots, slash = by_head.get(directory, [])[:], b"/"
        while slash:
            directory, slash, _ = directory.rpartition(b"/")
            roots += by_head.get(directory, ()) if slash else ()
        return roots

    for path, counted in evidence.tally.by_path.items():
        directory, slash, _ = path.rpartition(b"/")
        held_by = holding(directory) if slash else []
        for root in dict.fromkeys((path, *held_by)) if path in found else held_by:
            found[root].append((path, counted))
    return found


def n_calls(rows: Iterable[tuple[bytes, PathTally]]) -> int:
    """Metadata calls of some paths."""
    return sum(counted.counts.n_metadata for _, counted in rows)


def fs_class(evidence: Evidence, path: bytes) -> str:
    """Where a path lies: local | network | image | memory | pseudo | unknown."""
    mount = evidence.mounts_of(path)
    return mount.fs_class if mount is not None else "unknown"


def on_network(evidence: Evidence, path: bytes) -> bool:
    """Whether a path lies on a filesystem that another machine serves."""
    return fs_class(evidence, path) == "network"


def n_written(evidence: Evidence, keys: Collection[str]) -> int:
    """Files on some mounts, named as the rows by mount, that were opened to be made or written anew."""
    written = evidence.watch.written if evidence.watch is not None and keys else {}
    mounts = (evidence.mounts_of(path) for path in written)
    return sum(mount is not None and text(mount.path) in keys for mount in mounts)


def is_file(counted: PathTally) -> bool:
    """Whether a path was opened with success and never listed."""
    return counted.resolved is not None and not counted.counts.n_list


def is_in_archive(evidence: Evidence, entry: bytes) -> bool:
    """Whether an entry of sys.path is a file that was read (a zip, an egg), or a place inside of one."""
    while len(entry) > 1:
        known = evidence.tally.by_path.get(entry)
        if known is not None and known.resolved is not None and known.counts.n_open and not known.counts.n_list:
            return True
        entry = entry.rpartition(b"/")[0] or b"/"
    return False


def is_missing(evidence: Evidence, entry: bytes) -> bool:
    """Whether an entry of sys.path was looked for, and neither it nor anything below it was ever found."""
    asked = entry in evidence.tally.by_path
    is_there = any(counted.counts.n_metadata > counted.counts.n_not_found for _, counted in under(evidence, [entry]))
    return asked and not is_there and not is_in_archive(evidence, entry)


def real_place(evidence: Evidence, place: bytes) -> bytes:
    """Where a directory led when something below it was opened; the directory itself where that is not known."""
    for path, counted in under(evidence, [place]):
        if counted.resolved is not None and path != place and counted.resolved.endswith(path[len(place) :]):
            return counted.resolved[: len(counted.resolved) - len(path) + len(place)]
    return place


def n_requests_below(evidence: Evidence, place: bytes) -> int | None:
    """Metadata requests that a cold client sends for a tree; None where requests were not predicted."""
    if evidence.requests is None:
        return None
    return evidence.requests.environment(real_place(evidence, place)).n_metadata


def _n_to_servers(requests: Requests) -> int:
    def is_served(path: bytes) -> bool:
        mount = requests.mount_of.get(path)
        return mount is not None and mount.fs_class == "network"

    return requests.total(is_served).n_metadata


def saving(evidence: Evidence, calls: int, rows: Iterable[tuple[bytes, PathTally]]) -> dict[str, int]:
    """What removing `calls` saves, with the requests to file servers that go with the paths of `rows`."""
    paths = frozenset(path for path, _ in rows)
    if evidence.requests is None or evidence.count_without is None or not any(on_network(evidence, p) for p in paths):
        return {"calls": calls}
    before = _n_to_servers(evidence.requests)
    return {"calls": calls, "requests": before - _n_to_servers(evidence.count_without(paths.__contains__))}


# -- severity -----------------------------------------------------------------------------------------------------------


def weigh(evidence: Evidence, name: str, value: float, places: Iterable[bytes] = ()) -> str | None:
    """The severity of a value by a threshold; where no place is on a network filesystem it is never more than info.

    Args:
        evidence: the run.
        name: of the threshold.
        value: in the threshold's unit.
        places: paths that it is about; none: the places do not matter.
    """
    found = evidence.thresholds[name].level(value)
    places = list(places)
    if found is not None and places and not any(fs_class(evidence, p) in ("network", "unknown") for p in places):
        return SEVERITIES[0]
    return found


# -- text ---------------------------------------------------------------------------------------------------------------


def quote(word: bytes | str) -> str:
    """One word for bash or zsh, whatever bytes are in it."""
    data = os.fsencode(word) if isinstance(word, str) else word
    try:
        shown = data.decode("utf-8")
        if shown.isprintable():
            return shlex.quote(shown)
    except UnicodeDecodeError:
        pass
    special = b"'\\"
    body = "".join(chr(byte) if 32 <= byte < 127 and byte not in special else f"\\x{byte:02x}" for byte in data)
    return f"$'{body}'"


def assignment(name: str, entries: Sequence[bytes]) -> str:
    """What to type to set a search path to what remains of it."""
    return f"export {name}={quote(b':'.join(entries))}" if entries else f"unset {name}"


def command_line(evidence: Evidence) -> str:
    """The command of the run, to be typed again; `"$@"` (your own words) where the log does not hold all of it."""
    if evidence.profile.manifest.command_cut:
        return '"$@"'
    return " ".join(quote(word) for word in evidence.profile.manifest.command or ())


def some(paths: Sequence[bytes], n: int = 3) -> str:
    """The first paths as text, and how many more there are."""
    shown = ", ".join(text(path) for path in paths[:n])
    return f"{shown} and {len(paths) - n} more" if len(paths) > n else shown
