"""All benchmarks, one after another, with progress: `make bench` and `make bench-quick`.

    python -m benchmarks.all [--quick] [-o DIRECTORY] [NAME ...]

Each is a process of its own. What needs root or /dev/fuse says so in its report and is no failure; a benchmark that finds
a difference ends with 1, and so does this.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.environments import prepare
from benchmarks.evidence import say

BENCHMARKS: dict[str, tuple[list[str], list[str] | None]] = {
    # name -> (options, options with --quick; None: not among the quick ones)
    "accuracy": ([], ["--quick"]),
    "parse_speed": ([], ["--quick"]),
    "overhead": ([], ["--quick", "--no-growth"]),
    "peers": ([], None),
}
"""In an order in which the quickest tell first that something is wrong."""


def run(name: str, options: list[str], python: str, output: Path) -> tuple[int, float]:
    """(exit code, wall s) of one benchmark."""
    begin = time.monotonic()
    words = [sys.executable, "-m", f"benchmarks.{name}", *options, "--python", python, "-o", str(output)]
    done = subprocess.run(words, stdout=subprocess.DEVNULL)
    return done.returncode, time.monotonic() - begin


def main() -> int:
    """Run them; 1 if one failed or found a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("reports"), help="directory of the reports [default: reports]"
    )
    words = parser.parse_args()
    unknown = set(words.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    chosen = {
        name: quick if words.quick else full
        for name, (full, quick) in BENCHMARKS.items()
        if (not words.names or name in words.names) and importlib.util.find_spec(f"benchmarks.{name}") is not None
    }
    todo = {name: options for name, options in chosen.items() if options is not None}
    begin = time.monotonic()
    python = str(prepare())
    ends = {}
    for number, (name, options) in enumerate(todo.items(), 1):
        say(f"[{number}/{len(todo)}] {name} (since the start: {time.monotonic() - begin:.0f} s)")
        ends[name] = run(name, options, python, words.output)
    for name, (code, seconds) in ends.items():
        print(f"{name:16} {'done' if not code else f'exit code {code}':14} {seconds:6.0f} s   {words.output / name}.md")
    print(f"{time.monotonic() - begin:.0f} s in all")
    return int(any(code for code, _ in ends.values()))


if __name__ == "__main__":
    sys.exit(main())
