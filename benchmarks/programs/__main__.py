"""Measure the programs and write the report."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path

from benchmarks import evidence
from benchmarks.programs.commands import FILES, PROGRAMS, Program, make_environments
from benchmarks.programs.measure import TIMEOUT_S, measure
from benchmarks.programs.report import markdown

RUNS = evidence.PLACE / "runs"
"""Where the programs run, made anew for each."""


def row(program: Program, place: Path) -> evidence.Json:
    """What is found of one program; why it was not measured."""
    shutil.rmtree(RUNS, ignore_errors=True)
    RUNS.mkdir(parents=True)
    for name, body in FILES.items():
        (RUNS / name).write_text(body)
    python = str(place / program.environment / "bin" / "python")
    found: evidence.Json = {
        "name": program.name,
        "versions": evidence.package_versions(python, program.distributions),
    }
    try:
        found |= measure(program, place, RUNS)
    except subprocess.TimeoutExpired:
        found["failed"] = f"took more than {TIMEOUT_S} s"
    evidence.say(f"{program.name}: {found.get('failed') or (found['fsprobe'], found['independent'])}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--place", type=Path, default=evidence.PLACE / "programs", help="where their environments are, or are made"
    )
    parser.add_argument("-o", "--output", type=Path, default=evidence.REPORTS, help="directory of the report")
    parser.add_argument("--only", nargs="*", help="names of programs")
    parser.add_argument("--render", action="store_true", help="draw the page again from the JSON")
    options = parser.parse_args()
    if options.render:
        result = json.loads((options.output / "programs.json").read_text())
    else:
        failed = make_environments(options.place)
        flags = [*(["--only", *options.only] if options.only else []), "-o reports"]
        result = evidence.head("programs", flags)
        rows = [row(program, options.place) for program in PROGRAMS if not options.only or program.name in options.only]
        text = json.dumps(result | {"programs": rows, "not_installed": failed})
        result = json.loads(evidence.neutral(text, VENVS=options.place, RUNS=RUNS))
    evidence.save(result, markdown, None, options.output)


if __name__ == "__main__":
    main()
