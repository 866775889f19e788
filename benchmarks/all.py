"""All benchmarks, one after another, with progress: `make bench`, `make bench-quick` and `make bench-all`.

    python -m benchmarks.all [--quick | --everything] [--torch PYTHON] [--also PYTHON ...] [-o DIRECTORY] [NAME ...]

Each is a process of its own. Those that time something come first, each alone; those that only count are run two at a time after
them. What needs root or /dev/fuse says so in its report and is no failure; a benchmark that finds
a difference ends with 1, and so does this. `--everything` takes as long as it takes: also what boots a machine, installs
TensorFlow, or starts CPython's own tests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import prepare
from benchmarks.evidence import say


@dataclass(frozen=True, slots=True)
class Benchmark:
    """How one is started.

    Attributes:
        shape: its options, with places for the environment, its interpreter, the directory of reports and its own name.
        fewer: further options that keep all of `make bench` below half an hour.
        quick: further options among the quick ones; None: not among them.
        more: further options of `--everything`.
        torch: further options of `--everything` where an interpreter that has torch is named.
        also: a further option of `--everything` for each other interpreter that is named.
        is_timed: it times something, so nothing else may run meanwhile.
        is_usual: `make bench` has it.
        needs_server: root and /dev/fuse.
    """

    shape: str = "--python {python} -o {out}"
    fewer: str = ""
    quick: str | None = None
    more: str = ""
    torch: str = ""
    also: str = ""
    is_timed: bool = True
    is_usual: bool = True
    needs_server: bool = False


BENCHMARKS: dict[str, Benchmark] = {
    "parse_speed": Benchmark(fewer="--runs 1", quick="", more="--huge"),
    "time": Benchmark("-o {out}", "-n 2", needs_server=True),
    "nodes": Benchmark("{env} -o {out}/{name}.json", "--runs 1", needs_server=True),
    "overhead": Benchmark(
        fewer="--runs 2 --growth-to 10000",
        quick="--no-growth",
        more="--runs 3 --growth-to 100000",
        torch="--torch {torch}",
    ),
    "peers": Benchmark(),
    "ranks": Benchmark(is_usual=False),
    "inline": Benchmark(torch="--python {torch}", also="--python {also}", is_usual=False),
    "case": Benchmark("-o {out}/{name}", is_usual=False, needs_server=True),
    "fix": Benchmark("-o {out}", is_usual=False, needs_server=True),
    "pages": Benchmark("-o {out}", is_usual=False),
    "terminal": Benchmark("-o {out}", is_usual=False),
    "layouts": Benchmark("{env} -o {out}/{name}.json", "--workload pandas --latency 1 --runs 3", needs_server=True),
    "robustness": Benchmark("-o {out} --fresh", is_usual=False, is_timed=False),
    "servers": Benchmark("-o {out}", torch="--torch {torch}", is_usual=False, is_timed=False),
    "accuracy": Benchmark(quick="", is_timed=False),
    "own_size": Benchmark("-o {out}", is_timed=False),
    "programs": Benchmark("-o {out}", is_usual=False, is_timed=False),
    "audit_accuracy": Benchmark(is_usual=False, is_timed=False),
    "estimate": Benchmark("-o {out}", is_usual=False, is_timed=False),
}
"""Of those that count only, the longest first, so that two at a time end together."""


def command(name: str, python: str, options: argparse.Namespace) -> list[str]:
    """The command line of one benchmark."""
    found = BENCHMARKS[name]
    further = "--quick " + (found.quick or "") if options.quick else found.fewer
    if options.everything:
        further = f"{found.more} {found.torch if options.torch else ''}"
    places = {
        "python": python,
        "env": str(Path(python).parent.parent),
        "out": str(options.output),
        "name": name,
        "torch": options.torch,
    }
    words = [word.format_map(places) for word in f"{found.shape} {further}".split()]
    if options.everything:
        words += [word.format(also=python) for python in options.also for word in found.also.split()]
    return [sys.executable, "-m", f"benchmarks.{name}", *words]


def run(words: list[str]) -> tuple[int, float]:
    """(exit code, wall s) of one benchmark."""
    begin = time.monotonic()
    return subprocess.run(words, stdout=subprocess.DEVNULL).returncode, time.monotonic() - begin


def main() -> int:
    """Run them; 1 if one failed or found a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--everything", action="store_true", help="as long as it takes")
    parser.add_argument("--torch", metavar="PYTHON", default="", help="an interpreter that has torch")
    parser.add_argument(
        "--also",
        metavar="PYTHON",
        action="append",
        default=[],
        help="one more interpreter whose programs are compared inline",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("reports"), help="directory of the reports [default: reports]"
    )
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    can_serve = os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)
    todo = []
    for name, found in BENCHMARKS.items():
        is_wanted = name in options.names if options.names else found.is_usual or options.everything
        if not is_wanted or (options.quick and found.quick is None):
            continue
        if found.needs_server and not can_serve:
            say(f"{name} is left out: it needs root and /dev/fuse")
            continue
        todo.append(name)
    begin = time.monotonic()
    python = str(prepare())
    options.output.mkdir(parents=True, exist_ok=True)
    ends = {}

    def start(name: str) -> None:
        say(f"[{todo.index(name) + 1}/{len(todo)}] {name} (since the start: {time.monotonic() - begin:.0f} s)")
        ends[name] = run(command(name, python, options))

    for name in todo:
        if BENCHMARKS[name].is_timed:
            start(name)
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        list(pool.map(start, [name for name in todo if not BENCHMARKS[name].is_timed]))
    for name, (code, seconds) in ends.items():
        print(f"{name:16} {'done' if not code else f'exit code {code}':14} {seconds:6.0f} s   {options.output / name}")
    print(f"{time.monotonic() - begin:.0f} s in all, load {os.getloadavg()[0]:.1f} at its end")
    return int(any(code for code, _ in ends.values()))


if __name__ == "__main__":
    sys.exit(main())
