"""Interrupted or killed at any moment: the runs are in the file, no mount, process, copy or image is left."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from fsprobe.recording.file import Recording
from tests.e2e.layouts.compare.comparing import wait_until
from tests.layouts.environments import fsprobe, fsprobe_argv, fsprobe_environment, left_behind, need

SLOW = "import time, pears; time.sleep(0.15)"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["copying or packing", "traced", "timed"])
def test_interrupted_at_any_moment(env: Path, tmp_path: Path, signum: signal.Signals, when: str) -> None:
    need("strace", "mksquashfs", root=True)
    file, output = tmp_path / "c.fsprobe", tmp_path / "c.fsprobe.output"
    (tmp_path / "flash").mkdir()
    words = ["compare", "--env", str(env), "--flash", f"{tmp_path}/flash", "--squashfs", "--runs", "20"]
    with subprocess.Popen(
        fsprobe_argv(*words, "-o", str(file), "--", "python", "-c", SLOW),
        env=fsprobe_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        start_new_session=True,
        # under nohup SIGHUP is ignored, and compare rightly lets it be
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    ) as process:
        if when == "copying or packing":
            wait_until(lambda: list((tmp_path / "flash").iterdir()))
        elif when == "traced":
            wait_until(lambda: list(output.glob("flash-traced.out")))
        else:
            wait_until(lambda: len(list(output.glob("*-warm.out"))) >= 5)
        if signum == signal.SIGINT:
            os.killpg(process.pid, signum)  # as a terminal does
        else:
            process.send_signal(signum)
        assert process.wait(30) == 128 + signum
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert list((tmp_path / "flash").iterdir()) == []
    assert list(tmp_path.glob("venv-fsprobe-*")) == []
    if when == "copying or packing":
        assert not file.exists()
        return
    comparison = Recording(str(file)).manifest
    assert comparison["interrupted"] == signum.name
    assert len(comparison["order"]) >= (3 if when == "timed" else 0)
    n_runs = sum(len(row["wall_s"]["runs"]) for row in comparison["rows"] if row["wall_s"])
    assert n_runs == len(comparison["order"])
    assert fsprobe("report", str(file)).returncode == 0


def scratch_directories() -> set[str]:
    """Where recorders keep their logs."""
    return {str(path) for path in Path("/dev/shm").glob("fsprobe-*")}


def name_of_ours(directory: str, tmp_path: Path) -> bool:
    """Is this the scratch of a recorder that this test started? Other tests may run meanwhile."""
    try:
        return str(tmp_path) in Path(directory, "state.json").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("when", ["the first run", "copying or packing", "tracing", "timed"])
def test_killed_with_its_runs_in_the_file(env: Path, tmp_path: Path, when: str) -> None:
    """kill -9 leaves no mount, no process, no lost run, and no copy or image either: somebody else takes them away."""
    need("strace", "mksquashfs", root=True)
    flash, scratch = tmp_path / "flash", tmp_path / "scratch"
    flash.mkdir()
    scratch.mkdir()
    file = tmp_path / "c.fsprobe"
    words = ["compare", "--env", str(env), "--flash", str(flash), "--squashfs", "--runs", "20", "-o", str(file)]
    output = tmp_path / "c.fsprobe.output"
    reached = {
        "the first run": lambda: [path for path in output.glob("plain-first.out") if path.read_bytes()],
        "copying or packing": lambda: list(flash.iterdir()),
        "tracing": lambda: [path for path in output.glob("plain-traced.out") if path.read_bytes()],
        "timed": lambda: len(list(output.glob("*-warm.out"))) >= 5,
    }[when]
    # one that would go on for long, were it not ended
    last = {"the first run": 1, "tracing": 2}.get(when, 99)
    code = (
        f"import os, time; n = len(os.listdir('{output}')) // 2; print(n, flush=True); time.sleep(60 * (n == {last}))"
    )
    before = scratch_directories()
    with subprocess.Popen(
        fsprobe_argv(*words, "--", "python", "-c", code),
        env=fsprobe_environment(TMPDIR=str(scratch)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    ) as process:
        wait_until(reached)
        process.kill()
    if when == "timed":
        assert len(Recording(str(file)).manifest["order"]) >= 3
    wait_until(lambda: not left_behind(str(tmp_path)))
    wait_until(lambda: not [*flash.iterdir(), *scratch.iterdir(), *tmp_path.glob("venv-fsprobe-*")])
    wait_until(lambda: not [name for name in scratch_directories() - before if name_of_ours(name, tmp_path)])
