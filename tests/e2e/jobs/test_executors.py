"""Who reads a job's recordings makes no difference: MPI's and Dask's workers give what local processes give."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsprobe.errors import EXIT_MACHINE, EXIT_USAGE
from tests.conftest import FSPROBE, ROOT, clean_environment, need, run_plain
from tests.job_recordings import copies, merge, run_rank


@pytest.fixture(scope="module")
def ranks_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("job")
    assert run_rank(place / "one", 0, [sys.executable, "-c", "import json, csv"], size=1, per_node=1).status == 0
    (file,) = (place / "one").glob("*.fsprobe")
    copies(file, place / "ranks", size=24, per_node=4)
    assert merge(str(place / "ranks"), "-o", str(place / "local.fsprobe")).status == 0
    return place


@pytest.mark.parametrize("launcher", ["mpirun.mpich", "mpirun.openmpi"])
def test_mpi(ranks_place: Path, launcher: str) -> None:
    need(importlib.util.find_spec("mpi4py"), "no mpi4py in this environment")
    need(shutil.which(launcher), f"no {launcher} here (apt: mpich openmpi-bin)")
    options = ["-n", "3"]
    if launcher.endswith("openmpi"):
        options += ["--oversubscribe", *(["--allow-run-as-root"] if os.getuid() == 0 else [])]
    output = ranks_place / f"{launcher}.fsprobe"
    words = [launcher, *options, sys.executable, "-m", "mpi4py.futures", "-m", "fsprobe", "merge"]
    done = run_plain(
        [*words, str(ranks_place / "ranks"), "--executor", "mpi", "-o", str(output)],
        env=clean_environment(PYTHONPATH=str(ROOT)),
    )
    assert done.status == 0, done.err
    assert output.read_bytes() == (ranks_place / "local.fsprobe").read_bytes()


def test_dask(ranks_place: Path, tmp_path: Path) -> None:
    need(importlib.util.find_spec("distributed"), "no distributed in this environment")
    environment = clean_environment(PYTHONPATH=str(ROOT))
    file = tmp_path / "scheduler.json"
    started = []
    try:
        for words in (["scheduler", "--port", "0", "--no-dashboard"], ["worker", "--no-dashboard", "--nworkers", "2"]):
            program = [sys.executable, "-m", "dask", *words, "--scheduler-file", str(file)]
            log = open(tmp_path / f"{words[0]}.log", "wb")
            started.append(subprocess.Popen(program, env=environment, cwd=tmp_path, stdout=log, stderr=log))
            end = time.monotonic() + 30
            while not file.exists() and time.monotonic() < end:
                time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        output = ranks_place / "dask.fsprobe"
        end = time.monotonic() + 30
        while True:
            done = run_plain(
                [*FSPROBE, "merge", str(ranks_place / "ranks"), "--executor", f"dask={address}", "-o", str(output)],
                env=environment,
            )
            if b"no workers" not in done.err or time.monotonic() > end:
                break
        assert done.status == 0, done.err
        assert output.read_bytes() == (ranks_place / "local.fsprobe").read_bytes()
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=30)


@pytest.mark.parametrize(
    ("name", "status", "hint"),
    [
        ("mpi", EXIT_MACHINE, b"mpi"),
        ("dask=tcp://127.0.0.1:1", EXIT_MACHINE, b"dask"),
        ("cloud", EXIT_USAGE, b"local=N"),
        ("dask", EXIT_USAGE, b"dask=ADDRESS"),
        ("local=x", EXIT_USAGE, b"local=N"),
    ],
)
def test_what_is_not_there_is_said(ranks_place: Path, name: str, status: int, hint: bytes) -> None:
    done = merge(str(ranks_place / "ranks"), "--executor", name)
    assert done.status == status, done.err
    assert hint in done.err.partition(b"hint:")[2]
