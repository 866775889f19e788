"""A signal to all processes of a job step, fsprobe and tracer included, as `scancel --signal=USR1` sends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.model.manifest import Manifest
from tests.conftest import need

TARGET = """
import os, signal, sys, time
got = []
number = int(sys.argv[1])
signal.signal(number, lambda *_: got.append(1))
os.kill(0, number)
time.sleep(0.3)
print(len(got), os.path.exists("/"), flush=True)
"""


def record(tmp_path: Path, number: int, environment: Mapping[str, str], *options: str) -> Manifest:
    """Record a program that signals its whole group; requires that it got the signal once and could still open files."""
    (tmp_path / "target.py").write_text(TARGET)
    words = [
        sys.executable,
        "-m",
        "fsprobe",
        "run",
        "-q",
        "--record-only",
        "--force",
        "-o",
        str(tmp_path / "x.fsprobe"),
        *options,
    ]
    done = subprocess.run(
        [*words, "--", sys.executable, str(tmp_path / "target.py"), str(number)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,  # its own group: the signal goes to fsprobe, tracer and target, not to the tests
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 True\n", "")
    return pipeline.analyse(tmp_path / "x.fsprobe").manifest


@pytest.mark.parametrize("variable", ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"])
def test_the_program_gets_it_once_and_can_still_open_files(variable: str, tmp_path: Path) -> None:
    manifest = record(tmp_path, signal.SIGUSR1, {variable: "7"})
    assert manifest.backend == "ptrace"
    assert "batch job" in manifest.backend_why


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU", "SIGPROF", "SIGIO", "SIGRTMIN"])
def test_strace_outlives_a_signal_to_its_group(name: str, tmp_path: Path, strace_program: str) -> None:
    need(os.uname().machine == "x86_64", "strace is shielded from signals on x86_64 only")
    manifest = record(tmp_path, int(getattr(signal, name)), {}, "--backend=strace")
    assert manifest.log_truncated == ""
