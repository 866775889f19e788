"""The supervisor: exit codes, signals, and nothing left, with nothing mounted at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsprobe.errors import FsprobeError
from fsprobe.layouts.mount.supervision import NotReady, Ready, run_supervised
from tests.layouts.environments import REPOSITORY, clean_environment, left_behind


def plainly() -> Ready:
    return Ready(told={"mount_how": "none", "fstype": "none"})


def run(*argv: str) -> int:
    return run_supervised(plainly, argv).status


def test_exit_codes_and_signals_pass() -> None:
    assert run("true") == 0
    assert run("sh", "-c", "exit 7") == 7
    assert run("sh", "-c", "kill -SEGV $$") == -signal.SIGSEGV
    assert run("sh", "-c", "exit 137") == 137


def test_what_cannot_start(tmp_path: Path) -> None:
    for argv, code in (
        (["/nowhere/x"], 127),
        (["no-such-command-anywhere"], 127),
        ([str(tmp_path)], 126),
        (["/etc/passwd"], 126),
    ):
        with pytest.raises(FsprobeError) as caught:
            run(*argv)
        assert caught.value.exit_code == code


def test_the_path_is_searched_as_a_shell_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shut").write_text("a file where a directory should be")
    program = tmp_path / "there"
    program.write_text("#!/bin/sh\nexit 5\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/shut:{tmp_path}:/usr/bin:/bin")
    for words, code in ((["there"], 126), (["nonesuch"], 127)):
        with pytest.raises(FsprobeError) as caught:
            run_supervised(plainly, words)
        assert caught.value.exit_code == code
    program.chmod(0o755)
    assert run_supervised(plainly, ["there"]).status == 5


def test_a_reason_comes_back() -> None:
    def prepare() -> Ready:
        raise NotReady("no such luck")

    with pytest.raises(NotReady, match="no such luck"):
        run_supervised(prepare, ["true"])

    def fail() -> Ready:
        raise PermissionError(1, "mount: Operation not permitted")

    with pytest.raises(NotReady, match="not permitted"):
        run_supervised(fail, ["true"])


def test_undo_runs_after_the_command(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def prepare() -> Ready:
        log.write_text("prepared ")
        return Ready(told={}, undo=lambda: log.write_text(log.read_text() + "undone"))  # type: ignore[arg-type, return-value]

    run_supervised(prepare, ["sh", "-c", f"printf 'ran ' >> {log}"])
    assert log.read_text() == "prepared ran undone"


def test_what_is_left_running_is_ended_and_counted() -> None:
    word = f"31.{os.getpid()}"
    ended = run_supervised(plainly, ["sh", "-c", f"setsid sleep {word} & sleep {word} & exit 3"])
    assert ended.status == 3
    assert ended.n_left == 2
    assert left_behind(f"sleep {word}") == []


def test_a_stubborn_one_is_killed() -> None:
    word = f"32.{os.getpid()}"
    ended = run_supervised(plainly, ["sh", "-c", f"(trap '' TERM; setsid sleep {word}) & sleep 0.2"])
    assert ended.n_left >= 1
    assert left_behind(f"sleep {word}") == []


def test_helpers_that_end_by_themselves_are_not_counted() -> None:
    assert run_supervised(plainly, ["sh", "-c", "sleep 0.1 & exit 0"]).n_left == 0


def test_the_caller_keeps_its_own_children_and_mask() -> None:
    mine = subprocess.Popen(["sleep", "30"])
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    run("sh", "-c", "sleep 30 & exit 0")
    assert mine.poll() is None
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    mine.kill()
    mine.wait()


def test_the_command_starts_with_clean_signals() -> None:
    code = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()) or 'none')"
    done = subprocess.run(program(sys.executable, "-c", code), env=environment(), capture_output=True, text=True)
    assert done.stdout.strip() == "none"
    status = subprocess.run(program("grep", "SigIgn", "/proc/self/status"), env=environment(), capture_output=True)
    bare = subprocess.run(["grep", "SigIgn", "/proc/self/status"], capture_output=True)
    assert status.stdout == bare.stdout


PROGRAM = """
import sys
from fsprobe.layouts.mount.supervision import Ready, end_like, run_supervised
end_like(run_supervised(lambda: Ready(told={}), sys.argv[1:]).status)
"""


def program(*argv: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, *argv]


def environment() -> dict[str, str]:
    return clean_environment(PYTHONPATH=str(REPOSITORY))


def wait_for_line(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGRTMIN + 2])
def test_a_signal_reaches_the_command(number: int) -> None:
    code = (
        "import signal, sys, time\nsignal.signal(int(sys.argv[1]), lambda n, f: sys.exit(50))\n"
        "print('ready', flush=True)\ntime.sleep(30)"
    )
    process = subprocess.Popen(
        program(sys.executable, "-c", code, str(int(number))), env=environment(), stdout=subprocess.PIPE
    )
    wait_for_line(process)
    process.send_signal(number)
    assert process.wait(20) == 50


def test_dies_of_the_signal_that_killed_the_command() -> None:
    process = subprocess.Popen(
        program("sh", "-c", "echo ready; exec sleep 30"), env=environment(), stdout=subprocess.PIPE
    )
    wait_for_line(process)
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM


@pytest.mark.parametrize("victim", ["caller", "supervisor"])
def test_kill_9_leaves_nothing(victim: str) -> None:
    word = f"33.{os.getpid()}{victim == 'caller'}".replace("True", "1").replace("False", "2")
    script = f"setsid sleep {word} & sleep {word} & echo ready; sleep {word}"
    process = subprocess.Popen(program("sh", "-c", script), env=environment(), stdout=subprocess.PIPE)
    wait_for_line(process)
    target = process.pid
    if victim == "supervisor":
        target = int(Path(f"/proc/{target}/task/{target}/children").read_text().split()[0])
    os.kill(target, signal.SIGKILL)
    process.wait(20)
    deadline = time.monotonic() + 15
    while left_behind(f"sleep {word}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_behind(f"sleep {word}") == []
    if victim == "supervisor":
        assert process.returncode == 1  # an error, not a success
