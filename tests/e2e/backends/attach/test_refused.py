"""`fsprobe attach`: what it refuses, with the reason and a hint."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe.capture import attach
from fsprobe.capture.backends.strace import attaching
from fsprobe.capture.backends.tracing import COMPLAINTS
from fsprobe.capture.machine.running import Target
from fsprobe.errors import BadInput, FsprobeError, MachineCannot
from tests.conftest import need
from tests.e2e.backends.attach.attaching import COMMAND, assert_untouched, state_of, wait_for

pytestmark = pytest.mark.usefixtures("scratch_of_the_test")


def test_no_such_process() -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    with pytest.raises(BadInput, match=f"there is no process {gone.pid}"):
        attach.attach(gone.pid, 1)


def test_a_process_that_has_ended_but_was_not_waited_for() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    try:
        wait_for(lambda: state_of(pid)[0][0] == "Z")
        with pytest.raises(BadInput, match="has ended already"):
            attach.attach(pid, 1)
    finally:
        os.waitpid(pid, 0)


def test_itself() -> None:
    with pytest.raises(BadInput, match="fsprobe itself"):
        attach.attach(os.getpid(), 1)


def test_a_process_that_is_traced_already(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = start("/bin/sleep", "30")
    other = start("strace", "-q", "-o", os.devnull, "-p", str(one.pid))
    wait_for(lambda: state_of(one.pid)[0][1] == other.pid)
    with pytest.raises(MachineCannot, match=rf"traced already, by process {other.pid} \(strace\)"):
        attach.attach(one.pid, 1, tmp_dir=str(scratch_of_the_test))
    assert state_of(one.pid)[0][1] == other.pid
    other.send_signal(signal.SIGINT)
    other.wait()


@pytest.mark.needs_root
def test_a_process_of_somebody_else(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    need(os.getuid() == 0, "only root can become somebody else")
    one = start("/bin/sleep", "30")

    def refused() -> str:
        try:
            attach.attach(one.pid, 1, f"/tmp/{tmp_path.name}.fsprobe")  # where that user can write
        except FsprobeError as error:
            return f"{error.exit_code} {error.message} / {error.hint}"
        return "nothing was refused"

    said = as_user(65534, refused)
    assert (
        said == f"4 process {one.pid} belongs to user id 0, you are 65534 / only root may trace the programs of others"
    )
    assert_untouched(one.pid)


def as_user(uid: int, act: Callable[[], str]) -> str:
    """Run something in a child of another user and give what it says."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        with open(ours, "rb") as source:
            said = source.read().decode()
        os.waitpid(pid, 0)
        return said
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        os.write(theirs, act().encode())
    except BaseException as error:
        os.write(theirs, repr(error).encode())
    finally:
        os._exit(0)


@pytest.mark.parametrize(("scope", "said"), [(1, "only what it started itself"), (3, "switched off on this machine")])
def test_yama(scope: int, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel's words, where it has Yama; here its setting and strace's complaint are made up."""
    (tmp_path / COMPLAINTS).write_text("strace: attach: ptrace(PTRACE_SEIZE, 7): Operation not permitted\n")
    monkeypatch.setattr(attaching, "_read_number", lambda path: scope)
    monkeypatch.setattr(attaching.os, "getuid", lambda: os.geteuid() or 1000)
    monkeypatch.setattr(
        attaching, "status_of", lambda pid: {"Uid": f"{os.geteuid() or 1000} 0 0 0", "State": "S (sleeping)"}
    )
    error = attaching.refusal(Target(7, [7], ["x"], "/x"), str(tmp_path))
    assert isinstance(error, MachineCannot)
    assert said in error.message
    assert error.hint


def test_without_strace(
    start: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = start("/bin/sleep", "30")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineCannot, match="needs strace"):
        attach.attach(one.pid, 1)


def test_usage_errors_and_the_report(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    for words in (["abc"], ["0"], ["1", "--for", "0"], []):
        assert subprocess.run([*COMMAND, *words], capture_output=True, check=False).returncode == 2
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    done = subprocess.run([*COMMAND, str(gone.pid)], capture_output=True, check=False)
    assert (done.returncode, b"there is no process" in done.stderr, b"Traceback" in done.stderr) == (3, True, False)
    one = start("/bin/sleep", "30")
    words = [
        str(one.pid),
        "--for",
        "0.3",
        "--force",
        "-o",
        str(tmp_path / "x.fsprobe"),
        "--tmp-dir",
        str(scratch_of_the_test),
    ]
    done = subprocess.run([*COMMAND, *words], capture_output=True, check=True)
    assert b"sleep" in done.stdout
    assert b"x.fsprobe" in done.stdout
