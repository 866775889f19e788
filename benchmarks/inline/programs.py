"""The programs in which inline and strace are compared: what people start on clusters, and what their environments start."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_S = 400
"""`timeout` ends a program that hangs: it is part of the command, so neither backend is touched."""

LOADER = """\
import torch
from torch.utils.data import DataLoader, Dataset

class Numbers(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, n):
        return torch.tensor(n)

if __name__ == "__main__":
    print(sum(int(batch.sum()) for batch in DataLoader(Numbers(), num_workers=2, multiprocessing_context="spawn")))
"""
RAY = """\
import ray

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
double = ray.remote(lambda n: 2 * n)
print(ray.get(double.remote(21)))
ray.shutdown()
"""
DASK = """\
from dask.distributed import Client, LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        print(client.submit(sum, [20, 22]).result())
"""
TESTS = "import json\n\n\n" + "\n".join(f"def test_{n}():\n    assert json.loads('{n}') == {n}\n\n" for n in range(6))
SPAWN = """\
import multiprocessing

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        print(sum(pool.map(abs, range(8))))
"""
FILES = {"loader.py": LOADER, "cluster.py": RAY, "client.py": DASK, "test_numbers.py": TESTS, "spawn.py": SPAWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program."""

    name: str
    words: Callable[[str, Path], Sequence[str]]
    """(interpreter, directory of `FILES`) -> command line."""
    modules: tuple[str, ...] = ()
    """What the interpreter must have."""
    tool: str = ""
    """What must be on PATH."""

    def is_there(self) -> bool:
        """Whether the machine has its tool."""
        return not self.tool or shutil.which(self.tool) is not None


def code(text: str) -> Callable[[str, Path], Sequence[str]]:
    """A program of one line."""
    return lambda python, place: [python, "-c", text]


def script(name: str) -> Callable[[str, Path], Sequence[str]]:
    """A program of `FILES`."""
    return lambda python, place: [python, str(place / name)]


def shell(text: str) -> Callable[[str, Path], Sequence[str]]:
    """A line for a shell."""
    return lambda python, place: ["sh", "-c", text]


PROGRAMS = (
    Program(name="python -c pass", words=code("pass")),
    Program(name="pandas", words=code("import pandas"), modules=("pandas",)),
    Program(
        name="scikit-learn, scipy, pyplot",
        words=code("import sklearn.ensemble, scipy.stats, matplotlib.pyplot"),
        modules=("sklearn", "scipy", "matplotlib"),
    ),
    Program(name="torch", words=code("import torch; print(torch.ones(3).sum())"), modules=("torch",)),
    Program(name="TensorFlow", words=code("import tensorflow"), modules=("tensorflow",)),
    Program(name="jax", words=code("import jax.numpy as jnp; print(jnp.ones(3).sum())"), modules=("jax",)),
    Program(
        name="transformers",
        words=code("from transformers import AutoModel, AutoTokenizer"),
        modules=("transformers", "torch"),
    ),
    Program(
        name="jupyter --version", words=lambda python, place: [python, "-m", "jupyter", "--version"], modules=("jupyter_core",)
    ),
    Program(name="pool of 4, spawn", words=script("spawn.py")),
    Program(name="DataLoader, 2 workers, spawn", words=script("loader.py"), modules=("torch",)),
    Program(name="ray.init", words=script("cluster.py"), modules=("ray",)),
    Program(name="dask.distributed, 2 workers", words=script("client.py"), modules=("dask", "distributed")),
    Program(
        name="pytest -n 2",
        words=lambda python, place: [python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", str(place)],
        modules=("pytest", "xdist"),
    ),
    Program(
        name="mpiexec -n 2, pandas",
        words=lambda python, place: [
            *("mpiexec", "-n", "2"),
            *(("--allow-run-as-root", "--oversubscribe") if _is_open_mpi() else ()),
            *(python, "-c", "import pandas"),
        ],
        modules=("pandas",),
        tool="mpiexec",
    ),
    Program(name="bash pipeline", words=shell("ls /usr | sort | uniq -c | head -n 3"), tool="bash"),
    Program(name="gcc", words=shell("echo 'int main(void){return 0;}' | gcc -x c -o /dev/null -"), tool="gcc"),
    Program(name="git log", words=shell("git -C / log -1; git --version"), tool="git"),
    Program(name="perl", words=shell("perl -MFile::Find -e 'find(sub {}, \"/etc\")'"), tool="perl"),
    Program(name="tar, find", words=shell("tar cf - /etc 2>/dev/null | wc -c; find /usr/share -name '*.txt' | wc -l"), tool="tar"),
    Program(name="node", words=lambda python, place: ["node", "-e", "require('fs').readdirSync('/')"], tool="node"),
    Program(name="apt-cache policy", words=shell("apt-cache policy bash"), tool="apt-cache"),
)  # fmt: skip


def _is_open_mpi() -> bool:
    import subprocess

    done = subprocess.run(["mpiexec", "--version"], capture_output=True, text=True)
    return "Open MPI" in done.stdout + done.stderr or "OpenRTE" in done.stdout + done.stderr
