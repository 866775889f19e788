"""A command whose calls can be counted in its recording, and what every test of a fault asks for."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from fsprobe.recording.file import Recording
from tests.conftest import FSPROBE, LIMIT_S, Done, Fsprobe, run_plain

WORK = """
import os, sys
for k in range(int(sys.argv[1])):
    os.path.exists('/nowhere/%d' % k)
print('done', len(sys.argv))
sys.exit(int(sys.argv[2]))
"""
DENY = """
import ctypes, errno, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 101, "aarch64": 117}[os.uname().machine]
rows = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | errno.EPERM), (0x06, 0, 0, 0x7FFF0000)]
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
program = struct.pack("HxxxxxxP", len(rows), ctypes.addressof(filters))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Run a command under a filter that answers ptrace with EPERM, as in a container."""


def work(n_calls: int, status: int = 0) -> list[str]:
    """A command that makes so many calls for missing files, and ends with `status`."""
    return [sys.executable, "-I", "-S", "-c", WORK, str(n_calls), str(status)]


def n_missing(recording: Path | str) -> int:
    """How many of `work`'s calls are in a recording, which must be whole."""
    opened = Recording(str(recording))
    opened.verify()
    return sum(b'"/nowhere/' in line for line in opened.lines("log"))


def assert_one_clear_line(done: Done, *, status: int, says: str) -> None:
    """An error and its hint, each on one line, and nothing else of ours; no traceback."""
    assert done.status == status, done.err
    assert b"Traceback" not in done.err
    lines = done.own_lines
    assert len(lines) == 2, lines
    assert says in lines[0]
    assert lines[1].startswith("fsprobe: hint: ")
    assert len(lines[1]) > 20


def resize(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def assert_salvaged(fsprobe: Fsprobe, n_calls: int, output: Path | None = None) -> Recording:
    """The one scratch directory that was left becomes a recording with these calls, and goes."""
    (left,) = fsprobe.left()
    output = output or fsprobe.tmp / "salvaged.fsprobe"
    done = run_plain([*FSPROBE, "salvage", str(fsprobe.scratch / left), "-o", str(output)])
    assert done.status == 0, done.err
    assert len(done.own_lines) == 1
    assert n_missing(output) == n_calls
    assert fsprobe.left() == []
    assert run_plain([*FSPROBE, "report", str(output)]).status == 0
    return Recording(str(output))


def wait_until_empty(fsprobe: Fsprobe) -> None:
    end = time.monotonic() + LIMIT_S
    while fsprobe.left():
        assert time.monotonic() < end, fsprobe.left()
        time.sleep(0.05)
