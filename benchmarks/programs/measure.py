"""One program three times: warm, under fsprobe, under a plain strace whose log is counted by its text alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import evidence
from benchmarks.programs.commands import Program
from fsprobe import pipeline
from fsprobe.model.events import METADATA_OPS, OP_OF_SYSCALL
from fsprobe.report.sentences import headline

CALLS = sorted(name for name, op in OP_OF_SYSCALL.items() if op in METADATA_OPS)
_LINE = re.compile(rb"^\d+ +(?:([a-z]\w*)\(|<\.\.\. (\w+) resumed>)")
_MISSING = re.compile(rb" = -1 (?:ENOENT|ENOTDIR) \(")
_START = re.compile(rb'/encodings/__pycache__/__init__\.[^"/]*\.pyc"')
"""What each interpreter opens once when it starts, and no forked one again."""
TIMEOUT_S = 400


def count_independently(log: Path) -> evidence.Json:
    """Count a log of strace by its text alone: calls that began, results that say "not found", interpreters started."""
    names = {name.encode() for name in CALLS}
    n_calls = n_missing = n_python = 0
    with log.open("rb") as lines:
        for line in lines:
            found = _LINE.match(line)
            if found is None or (found.group(1) or found.group(2)) not in names:
                continue
            # a descriptor's own attributes name no path
            n_calls += (found.group(1) is not None) - (b"AT_EMPTY_PATH" in line)
            n_missing += _MISSING.search(line) is not None
            n_python += found.group(1) == b"openat" and _START.search(line) is not None
    return {"n_metadata": n_calls, "n_not_found": n_missing, "n_python": n_python}


def measure(program: Program, place: Path, runs: Path) -> evidence.Json:
    """Run a program three times, and put the counts side by side."""
    home = place / program.environment / "bin"
    words = [str(home / word[1:]) if word.startswith("@") else word for word in program.command]
    variables = {
        **os.environ,
        "PATH": f"{home}:{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HOME": str(runs),
        "TMPDIR": str(runs),  # else pytest clears away what other runs of it left in /tmp, and that is counted
    }
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        variables.pop(name, None)
    recording, log = runs / "run.fsprobe", runs / "plain.log"
    tracer = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=" + ",".join("?" + name for name in CALLS),
        "-e",
        "signal=none",
        "-o",
        str(log),
        "--",
    ]
    start = f"import sys; sys.path.insert(0, {str(evidence.REPOSITORY)!r}); from fsprobe.__main__ import main; sys.exit(main())"
    probe = [sys.executable, "-I", "-c", start, "run", "-q", "--record-only", "-o", str(recording), "--"]
    recording.unlink(missing_ok=True)
    for before in ([], probe, tracer):
        if program.clean:
            shutil.rmtree(runs / program.clean, ignore_errors=True)
        done = subprocess.run(
            [*before, *words],
            cwd=runs,
            env=variables,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            return {"failed": f"exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}"}
    profile = pipeline.analyse(recording)
    return {
        "fsprobe": {
            "n_metadata": profile.metrics.n_metadata,
            "n_not_found": profile.metrics.n_not_found,
            "n_python": profile.manifest.n_python_processes,
        },
        "independent": count_independently(log),
        "n_requests": profile.requests.total.n_metadata if profile.requests else None,
        "headline": headline(profile),
        "verdict": profile.verdict.sentence if profile.verdict else "",
        "findings": [
            {
                "code": f.code,
                "title": f.title,
                "evidence": f.evidence,
                "advice": f.advice,
                "commands": list(f.commands),
                "saves": dict(f.saves),
            }
            for f in profile.findings
        ],
    }
