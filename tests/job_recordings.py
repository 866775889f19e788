"""Recordings of jobs for tests: ranks that environment variables make, and copies of one recording under many ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fsprobe.recording import file as recording
from tests.conftest import FSPROBE, Done, clean_environment, run_plain


def rank_variables(number: int, *, size: int, per_node: int, job: str = "77") -> dict[str, str]:
    """What Slurm tells a task; nodes have names of their own."""
    return {
        "SLURM_JOB_ID": job,
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number % per_node),
        "SLURM_NODEID": str(number // per_node),
        "SLURM_NTASKS": str(size),
        "SLURM_NNODES": str(-(-size // per_node)),
        "SLURMD_NODENAME": f"n{number // per_node}",
    }


def run_rank(
    place: Path,
    number: int,
    command: Sequence[str],
    *,
    size: int,
    per_node: int,
    options: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Done:
    """Run one rank under fsprobe, its recording in the directory `place`."""
    words = [*FSPROBE, "run", "-q", "--record-only", "--force", "-o", f"{place}/", *options, "--", *command]
    environment = {**rank_variables(number, size=size, per_node=per_node), **(variables or {})}
    return run_plain(words, env=clean_environment(**environment))


def copies(
    source: Path, place: Path, *, size: int, per_node: int, network: bytes = b"", ranks: Sequence[int] | None = None
) -> None:
    """Write one recording once for each rank, each with the variables of its rank.

    Args:
        source: the recording.
        place: the directory for the copies; made.
        size: ranks of the job.
        per_node: ranks of a node.
        network: a directory that shall have been on Lustre.
        ranks: those to write; all without it.
    """
    place.mkdir(exist_ok=True)
    opened = recording.Recording(str(source))
    sections = {name: b"".join(opened.section(name)) for name in opened.names() if name != "manifest"}
    if network:
        line = b"9999 1 0:99 / %b rw - lustre mds@tcp:/project rw\n" % network
        sections["mounts"] += line
        sections["marks"] = _with_mount(sections["marks"], line)
    for number in range(size) if ranks is None else ranks:
        manifest = dict(opened.manifest, job=rank_variables(number, size=size, per_node=per_node))
        recording.write(
            str(place / f"r{number:04d}.fsprobe"),
            "recording",
            [("manifest", json.dumps(manifest).encode()), *sections.items()],
        )


def _with_mount(marks: bytes, line: bytes) -> bytes:
    """The section `marks` with one more line in each mount table that a hook left: files led by `@name size`."""
    made = b""
    while marks:
        head, _, rest = marks.partition(b"\n")
        name, size = head.split()
        body, marks = rest[: int(size)], rest[int(size) :]
        if name.startswith(b"@mounts."):
            body += line
        made += b"%b %d\n%b" % (name, len(body), body)
    return made


def merge(*words: str, env: Mapping[str, str] | None = None) -> Done:
    """`fsprobe merge`."""
    return run_plain([*FSPROBE, "merge", *words], env=env)


def profile(file: Path) -> dict[str, object]:
    """The profile that a job's file holds."""
    opened = recording.Recording(str(file))
    opened.verify()
    return opened.manifest


def cut(file: Path, n_bytes: int = 400) -> None:
    """Leave a recording without its end."""
    file.write_bytes(file.read_bytes()[:-n_bytes])
