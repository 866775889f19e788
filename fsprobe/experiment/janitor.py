"""Takes away what a comparison made when it is killed: by SIGKILL, or for its memory, it can't do so itself.

A program of its own, standard library only, that reads names of directories from its standard input: `+NAME` (it is being
made) and `-NAME` (it stays), each ended by a NUL. When the other side has gone it removes what is left of them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

WAIT_S = 15.0
"""How long to try: what was killed with the comparison may take some seconds to end, and still write."""


class Janitor:
    """The other side of the program: `note` what is being made, `spare` what shall stay."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def note(self, directory: str) -> None:
        """This directory goes, should we be killed."""
        self._say(b"+" + os.fsencode(directory))

    def spare(self, directory: str) -> None:
        """This directory stays."""
        self._say(b"-" + os.fsencode(directory))

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\0")
            self._process.stdin.flush()
        except OSError:
            pass  # somebody ended it; nothing else depends on it


@contextmanager
def janitor() -> Iterator[Janitor]:
    """Have a janitor for the time of the block."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # what a terminal sends to all is not for it
    )
    try:
        yield Janitor(process)
    finally:
        assert process.stdin is not None
        try:
            process.stdin.close()
        except OSError:
            pass
        process.wait()


def remove(directory: bytes) -> bool:
    """Remove a directory, also where read-only ones were copied into it; False when something is left."""
    for inner, _, _ in os.walk(directory):
        try:
            os.chmod(inner, 0o700)
        except OSError:
            pass
    shutil.rmtree(directory, ignore_errors=True)
    return not os.path.lexists(directory)


def main() -> None:
    """Read to the end, then remove."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    noted: dict[bytes, None] = {}
    for line in sys.stdin.buffer.read().split(b"\0"):
        if line[:1] == b"+":
            noted[line[1:]] = None
        elif line[:1] == b"-":
            noted.pop(line[1:], None)
    deadline = time.monotonic() + WAIT_S
    left = [directory for directory in noted if not remove(directory)]
    while left and time.monotonic() < deadline:
        time.sleep(0.2)
        left = [directory for directory in left if not remove(directory)]


if __name__ == "__main__":
    main()
