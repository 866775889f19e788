"""What inline costs: interleaved pairs of runs with and without the recorder, and the price of a single call."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import evidence
from benchmarks.inline.equality import has_modules
from fsprobe.capture.backends.inline import library, ringfile, trial
from fsprobe.errors import FsprobeError
from fsprobe.experiment.significance import compare_runs

WORKLOADS = {
    "python -c pass": ("pass", ()),
    "pandas": ("import pandas", ("pandas",)),
    "scikit-learn, scipy, pyplot": (
        "import sklearn.ensemble, scipy.stats, matplotlib.pyplot",
        ("sklearn", "scipy", "matplotlib"),
    ),
}
N_SLOTS = 1 << 17
QUIET_S = (2, 17)
QUIET_RUNS = 5
CALLS = """
import os, time
def least(call, n=2000, batches=200):
    best = 1e9
    for _ in range(batches):
        begin = time.perf_counter_ns()
        for _ in range(n // batches * 10):
            call()
        best = min(best, (time.perf_counter_ns() - begin) / (n // batches * 10))
    return best
def opened(): os.close(os.open("/etc/passwd", os.O_RDONLY))
print(least(lambda: os.stat("/etc/passwd")), least(opened))
"""
N_READS = 10_000_000
READS = """
import os, time
fd = os.open("/etc/passwd", os.O_RDONLY)
begin = time.perf_counter_ns()
for _ in range(%d):
    os.pread(fd, 1, 0)
print((time.perf_counter_ns() - begin) / %d)
"""
Start = Callable[[list[str]], tuple[float, float]]


class Recorder:
    """The recorder without fsprobe: what it does to the program alone."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.library, why = library.find(dict(os.environ))
        ring = str(place / "trial")
        if not why:
            ringfile.create(ring, 512)
            why = trial.why_not(self.library, ring, dict(os.environ))
        if why:
            raise FsprobeError(f"the inline recorder does not work here: {why}", "see `fsprobe doctor`")
        self.tables = ringfile.tables_of(ring)
        os.unlink(ring)

    def start(self, words: list[str]) -> tuple[float, float]:
        """Wall and CPU s of a program under it, with a fresh ring."""
        ring = str(self.place / "ring")
        ringfile.create(ring, N_SLOTS, N_SLOTS, self.tables)
        try:
            return timed(words, ringfile.environment(dict(os.environ), self.library, ring))
        finally:
            os.unlink(ring)


def timed(words: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and CPU s of a program."""
    begin = time.perf_counter()
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(words, env=environment, stdout=nowhere)
        _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise FsprobeError(f"{words[0]} ended with {process.returncode}")
    return wall_s, usage.ru_utime + usage.ru_stime


def whole(words: list[str]) -> tuple[float, float]:
    """Wall and CPU s of `fsprobe run --record-only --backend inline`."""
    with tempfile.TemporaryDirectory(prefix="fsprobe-cost-") as place:
        fsprobe = [sys.executable, "-m", "fsprobe", "run", "-q", "--record-only", "--backend", "inline"]
        return timed([*fsprobe, "-o", f"{place}/x", "--", *words], dict(os.environ))


def measure(pythons: Sequence[str], n_pairs: int) -> evidence.Json:
    """Ratios with their intervals, and nanoseconds a call."""
    with tempfile.TemporaryDirectory(prefix="fsprobe-cost-", dir=_in_memory()) as name:
        recorder = Recorder(Path(name))
        rows: list[evidence.Json] = []
        for workload, (code, modules) in WORKLOADS.items():
            python = next((one for one in pythons if has_modules(one, modules)), None)
            if python is None:
                rows.append({"program": workload, "why_not": "not installed here"})
                continue
            words = [python, "-c", code]
            for what, start in (("recorder", recorder.start), ("fsprobe run", whole)):
                rows.append({"program": workload, "what": what, **pairs(words, start, n_pairs)})
                evidence.say(f"{workload}, {what}: wall {rows[-1]['wall']['ratio']:.3f}")
        return {"rows": rows, "calls": calls(recorder, pythons[0]), "reads": reads(pythons[0]), "quiet": quiet()}


def _in_memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None


def pairs(words: list[str], start: Start, n: int) -> evidence.Json:
    """Interleaved pairs, first one way round, then the other."""
    found: evidence.Json = {"n_pairs": n}
    plain: list[tuple[float, float]] = []
    recorded: list[tuple[float, float]] = []
    start(words)
    timed(words, dict(os.environ))
    for i in range(n):
        for is_recorded in (False, True) if i % 2 else (True, False):
            (recorded if is_recorded else plain).append(start(words) if is_recorded else timed(words, dict(os.environ)))
    for at, name in enumerate(("wall", "cpu")):
        before, after = [one[at] for one in plain], [one[at] for one in recorded]
        ratio = compare_runs(before, after)
        found[name] = {
            "ratio": ratio.ratio,
            "low": ratio.low,
            "high": ratio.high,
            "plain_s": evidence.spread(before),
            "recorded_s": evidence.spread(after),
            "more_ms": round(1e3 * statistics.median(y - x for x, y in zip(before, after, strict=True)), 3),
        }
    return found


def calls(recorder: Recorder, python: str) -> evidence.Json:
    """Nanoseconds of a stat and of an open with its close: the least of short batches, without and with the recorder."""
    ring = str(recorder.place / "ring")
    ringfile.create(ring, N_SLOTS, N_SLOTS, recorder.tables)
    environment = ringfile.environment(dict(os.environ), recorder.library, ring)
    try:
        plain, noted = (
            [
                float(word)
                for word in subprocess.run(
                    [python, "-c", CALLS], env=env, capture_output=True, text=True, check=True
                ).stdout.split()
            ]
            for env in (dict(os.environ), environment)
        )
    finally:
        os.unlink(ring)
    return {"stat_ns": [plain[0], noted[0]], "open_ns": [plain[1], noted[1]]}


def reads(python: str) -> evidence.Json:
    """Many reads of one open file: nanoseconds of one, without and with; how many the recording counts, and its size."""
    words = [python, "-I", "-S", "-c", READS % (N_READS, N_READS)]
    with tempfile.TemporaryDirectory(prefix="fsprobe-cost-") as place:
        recording = Path(place) / "x.fsprobe"
        run = [
            sys.executable,
            "-m",
            "fsprobe",
            "run",
            "-q",
            "--record-only",
            "--backend",
            "inline",
            "-o",
            str(recording),
        ]
        plain, noted = (
            float(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
            for line in (words, [*run, "--", *words])
        )
        report = [sys.executable, "-m", "fsprobe", "report", "--format", "json", str(recording)]
        account = json.loads(subprocess.run(report, capture_output=True, check=True).stdout)["time"]
        return {
            "n": N_READS,
            "ns": [plain, noted],
            "recording_bytes": recording.stat().st_size,
            "n_counted": account["n_reads"],
        }


def quiet() -> evidence.Json:
    """Share of a processor that `fsprobe run` takes while its program makes no calls: longer sleeps against shorter ones."""
    shares = []
    for _ in range(QUIET_RUNS):
        short, long = (whole(["sleep", str(seconds)]) for seconds in QUIET_S)
        shares.append((long[1] - short[1]) / (QUIET_S[1] - QUIET_S[0]))
    return {"share": evidence.spread(shares), "n": QUIET_RUNS}


def table(found: evidence.Json) -> str:
    """The ratios and the price of a call as Markdown."""
    rows = [
        [
            row["program"],
            row["what"],
            *(_interval(row[name]) for name in ("wall", "cpu")),
            row["wall"]["more_ms"],
            row["n_pairs"],
        ]
        if "why_not" not in row
        else [row["program"], row["why_not"], "", "", "", ""]
        for row in found["rows"]
    ]
    header = ("program", "what", "wall over untraced", "CPU over untraced", "more wall, ms", "pairs")
    lines = [
        f"A {name}: {before / 1e3:.2f} us without, {after / 1e3:.2f} us with, {(after - before) / 1e3:.2f} us more."
        for name, (before, after) in (
            ("stat", found["calls"]["stat_ns"]),
            ("open and close", found["calls"]["open_ns"]),
        )
    ]
    if "reads" in found:
        read = found["reads"]
        plain, noted = read["ns"]
        lines.append(
            f"{read['n']:,} reads of a byte: {plain / 1e3:.2f} us each without, {noted / 1e3:.2f} us with,"
            f" {(noted - plain) / 1e3:.2f} us more; the recording of {read['recording_bytes'] / 1e3:.1f} kB counts"
            f" {read['n_counted']:,} reads, those of the interpreter's start among them."
        )
    if "quiet" in found:
        share = found["quiet"]["share"]
        lines.append(
            f"While the program makes no calls, `fsprobe run` takes {share['median']:.2%} of a processor"
            f" ({share['min']:.2%} to {share['max']:.2%}, {found['quiet']['n']} runs)."
        )
    return evidence.table(header, rows) + "\n" + "\n\n".join(lines) + "\n"


def _interval(ratio: evidence.Json) -> str:
    return f"{ratio['ratio']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"
