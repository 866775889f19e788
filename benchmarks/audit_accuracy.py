"""How much of what CPython does after site the audit backend sees: recall and precision against the strace backend.

    python -m benchmarks.audit_accuracy [--python PYTHON] [-o reports] [WORKLOAD ...]

Compared are multisets of (path, found or not) of opens and stats in the phases import and run; lookups of the dynamic
loader are left out, since no hook can see them.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks import evidence
from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.model.events import MISSING_ERRORS, Op, ParseQuality
from fsprobe.recording.file import Recording

WORKLOADS = {
    "json": "import json, email.mime.text",
    "pandas": "import pandas",
    "stack": "import sklearn.ensemble, scipy.stats, matplotlib.pyplot",
    "files": (
        "import os, pathlib, shutil, tempfile\n"
        "tempfile.tempdir = '/tmp'\n"  # else a name at random is tried, another in each run
        "place = pathlib.Path(tempfile.gettempdir(), 'fsprobe-audit'); shutil.rmtree(place, ignore_errors=True)\n"
        "place.mkdir()\n"
        "for i in range(20): (place / str(i)).write_text('x')\n"
        "shutil.copytree(place, place / 'copy')\n"
        "for _ in os.walk(place): pass\n"
        "[path.stat() for path in place.rglob('*')]; os.path.exists(place / 'no'); shutil.rmtree(place)\n"
    ),
}
_LOADER = re.compile(rb"\.so(?:\.[0-9.]+)?$|^/etc/ld\.so|/(?:tls|x86_64|haswell)$|/glibc-hwcaps/")


def calls(path: Path, op: Op) -> Counter[tuple[bytes, bool]]:
    """The target's calls of one op after site, the loader's left out."""
    recording = Recording(str(path))
    hooks = pipeline.read_hooks(recording)
    rows = pipeline.attributed(recording, pipeline.read_events(recording, ParseQuality(), hooks), Notes())
    found: Counter[tuple[bytes, bool]] = Counter()
    for row in rows:
        call = row.call
        if row.own or row.phase not in ("import", "run") or call.op is not op:
            continue
        if _LOADER.search(call.path) and (op is Op.OPEN or not call.path.endswith(b".so")):
            continue
        found[os.path.normpath(call.path), call.error in MISSING_ERRORS] += 1
    return found


def measure(python: str, code: str) -> evidence.Json:
    """Record one program with both backends and compare."""
    with tempfile.TemporaryDirectory() as directory:
        paths = {backend: Path(directory, f"{backend}.fsprobe") for backend in ("strace", "audit")}
        subprocess.run([python, "-c", code], check=True)  # byte code is there on both sides
        for backend, path in paths.items():
            words = [*f"run -q --record-only --backend {backend} -o".split(), str(path), "--", python, "-c", code]
            subprocess.run([sys.executable, "-m", "fsprobe", *words], check=True)
        result = {}
        for op in (Op.OPEN, Op.STAT):
            truth, seen = calls(paths["strace"], op), calls(paths["audit"], op)
            both = sum((truth & seen).values())
            result[op.value] = {
                "n_strace": sum(truth.values()),
                "n_audit": sum(seen.values()),
                "recall": round(both / sum(truth.values()), 4),
                "precision": round(both / sum(seen.values()), 4),
                "missed": sorted({os.path.basename(path).decode("utf-8", "replace") for path, _ in truth - seen})[:8],
            }
        return result


def markdown(result: evidence.Json) -> str:
    """The report's table."""
    rows = [
        [
            name, op, f"{row['n_strace']:,}", f"{row['n_audit']:,}", f"{row['recall']:.3f}", f"{row['precision']:.3f}",
            ", ".join(f"`{word}`" for word in row["missed"][:4]),
        ]
        for name, ops in result["workloads"].items()
        for op, row in ops.items()
    ]  # fmt: skip
    header = ("workload", "op", "strace", "audit", "recall", "precision", "missed, for instance")
    return (
        "# The audit backend against strace\n\n"
        + evidence.about(result)
        + "\nCalls after site, less the dynamic loader's; one run of each backend (counts are the same in each run).\n\n"
        + evidence.table(header, rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--python", default=sys.executable, help="the target's interpreter, with the packages")
    parser.add_argument("-o", "--output", type=Path, help="directory for audit_accuracy.json and .md")
    words = parser.parse_args()
    versions = evidence.package_versions(words.python, ["pandas", "scikit-learn", "scipy", "matplotlib"])
    head = evidence.head("audit_accuracy", ["-o", "reports"] if words.output else [], versions=versions)
    result = {**head, "workloads": {name: measure(words.python, WORKLOADS[name]) for name in words.workloads}}
    print(evidence.save(result, markdown, None, words.output))


if __name__ == "__main__":
    main()
