"""What tracing costs: CPU and wall of a program untraced, under fsprobe, and under what one would use instead.

    python -m benchmarks.overhead [--runs N] [--quick] [--no-growth | --growth-to N] [--torch PYTHON] [-o DIRECTORY]
                                  [WORKLOAD ...]

CPU is user + system of the whole process tree (wait4), so that of the tracer is in it. Arms are run in turn (A B C A B C)
after a round that is not counted, because a shared machine drifts; ratios are of medians. fsprobe is the installed command.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import evidence
from benchmarks.environments import fsprobe_of, prepare
from benchmarks.evidence import PLACE, Json, say
from benchmarks.overhead.arms import RANK, TORCH, WORKLOADS, arms, growth_arms, growth_program, starts
from benchmarks.overhead.report import markdown, picture
from fsprobe.events.strace.parser import parse
from fsprobe.model.events import METADATA_OPS, Call, ParseQuality

GROWTH = {
    "calls": (1_000, 10_000, 100_000, 1_000_000),
    "processes": (1, 4, 16, 64),
    "threads": (1, 4, 16, 64),
}
N_STARTS = 64
"""Programs that start at once: the ranks of a full node."""
LEFT_OUT_WHEN_LONG = ("fsprobe's strace line alone", "fsprobe run --record-only (ptrace)")
Samples = dict[str, dict[str, list[float]]]


def environment() -> dict[str, str]:
    """The one that everything is measured in: byte code is cached, nothing on PYTHONPATH."""
    taken_out = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONSTARTUP")
    return {name: value for name, value in os.environ.items() if name not in taken_out}


def measure(command: list[str]) -> tuple[float, float]:
    """(CPU s, wall s) of one run; CPU with all reaped descendants.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=environment(), cwd=PLACE)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            message = errors.read()[-300:].decode("utf-8", "replace")
            raise RuntimeError(f"exit code {process.returncode}: {message.strip()}")
    return usage.ru_utime + usage.ru_stime, wall


def run_arms(commands: Mapping[str, list[str]], n_runs: int, title: str) -> tuple[Samples, dict[str, str]]:
    """All arms in turn, `n_runs` times after one round that is not counted.

    Returns:
        {arm: {"cpu_s": values, "wall_s": values}}, and why an arm could not be run.
    """
    samples: Samples = {name: {"cpu_s": [], "wall_s": []} for name in commands}
    failed: dict[str, str] = {}
    for number in range(n_runs + 1):
        say(f"{title}: {'warming up' if not number else f'round {number} of {n_runs}'}, {len(samples)} arms")
        for name in list(samples):
            try:
                cpu, wall = measure(commands[name])
            except (OSError, RuntimeError) as error:
                failed[name] = evidence.neutral(str(error), PYTHON=commands["untraced"][0]).replace("\n", " ")
                say(f"  {name}: {error}")
                del samples[name]
                continue
            if number:
                samples[name]["cpu_s"].append(cpu)
                samples[name]["wall_s"].append(wall)
    return samples, failed


def run_workload(python: str, fsprobe: list[str], name: str, n_runs: int, scratch: Path) -> Json:
    """One workload under every arm."""
    code = {**WORKLOADS, **TORCH}[name]
    script = scratch / "workload.py"  # not named as what it imports
    script.write_text(code)
    samples, failed = run_arms(arms(python, fsprobe, script, scratch), n_runs, name)
    return {
        "program": code,
        "arms": {
            arm: {key: evidence.spread(values) for key, values in figures.items()} for arm, figures in samples.items()
        },
        "not_run": failed,
    }


def run_growth(python: str, what: str, sizes: tuple[int, ...], n_runs: int, scratch: Path) -> list[Json]:
    """How the cost grows with the calls, the processes or the threads of a program."""
    rows = []
    for size in sizes:
        script = scratch / f"{what}-{size}.py"
        script.write_text(growth_program(what, size))
        is_long = what == "calls" and size >= 1_000_000
        repeats = 1 if is_long else n_runs
        commands = growth_arms(python, fsprobe_of(python), script, scratch)
        if is_long:  # a minute each
            commands = {name: command for name, command in commands.items() if name not in LEFT_OUT_WHEN_LONG}
        samples: Samples = {name: {"cpu_s": [], "wall_s": []} for name in commands}
        for number in range(repeats):
            say(f"growth: {size:,} {what}, round {number + 1} of {repeats}")
            for name, command in commands.items():
                cpu, wall = measure(command)
                samples[name]["cpu_s"].append(cpu)
                samples[name]["wall_s"].append(wall)
        rows.append(
            {
                "n": size,
                "n_runs": repeats,
                "arms": {
                    name: {key: evidence.spread(values) for key, values in figures.items()}
                    for name, figures in samples.items()
                },
            }
        )
    return rows


def measure_together(commands: list[list[str]]) -> tuple[float, float]:
    """(CPU s, wall s) of programs that start at once, until the last has ended; CPU with all reaped descendants.

    Raises:
        RuntimeError: one failed.
    """
    nowhere = subprocess.DEVNULL
    before, begin = os.times(), time.perf_counter()
    running = [
        subprocess.Popen(words, stdout=nowhere, stderr=nowhere, env=environment(), cwd=PLACE) for words in commands
    ]
    codes = [process.wait() for process in running]
    wall, after = time.perf_counter() - begin, os.times()
    if any(codes):
        raise RuntimeError(f"exit codes {sorted(set(codes))}")
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return used, wall


def run_starts(python: str, fsprobe: list[str], n_runs: int, scratch: Path) -> Json:
    """What recording adds where a node starts many programs at once."""
    found = starts(python, fsprobe, N_STARTS, scratch)
    samples: Samples = {name: {"cpu_s": [], "wall_s": []} for name in found}
    for number in range(n_runs):
        say(f"{N_STARTS} starts at once: round {number + 1} of {n_runs}")
        for name, commands in found.items():
            cpu, wall = measure_together(commands)
            samples[name]["cpu_s"].append(cpu)
            samples[name]["wall_s"].append(wall)
    return {
        "n": N_STARTS,
        "n_runs": n_runs,
        "arms": {
            name: {key: evidence.spread(values) for key, values in figures.items()} for name, figures in samples.items()
        },
    }


def own_calls(python: str, fsprobe: list[str], scratch: Path) -> Json:
    """Metadata calls of a recorder itself, not of what it starts; and those of the interpreter that it runs in, alone."""
    run = [*fsprobe, "run", "--record-only", "-q", "--force", "-o", str(scratch / "own.fsprobe")]
    target = [python, "-c", "import pandas"]
    return {
        "python -I -S -c pass": count_calls([python, "-I", "-S", "-c", "pass"], scratch),
        "python -c pass": count_calls([python, "-c", "pass"], scratch),
        # strace can't trace what is traced already: its tracer ends at once, after all that fsprobe does for it
        "run --record-only -- python -c pass": count_calls([*run, "--", python, "-c", "pass"], scratch),
        "run --record-only -- python -c 'import pandas'": count_calls([*run, "--", *target], scratch),
        "run --record-only --backend inline -- python -c 'import pandas'": count_calls(
            [*run, "--backend", "inline", "--", *target], scratch
        ),
        "the same as rank 5 of 64": count_calls([*run, "--backend", "inline", "--", *target], scratch, RANK),
    }


def count_calls(command: list[str], scratch: Path, variables: Mapping[str, str] | None = None) -> int:
    """Metadata calls of the first process of a command, with `variables` in its environment."""
    log = scratch / "own.log"
    # without -f: what is traced already could not be traced by fsprobe's own strace
    words = ["strace", "-q", "-o", str(log), "-e", "trace=%file,getdents64", *command]
    subprocess.run(words, check=True, env={**environment(), **(variables or {})}, cwd=PLACE)
    events = parse(log.read_bytes().splitlines(keepends=True), ParseQuality())
    return sum(isinstance(event, Call) and event.op in METADATA_OPS for event in events)


def floor_of_strace(n: int = 5) -> Json:
    """CPU of strace that traces a program that does nothing: what any strace costs before the first call."""
    return evidence.spread([measure(["strace", "-f", "-q", "-o", "/dev/null", "/bin/true"])[0] for _ in range(n)])


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--runs", type=int)
    parser.add_argument("--quick", action="store_true", help="two workloads, three runs, little growth")
    parser.add_argument("--no-growth", action="store_true")
    parser.add_argument("--growth-to", type=int, metavar="N", help="growth up to so many calls, processes, threads")
    parser.add_argument(
        "--python", help="the target's interpreter with all packages, fsprobe beside it [default: made]"
    )
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torch: one workload more")
    parser.add_argument("-o", "--output", type=Path, help="directory for overhead.json, .md and .png")
    words = parser.parse_args()
    python = words.python or str(prepare())
    names = words.workloads or (["standard library", "pandas"] if words.quick else list(WORKLOADS))
    n_runs = words.runs or (3 if words.quick else 5)
    n_growth = 3 if n_runs >= 5 else 1
    most = words.growth_to or max(map(max, GROWTH.values()))
    sizes = {what: tuple(n for n in found if n <= most)[: 2 if words.quick else None] for what, found in GROWTH.items()}
    tools = evidence.package_versions(
        python, ["py-spy", "pyinstrument", "pandas", "scikit-learn", "scipy", "matplotlib"]
    )
    with tempfile.TemporaryDirectory(dir=PLACE) as directory:
        scratch = Path(directory)
        flags = ["--quick"] if words.quick else [f"--runs {words.runs}"] if words.runs else []
        flags += [f"--growth-to {words.growth_to}"] if words.growth_to else []
        flags += [*(["--no-growth"] if words.no_growth else []), *(["--torch PYTHON"] if words.torch else [])]
        flags += ["-o reports", *words.workloads]
        fsprobe = fsprobe_of(python)
        workloads = {name: run_workload(python, fsprobe, name, n_runs, scratch) for name in names}
        if words.torch:
            workloads |= {name: run_workload(words.torch, fsprobe, name, n_runs, scratch) for name in TORCH}
        result = {
            **evidence.head("overhead", flags, n_runs=n_runs, versions=tools),
            "n_own_calls": own_calls(python, fsprobe, scratch),
            "strace_of_true_cpu_s": floor_of_strace(),
            "workloads": workloads,
            "starts": None if words.quick else run_starts(python, fsprobe, min(3, n_runs), scratch),
            "growth": {}
            if words.no_growth
            else {what: run_growth(python, what, found, n_growth, scratch) for what, found in sizes.items() if found},
        }
    result["load_at_end"] = round(os.getloadavg()[0], 1)
    print(evidence.save(result, markdown, picture, words.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
