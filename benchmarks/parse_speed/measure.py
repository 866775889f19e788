"""How fast strace logs are read, in how much memory, and how right: fsprobe's parser beside others.

    python -m benchmarks.parse_speed [--quick] [--huge] [-o DIRECTORY]

The log is a real one (`import pandas` under strace), repeated with other pids until it has 1e5, 1e6 or (--huge) 1e7 lines.
It is written twice: as fsprobe's own command writes it, and as `strace -f -tt -T` does, which is what stracetools reads.
Each reader is a process of its own; time is that of the reading, the import of the modules for it included, memory the peak
of the whole process. Beside the speed stands what each made of a hostile log, whose calls are known from the program that made them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import evidence
from benchmarks.environments import prepare
from benchmarks.evidence import PLACE, Json, say
from benchmarks.parse_speed.hostile import check_hostile
from benchmarks.parse_speed.logs import compile_all, run, trace, write_log
from benchmarks.parse_speed.readers import AWK, READERS, RING_READERS
from benchmarks.parse_speed.report import markdown, picture

LONG_S = 20.0
MOST_IN_OWN_TREES = 1_000_000
"""With paths that come in one process alone, memory grows with the slots: ten times as many would take 11 GiB."""


def measure(python: str, name: str, log: Path) -> tuple[float, float, int]:
    """(s, peak MiB, items) of one reader on one log."""
    words = [
        python,
        "-c",
        "import sys; from benchmarks.parse_speed.readers import child; child(*sys.argv[1:])",
        name,
        str(log),
    ]
    figures, peak = run(words).splitlines()[-2:]
    seconds, n = json.loads(figures)
    return seconds, int(peak.split()[1]) / 1024, n


def measure_awk(log: Path) -> tuple[float, float, int]:
    """As `measure`, for the awk script; time is that of the whole process."""
    begin = time.perf_counter()
    text = run(["awk", AWK, str(log)])
    return time.perf_counter() - begin, int(text.split()[-2]) / 1024, 0


def check_speed(python: str, scratch: Path, sizes: list[int], n_runs: int) -> list[Json]:
    """Every reader on logs of every size, in turn."""
    bases = {
        kind: trace(python, [python, "-c", "import pandas"], scratch, kind).read_bytes().splitlines(keepends=True)
        for kind in ("own", "tt", "plain")
    }
    rows = []
    for n_lines in sizes:
        logs = {}
        for kind, base in bases.items():
            logs[kind] = scratch / f"log.{kind}"
            write_log(base, n_lines, logs[kind])
        readers = {
            name: spec for name, spec in READERS.items() if spec[2] >= n_lines or spec[2] < 10_000 == n_lines // 10
        }
        samples: dict[str, list[tuple[float, float, int]]] = {name: [] for name in [*readers, "awk"]}
        n_given = dict.fromkeys(samples, n_lines)
        for number in range(n_runs):
            for name in samples:
                if samples[name] and samples[name][0][0] > LONG_S:
                    continue  # once is enough
                say(f"speed: {n_lines:,} lines, run {number + 1}/{n_runs}, {name}")
                if name == "awk":
                    samples[name].append(measure_awk(logs["own"]))
                    continue
                kind, _, most = readers[name]
                log = logs[kind]
                if most < n_lines:
                    n_given[name] = most
                    log = scratch / "short"
                    write_log(bases[kind], most, log)
                samples[name].append(measure(python, name, log))
        for name, found in samples.items():
            times = evidence.spread([seconds for seconds, _, _ in found])
            rows.append(
                {
                    "reader": name,
                    "n_lines": n_given[name],
                    "n_bytes": logs[READERS[name][0] if name in READERS else "own"].stat().st_size
                    * n_given[name]
                    // n_lines,
                    "s": times,
                    "lines_per_s": round(n_given[name] / times["median"]),
                    "peak_mib": round(max(peak for _, peak, _ in found), 1),
                    "n_items": found[0][2] or None,
                    "n_runs": len(found),
                }
            )
        for log in logs.values():
            log.unlink()
    return rows


def check_rings(python: str, scratch: Path, sizes: list[int], n_runs: int) -> list[Json]:
    """The inline recorder's slots: events alone, and in full, for recordings of every size."""
    from benchmarks.parse_speed.rings import grow  # numpy

    source = scratch / "inline.fsprobe"
    words = [sys.executable, "-m", "fsprobe", "run", "--record-only", "-q", "--force", "--backend", "inline"]
    words += ["-o", str(source), "--", python, "-c", "import pandas"]
    subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": str(evidence.REPOSITORY)}, cwd="/")
    rows = []
    for wanted, own_trees in [(size, own_trees) for size in sizes for own_trees in (False, True)]:
        if own_trees and wanted > MOST_IN_OWN_TREES:
            continue
        recording = scratch / "ring.fsprobe"
        n_slots = grow(source, wanted, recording, own_trees)
        samples: dict[str, list[tuple[float, float, int]]] = {name: [] for name in RING_READERS}
        for number in range(n_runs):
            for name, found in samples.items():
                if found and found[0][0] > LONG_S:
                    continue  # once is enough
                say(f"rings: {n_slots:,} slots, run {number + 1}/{n_runs}, {name}")
                found.append(measure(python, name, recording))
        n_paths = samples["fsprobe, ring: in full"][0][2]
        for name, found in samples.items():
            times = evidence.spread([seconds for seconds, _, _ in found])
            rows.append(
                {
                    "reader": name,
                    "n_slots": n_slots,
                    "n_paths": n_paths,
                    "s": times,
                    "slots_per_s": round(n_slots / times["median"]),
                    "peak_mib": round(max(peak for _, peak, _ in found), 1),
                    "n_items": found[0][2],
                    "n_runs": len(found),
                }
            )
        recording.unlink()
    return rows


def check_stages(python: str, scratch: Path, n_runs: int) -> Json:
    """CPU of each stage between a recording and the report on the terminal, for sklearn + scipy + pyplot."""
    path = scratch / "stages.fsprobe"
    statement = "import sklearn.ensemble, scipy.stats, matplotlib.pyplot"
    words = [
        sys.executable,
        "-m",
        "fsprobe",
        "run",
        "--record-only",
        "-q",
        "--force",
        "-o",
        str(path),
        "--",
        python,
        "-c",
        statement,
    ]
    subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": str(evidence.REPOSITORY)}, cwd="/")
    samples: dict[str, list[float]] = {}
    n_lines = n_calls = 0
    for _ in range(n_runs):
        words = [
            python,
            "-c",
            "from benchmarks.parse_speed.readers import child_stages; import sys; child_stages(sys.argv[1])",
            str(path),
        ]
        found = json.loads(run(words))
        n_lines, n_calls = found.pop("n_lines"), found.pop("n_calls")
        for name, seconds in found.items():
            samples.setdefault(name, []).append(seconds)
    return {
        "workload": statement,
        "n_lines": n_lines,
        "n_calls": n_calls,
        "cpu_s": {name: evidence.spread(values) for name, values in samples.items()},
    }


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1e5 lines, once")
    parser.add_argument("--huge", action="store_true", help="1e7 lines as well: 2 GB of logs and some minutes")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--python", help="an interpreter with pandas and stracetools [default: made]")
    parser.add_argument("-o", "--output", type=Path, help="directory for parse_speed.json, .md and .png")
    words = parser.parse_args()
    python = words.python or str(prepare())
    sizes = [100_000] if words.quick else [100_000, 1_000_000, *([10_000_000] if words.huge else [])]
    n_runs = words.runs or (1 if words.quick else 3)
    compile_all(python)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    versions = evidence.package_versions(python, ["pandas", "stracetools", "strace-parser", "lark-parser"])
    versions["awk"] = awk_version()
    with tempfile.TemporaryDirectory(dir=PLACE) as directory:
        scratch = Path(directory)
        flags = [*(["--quick"] if words.quick else []), *(["--huge"] if words.huge else []), "-o reports"]
        result = {
            **evidence.head("parse_speed", flags, n_runs=n_runs, versions=versions),
            "hostile": check_hostile(python, scratch),
            "stages": check_stages(python, scratch, 1 if words.quick else 7),
            "speed": check_speed(python, scratch, sizes, n_runs),
            "rings": check_rings(python, scratch, sizes, n_runs),
        }
    print(evidence.save(result, markdown, picture, words.output))
    return 0


def awk_version() -> str:
    """Which awk this is."""
    done = subprocess.run(["awk", "-W", "version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = re.search(r"(mawk|GNU Awk|busybox)\D*(\d+[\d.]*)", done.stdout + done.stderr, re.IGNORECASE)
    return " ".join(found.groups()) if found else "unknown"
