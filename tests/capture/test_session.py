"""The session and the log while it grows: bounds, endings, signals that the target has already, failing starts."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fsprobe.capture.backends import text_log
from fsprobe.capture.backends.protocol import Run
from fsprobe.capture.backends.tracing import Tracer
from fsprobe.capture.process import signals
from fsprobe.capture.process.start import Launch, start
from fsprobe.capture.process.wait import Outcome, is_running, wait
from fsprobe.errors import FsprobeError


def line(pid: int, text: str, when: float | None = None) -> bytes:
    return b"%d %.6f (+0.000010000) %s\n" % (pid, time.time() if when is None else when, text.encode())


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script, "sh"]


def fake_tracer(log: Path, script: str = "") -> list[str]:
    """A program in place of a tracer: logs as one would of its own process, runs `script`, and logs its end."""
    start = f"echo \"$$ 1.0 (+0.0) execve('x') = 0\" > {log}"
    return sh(f'{start}; {script}; status=$?; echo "$$ 1.0 (+0.0) +++ exited with $status +++" >> {log}; exit $status')


class Ran(NamedTuple):
    """How a run of a stand-in ended."""

    outcome: Outcome
    tracer: Tracer
    pid: int


def ran(
    scratch: Path, command: list[str], wait_descendants_s: float = 1.0, on_tick: Callable[[], None] | None = None
) -> Ran:
    """Run `command` in place of a tracer."""
    tracer = Tracer()
    tracer.settle(str(scratch), str(scratch))
    asked = Run(command, os.environ)
    asked.max_log_bytes = 1 << 30
    with signals.SignalsHeld() as held:
        launch = tracer.prepare(asked, Launch(command, os.environ))
        launch.words = command
        process = start(launch, held)
        outcome = wait(process, [tracer], held, wait_descendants_s, on_tick)
        tracer.finish(process, outcome)
    outcome.log_truncated = outcome.log_truncated or tracer.truncated
    return Ran(outcome, tracer, process.pid)


def run(scratch: Path, command: list[str], **how: Any) -> Outcome:
    return ran(scratch, command, **how).outcome


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("exited with 7", 7),
        ("exited with 0", 0),
        ("killed by SIGKILL", -9),
        ("killed by SIGSEGV (core dumped)", -11),
        ("killed by SIGRT_2", -34),
    ],
)
def test_how_a_process_ended(log: Path, ending: str, status: int) -> None:
    log.write_bytes(line(5, "x()") + line(55, "+++ exited with 3 +++") + line(5, f"+++ {ending} +++") + line(6, "y()"))
    assert text_log.exit_status(str(log), 5) == status
    assert text_log.first_pid(str(log)) == 5


def test_a_log_that_does_not_say(tmp_path: Path, log: Path) -> None:
    assert text_log.exit_status(str(log), 5) == 0
    assert text_log.first_pid(str(log)) == 0
    log.write_bytes(line(5, 'write(1, "+++ exited with 9 +++")')[:-1])
    assert text_log.exit_status(str(log), 6) == 0
    log.write_bytes(b"")
    assert text_log.first_pid(str(log)) == 0


@pytest.mark.parametrize("text", ["strace: something", "12", "-5 x", "x 12"])
def test_a_first_line_that_is_none(log: Path, text: str) -> None:
    log.write_text(text)
    assert text_log.first_pid(str(log)) == 0


def test_exit_line_across_blocks(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_log, "BLOCK_BYTES", 7)
    log.write_bytes(line(5, "x()") * 3 + line(5, "+++ exited with 12 +++"))
    assert text_log.exit_status(str(log), 5) == 12


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('execve("/x", ["x"], 0x7 /* 9 vars */) = 0 <0.0001>', ""),
        ('execve("/x", ["x"], 0x7 /* 9 vars */) = -1 ENOEXEC (Exec format error) <0.0001>', "ENOEXEC"),
        ('execve("/x", ["a) = -1 ENOENT (no"], 0x7 /* 9 vars */) = 0 <0.0001>', ""),
    ],
)
def test_an_execve_that_failed(log: Path, text: str, name: str) -> None:
    log.write_bytes(line(5, text) + line(5, 'execve("/y", [], 0) = -1 EACCES (Permission denied)'))
    assert text_log.exec_error(str(log)) == name


# -- the bound --------------------------------------------------------------------------------------------------


class Writer:
    """Writes as a tracer does: at an offset of its own, which does not move when the file is cut."""

    def __init__(self, log: Path) -> None:
        self.file = open(log, "wb", buffering=0)
        self.n = 0

    def lines(self, n: int) -> None:
        for _ in range(n):
            self.n += 1
            self.file.write(line(5, f"call({self.n})"))


def test_what_was_logged_before_the_bound_is_kept_to_the_byte(tmp_path: Path, log: Path) -> None:
    writer = Writer(log)
    writer.lines(100)
    writer.file.write(b"5 half a line")
    whole = log.read_bytes()
    bound = text_log.Bound(str(log), str(tmp_path), 1000, 0)
    bound.check(5)
    assert bound.why == "the log reached --max-log"
    for _ in range(3):
        writer.file.write(b" and its rest\n")
        writer.lines(50)
        bound.check(5)
        assert b"".join(text_log.blocks(str(log))) == whole[: -len(b"5 half a line")]
    # fsprobe is killed now, the tracer goes on: behind a hole
    writer.lines(10)
    assert text_log.has_hole(str(log))
    assert b"".join(text_log.blocks(str(log))) == whole[: -len(b"5 half a line")]
    bound.finish(5, True)
    assert not text_log.has_hole(str(log))
    assert log.read_bytes() == whole[: -len(b"5 half a line")]


@pytest.mark.parametrize("block_bytes", [7, 1 << 20])
@pytest.mark.parametrize("n_before", [0, 20])
def test_the_ending_is_found_in_what_is_cut_off(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, n_before: int, block_bytes: int
) -> None:
    monkeypatch.setattr(text_log, "BLOCK_BYTES", block_bytes)
    writer = Writer(log)
    writer.lines(100)
    bound = text_log.Bound(str(log), str(tmp_path), 1000, 0)
    bound.check(5)
    writer.lines(20)
    bound.check(5)
    writer.lines(n_before)
    writer.file.write(line(5, "+++ exited with 9 +++") + line(6, "+++ exited with 1 +++"))
    bound.check(5)
    writer.lines(20)
    bound.check(5)
    assert bound.ending == 9


def test_a_filesystem_that_runs_full(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(log)
    writer.lines(10)
    free = [100]
    monkeypatch.setattr(text_log.scratch_dir, "free_bytes", lambda place: free[0])
    bound = text_log.Bound(str(log), str(tmp_path), 1 << 30, 50)
    bound.check(5)
    assert bound.why == ""
    free[0] = 49
    bound.check(5)
    assert "nearly full" in bound.why
    free[0] = 1000  # it does not start again: a log with a gap would count wrong
    writer.lines(10)
    bound.check(5)
    assert len(list(text_log.blocks(str(log)))[0].splitlines()) == 10


def test_a_log_without_its_end_is_called_incomplete(tmp_path: Path, log: Path) -> None:
    log.write_bytes(line(5, "x()") + line(5, "+++ exited with 0 +++"))
    bound = text_log.Bound(str(log), str(tmp_path), 1 << 30, 0)
    bound.finish(5, True)
    assert bound.why == ""
    log.write_bytes(line(5, "x()") + b"5 1.0 newfst")
    bound.finish(5, False)
    assert bound.why == ""
    bound.finish(5, True)
    assert "could not write" in bound.why


# -- signals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pid", "number", "sender", "age_s", "seen"),
    [
        (5, signal.SIGTERM, 77, 0.0, True),
        (6, signal.SIGTERM, 77, 0.0, False),
        (5, signal.SIGINT, 77, 0.0, False),
        (5, signal.SIGTERM, 7, 0.0, False),
        (5, signal.SIGTERM, 77, 5.0, False),
    ],
)
def test_a_signal_that_the_target_got_itself(
    log: Path, pid: int, number: int, sender: int, age_s: float, seen: bool
) -> None:
    text = "--- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=77, si_uid=0} ---"
    log.write_bytes(line(5, "x()") + line(5, text, time.time() - age_s))
    assert text_log.SignalsSeen(str(log)).has(pid, number, sender) is seen


def test_each_such_line_counts_once(log: Path) -> None:
    text = "--- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=77, si_uid=0} ---"
    log.write_bytes(line(5, text))
    seen = text_log.SignalsSeen(str(log))
    assert seen.has(5, signal.SIGTERM, 77)
    assert not seen.has(5, signal.SIGTERM, 77)


def test_signals_are_held_and_given_back() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    handler = signal.getsignal(signal.SIGCHLD)
    with signals.SignalsHeld():
        signal.raise_signal(signal.SIGTERM)  # to this thread: a worker of pytest-xdist has others, which hold nothing
        signal.raise_signal(signal.SIGUSR1)
        assert signal.SIGTERM in signal.sigpending()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert signal.getsignal(signal.SIGCHLD) == handler


# -- a whole run ------------------------------------------------------------------------------------------------


def test_outcome_of_a_run(tmp_path: Path, log: Path) -> None:
    outcome, tracer, pid = ran(tmp_path, fake_tracer(log, "(exit 7)"))
    assert (outcome.exit_status, outcome.log_truncated, outcome.descendants_left) == (7, "", False)
    tracer.raise_if_not_run(Run(["x"], {}), outcome)
    assert outcome.target_pid == pid


def test_death_by_signal(tmp_path: Path, log: Path) -> None:
    assert run(tmp_path, fake_tracer(log, "kill -9 $$")).exit_status == -9


def test_a_tracer_that_logs_nothing(tmp_path: Path) -> None:
    outcome, tracer, _ = ran(tmp_path, sh("exit 1"))
    assert outcome.exit_status == 1
    with pytest.raises(FsprobeError, match="could not trace x"):
        tracer.raise_if_not_run(Run(["x"], {}), outcome)


def test_a_tracer_that_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(FsprobeError, match="No such file") as caught:
        run(tmp_path, ["/no/such/tracer"])
    assert caught.value.exit_code == 126
    with pytest.raises(FsprobeError, match="Argument list too long"):
        run(tmp_path, ["/bin/true", "x" * 300000])


def test_no_more_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    n_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FsprobeError, match="temporarily unavailable") as caught:
        run(tmp_path, sh("exit 0"))
    assert caught.value.hint
    assert len(os.listdir("/proc/self/fd")) == n_before


def test_children_that_are_ignored_can_be_waited_for(tmp_path: Path, log: Path) -> None:
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run(tmp_path, fake_tracer(log, "(exit 3)")).exit_status == 3
        assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGCHLD, old)


@pytest.mark.parametrize("error", [OSError(5, "gone"), ValueError("closed")])
@pytest.mark.alone
def test_a_live_line_that_fails_is_left_alone(tmp_path: Path, log: Path, error: Exception) -> None:
    n_ticks = []

    def tick() -> None:
        n_ticks.append(1)
        raise error

    outcome = run(tmp_path, fake_tracer(log, "sleep 0.5; (exit 3)"), on_tick=tick)
    assert (outcome.exit_status, len(n_ticks)) == (3, 1)


@pytest.mark.alone
def test_descendants_are_waited_for_no_longer_than_told(tmp_path: Path, log: Path) -> None:
    # the tracer stays while the process that the log calls the target has gone
    script = f'(exit 0) & echo "$! 1.0 (+0.0) execve(\'x\') = 0" > {log}; echo "$! 1.0 (+0.0) +++ exited with 4 +++" >> {log}; wait; sleep 1.5'
    outcome, tracer, pid = ran(tmp_path, sh(script), wait_descendants_s=0.2)
    assert outcome.descendants_left
    assert outcome.exit_status == 4
    assert tracer.leave()
    os.waitpid(pid, 0)


@pytest.mark.alone
def test_a_tracer_that_is_killed_is_told_from_the_command(tmp_path: Path, log: Path) -> None:
    script = f"sleep 1 & echo \"$! 1.0 (+0.0) execve('x') = 0\" > {log}; sleep 0.3; kill -USR1 $$"
    begin = time.monotonic()
    outcome = run(tmp_path, sh(script))
    assert outcome.exit_status == -signal.SIGUSR1
    assert "killed the tracer" in outcome.log_truncated
    assert not is_running(outcome.target_pid)
    assert time.monotonic() - begin > 0.5
    assert log.read_bytes().startswith(b"%d " % outcome.target_pid)


def test_who_runs() -> None:
    assert is_running(os.getpid())
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(pid)
    os.waitpid(pid, 0)
    assert not is_running(pid)


def test_forwarded_signals_are_those_that_somebody_may_send() -> None:
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGXCPU, signal.SIGRTMIN} <= set(
        signals.FORWARDED
    )
    assert not {signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGCHLD, signal.SIGTSTP, signal.SIGPIPE} & set(
        signals.FORWARDED
    )
    assert sys.platform == "linux"


class Info(NamedTuple):
    """What stands for a siginfo."""

    si_signo: int
    si_pid: int = 7


@pytest.mark.alone
def test_what_no_signal_is_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [signal.SIGTERM, signal.SIGCHLD]
    given: list[tuple[float, Info | None]] = [
        (0.0, Info(signal.SIGTERM)),
        (0.02, Info(-1694905280)),  # the time is over, and what lies on the stack is nothing ...
        (0.02, Info(signal.SIGTERM)),  # ... or the last signal once more
        (0.0, Info(signal.SIGTERM)),  # in time: somebody sent it again
        (0.02, Info(signal.SIGTERM, 8)),  # another sender, in the last moment
        (0.02, None),
    ]

    def wait(_: object, __: float) -> Info | None:
        took, found = given.pop(0)
        time.sleep(took)
        return found

    monkeypatch.setattr(signals, "_taken", None)
    monkeypatch.setattr(signals.signal, "sigtimedwait", wait)
    found = [signals.take_signal(wanted, 0.01) for _ in range(6)]
    assert found == [Info(signal.SIGTERM), None, None, Info(signal.SIGTERM), Info(signal.SIGTERM, 8), None]
