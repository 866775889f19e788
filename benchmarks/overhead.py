"""What tracing costs: CPU and wall of a program untraced, under strace, and under fsprobe; interleaved, medians, spread.

    python benchmarks/overhead.py [--runs 7] [--python PYTHON] [-o reports/overhead.json] [WORKLOAD ...]

CPU is user + system of the whole process tree (wait4), so that of the tracer is in it. Arms are run in turn (A B C A B C)
because a shared machine drifts; ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from fsprobe.capture import strace
from fsprobe.model import METADATA_OPS, Call, ParseQuality
from fsprobe.parse.strace import parse

WORKLOADS = {
    "pass": "pass",
    "json": "import json, email, xml.dom.minidom",
    "pandas": "import pandas",
    "stack": "import sklearn.ensemble, scipy.stats, matplotlib.pyplot",
}


def arms(python: str, code: str, scratch: Path) -> dict[str, list[str]]:
    """Name -> command line."""
    program = shutil.which("strace")
    assert program is not None, "overhead is measured against strace"
    target = [python, "-c", code]
    version = strace.version(program)
    log = str(scratch / "log")
    run = [sys.executable, "-m", "fsprobe", "run", "--backend", "strace", "-o", str(scratch / "x.fsprobe")]
    return {
        "untraced": target,
        "strace -f -c": [program, "-f", "-c", "-o", log, "--", *target],
        "bare line": strace.command_line(program, version, log, target),
        "fsprobe run --record-only": [*run, "--record-only", "-q", "--", *target],
        "fsprobe run --record-only --no-markers": [*run, "--record-only", "-q", "--no-markers", "--", *target],
        "fsprobe run": [*run, "--", *target],
    }


def measure(command: list[str]) -> tuple[float, float]:
    """(CPU s, wall s) of one run; CPU with all reaped descendants."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_utime + usage.ru_stime, wall


def run_workload(python: str, code: str, n_runs: int) -> dict[str, dict[str, list[float]]]:
    """All arms in turn, `n_runs` times after one round that is not counted."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        commands = arms(python, code, Path(directory))
        samples: dict[str, dict[str, list[float]]] = {name: {"cpu_s": [], "wall_s": []} for name in commands}
        for number in range(n_runs + 1):
            for name, command in commands.items():
                cpu, wall = measure(command)
                if number:
                    samples[name]["cpu_s"].append(round(cpu, 4))
                    samples[name]["wall_s"].append(round(wall, 4))
                print(f"\r{code[:40]:40}  round {number}/{n_runs}  {name:40}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return samples


def own_calls(python: str) -> int:
    """fsprobe's own metadata calls in `run --record-only`: the recorder itself, not what it starts."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        command = [
            sys.executable,
            "-m",
            "fsprobe",
            "run",
            "--record-only",
            "--no-markers",
            "-q",
            "-o",
            f"{directory}/x.fsprobe",
            "--",
            "/bin/true",
        ]
        subprocess.run(["strace", "-q", "-o", str(log), "-e", "trace=%file,getdents64", *command], check=True)
        events = parse(log.read_bytes().splitlines(keepends=True), ParseQuality())
        return sum(isinstance(event, Call) and event.op in METADATA_OPS for event in events)


def table(result: dict) -> str:
    """The result as Markdown."""
    lines = []
    for workload, samples in result["workloads"].items():
        medians = {arm: {key: statistics.median(values[key]) for key in values} for arm, values in samples.items()}
        base, count, bare = medians["untraced"], medians["strace -f -c"], medians["bare line"]
        lines += [
            f"### {workload}: `{WORKLOADS[workload]}`",
            "",
            "| | CPU s (min-max) | over untraced | over `strace -f -c` | CPU minus bare line, s | wall s | wall over untraced |",
            "|---|---|---|---|---|---|---|",
        ]
        for arm, values in samples.items():
            cpu, wall = medians[arm]["cpu_s"], medians[arm]["wall_s"]
            lines.append(
                f"| {arm} | {cpu:.3f} ({min(values['cpu_s']):.3f}-{max(values['cpu_s']):.3f}) | {cpu / base['cpu_s']:.2f} "
                f"| {cpu / count['cpu_s']:.2f} | {cpu - bare['cpu_s']:+.3f} | {wall:.3f} | {wall / base['wall_s']:.2f} |"
            )
        lines.append("")
    lines.append(f"fsprobe's own metadata calls in `run --record-only`: {result['n_own_calls']}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=["pandas", "stack"], help=", ".join(WORKLOADS))
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument(
        "--python", default=sys.executable, help="the target's interpreter; it needs the workload's packages"
    )
    parser.add_argument("-o", "--output", help="JSON; the table goes to stdout")
    words = parser.parse_args()
    result = {
        "benchmark": "overhead",
        "command": "python benchmarks/overhead.py " + " ".join(words.workloads),
        "date": date.today().isoformat(),
        "machine": {"kernel": platform.release(), "n_cpus": os.cpu_count(), "python": platform.python_version()},
        "n_runs": words.runs,
        "n_own_calls": own_calls(words.python),
        "workloads": {name: run_workload(words.python, WORKLOADS[name], words.runs) for name in words.workloads},
    }
    if words.output:
        Path(words.output).write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
