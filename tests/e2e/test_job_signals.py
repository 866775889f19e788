"""A signal to all processes of a job step, fsprobe and tracer included, as `scancel --signal=USR1` sends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe import pipeline

TARGET = """
import os, signal, time
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
os.kill(0, signal.SIGUSR1)
time.sleep(0.3)
print(len(got), os.path.exists("/"), flush=True)
"""


@pytest.mark.parametrize("variable", ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"])
def test_the_program_gets_it_once_and_can_still_open_files(variable: str, tmp_path: Path) -> None:
    (tmp_path / "target.py").write_text(TARGET)
    words = [sys.executable, "-m", "fsprobe", "run", "-q", "--record-only", "-o", str(tmp_path / "x.fsprobe"), "--"]
    done = subprocess.run(
        [*words, sys.executable, str(tmp_path / "target.py")],
        capture_output=True,
        text=True,
        env={**os.environ, variable: "7"},
        start_new_session=True,  # its own group: the signal goes to fsprobe, tracer and target, not to the tests
        preexec_fn=lambda: signal.signal(signal.SIGUSR1, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout) == (0, "1 True\n"), done.stderr
    manifest = pipeline.analyse(tmp_path / "x.fsprobe")["manifest"]
    assert manifest["backend"] == "ptrace"
    assert "batch job" in manifest["backend_why"]
