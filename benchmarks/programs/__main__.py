"""Measure the programs and write the report."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import evidence
from benchmarks.programs.commands import FILES, PROGRAMS, make_environments
from benchmarks.programs.measure import TIMEOUT_S, measure
from benchmarks.programs.report import render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--place", type=Path, default=evidence.PLACE / "programs")
    parser.add_argument("-o", "--output", type=Path, default=evidence.REPORTS / "programs.json")
    parser.add_argument("--only", nargs="*", help="names of programs")
    parser.add_argument("--render", action="store_true", help="draw the page again from the JSON")
    options = parser.parse_args()
    if options.render:
        result = json.loads(options.output.read_text())
    else:
        failed = make_environments(options.place)
        result = evidence.head("programs")
        rows = []
        for program in PROGRAMS:
            if options.only and program.name not in options.only:
                continue
            runs = evidence.PLACE / "runs"
            shutil.rmtree(runs, ignore_errors=True)
            runs.mkdir(parents=True)
            for name, body in FILES.items():
                (runs / name).write_text(body)
            python = str(options.place / program.environment / "bin" / "python")
            row = {"name": program.name, "versions": evidence.package_versions(python, program.distributions)}
            try:
                row |= measure(program, options.place, runs)
            except subprocess.TimeoutExpired:
                row["failed"] = f"took more than {TIMEOUT_S} s"
            rows.append(row)
            print(program.name, row.get("failed") or (row["fsprobe"], row["independent"]), file=sys.stderr, flush=True)
        result |= {"programs": rows, "not_installed": failed}
        text = json.dumps(result, indent=1)
        result = json.loads(evidence.neutral(text, VENVS=options.place, RUNS=evidence.PLACE / "runs"))
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    options.output.with_suffix(".md").write_text(render(result))


if __name__ == "__main__":
    main()
