"""Record a command, and look at it as the rules do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from fsprobe import pipeline
from fsprobe.analysis.attribute import Notes, attribute
from fsprobe.analysis.findings.evidence import Evidence, Watch, watch
from fsprobe.analysis.findings.table import find
from fsprobe.analysis.missing import WhyMissing
from fsprobe.analysis.places import Mounts
from fsprobe.analysis.tally import fold
from fsprobe.capture import scratch
from fsprobe.model import Finding, Mount, ParseQuality
from fsprobe.parse import marks
from fsprobe.recording import Recording

ROOT = Path(__file__).parents[2]
CLEARED = "PYTHONPATH PYTHONDONTWRITEBYTECODE PYTHONNOUSERSITE LD_LIBRARY_PATH VIRTUAL_ENV PYTHONPYCACHEPREFIX CONDA_PREFIX MPLCONFIGDIR".split()


def record(command: list[str], where: Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Path:
    """Record a command with nothing in its environment that changes what Python looks up, but for what is given."""
    clean = {name: value for name, value in os.environ.items() if name not in CLEARED}
    clean["PYTHONNOUSERSITE"] = "1"
    clean.update(environment or {})
    file = where / f"{len(list(where.glob('*.fsprobe')))}.fsprobe"
    words = [sys.executable, "-E", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); from fsprobe.__main__ import main; sys.exit(main())"]
    done = subprocess.run([*words, "run", "-q", "-o", str(file), "--record-only", "--", *command], env=clean, cwd=cwd or where, capture_output=True)
    assert file.exists(), done.stderr.decode()
    return file


def evidence_of(file: Path, remap: Callable[[bytes], Mount | None] | None = None) -> Evidence:
    """The evidence of a recording, as the pipeline makes it. `remap` may give a path another mount."""
    recording = Recording(str(file))
    quality, notes, seen = ParseQuality(), Notes(), Watch()
    hooks = marks.read_hook_files(recording.section("marks"))
    place = str(recording.manifest["scratch"])
    hook = f"{place}/{scratch.HOOK}"
    for fact in hooks.facts.values():
        fact["path"] = [entry for entry in fact["path"] if entry != hook]
    rows = attribute(
        pipeline.read_events(recording, quality, hooks),
        notes,
        hook_dir=os.fsencode(hook),
        marks_dir=os.fsencode(f"{place}/{scratch.MARKS}"),
    )
    tally = fold(watch(rows, seen), WhyMissing(hooks.facts.values()))
    table = Mounts(pipeline.read_mounts(recording, hooks))
    return Evidence(
        tally=tally,
        notes=notes,
        profile=pipeline.analyse(str(file)),
        facts=list(hooks.facts.values()),
        mounts_of=(lambda path: remap(path) or table.of(path)) if remap else table.of,
        watch=seen,
    )


def findings_of(evidence: Evidence) -> dict[str, Finding]:
    """The findings by code."""
    return {finding.code: finding for finding in find(evidence)}


def n_metadata(evidence: Evidence) -> int:
    return evidence.tally.total.n_metadata
