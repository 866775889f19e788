"""Ends what runs and takes away what was made when a comparison is killed: by SIGKILL, or for its memory, it can't itself.

A program of its own, standard library only, that is told on its standard input, each line ended by a NUL: `+NAME` (this
directory is being made), `-NAME` (it stays), `@PID` (this process was started; 0: it has ended). When the other side has
gone, it ends that process as a comparison would, and removes what is left of the directories.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAIT_S = 15.0
"""How long to try: what was killed with the comparison may take some seconds to end, and still write."""
END_S = 5.0
"""How long what is asked to end may take; a recorder writes its recording and takes its own scratch away."""
ROOT = str(Path(__file__).resolve().parent.parent.parent)


class Janitor:
    """The other side of the program: `note` what is being made, `spare` what shall stay, `watch` what runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def note(self, directory: str) -> None:
        """This directory goes, should we be killed."""
        self._say(b"+" + os.fsencode(directory))

    def spare(self, directory: str) -> None:
        """This directory stays."""
        self._say(b"-" + os.fsencode(directory))

    def watch(self, pid: int) -> None:
        """This process ends, should we be killed; 0 when the last one has ended."""
        self._say(b"@%d" % pid)

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
    from fsprobe.capture.shipped import program

    process = subprocess.Popen(
        [sys.executable, "-I", "-S", *program("fsprobe.experiment.janitor", __file__)],
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


def end(pid: int) -> None:
    """End a process that is not our child, and all below it: it is asked to, then what is below it is killed, then it itself."""
    sys.path.append(ROOT)
    from fsprobe.layouts.mount.supervision import descendants

    for is_below, number in ((False, signal.SIGTERM), (True, signal.SIGKILL), (False, signal.SIGKILL)):
        for each in descendants(pid) if is_below else [pid]:
            try:
                os.kill(each, number)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + END_S
        while is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not is_running(pid):
            return


def is_running(pid: int) -> bool:
    """Is it there, and no zombie?"""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def remove(directory: bytes) -> bool:
    """Remove a directory, also where read-only ones were copied into it; False when something is left."""
    sys.path.append(ROOT)
    from fsprobe.capture.directories import own_files

    return own_files.remove(directory)


def main() -> None:
    """Read to the end, then end and remove."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    noted: dict[bytes, None] = {}
    pid = 0
    for line in sys.stdin.buffer.read().split(b"\0"):
        if line[:1] == b"+":
            noted[line[1:]] = None
        elif line[:1] == b"-":
            noted.pop(line[1:], None)
        elif line[:1] == b"@":
            pid = int(line[1:])
    if pid:
        end(pid)
    deadline = time.monotonic() + WAIT_S
    left = [directory for directory in noted if not remove(directory)]
    while left and time.monotonic() < deadline:
        time.sleep(0.2)
        left = [directory for directory in left if not remove(directory)]


if __name__ == "__main__":
    main()
