"""A FUSE server among the command's processes: nothing waits for ever, and what was done is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe.capture.backends import stalls
from fsprobe.recording.file import Recording
from tests.conftest import ROOT, need

SERVING = Path(__file__).with_name("serving.py")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    need(os.geteuid() == 0 and os.path.exists("/dev/fuse"), "mounting without fusermount needs root and /dev/fuse")
    place = tmp_path / "served"
    place.touch()
    return place


def run(place: Path, backend: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fsprobe", "run", "--record-only", "--backend", backend, "-o", f"{place}.fsprobe"]
    command += ["--", sys.executable, str(SERVING), str(place), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize("words", [(), ("given",)], ids=["opened", "received"])
@pytest.mark.parametrize("backend", ["ptrace", "audit", "inline"])
def test_the_program_runs_as_alone(place: Path, backend: str, words: tuple[str, ...]) -> None:
    done = run(place, backend, *words)
    assert (done.returncode, done.stdout) == (0, "ENOENT\n"), done.stderr
    assert ("had /dev/fuse open" in done.stderr) == (backend == "ptrace")


def test_strace_is_not_left_waiting(place: Path) -> None:
    done = run(place, "strace")
    assert done.stdout in ("EFAULT\n", "ENOTCONN\n"), done.stderr
    assert "waited for python" in done.stderr
    assert "the connection was aborted" in done.stderr
    assert "waited for python" in str(Recording(f"{place}.fsprobe").manifest["log_truncated"])
    assert not [one for one in stalls.fuse_mounts("/proc/self/mountinfo") if one[1] == str(place)]
