"""All benchmarks, one after another, with progress: `make bench` and `make bench-quick`.

    python -m benchmarks.all [--quick] [-o DIRECTORY] [NAME ...]

Each is a process of its own. What needs root or /dev/fuse says so in its report and is no failure; a benchmark that finds
a difference ends with 1, and so does this.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.environments import prepare
from benchmarks.evidence import say

BENCHMARKS: dict[str, list[str] | None] = {
    # name -> further options with --quick; None: not among the quick ones
    "accuracy": [],
    "parse_speed": [],
    "layouts": None,
    "nodes": None,
    "overhead": ["--no-growth"],
    "peers": None,
}
"""In an order in which the quickest tell first that something is wrong."""
FEWER: dict[str, list[str]] = {
    "layouts": ["--latency", "1", "--runs", "3"],
    "nodes": ["--runs", "1"],
    "overhead": ["--runs", "3", "--growth-to", "100000"],
}
"""What keeps all of them together below half an hour; alone, each takes its time."""
ON_A_SERVER = ("layouts", "nodes")
"""These need root and /dev/fuse, take an environment, and are given the name of their JSON file."""


def command(name: str, python: str, output: Path, quick: bool) -> list[str]:
    """The command line of one benchmark."""
    words = [sys.executable, "-m", f"benchmarks.{name}"]
    if name in ON_A_SERVER:
        words += [str(Path(python).parent.parent), "-o", str(output / f"{name}.json")]
    else:
        words += ["--python", python, "-o", str(output)]
    return [*words, "--quick", *(BENCHMARKS[name] or [])] if quick else [*words, *FEWER.get(name, [])]


def run(words: list[str]) -> tuple[int, float]:
    """(exit code, wall s) of one benchmark."""
    begin = time.monotonic()
    return subprocess.run(words, stdout=subprocess.DEVNULL).returncode, time.monotonic() - begin


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
    can_serve = os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)
    todo = []
    for name, quick in BENCHMARKS.items():
        if (words.names and name not in words.names) or (words.quick and quick is None):
            continue
        if name in ON_A_SERVER and not can_serve:
            say(f"{name} is left out: it needs root and /dev/fuse")
            continue
        todo.append(name)
    begin = time.monotonic()
    python = str(prepare())
    words.output.mkdir(parents=True, exist_ok=True)
    ends = {}
    for number, name in enumerate(todo, 1):
        say(f"[{number}/{len(todo)}] {name} (since the start: {time.monotonic() - begin:.0f} s)")
        ends[name] = run(command(name, python, words.output, words.quick))
    for name, (code, seconds) in ends.items():
        print(f"{name:16} {'done' if not code else f'exit code {code}':14} {seconds:6.0f} s   {words.output / name}.md")
    print(f"{time.monotonic() - begin:.0f} s in all")
    return int(any(code for code, _ in ends.values()))


if __name__ == "__main__":
    sys.exit(main())
