"""Recordings of jobs for tests: ranks that environment variables make, and copies of one recording under many ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fsprobe import recording
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
    place: Path, number: int, command: Sequence[str], *, size: int, per_node: int, options: Sequence[str] = ()
) -> Done:
    """Run one rank under fsprobe, its recording in the directory `place`."""
    words = [*FSPROBE, "run", "-q", "--record-only", "-o", f"{place}/", *options, "--", *command]
    return run_plain(words, env=clean_environment(**rank_variables(number, size=size, per_node=per_node)))


def copies(source: Path, place: Path, *, size: int, per_node: int) -> None:
    """Write one recording once for each rank, each with the variables of its rank."""
    place.mkdir(exist_ok=True)
    opened = recording.Recording(str(source))
    sections = [(name, b"".join(opened.section(name))) for name in opened.names() if name != "manifest"]
    for number in range(size):
        manifest = dict(opened.manifest, job=rank_variables(number, size=size, per_node=per_node))
        recording.write(
            str(place / f"r{number:04d}.fsprobe"),
            "recording",
            [("manifest", json.dumps(manifest).encode()), *sections],
        )


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
