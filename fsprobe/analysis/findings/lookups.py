"""Rules on lookups: dead sys.path entries, library search, one path asked again and again."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from fsprobe.analysis.attribution import not_found
from fsprobe.analysis.counting.tally import PathTally
from fsprobe.analysis.findings.evidence import (
    Evidence,
    Seen,
    assignment,
    command_line,
    directories,
    environment,
    is_missing,
    n_calls,
    n_pythons,
    plural,
    saving,
    some,
    under,
    under_each,
    weigh,
)
from fsprobe.model.events import is_under
from fsprobe.model.formats import text

_LIBRARY_FILE = re.compile(rb"\.so(?:\.[0-9.]+)?$")
_SYSTEM_LIBRARIES = re.compile(rb"^(?:/usr(?:/local)?)?/lib(?:32|64|x32)?(?:/[^/]+-linux-[^/]+)?$")


def dead_entries(evidence: Evidence) -> Seen | None:
    """PYTHONPATH entries that do not exist.

    Seen: entries of PYTHONPATH that every lookup found missing.

    Costs: each interpreter asks for each such entry twice, and for its parent directories, before it gives up on it.

    Do: take the entries out of PYTHONPATH, where it is set (a module file, .bashrc, the job script).

    Saving: all calls on or below the entries, plus one lookup of each parent directory up to the first one that
    exists, for each interpreter that had the entry on its sys.path (zipimport looks for an archive there).
    """
    entries = directories(environment(evidence).get("PYTHONPATH", ""))
    dead, n_parents = [], 0
    rows: list[tuple[bytes, PathTally]] = []
    for entry in entries:
        if not is_missing(evidence, entry):
            continue
        dead.append(entry)
        rows += under(evidence, [entry])
        n_walks = min(evidence.tally.by_path[entry].counts.n_stat // 2, _n_with_entry(evidence, entry))
        n_parents += n_walks * _n_steps_up(evidence, entry, entries)
    calls = n_calls(dict(rows).items()) + n_parents
    severity = weigh(evidence, "removable_calls", calls, dead)
    if not dead or severity is None:
        return None
    rest = [entry for entry in entries if entry not in dead]
    return Seen(
        severity=severity,
        evidence=f"{plural(len(dead), 'entry', 'entries')} of PYTHONPATH ({some(dead)}) cost {plural(calls, 'call')} "
        f"in {plural(n_pythons(evidence), 'interpreter')}, and none of them exists.",
        advice="Take them out of PYTHONPATH where it is set: module file, .bashrc or job script.",
        commands=[assignment("PYTHONPATH", rest)],
        saves=saving(evidence, calls, rows),
    )


def _n_with_entry(evidence: Evidence, entry: bytes) -> int:
    name = os.fsdecode(entry)
    return sum(1 for fact in evidence.facts if name in (fact.get("path") or ()))


def _n_steps_up(evidence: Evidence, entry: bytes, entries: Sequence[bytes]) -> int:
    """How many parents zipimport asks for, up to the first that exists; those below other entries are counted there."""
    n_steps, place = 0, entry
    while len(place) > 1:
        place = place.rpartition(b"/")[0] or b"/"
        n_steps += not any(is_under(place, other) for other in entries)
        known = evidence.tally.by_path.get(place)
        if known is None or known.counts.n_metadata > known.counts.n_not_found:
            break
    return n_steps


def library_path(evidence: Evidence) -> Seen | None:
    """LD_LIBRARY_PATH directories that hold nothing the run loads.

    Seen: directories of LD_LIBRARY_PATH in which the dynamic loader looked and found nothing.

    Costs: the loader asks each directory for each library before it goes on to the next, of every process, and
    searches the processor-specific subdirectories (glibc-hwcaps) too.

    Do: unset LD_LIBRARY_PATH or leave only the directories that are used; put RUNPATH into what you build yourself.

    Saving: all calls of the loader on and below these directories.
    """
    entries = directories(environment(evidence).get("LD_LIBRARY_PATH", ""))
    on_sys_path = {os.fsencode(str(entry)) for fact in evidence.facts for entry in fact.get("path") or ()}
    useless: list[bytes] = []
    rows: list[tuple[bytes, PathTally]] = []
    for entry in entries:
        below = list(under(evidence, [entry]))
        if entry in on_sys_path or any(counted.resolved is not None for _, counted in below):
            continue
        probes = [(path, counted) for path, counted in below if _is_library_probe(path, entry)]
        if probes:
            useless.append(entry)
            rows += probes
    calls = n_calls(dict(rows).items())
    severity = weigh(evidence, "removable_calls", calls, useless)
    if not useless or severity is None:
        return None
    rest = [entry for entry in entries if entry not in useless]
    return Seen(
        severity=severity,
        evidence=f"The dynamic loader made {plural(calls, 'call')} in {len(useless)} of the {len(entries)} directories "
        f"of LD_LIBRARY_PATH ({some(useless)}) and found no library there.",
        advice="Leave these directories out. Modules set this variable: load only those that the program needs; for what "
        "you build yourself use RUNPATH (or Shrinkwrap, Spindle) instead.",
        commands=[assignment("LD_LIBRARY_PATH", rest)],
        saves=saving(evidence, calls, rows),
    )


def _is_library_probe(path: bytes, entry: bytes) -> bool:
    rest = path[len(entry) + 1 :]
    return (
        not rest or bool(_LIBRARY_FILE.search(rest)) or not set(rest.split(b"/")) - _HWCAPS or b"glibc-hwcaps" in rest
    )


_HWCAPS = frozenset(
    b"tls x86_64 haswell avx512_1 xeon_phi i686 aarch64 atomics power8 power9 power10 z13 z14 z15".split()
)


def run_path(evidence: Evidence) -> Seen | None:
    """Libraries searched along a long list of directories.

    Seen: many failed lookups of libraries in directories that are not in LD_LIBRARY_PATH: they stand in the RPATH or
    RUNPATH of programs and libraries.

    Costs: each library is asked for in each directory of the list, by every process that loads it.

    Do: for what you build yourself, shorten the lists or let Shrinkwrap write the libraries' full paths into the program;
    on many nodes, Spindle or one image per node.

    Saving: all calls of the loader on and below those directories that gave no library at all, by taking them out of the
    lists. Directories that gave some are needed.
    """
    manifest = evidence.profile.manifest
    lists = (
        "RPATH or RUNPATH"
        if manifest.knows_environment
        else "LD_LIBRARY_PATH, RPATH or RUNPATH (the log shows no variables)"
    )
    from_variable = directories(environment(evidence).get("LD_LIBRARY_PATH", ""))
    per_directory: dict[bytes, int] = {}
    for (reason, path), n in evidence.tally.not_found.items():
        directory = _searched(path)
        if reason != not_found.LIBRARY or directory is None or _SYSTEM_LIBRARIES.match(directory):
            continue
        if not any(is_under(path, entry) for entry in from_variable):
            per_directory[directory] = per_directory.get(directory, 0) + n
    n_misses = sum(per_directory.values())
    busiest = sorted(per_directory, key=lambda directory: (-per_directory[directory], directory))
    # many interpreters with one directory each, as that of their libpython, have no long list
    severity = weigh(evidence, "rpath_misses", n_misses / n_pythons(evidence), busiest[:20])
    if severity is None:
        return None
    rows: list[tuple[bytes, PathTally]] = []
    n_useless = 0
    for directory, below in under_each(evidence, busiest).items():
        if not any(counted.resolved is not None for _, counted in below):
            n_useless += 1
            rows += [(path, counted) for path, counted in below if _is_library_probe(path, directory)]
    calls = n_calls(dict(rows).items())
    return Seen(
        severity=severity,
        evidence=f"{plural(n_misses, 'failed lookup')} of libraries by {plural(n_pythons(evidence), 'interpreter')} in "
        f"{plural(len(busiest), 'directory', 'directories')} "
        f"of {lists}, most in {some(busiest)}; {n_useless:,} of these gave no library at all.",
        advice="The line shows which lists these are and how often they were searched. Build the files that carry them with fewer "
        "directories; Shrinkwrap writes the full paths into a program, so that nothing is searched."
        + ("" if manifest.knows_environment else " Of LD_LIBRARY_PATH leave such directories out."),
        commands=_lists_of(evidence),
        saves=saving(evidence, calls, rows) if calls else {},
    )


def _lists_of(evidence: Evidence) -> list[str]:
    """What to type to see where the searched lists stand; nothing where the command is not known."""
    manifest = evidence.profile.manifest
    if manifest.command_cut or not manifest.command:
        return []
    lists = "R(UN)?PATH from file " if manifest.knows_environment else "(R(UN)?PATH from file |LD_LIBRARY_PATH)"
    return [f"LD_DEBUG=libs {command_line(evidence)} 2>&1 | grep -oE '\\({lists}[^)]*\\)' | sort | uniq -c | sort -rn"]


def _searched(path: bytes) -> bytes | None:
    """The entry of a search list that a lookup of the loader belongs to; None for a bare name."""
    head, marker, _ = path.partition(b"/glibc-hwcaps/")
    if marker:
        return head
    # the loader also asks for the directories themselves
    directory = path.rpartition(b"/")[0] if _LIBRARY_FILE.search(path) else path
    while directory.rpartition(b"/")[2] in _HWCAPS:
        directory = directory.rpartition(b"/")[0]
    return directory or None


def repeated_path(evidence: Evidence) -> Seen | None:
    """One path asked for again and again.

    Seen: a path that is no directory of the import system and that was asked for very often, for itself: a directory whose
    entries were asked for as well is a step on the way to them (os.path.realpath asks for each) and does not count, nor does
    what was asked for while modules were imported.

    Costs: on a parallel filesystem each stat may be a request to the metadata server: a polling loop of one rank is
    nothing, of a thousand ranks it is a load.

    Do: keep the answer, poll at a lower rate, or let one rank look and tell the others.

    Saving: all but one stat of that path per interpreter.
    """
    import_places = {os.fsencode(str(entry)) for fact in evidence.facts for entry in fact.get("path") or ()}
    at_import = evidence.watch.import_stats if evidence.watch is not None else {}  # nobody polls while it imports
    n_below: dict[bytes, int] = {}
    for path, counted in evidence.tally.by_path.items():
        parent = path.rpartition(b"/")[0] or b"/"
        n_below[parent] = n_below.get(parent, 0) + counted.counts.n_stat + counted.counts.n_readlink
    best: tuple[int, bytes] | None = None
    for path, counted in evidence.tally.by_path.items():
        n = counted.counts.n_stat - at_import.get(path, 0)
        is_passed = (
            2 * n_below.get(path, 0) >= n
        )  # a step on the way to what was asked for, as os.path.realpath takes it
        if (best is None or n > best[0]) and path not in import_places and not counted.counts.n_list and not is_passed:
            best = (n, path)
    if best is None:
        return None
    n, path = best
    severity = weigh(evidence, "same_path_calls", n, [path])
    if severity is None:
        return None
    calls = n - min(n, n_pythons(evidence))
    return Seen(
        severity=severity,
        evidence=f"{text(path)} was asked for {n:,} times.",
        advice="Keep the answer, or poll at a lower rate; in a parallel job let one rank look and tell the others.",
        commands=[],
        saves={"calls": calls},
    )
