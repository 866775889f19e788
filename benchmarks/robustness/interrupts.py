"""Signals at moments drawn at random while fsprobe starts and works: no traceback, no hang, and the command's own end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.evidence import Json, neutral
from benchmarks.robustness.trial import FSPROBE, forced

N_TRIED = 300
SEED = 20261128
LIMIT_S = 30.0
SIGNALS = (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BEFORE_US = "CPython itself was starting: no line of fsprobe had run"


def command_lines(place: Path) -> dict[str, list[str]]:
    """Name -> arguments; `given` is a recording."""
    given = str(place / "given.fsprobe")
    subprocess.run(
        [*FSPROBE, "run", "-q", "--record-only", "-o", given, "--", "python3", "-c", "import json"], check=True
    )
    run = ["run", "-q", "--record-only", "-o", str(place / "made.fsprobe")]
    lines = {f"run, {one}": [*run, "--backend", one, "--", "sleep", "0.3"] for one in ("strace", "ptrace", "inline")}
    return lines | {
        "run, audit": [*run, "--backend", "audit", "--", "sh", "-c", "sleep 0.3"],
        "run, stream": [*run, "--stream", "--", "sleep", "0.3"],
        "run with report": ["run", "-o", str(place / "made.fsprobe"), "--", "sleep", "0.1"],
        "report": ["report", given],
        "report, html": ["report", given, "--format", "html", "-o", str(place / "made.html")],
        "merge": ["merge", given, given, "-o", str(place / "job.fsprobe"), "--executor", "local=2"],
        "ticket": ["ticket", given, "--redact", "-o", str(place / "made.zip")],
        "scan": ["scan", sys.prefix],
        "doctor": ["doctor"],
        "explain": ["explain"],
        "whatif": ["whatif", given],
        "check": ["check", given, "--max-metadata", "5"],
        "compare": ["compare", given, given],
        "recorder": ["recorder", "-o", str(place / "made.pyz")],
    }


def measure(n_tried: int = N_TRIED) -> Json:
    """Send one signal to each of `n_tried` starts, or to its process group."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup ignores it, for all that it starts
    draw = random.Random(SEED)
    found: Json = {"n_tried": n_tried, "seed": SEED, "by_signal": {}, "failed": []}
    with tempfile.TemporaryDirectory(prefix="fsprobe-signals-") as directory:
        lines = command_lines(Path(directory))
        for _ in range(n_tried):
            name, number = draw.choice(list(lines)), draw.choice(SIGNALS)
            found["by_signal"][number.name] = found["by_signal"].get(number.name, 0) + 1
            problem, cause = _try(forced(lines[name]), number, draw.uniform(0, 0.9), draw.random() < 0.5)
            if problem:
                found["failed"].append({"line": name, "signal": number.name, "problem": problem, "cause": cause})
    return found


def _try(words: list[str], number: signal.Signals, after_s: float, to_group: bool) -> tuple[str, str]:
    process = subprocess.Popen(
        [*FSPROBE, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    time.sleep(after_s)
    try:
        (os.killpg if to_group else os.kill)(process.pid, number)
    except ProcessLookupError:
        pass
    try:
        said = process.communicate(timeout=LIMIT_S)[1].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"it did not end within {LIMIT_S:.0f} s", ""
    if "Traceback" in said or "Fatal Python error" in said or "Exception ignored" in said:
        is_ours = f"{os.sep}fsprobe{os.sep}" in said or "fsprobe: " in said
        lines = [line.strip() for line in said.strip().splitlines()]
        return f"a traceback: {neutral(' / '.join([*lines[:2], *lines[2:][-2:]]))[:300]}", "" if is_ours else BEFORE_US
    return "", ""
