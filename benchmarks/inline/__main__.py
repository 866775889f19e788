"""The inline recorder against strace in the same run, and what it costs.

    python -m benchmarks.inline [--equality | --cost] [--python PYTHON ...] [--pairs N] [-o reports]

Equality: each program runs once under both; what strace saw and what the ring holds are compared call for call (call, path,
errno), in order per thread, and for each open the file that it led to. `ended in it`: the last call of a thread that a signal
ended (a pool terminates its workers) while it was in that call; the ring has it at the same place of the thread's order, begun,
without path and result, and strace saw the signal end the thread. `the loader's`: of a program that is entered by LD_PRELOAD
strace alone has what the loader did before; all that follows is equal. `not seen`: calls of programs of which the ring itself says
that it does not see them (static ones, say), and of which it has none; they are named. These three are taken out before order and
paths are compared, and nothing else is. Cost: interleaved pairs of runs
without and with the recorder (`recorder`: what it does to the program; `fsprobe run`: the whole command), ratio of the medians
with a 95 % bootstrap interval. The two may be measured at different times; each leaves the other's part of the report as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import evidence
from benchmarks.inline import cost, equality

N_PAIRS = 40
PARTS = ("equality", "cost")


def markdown(data: evidence.Json) -> str:
    """The report."""
    pieces = ["# The inline recorder: same-run equality and cost\n", (__doc__ or "").strip().split("\n\n", 2)[2] + "\n"]
    if "equality" in data:
        pieces += ["## Equality\n", evidence.about(data["equality"]), equality.table(data["equality"]["rows"])]
    if "cost" in data:
        pieces += ["## Cost\n", evidence.about(data["cost"]), cost.table(data["cost"])]
    return "\n".join(pieces)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the report; 1 where the two differ in a program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for part in PARTS:
        parser.add_argument(f"--{part}", action="store_true", help=f"only the {part}")
    parser.add_argument(
        "--python", action="append", default=[], help="an interpreter with packages; the first that has them"
    )
    parser.add_argument("--program", action="append", default=[], help="only programs whose name begins so")
    parser.add_argument("--pairs", type=int, default=N_PAIRS, help="of runs")
    parser.add_argument("-o", "--output", type=Path, default=evidence.REPORTS, help="directory of the report")
    options = parser.parse_args(arguments)
    pythons = options.python or [sys.executable]
    is_all = not (options.equality or options.cost)
    stored = options.output / "inline.json"
    before = json.loads(stored.read_text()) if stored.exists() else {}
    data = {**evidence.head("inline"), **{part: before[part] for part in PARTS if part in before}}
    if options.equality or is_all:
        data["equality"] = {**evidence.head("inline --equality"), "rows": equality.measure(pythons, options.program)}
    if options.cost or is_all:
        found = cost.measure(pythons, options.pairs)
        data["cost"] = {**evidence.head("inline --cost", n_runs=options.pairs), **found}
    evidence.save(data, markdown, None, options.output)
    rows = data["equality"]["rows"] if options.equality or is_all else []
    return int(any("why_not" not in row and not row["is_explained"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
