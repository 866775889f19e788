"""`fsprobe attach`: the program goes on as if nobody had been there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.capture import attach
from tests.conftest import clean_environment
from tests.e2e.backends.attach.attaching import (
    BUSY,
    COMMAND,
    LIMIT_S,
    ask,
    asked_program,
    assert_untouched,
    rows,
    state_of,
    wait_for,
)

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("scratch_of_the_test")]


def test_twenty_times_at_a_busy_program_of_eight_threads(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    (tmp_path / "busy.py").write_text(BUSY)
    one = start(sys.executable, "-I", str(tmp_path / "busy.py"), str(tmp_path), "120")
    counts = tmp_path / "counts"
    wait_for(lambda: counts.exists() and len(counts.read_text().split()) == 8)
    for number in range(20):
        before = read_counts(counts)
        done = attach.attach(one.pid, 0.15, str(tmp_path / f"{number}.fsprobe"), tmp_dir=str(scratch_of_the_test))
        assert done.warnings == []
        assert_untouched(one.pid)
        # each of the threads goes on
        wait_for(lambda then=before: all(now > n + 2 for now, n in zip(read_counts(counts), then, strict=True)))
        profile = pipeline.analyse(done.path)
        assert rows(profile, "by_path")["/etc/hostname"].n_open > 8
        assert len(profile.manifest.attached["tids"]) == 9
        assert len(profile.metrics.by_process) == 1
    (tmp_path / "stop").write_text("")
    out, _ = one.communicate(timeout=LIMIT_S)
    assert (out, one.returncode) == ("done 8 True\n", 0)


def read_counts(path: Path) -> list[int]:
    return list(map(int, path.read_text().split()))


def test_the_time_is_kept(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = start("/bin/sleep", "30")
    done = attach.attach(one.pid, 0.5, str(tmp_path / "x.fsprobe"), tmp_dir=str(scratch_of_the_test))
    assert 0.5 <= done.wall_s < 5
    assert_untouched(one.pid)


def test_a_stopped_program_stays_stopped(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = asked_program(start, tmp_path)
    one.send_signal(signal.SIGSTOP)
    wait_for(lambda: state_of(one.pid)[0][0] == "T")
    attach.attach(one.pid, 0.3, str(tmp_path / "x.fsprobe"), tmp_dir=str(scratch_of_the_test))
    wait_for(lambda: state_of(one.pid) == [("T", 0)])
    one.send_signal(signal.SIGCONT)
    ask(one, "pass")


def test_a_program_that_ends_meanwhile(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = start(sys.executable, "-I", "-c", "import time, sys; time.sleep(1.5); sys.exit(7)")
    wait_for(lambda: os.path.exists(f"/proc/{one.pid}/exe") and "python" in os.readlink(f"/proc/{one.pid}/exe"))
    done = attach.attach(one.pid, 60, str(tmp_path / "x.fsprobe"), tmp_dir=str(scratch_of_the_test))
    assert done.wall_s < LIMIT_S
    assert any("ended while it was traced, with exit code 7" in line for line in done.warnings)
    assert one.wait() == 7
    assert pipeline.analyse(done.path).manifest.exit_code == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_early_and_the_recording_is_written(
    number: signal.Signals, start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = asked_program(start, tmp_path)
    words = [*COMMAND, str(one.pid), "--for", "60", "-q", "--force", "-o", str(tmp_path / "x.fsprobe")]
    with subprocess.Popen([*words, "--tmp-dir", str(scratch_of_the_test)], env=clean_environment()) as attacher:
        wait_for(lambda: all(tracer for _, tracer in state_of(one.pid)))
        attacher.send_signal(number)
        assert attacher.wait(LIMIT_S) == 0
    assert pipeline.analyse(tmp_path / "x.fsprobe").manifest.attached["for_s"] == 60
    assert_untouched(one.pid)
    ask(one, "pass")


def test_a_killed_fsprobe_lets_go(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = asked_program(start, tmp_path)
    words = [*COMMAND, str(one.pid), "--for", "60", "-q", "--tmp-dir", str(scratch_of_the_test)]
    with subprocess.Popen(words, env=clean_environment()) as attacher:
        wait_for(lambda: all(tracer for _, tracer in state_of(one.pid)))
        attacher.kill()
    wait_for(lambda: not any(tracer for _, tracer in state_of(one.pid)))
    ask(one, "pass")
    assert_untouched(one.pid)
    shutil.rmtree(next(scratch_of_the_test.iterdir()))


@pytest.mark.parametrize("replaces", [False, True])
def test_a_file_that_appears_meanwhile_is_not_replaced_unasked(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path, replaces: bool
) -> None:
    one = start("/bin/sleep", "30")
    path = tmp_path / "x.fsprobe"
    done = attach.attach(
        one.pid,
        0.1,
        str(path),
        tmp_dir=str(scratch_of_the_test),
        replaces=replaces,
        on_start=lambda target, log: path.write_text("theirs") and None,
    )
    assert_untouched(one.pid)
    if replaces:
        assert (done.path, done.losses) == (str(path), [])
    else:
        assert done.losses == [f"{path} appeared meanwhile, and stays: the recording is {tmp_path}/x-2.fsprobe"]
        assert path.read_text() == "theirs"
    assert pipeline.analyse(done.path).manifest.attached is not None
