"""A script that runs again what a ticket is about."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsprobe import __version__
from fsprobe.capture.machine import ranks
from fsprobe.model.formats import JsonObject
from fsprobe.report import facts

_TOLD_BY_CONTAINER = ("APPTAINER_", "SINGULARITY_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file of the ticket."""

    name: str
    """How the ticket calls it: `01`."""
    file: str
    """What it was called; "" if that is nobody's business."""
    profile: JsonObject
    """Its profile, comparison or job, as the JSON report has it."""


def reproducer(items: Sequence[Item], *, is_redacted: bool) -> str:
    """A script with the exact commands of the runs: once without a tracer for the time, once with fsprobe for the counts."""
    lines = ["#!/usr/bin/env bash", f"# Runs again what this ticket is about. Made by fsprobe {__version__}."]
    if is_redacted:
        lines.append("# Names of users, projects and hosts were replaced: put your own in their place first.")
    for item in items:
        lines += ["", f"# {item.name}", "(", *_again(item), ")"]
    return "\n".join(lines) + "\n"


def _again(item: Item) -> list[str]:
    profile = item.profile
    if profile["kind"] == "comparison":
        return _compare_again(item)
    manifest = profile["manifest"]
    command = manifest.get("command")
    if not command:
        return ["# the command is not known: the log does not show it", ":"]
    line = facts.command_line(manifest)
    lines = [f"cd {shlex.quote(str(manifest['cwd']))} || exit 1"] if manifest.get("cwd") else []
    variables = manifest.get("environment") or {}
    container = next((variables[n] for n in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER") if variables.get(n)), None)
    if container:
        lines.append(f"# inside of the container {' '.join(str(container).split())}")
    lines += [
        f"export {name}={shlex.quote(str(value))}"
        for name, value in sorted(variables.items())
        if not name.startswith(_TOLD_BY_CONTAINER)
    ]
    launcher = _launcher(profile)
    options = [f"--ranks {shlex.quote(str(manifest['ranks']))}"] if manifest.get("ranks") else []
    if manifest.get("backend") in ("ptrace", "audit"):
        options.append(f"--backend {manifest['backend']}")
    place = f"{item.name}-again/" if profile["kind"] == "job" else f"{item.name}-again.fsprobe"
    traced = " ".join(["fsprobe run -o", place, *options, "--", line])
    lines += [f"time {launcher}{line}", f"{launcher}{traced}"]
    if profile["kind"] == "job":
        lines.append(f"fsprobe merge {place} -o {item.name}-again.fsprobe")
    return lines


def _launcher(profile: JsonObject) -> str:
    if profile["kind"] == "job":
        section = profile["job"]
        n_nodes, n_ranks = section["n_nodes"], section["n_ranks"]
        is_slurm = bool(profile["manifest"].get("job_id"))
    else:
        job = {name: str(value) for name, value in (profile["manifest"].get("job") or {}).items()}
        rank = ranks.identify(job)
        if rank is None:
            return ""
        n_nodes, n_ranks = job_size(job, rank)
        is_slurm = "SLURM_JOB_ID" in job
    if n_ranks is None or n_ranks < 2:
        return ""
    return f"srun --nodes={n_nodes or 1} --ntasks={n_ranks} " if is_slurm else f"mpirun -n {n_ranks} "


def _compare_again(item: Item) -> list[str]:
    profile = item.profile
    if not profile.get("environment") or not profile.get("command"):
        return ["# two recordings were compared: see the recordings themselves", ":"]
    words = ["fsprobe", "compare", "--env", str(profile["environment"])]
    kinds: dict[str, Mapping[str, Any]] = {str(row["layout"]): row for row in profile["rows"]}
    for label, row in kinds.items():
        if row["kind"] == "copy":
            words += ["--layout", f"{label}={row['where']}"]
        elif row["kind"] in ("squashfs", "overlay"):
            words.append(f"--{row['kind']}")
    caches = {row["cache"] for row in profile["rows"]} & {"cold", "warm"}
    words += [
        "--runs",
        str(profile.get("n_runs") or 7),
        "--cache",
        "both" if len(caches) == 2 else min(caches, default="warm"),
    ]
    if profile.get("make_cold") and not str(profile["make_cold"]).startswith("("):
        words += ["--make-cold", str(profile["make_cold"])]
    words += ["-o", f"{item.name}-again.fsprobe", "--", *(str(word) for word in profile["command"])]
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
