"""Signals and terminals: what is sent to fsprobe reaches the command once, and what was recorded is written all the same."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fsprobe.recording.file import Recording
from tests.conftest import LIMIT_S, Fsprobe, clean_environment

pytestmark = pytest.mark.alone

COUNTS = r"""
import os, signal, sys, time
seen = {}
def note(number, frame):
    seen[number] = seen.get(number, 0) + 1
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGALRM, signal.SIGXCPU,
               signal.SIGRTMIN + 3):
    signal.signal(number, note)
open(sys.argv[1], "w").write("%d %d" % (os.getpid(), os.getpgrp()))
end = time.monotonic() + 30
while not os.path.exists(sys.argv[1] + ".go") and time.monotonic() < end:
    time.sleep(0.01)
import json
print({int(k): v for k, v in sorted(seen.items())})
sys.exit(5)
"""


def wait_for(path: Path, text: bool = True) -> str:
    """The content of a file that comes to be."""
    end = time.monotonic() + LIMIT_S
    while not path.exists() or (text and not path.read_text()):
        assert time.monotonic() < end, path
        time.sleep(0.01)
    return path.read_text() if text else ""


def start(words: Sequence[str], new_group: bool = True) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        start_new_session=new_group,
    )


@pytest.mark.parametrize(
    "name", ["SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGALRM", "SIGXCPU", "SIGRTMIN"]
)
def test_signal_to_fsprobe_alone_reaches_the_command_once(run_fsprobe: Fsprobe, tmp_path: Path, name: str) -> None:
    number = int(getattr(signal, name)) + (3 if name == "SIGRTMIN" else 0)
    ready = tmp_path / "ready"
    child = start(run_fsprobe.command([sys.executable, "-c", COUNTS, str(ready)]))
    wait_for(ready)
    os.kill(child.pid, number)
    time.sleep(0.5)
    (tmp_path / "ready.go").write_text("")
    out, err = child.communicate(timeout=LIMIT_S)
    assert (child.returncode, out, err) == (5, b"{%d: 1}\n" % number, b"")
    assert Recording(str(tmp_path / "x.fsprobe")).manifest["exit_code"] == 5
    assert run_fsprobe.left() == []


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signal_to_the_whole_group_reaches_the_command_once(run_fsprobe: Fsprobe, tmp_path: Path, name: str) -> None:
    """As batch systems and `timeout` send it: to fsprobe, the tracer and the command alike."""
    number = int(getattr(signal, name))
    ready = tmp_path / "ready"
    child = start(run_fsprobe.command([sys.executable, "-c", COUNTS, str(ready)]))
    wait_for(ready)
    for _ in range(2):
        os.killpg(child.pid, number)
        time.sleep(0.4)
    (tmp_path / "ready.go").write_text("")
    out, err = child.communicate(timeout=LIMIT_S)
    assert (child.returncode, out, err) == (5, b"{%d: 2}\n" % number, b"")
    assert (tmp_path / "x.fsprobe").exists()


def test_signal_that_ends_the_command_ends_fsprobe_alike(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    program = f"import time, json; open({str(ready)!r}, 'w').write('x'); time.sleep(30)"
    child = start(run_fsprobe.command([sys.executable, "-c", program]))
    wait_for(ready)
    child.terminate()
    out, err = child.communicate(timeout=LIMIT_S)
    assert (child.returncode, out, err) == (-signal.SIGTERM, b"", b"")
    assert Recording(str(tmp_path / "x.fsprobe")).manifest["signal"] == signal.SIGTERM


def test_signals_before_the_command_has_started_are_not_lost(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    """Sent while fsprobe gets ready, at several moments: the command dies of it, or fsprobe before there was one."""
    n_recorded = 0
    for delay_s in (0.1, 0.15, 0.2, 0.25, 0.3, 0.5):
        (tmp_path / "x.fsprobe").unlink(missing_ok=True)
        child = start(run_fsprobe.command([sys.executable, "-c", "import time; time.sleep(20)"]))
        time.sleep(delay_s)
        child.terminate()
        out, err = child.communicate(timeout=LIMIT_S)
        assert (child.returncode, out, err) == (-signal.SIGTERM, b"", b"")
        assert run_fsprobe.left() == []
        n_recorded += (tmp_path / "x.fsprobe").exists()
    assert n_recorded > 0


# -- a terminal -------------------------------------------------------------------------------------------------

SHELL = r"""
import os, signal, sys, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    status = os.waitpid(pid, os.WUNTRACED)[1]
    if not os.WIFSTOPPED(status):
        break
    os.tcsetpgrp(0, os.getpgrp())
    print("STOPPED", flush=True)
    time.sleep(0.5)
    os.tcsetpgrp(0, pid)
    os.killpg(pid, signal.SIGCONT)
    print("CONTINUED", flush=True)
print("ENDED", os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status), flush=True)
"""


class Terminal:
    """A job in a shell's hands on a terminal of its own."""

    def __init__(self, words: Sequence[str]) -> None:
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-I", "-c", SHELL, *words], clean_environment())

    def wait(self, text: bytes) -> None:
        """Read until the terminal has shown `text`."""
        end = time.monotonic() + LIMIT_S
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if not select.select([self.fd], [], [], 0.1)[0]:
                continue
            try:
                block = os.read(self.fd, 4096)
            except OSError:
                block = b""
            assert block, (text, self.seen)
            self.seen += block

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def close(self) -> None:
        os.close(self.fd)
        try:
            os.killpg(self.pid, signal.SIGHUP)
        except OSError:
            pass
        os.waitpid(self.pid, 0)


def test_control_c_runs_the_handler_once(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    program = (
        "import time\n"
        "try:\n    print('READY', flush=True); time.sleep(30)\n"
        "except KeyboardInterrupt:\n    print('HANDLED', flush=True)\n"
        "try:\n    time.sleep(0.6); print('ONCE', flush=True)\n"
        "except KeyboardInterrupt:\n    print('TWICE', flush=True)\n"
        "raise SystemExit(4)\n"
    )
    terminal = Terminal(run_fsprobe.command([sys.executable, "-c", program]))
    try:
        terminal.wait(b"READY")
        terminal.type(b"\x03")
        terminal.wait(b"ENDED 4")
        assert b"ONCE" in terminal.seen
        assert b"TWICE" not in terminal.seen
    finally:
        terminal.close()
    assert Recording(str(tmp_path / "x.fsprobe")).manifest["exit_code"] == 4


def test_control_c_without_a_handler(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo READY; sleep 30"]
    terminal = Terminal(run_fsprobe.command(command))
    try:
        terminal.wait(b"READY")
        terminal.type(b"\x03")
        terminal.wait(b"ENDED -2")
    finally:
        terminal.close()
    assert Recording(str(tmp_path / "x.fsprobe")).manifest["signal"] == signal.SIGINT


def test_control_z_and_on_again(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    program = (
        "import signal, time\n"
        "n = []\nsignal.signal(signal.SIGCONT, lambda *_: n.append(1))\n"
        "print('READY', flush=True)\n"
        "end = time.monotonic() + 30\n"
        "while not n and time.monotonic() < end:\n    time.sleep(0.01)\n"
        "import json, decimal\nprint('GOES ON', len(n), flush=True)\n"
    )
    terminal = Terminal(run_fsprobe.command([sys.executable, "-c", program]))
    try:
        terminal.wait(b"READY")
        terminal.type(b"\x1a")
        terminal.wait(b"STOPPED")
        terminal.wait(b"CONTINUED")
        terminal.wait(b"GOES ON 1")
        terminal.wait(b"ENDED 0")
    finally:
        terminal.close()
    assert (tmp_path / "x.fsprobe").exists()


def test_a_line_is_read_from_the_terminal(run_fsprobe: Fsprobe) -> None:
    program = (
        "import os, sys\nprint([os.isatty(fd) for fd in range(3)], os.ttyname(0) == os.ttyname(1), "
        "os.tcgetpgrp(0) == os.getpgrp(), open('/dev/tty').isatty())\nprint('GOT', input('READY ')[::-1])\n"
    )
    terminal = Terminal(run_fsprobe.command([sys.executable, "-c", program]))
    try:
        terminal.wait(b"READY")
        terminal.type(b"abc\n")
        terminal.wait(b"GOT cba")
        terminal.wait(b"ENDED 0")
        assert b"[True, True, True] True True True" in terminal.seen
    finally:
        terminal.close()


def test_the_terminal_goes_away(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    """The window is closed: the command gets its SIGHUP, and what it did is recorded."""
    ready = tmp_path / "ready"
    terminal = Terminal(run_fsprobe.command([sys.executable, "-c", COUNTS, str(ready)], options=()))
    wait_for(ready)
    terminal.close()
    (tmp_path / "ready.go").write_text("")
    wait_for(tmp_path / "x.fsprobe", text=False)


@pytest.mark.parametrize("backend", ["strace", "ptrace", "audit"])
@pytest.mark.parametrize("dies", [False, True])
def test_a_hang_up_reaches_the_command_of_a_session_leader(tmp_path: Path, backend: str, dies: bool) -> None:
    """`ssh -t HOST fsprobe ...`: the kernel sends SIGHUP to the session's leader alone, which the command alone would be."""
    handler = "" if dies else "signal.signal(signal.SIGHUP, lambda *_: seen.append(1))\n"
    program = (
        f"import os, signal, sys, time\nseen = []\n{handler}open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "end = time.monotonic() + 20\nwhile not seen and time.monotonic() < end:\n    time.sleep(0.01)\n"
        "time.sleep(0.3)\nopen(sys.argv[1] + '.end', 'w').write(str(len(seen)))\n"
    )
    ready = tmp_path / "ready"
    words = Fsprobe(tmp_path).command([sys.executable, "-c", program, str(ready)], options=("-q", "--backend", backend))
    leader, fd = pty.fork()
    if leader == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who started the tests with nohup ignores it
        os.execve(words[0], words, clean_environment())
    target = int(wait_for(ready))
    os.close(fd)
    if not dies:
        assert wait_for(tmp_path / "ready.end") == "1"
    status = os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1])
    assert status == (-signal.SIGHUP if dies else 0)
    assert not os.path.exists(f"/proc/{target}")
    assert (tmp_path / "x.fsprobe").exists()
