"""The programs, what they need, and the environments that they run in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
