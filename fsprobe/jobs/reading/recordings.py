"""Which recordings a job has: their headers and manifests, and what is none."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fsprobe import files
from fsprobe.analysis.manifest import check_manifest
from fsprobe.capture import naming
from fsprobe.capture.machine import ranks
from fsprobe.errors import EXIT_USAGE, BadInput, FsprobeError
from fsprobe.jobs.rank_rows import RankFile, natural
from fsprobe.recording import file as recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What was found: recordings in the order in which they are added, and what is none."""

    ranks: Sequence[RankFile]
    unreadable: Sequence[tuple[str, str]]
    """(file, why)"""
    repeated: Sequence[tuple[str, str]]
    """(file, the one that is taken in its place): both tell of the same run, which counts once"""
    n_foreign: int
    """Other files in the directories: neither named nor made as recordings are."""
    lacks_lookups: bool
    """Whether a rank left the lookups to one of its node whose recording is not here, or that ran another program."""


def gather(places: Sequence[str], job: str = "") -> Files:
    """Read the headers and manifests of recordings.

    Args:
        places: files, and directories whose files are looked at (not what lies deeper).
        job: take only the recordings of this batch job (`123` or `123.0`).

    Raises:
        BadInput: nothing that can be read.
        FsprobeError: recordings of several jobs, and `job` does not say which.
    """
    found: list[RankFile] = []
    unreadable: list[tuple[str, str]] = []
    n_foreign = 0
    for place in places:
        inside = os.path.isdir(place)
        for path in sorted(_listed(place)) if inside else [place]:
            if inside and not path.endswith(".fsprobe") and not _begins_as_ours(path):
                n_foreign += 1
                continue
            try:
                found.append(_rank_file(path))
            except FsprobeError as error:
                unreadable.append((path, error.message))
    if job:
        found = [file for file in found if file.job == job or file.job.partition(".")[0] == job]
    if not found:
        reason = f" ({unreadable[0][1]})" if unreadable else ""
        raise BadInput(
            f"no recording that can be read in {', '.join(places)}{reason}",
            "ranks write theirs with `fsprobe run -o DIR/ -- ...`",
        )
    jobs = sorted({file.job for file in found})
    if len(jobs) > 1:
        shown = ", ".join(repr(name or "(none)") for name in jobs[:8])
        raise FsprobeError(f"recordings of {len(jobs)} jobs: {shown}", "choose one with --job", EXIT_USAGE)
    found.sort(key=lambda file: (natural(file.node), file.rank if file.rank is not None else -1, file.path))
    taken, repeated = _once_each(found)
    ranks = _with_lookups(taken)
    return Files(
        ranks=ranks,
        unreadable=unreadable,
        repeated=repeated,
        n_foreign=n_foreign,
        lacks_lookups=any(before.lookups_of and not file.lookups_of for before, file in zip(taken, ranks, strict=True))
        or _are_of_others(ranks),
    )


def _once_each(found: Sequence[RankFile]) -> tuple[list[RankFile], list[tuple[str, str]]]:
    """Each run once: the recording that knows how it ended, else the first."""
    taken: dict[object, RankFile] = {}
    for file in found:
        other = taken.get(_run_of(file))
        if other is None or (file.is_whole and not other.is_whole):
            taken[_run_of(file)] = file
    kept = [file for file in found if taken[_run_of(file)] is file]
    return kept, [(file.path, taken[_run_of(file)].path) for file in found if taken[_run_of(file)] is not file]


def _run_of(file: RankFile) -> object:
    # what was loaded from a log has no scratch: by its path it is a run of its own, however often it is named
    return (file.scratch, file.node, file.rank, file.job) if file.scratch else os.path.realpath(file.path)


def _with_lookups(found: Sequence[RankFile]) -> list[RankFile]:
    """Each rank that left the lookups to the first one of its node with the recording that has them."""
    first = {file.node: file.path for file in reversed(found) if not file.lookups_of}
    return [replace(file, lookups_of=first.get(file.node, "")) if file.lookups_of else file for file in found]


def _are_of_others(found: Sequence[RankFile]) -> bool:
    """Whether the lookups of some rank are those of another program, which does not ask for the same paths."""
    program = {file.path: file.program for file in found}
    return any(file.lookups_of and file.program != program[file.lookups_of] for file in found)


def program_of(command: Sequence[str]) -> tuple[str, ...]:
    """A command up to the script, the module or the code: `python -u train.py` of `python -u train.py --rank 3`."""
    value_of = ""
    for at, word in enumerate(command[1:], 1):
        if value_of not in ("-W", "-X") and not word.startswith("-"):
            return tuple(command[: at + 1])
        value_of = word
    return tuple(command)


def _listed(directory: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(directory) if entry.is_file()]
    except OSError as error:
        raise BadInput(f"cannot read {directory}: {error.strerror}", "check the name and its permissions") from None


def _begins_as_ours(path: str) -> bool:
    try:
        with files.open_to_read(path) as source:
            return source.read(len(recording.MAGIC)) == recording.MAGIC
    except OSError:
        return False


def _rank_file(path: str) -> RankFile:
    opened = recording.Recording(path)
    if opened.kind != "recording":
        raise BadInput(f"{path} is a {opened.kind}, no recording")
    check_manifest(opened)
    manifest = opened.manifest
    variables = manifest.get("job")
    job = {str(name): str(value) for name, value in variables.items()} if isinstance(variables, dict) else {}
    rank = ranks.identify(job)
    number = job.get("SLURM_JOB_ID") or job.get("PBS_JOBID") or job.get("LSB_JOBID") or ""
    step = job.get("SLURM_STEP_ID", "")
    return RankFile(
        path=path,
        name=f"rank {rank.number}" if rank is not None else Path(path).name,
        rank=rank.number if rank is not None else None,
        local_rank=rank.local_rank if rank is not None else None,
        # the same text for all: there are thousands of ranks
        node=sys.intern(naming.node_name(job, str(manifest.get("host") or "(not known)"))),
        job=sys.intern(f"{number}.{step}" if number and step else number),
        size=rank.size if rank is not None else None,
        local_size=rank.local_size if rank is not None else None,
        n_nodes=rank.n_nodes if rank is not None else None,
        selection=sys.intern(str(manifest.get("ranks") or "")),
        lookups_of=path if manifest.get("lookups_left") is True else "",
        program=program_of([sys.intern(str(word)) for word in manifest.get("command") or ()]),
        scratch=str(manifest.get("scratch") or ""),
        is_whole=manifest.get("exit_code") is not None or manifest.get("signal") is not None,
    )
