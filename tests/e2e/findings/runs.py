"""Record a command, and look at it as the rules do."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.attribution.not_found import WhyNotFound
from fsprobe.analysis.attribution.ownership import Mounts
from fsprobe.analysis.counting.tally import fold
from fsprobe.analysis.findings.evidence import Evidence, Watch, watch
from fsprobe.analysis.findings.rules import find
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.model.events import Mount, ParseQuality
from fsprobe.model.finding import Finding
from fsprobe.recording.file import Recording
from tests.conftest import ROOT, need

Measured = TypeVar("Measured")
N_TRIES = 8
CLEARED = (
    "PYTHONPATH PYTHONDONTWRITEBYTECODE PYTHONNOUSERSITE LD_LIBRARY_PATH VIRTUAL_ENV PYTHONPYCACHEPREFIX CONDA_PREFIX "
    "MPLCONFIGDIR SLURM_NTASKS SLURM_JOB_NUM_NODES APPTAINER_CONTAINER SINGULARITY_CONTAINER"
).split()


def record(command: list[str], where: Path, environment: Mapping[str, str] | None = None) -> Path:
    """Record a command with nothing in its environment that changes what Python looks up, but for what is given."""
    clean = {name: value for name, value in os.environ.items() if name not in CLEARED}
    clean["PYTHONNOUSERSITE"] = "1"
    clean.update(environment or {})
    file = where / f"{len(list(where.glob('*.fsprobe')))}.fsprobe"
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from fsprobe.__main__ import main; sys.exit(main())"
    # -E: the variables are the command's, not fsprobe's own
    words = [
        sys.executable,
        "-E",
        "-s",
        "-c",
        start,
        "run",
        "-q",
        "--force",
        "-o",
        str(file),
        "--record-only",
        "--",
        *command,
    ]
    done = subprocess.run(words, env=clean, cwd=where, capture_output=True, stdin=subprocess.DEVNULL)
    made = sorted(where.glob(f"{file.stem}*.fsprobe"))  # a rank of a job has its number in the name
    assert len(made) == 1, done.stderr.decode()
    assert done.returncode == 0, done.stderr.decode()
    return made[0]


def evidence_of(file: Path, remap: Callable[[bytes], Mount | None] | None = None) -> Evidence:
    """The evidence of a recording. `remap` may put a path on another mount than it is on."""
    recording = Recording(str(file))
    quality, notes, seen = ParseQuality(), Notes(), Watch()
    hooks = pipeline.read_hooks(recording)
    facts = list(hooks.facts.values())
    mounts = pipeline.read_mounts(recording, hooks)
    model = RequestModel(mounts, pipeline.read_lookups(recording), pipeline.cwd_of(recording))
    events = pipeline.read_events(recording, quality, hooks, model)
    rows = pipeline.taken_in(pipeline.attributed(recording, events, notes), model)
    tally = fold(watch(rows, seen), WhyNotFound(facts))
    table = Mounts(mounts)
    return Evidence(
        tally=tally,
        notes=notes,
        profile=pipeline.analyse(str(file)),
        facts=facts,
        mounts_of=(lambda path: remap(path) or table.of(path)) if remap else table.of,
        requests=model.count(),
        count_without=model.count,
        watch=seen,
    )


def run(command: list[str], where: Path, environment: Mapping[str, str] | None = None) -> Evidence:
    """Record a command, and give what the rules look at."""
    return evidence_of(record(command, where, environment))


def undisturbed(measure: Callable[[], Measured]) -> Measured:
    """Measure while nobody empties the kernel's caches: another program that does so makes the client ask the server again."""
    for _ in range(N_TRIES):
        earlier = _n_drops()
        found = measure()
        if _n_drops() == earlier:
            return found
    need(False, "another program keeps emptying the kernel's caches")
    raise AssertionError


def _n_drops() -> int:
    """How often /proc/sys/vm/drop_caches was written to since the machine started."""
    rows = (line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return sum(int(row[1]) for row in rows if row[0] in ("drop_pagecache", "drop_slab"))


def type_line(line: str, where: Path, environment: Mapping[str, str] | None = None) -> str:
    """Type a line of a finding into a shell, `fsprobe` being on PATH; give what it printed."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from fsprobe.__main__ import main; sys.exit(main())"
    (where / "bin").mkdir(exist_ok=True)
    command = where / "bin" / "fsprobe"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -c {shlex.quote(start)} "$@"\n')
    command.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if name not in CLEARED}
    clean.update({"PYTHONNOUSERSITE": "1", "PATH": f"{command.parent}:{os.environ['PATH']}", **(environment or {})})
    done = subprocess.run(["bash", "-c", line], env=clean, cwd=where, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (line, done.stdout.decode(), done.stderr.decode())
    return done.stdout.decode()


def plant(place: Path, package: str, n: int) -> None:
    """Write a package of n modules m0 ... with nothing in them."""
    (place / package).mkdir(parents=True)
    (place / package / "__init__.py").write_text("")
    for number in range(n):
        (place / package / f"m{number}.py").write_text(f"x = {number}\n")


def import_some(package: str, n: int) -> str:
    """A program that imports the first n modules of a planted package; of none, not even the package."""
    return f"import importlib\nfor n in range({n}): importlib.import_module('{package}.m%d' % n)"


def findings_of(evidence: Evidence) -> dict[str, Finding]:
    """The findings by code."""
    return {finding.code: finding for finding in find(evidence)}


def n_metadata(evidence: Evidence) -> int:
    """All metadata calls of a run."""
    return evidence.tally.total.n_metadata
