"""The shield: a program made for the run, between strace and the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe.capture.backends import text_log, tracing
from fsprobe.capture.backends.strace import shield
from tests.conftest import need

SHOW = """
import os, signal, sys
print([os.readlink("/proc/self/fd/2"), sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))), sys.argv[1:],
       sorted(os.environ.items()), len(os.listdir("/proc/self/fd")), open("/proc/self/cmdline").read().split(chr(0))[1]])
print("to stderr", file=sys.stderr)
"""


def complaints(place: Path) -> list[str]:
    tracer = tracing.Tracer()
    tracer.settle(str(place), str(place))
    return tracer.complaints()


def run(made: shield.Shield, mask: set[int]) -> int:
    """Start the shield as strace does, with stdout and stderr in files; gives the exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            made.put_on(mask)
            os.write(2, b"strace: a complaint\n")
            os.execve(made.path, made.command, {"A": "1", "B": "x y"})
        finally:
            os._exit(99)
    for fd in made.kept:
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("mask", [set(), {signal.SIGUSR1, signal.SIGRTMAX, signal.SIGHUP}])
def test_the_command_has_its_stderr_and_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], in_memory: bool, mask: set[int]
) -> None:
    need(os.uname().machine == "x86_64", "the shield is made for x86_64")
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create")
    n_before = len(os.listdir("/proc/self/fd"))
    words = [sys.executable, "-I", "-c", SHOW, "", "a b", "é"]
    made = shield.make(str(tmp_path), sys.executable, words, mask)
    assert made is not None
    stderr = os.readlink("/proc/self/fd/2")
    assert run(made, {int(number) for number in mask}) == 0
    seen = capfd.readouterr()
    plain = subprocess.run(words, capture_output=True, env={"A": "1", "B": "x y"}, check=True, close_fds=False)
    shown, alone = eval(seen.out), eval(plain.stdout)
    assert shown[:2] == [stderr, sorted(int(number) for number in mask)]
    assert shown[2:4] == alone[2:4]
    assert shown[4:] == alone[4:]
    assert seen.err == "to stderr\n"
    assert complaints(tmp_path) == ["strace: a complaint"]
    assert len(os.listdir("/proc/self/fd")) == n_before


def test_a_command_that_cannot_be_executed(tmp_path: Path) -> None:
    need(os.uname().machine == "x86_64", "the shield is made for x86_64")
    made = shield.make(str(tmp_path), "/no/such/program", ["x"], ())
    assert made is not None
    assert run(made, set()) == 1


@pytest.mark.parametrize("kind", ["machine", "not executable", "no descriptors"])
def test_where_there_is_no_shield(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    n_before = len(os.listdir("/proc/self/fd"))
    if kind == "machine":
        uname = os.uname_result(("Linux", "x", "6", "1", "riscv64"))
        monkeypatch.setattr(os, "uname", lambda: uname)
    elif kind == "not executable":
        monkeypatch.setattr(shield, "_image", lambda *_: b"no program")
    else:

        def fcntl(*_: object) -> int:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr("fcntl.fcntl", fcntl)
    assert shield.make(str(tmp_path), "/bin/true", ["true"], ()) is None
    assert len(os.listdir("/proc/self/fd")) == n_before


def test_stderr_that_is_closed(tmp_path: Path) -> None:
    """The command then has none, either."""
    need(os.uname().machine == "x86_64", "the shield is made for x86_64")
    pid = os.fork()
    if pid == 0:
        try:
            os.close(2)
            code = "import os, sys; sys.exit(7 if not os.path.exists('/proc/self/fd/2') else 8)"
            made = shield.make(str(tmp_path), sys.executable, [sys.executable, "-I", "-c", code], ())
            os._exit(9 if made is None else run(made, set()))
        finally:
            os._exit(10)
    # Python itself opens nothing there
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


OWN = b'7 1.0 (+ 0.0) execve("/proc/self/fd/9", ["/proc/self/fd/9", "x"], 0x7 /* 3 vars */) = 0 <0.1>\n'
REST = b'7 1.1 (+ 0.1) execve("/x", ["x"], 0x7 /* 3 vars */) = 0 <0.1>\n' + OWN + b"7 2.0 half"


@pytest.mark.parametrize("n_bytes", [1, 7, 1000])
def test_only_the_first_line_is_left_out(n_bytes: int) -> None:
    def without(data: bytes, path: str) -> bytes:
        pieces = [data[at : at + n_bytes] for at in range(0, len(data), n_bytes)]
        return b"".join(text_log.without_own(pieces, path))

    assert without(OWN + REST, "/proc/self/fd/9") == REST
    assert without(REST, "/proc/self/fd/9") == REST
    assert without(OWN + REST, "") == OWN + REST
    assert without(OWN + REST, "/proc/self/fd/90") == OWN + REST
    assert without(OWN[:20], "/proc/self/fd/9") == OWN[:20]
    assert without(b"", "/proc/self/fd/9") == b""


def test_each_complaint_is_told_once(tmp_path: Path) -> None:
    (tmp_path / tracing.COMPLAINTS).write_bytes(b"strace: a\n\nstrace: b\nstrace: a\nstrace: \xff")
    assert complaints(tmp_path) == ["strace: a", "strace: b", "strace: \\xff"]
    assert complaints(tmp_path / "none") == []
