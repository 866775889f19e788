"""What may go wrong, tried on purpose: `python -m benchmarks.robustness [-o DIRECTORY] [--only PART ...] [--fresh]`.

Each part is kept in robustness.json as soon as it is done; what is there already is not measured again, unless --fresh. So it
can be run in pieces. All of it takes about 20 minutes on two processors; CPython's own tests run two files at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import evidence
from benchmarks.evidence import Json, say
from benchmarks.robustness import cpython, inputs, interrupts, io_faults, words
from benchmarks.robustness.report import markdown

PARTS = {
    "faults": io_faults.measure,
    "signals": interrupts.measure,
    "inputs": inputs.measure,
    "words": words.measure,
}
CPYTHON = "cpython"


def main() -> int:
    """Measure what is missing; 1 where something failed for which no cause is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=evidence.REPORTS, help="directory of the report")
    parser.add_argument("--only", nargs="*", choices=[*PARTS, CPYTHON], help="these parts alone")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there")
    parser.add_argument("--files", nargs="*", help="of CPython's test files these alone")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    path = given.output / "robustness.json"
    before: Json = json.loads(path.read_text()) if path.exists() else {}
    parts: Json = before.get("parts", {})
    commits: Json = before.get("commits") or dict.fromkeys(parts, f"{before.get('commit')} or an earlier one")

    def save(name: str, found: object) -> None:
        parts[name] = found
        head = evidence.head("robustness")
        commits[name] = head["commit"]
        result = {**head, "commits": commits, "parts": parts}
        evidence.save(result, markdown, None, given.output)

    for name, measure in PARTS.items():
        if (given.only is None or name in given.only) and (given.fresh or name not in parts):
            say(name)
            save(name, measure())
    if given.only is None or CPYTHON in given.only:
        say(CPYTHON)
        done = [] if given.fresh else parts.get(CPYTHON, [])
        cpython.measure(done, lambda rows: save(CPYTHON, rows), given.files or cpython.FILES)
    failed = [row for part in PARTS for row in parts.get(part, {}).get("failed", []) if not row.get("cause")]
    failed += [one for row in parts.get(CPYTHON, []) for one in row["differences"] if not one["cause"]]
    say(f"{len(failed)} failed without a named cause")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
