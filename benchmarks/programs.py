"""Nine real programs: what fsprobe counts, says and advises of each, beside counts that fsprobe has no part in.

    python -m benchmarks.programs [--place DIR] [-o reports/programs.json] [--render]

Each program runs three times: once to warm up, once under fsprobe, once under a plain `strace -f` whose log is counted
by regular expressions alone. The environments are made where they are not there yet (several GB); what can't be installed
is named. No times: the calls are what is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import evidence
from fsprobe import pipeline
from fsprobe.model.events import METADATA_OPS, OP_OF_SYSCALL
from fsprobe.report.sentences import headline

CALLS = sorted(name for name, op in OP_OF_SYSCALL.items() if op in METADATA_OPS)
_LINE = re.compile(rb"^\d+ +(?:([a-z]\w*)\(|<\.\.\. (\w+) resumed>)")
_MISSING = re.compile(rb" = -1 (?:ENOENT|ENOTDIR) \(")
_START = re.compile(rb'/encodings/__pycache__/__init__\.[^"/]*\.pyc"')
"""What each interpreter opens once when it starts, and no forked one again."""
TIMEOUT_S = 400

DASK = """
from dask.distributed import Client, LocalCluster
def inc(x): return x + 1
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as c, Client(c) as client:
        print(sum(client.gather(client.map(inc, range(20)))))
"""
RAY = """
import ray
ray.init(num_cpus=2, include_dashboard=False)
@ray.remote
def double(x): return 2 * x
print(sum(ray.get([double.remote(n) for n in range(8)])))
ray.shutdown()
"""
MODEL = """
from transformers import BertConfig, BertModel
config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=100)
print(sum(p.numel() for p in BertModel(config).parameters()))
"""
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": "a",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": "import json; 1 + 1",
        }
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
SNAKEFILE = """
rule all:
    input: expand("out/{n}.txt", n=range(4))
rule one:
    output: "out/{n}.txt"
    shell: "echo {wildcards.n} > {output}"
"""
FILES = {
    "cluster.py": DASK,
    "tasks.py": RAY,
    "model.py": MODEL,
    "book.ipynb": json.dumps(NOTEBOOK),
    "Snakefile": SNAKEFILE,
    "test_sums.py": "import pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_sum(n): assert n + n == 2 * n\n",
    "small.py": "import json, email.message\nprint(json.dumps(1))\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One row: the command, words of it beginning with `@` being programs of the environment."""

    name: str
    command: Sequence[str]
    distributions: Sequence[str]
    environment: str = "main"
    clean: str = ""
    """What is removed before each run."""


PROGRAMS = (
    Program(name="torch", command=["@python", "-c", "import torch"], distributions=["torch"]),
    Program(
        name="tensorflow",
        command=["@python", "-c", "import tensorflow"],
        distributions=["tensorflow-cpu"],
        environment="tensorflow",
    ),
    Program(name="transformers", command=["@python", "model.py"], distributions=["transformers", "torch"]),
    Program(
        name="jupyter nbconvert",
        command=["@jupyter", "nbconvert", "--to", "notebook", "--execute", "--output", "done.ipynb", "book.ipynb"],
        distributions=["nbconvert", "ipykernel"],
    ),
    Program(name="dask", command=["@python", "cluster.py"], distributions=["dask", "distributed"]),
    Program(name="ray", command=["@python", "tasks.py"], distributions=["ray"]),
    Program(
        name="pytest -n 2",
        command=["@python", "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "test_sums.py"],
        distributions=["pytest", "pytest-xdist"],
    ),
    Program(
        name="snakemake",
        command=["@snakemake", "--cores", "1", "--quiet", "all"],
        distributions=["snakemake"],
        clean="out",
    ),
    Program(name="uv run", command=["@uv", "run", "--offline", "--no-project", "small.py"], distributions=["uv"]),
)
REQUIREMENTS = {
    "main": "torch transformers nbconvert ipykernel dask[distributed] ray pytest-xdist snakemake uv pandas scikit-learn".split(),
    "tensorflow": ["tensorflow-cpu"],
}


def make_environments(place: Path) -> dict[str, str]:
    """Make what is not there yet, a package at a time; what failed, by package."""
    failed = {}
    for name, packages in REQUIREMENTS.items():
        home = place / name
        if (home / "bin" / "python").exists():
            continue
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        for package in packages:
            words = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", package]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                failed[package] = done.stderr.strip().splitlines()[-1]
    return failed


def count_independently(log: Path) -> evidence.Json:
    """Count a log of strace by its text alone: calls that began, results that say "not found", interpreters started."""
    names = {name.encode() for name in CALLS}
    n_calls = n_missing = n_python = 0
    with log.open("rb") as lines:
        for line in lines:
            found = _LINE.match(line)
            if found is None or (found.group(1) or found.group(2)) not in names:
                continue
            # a descriptor's own attributes name no path
            n_calls += (found.group(1) is not None) - (b"AT_EMPTY_PATH" in line)
            n_missing += _MISSING.search(line) is not None
            n_python += found.group(1) == b"openat" and _START.search(line) is not None
    return {"n_metadata": n_calls, "n_not_found": n_missing, "n_python": n_python}


def measure(program: Program, place: Path, runs: Path) -> evidence.Json:
    """Run a program three times, and put the counts side by side."""
    home = place / program.environment / "bin"
    words = [str(home / word[1:]) if word.startswith("@") else word for word in program.command]
    variables = {
        **os.environ,
        "PATH": f"{home}:{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HOME": str(runs),
    }
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        variables.pop(name, None)
    recording, log = runs / "run.fsprobe", runs / "plain.log"
    tracer = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=" + ",".join("?" + name for name in CALLS),
        "-e",
        "signal=none",
        "-o",
        str(log),
        "--",
    ]
    start = f"import sys; sys.path.insert(0, {str(evidence.REPOSITORY)!r}); from fsprobe.__main__ import main; sys.exit(main())"
    probe = [sys.executable, "-I", "-c", start, "run", "-q", "--record-only", "-o", str(recording), "--"]
    recording.unlink(missing_ok=True)
    for before in ([], probe, tracer):
        if program.clean:
            shutil.rmtree(runs / program.clean, ignore_errors=True)
        done = subprocess.run(
            [*before, *words],
            cwd=runs,
            env=variables,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            return {"failed": f"exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}"}
    profile = pipeline.analyse(recording)
    return {
        "fsprobe": {
            "n_metadata": profile.metrics.n_metadata,
            "n_not_found": profile.metrics.n_not_found,
            "n_python": profile.manifest.n_python_processes,
        },
        "independent": count_independently(log),
        "n_requests": profile.requests.total.n_metadata if profile.requests else None,
        "headline": headline(profile),
        "verdict": profile.verdict.sentence if profile.verdict else "",
        "findings": [
            {
                "code": f.code,
                "title": f.title,
                "evidence": f.evidence,
                "advice": f.advice,
                "commands": list(f.commands),
                "saves": dict(f.saves),
            }
            for f in profile.findings
        ],
    }


def render(result: evidence.Json) -> str:
    """The Markdown page."""
    lines = ["# Nine real programs", "", evidence.about(result)]
    lines += [
        "Calls and failed lookups: fsprobe's / counted in the text of a plain `strace -f` log of another run of the same program. "
        "Requests: those of a client with a cold cache, predicted. Programs with workers, pools and timers (dask, ray, nbconvert) do "
        "not make the same calls in two runs.",
        "",
        "| program | version | calls | difference | failed lookups | interpreters | requests | first findings |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["programs"]:
        version = ", ".join(f"{name} {number}" for name, number in row["versions"].items())
        if "failed" in row:
            lines.append(f"| {row['name']} | {version} | not measured: {row['failed']} | | | | | |")
            continue
        ours, theirs = row["fsprobe"], row["independent"]
        difference = (ours["n_metadata"] - theirs["n_metadata"]) / theirs["n_metadata"]
        found = ", ".join(
            f["code"] + "".join(f" ({n:,} {what})" for what, n in f["saves"].items()) for f in row["findings"][:3]
        )
        lines.append(
            f"| {row['name']} | {version} | {ours['n_metadata']:,} / {theirs['n_metadata']:,} | {difference:+.2%} | "
            f"{ours['n_not_found']:,} / {theirs['n_not_found']:,} | {ours['n_python']} / {theirs['n_python']} | "
            f"{row['n_requests'] or 0:,} | {found} |"
        )
    for package, why in result["not_installed"].items():
        lines += ["", f"Not installed: {package} ({why})."]
    for row in result["programs"]:
        if "failed" in row:
            continue
        lines += ["", f"## {row['name']}", "", row["headline"], "", row["verdict"]]
        for finding in row["findings"]:
            lines += ["", f"- **{finding['code']}** {finding['evidence']} {finding['advice']}"]
            lines += [f"  `{command}`" for command in finding["commands"]]
    return "\n".join(lines) + "\n"


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
