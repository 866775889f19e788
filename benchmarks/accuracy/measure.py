"""How exact fsprobe's numbers are: each against a truth that does not come from fsprobe.

    python -m benchmarks.accuracy [--quick] [-o DIRECTORY]

Four truths. strace's own summary (-C) of the very run that is recorded; `-X importtime` for who imported whom; arithmetic
over the import rules for generated trees (`benchmarks.accuracy.pynamic`); the counters of the simulated file server for
predicted requests. And one estimate: imports of a run without markers, against the markers of the same run. A cell that differs is
explained in the report or stands as it is.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks import evidence
from benchmarks.accuracy.checks import check_arithmetic, check_calls, check_imports, check_requests
from benchmarks.accuracy.report import markdown, picture
from benchmarks.environments import prepare
from benchmarks.evidence import PLACE, Json, say


def n_differences(result: Json) -> int:
    """Cells that do not agree; the estimate, which is none, left out."""
    n: int = sum(row["ours"] != row["summary"] for row in result["calls"]["summary"])
    n += sum(bool(row["groupings_that_do_not_sum"] or row["n_unparsed"]) for row in result["calls"]["summary"])
    n += sum(bool(row["n_only_here"] or row["n_only_strace"]) for row in result["calls"]["backends"])
    n += sum(bool(row["n_not_ours"] or row["n_other_parent"]) for row in result["imports"])
    n += sum(a != b for row in result["arithmetic"] for a, b in row.get("counts", {}).values())
    if not isinstance(result["requests"], str):
        n += sum(bool(row["n_paths_that_differ"]) for row in result["requests"])
    return n


def main() -> int:
    """Measure and report; 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer workloads")
    parser.add_argument(
        "--python", help="the target's interpreter, with pandas, scikit-learn and matplotlib [default: made]"
    )
    parser.add_argument("-o", "--output", type=Path, help="directory for accuracy.json, .md and .png")
    words = parser.parse_args()
    python = words.python or str(prepare())
    os.environ["PYTHONHASHSEED"] = "0"  # scipy imports in the order of a set: two runs are compared
    with tempfile.TemporaryDirectory(dir=PLACE) as directory:
        scratch = Path(directory)
        result = {
            **evidence.head(
                "accuracy",
                [*(["--quick"] if words.quick else []), "-o reports"],
                versions=evidence.package_versions(python, ["numpy", "pandas", "scikit-learn", "scipy", "matplotlib"]),
            ),
            "calls": check_calls(python, scratch, words.quick),
            "imports": check_imports(python, scratch, words.quick),
            "arithmetic": check_arithmetic(python, scratch, words.quick),
            "requests": check_requests(python, scratch, words.quick),
        }
    result["n_differences"] = n_differences(result)
    print(evidence.save(result, markdown, picture, words.output))
    say(f"cells that differ: {result['n_differences']}")
    return int(result["n_differences"] > 0)
