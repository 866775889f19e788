"""A script that runs again what a ticket is about."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fsprobe import __version__, capabilities
from fsprobe.capture.machine import ranks
from fsprobe.model.comparison import IMAGE_KINDS, Comparison
from fsprobe.model.profile import Profile
from fsprobe.report import facts

FEWEST_RUNS = 5
"""`compare` refuses fewer, but for none. Source: `experiment.significance.MIN_RUNS`, which lies above this room."""
_TOLD_BY_CONTAINER = ("APPTAINER_", "SINGULARITY_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file of the ticket."""

    name: str
    """How the ticket calls it: `01`."""
    file: str
    """What it was called; "" if that is nobody's business."""
    value: Profile | Comparison


def reproducer(items: Sequence[Item], *, is_redacted: bool, has_secrets: bool = False) -> str:
    """A script with the exact commands of the runs: once without a tracer for the time, once with fsprobe for the counts."""
    lines = ["#!/usr/bin/env bash", f"# Runs again what this ticket is about. Made by fsprobe {__version__}."]
    if is_redacted:
        lines.append("# Names of users, projects and hosts were replaced: put your own in their place first.")
    if has_secrets:
        lines.append(
            "# Passwords, tokens and keys were replaced (secret1, secret2, ...): put your own in their place first."
        )
    for item in items:
        lines += ["", f"# {item.name}", "(", *_again(item), ")"]
    return "\n".join(lines) + "\n"


def _again(item: Item) -> list[str]:
    if isinstance(item.value, Comparison):
        return _compare_again(item.name, item.value)
    profile = item.value
    manifest, job = profile.manifest, profile.job
    if not manifest.command:
        return ["# the command is not known: the log does not show it", ":"]
    line = facts.command_line(manifest)
    lines = [f"cd {shlex.quote(manifest.cwd)} || exit 1"] if manifest.cwd else []
    variables = manifest.environment
    container = next((variables[n] for n in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER") if variables.get(n)), None)
    if container:
        lines.append(f"# inside of the container {' '.join(container.split())}")
    lines += [
        f"export {name}={shlex.quote(value)}"
        for name, value in sorted(variables.items())
        if not name.startswith(_TOLD_BY_CONTAINER)
    ]
    launcher = _launcher(profile)
    options = [f"--ranks {shlex.quote(manifest.ranks)}"] if manifest.ranks else []
    if manifest.backend and manifest.lacks(capabilities.FOREIGN_PROGRAMS):
        # else more would be seen than the recording shows
        options.append(f"--backend {shlex.quote(manifest.backend)}")
    place = f"{item.name}-again/" if job is not None else f"{item.name}-again.fsprobe"
    traced = " ".join(["fsprobe run -o", place, *options, "--", line])
    lines += [f"time {launcher}{line}", f"{launcher}{traced}"]
    if job is not None:
        lines.append(f"fsprobe merge {place} -o {item.name}-again.fsprobe")
    return lines


def _launcher(profile: Profile) -> str:
    manifest = profile.manifest
    if profile.job is not None:
        n_nodes, n_ranks = profile.job.n_nodes, profile.job.n_ranks
        is_slurm = bool(manifest.job_id)
    else:
        rank = ranks.identify(manifest.job)
        if rank is None:
            return ""
        n_nodes, n_ranks = job_size(manifest.job, rank)
        is_slurm = "SLURM_JOB_ID" in manifest.job
    if n_ranks is None or n_ranks < 2:
        return ""
    return f"srun --nodes={n_nodes or 1} --ntasks={n_ranks} " if is_slurm else f"mpirun -n {n_ranks} "


def _compare_again(name: str, comparison: Comparison) -> list[str]:
    if not comparison.environment or not comparison.command:
        return ["# two recordings were compared: see the recordings themselves", ":"]
    words = ["fsprobe", "compare", "--env", comparison.environment]
    for label, row in {row.layout: row for row in comparison.rows}.items():
        if row.is_made:
            words += ["--flash", row.where.rstrip("/").rsplit("/", 2)[0] or "/"]
        elif row.kind == "copy":
            words += ["--layout", f"{label}={row.where}"]
        elif row.kind in IMAGE_KINDS:
            words.append(f"--{row.kind}")
    caches = {row.cache for row in comparison.rows} & {"cold", "warm"}
    words += [
        "--runs",
        str(0 if comparison.n_runs == 0 else max(comparison.n_runs or 7, FEWEST_RUNS)),
        "--cache",
        "both" if len(caches) == 2 else min(caches, default="warm"),
    ]
    if comparison.make_cold and not comparison.make_cold.startswith("("):
        words += ["--make-cold", comparison.make_cold]
    words += ["-o", f"{name}-again.fsprobe", "--", *comparison.command]
    return [
        "# in the directory where it was made: a comparison does not keep it",
        " ".join(shlex.quote(word) for word in words),
    ]


def job_size(job: Mapping[str, str], rank: ranks.Rank | None) -> tuple[int | None, int | None]:
    """Nodes and ranks of a job, as its variables say."""
    n_nodes = rank.n_nodes if rank is not None else None
    n_ranks = rank.size if rank is not None else None
    for name in ("SLURM_JOB_NUM_NODES", "SLURM_NNODES"):
        if n_nodes is None and job.get(name, "").isdigit():
            n_nodes = int(job[name])
    if n_ranks is None and job.get("SLURM_NTASKS", "").isdigit():
        n_ranks = int(job["SLURM_NTASKS"])
    return n_nodes, n_ranks
