"""A run that keeps no log: what the tracer writes is read at once, and taken away behind the reader.

The tracer writes an ordinary file, as always. A pipe would hold the target up whenever the reader is late, and end the
tracer when the reader dies; a file does neither. What has been read is given back to the filesystem by punching a hole
(fallocate(2)); only the head, which tells who the target is, and a tail, in which its signals are looked for, are kept.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import threading
import time

from fsprobe.capture.backends import text_log
from fsprobe.capture.directories import own_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

BLOCK_BYTES = 1 << 18
PAUSE_S = 0.02
"""Between reads that find less than half a block: a read for each line would cost more than all else."""
HEAD_BYTES = 1 << 18
TAIL_BYTES = 8 << 20
PUNCH_BYTES = 4 << 20
"""Given back at once; below it a system call a block is not worth it."""


def why_not(scratch: "str") -> "str":
    """Say why a filesystem can't give back a part of a file ("" when it can). Tries it."""
    path = os.path.join(scratch, "hole")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, b"x" * 8192)
        error = own_files.punch(fd, 0, 4096)
    finally:
        os.close(fd)
        os.unlink(path)
    return "the filesystem of %s can't free a part of a file (%s)" % (scratch, os.strerror(error)) if error else ""


class Follower:
    """Reads a log while it grows, in a thread of its own, and hands its lines to `consume(lines, expose=...)`.

    `consume` calls `expose` first, with what it will return; what that holds meanwhile can be asked for.
    The thread begins at the first `tick`: the tracer must have been forked off before.
    """

    def __init__(self, log: "str", max_backlog_bytes: "int", consume: "Callable[..., Any]", own: "str" = "") -> "None":
        self.log = log
        self.own = own
        """The shield's path: its line is not the command's."""
        self.max_backlog_bytes = max_backlog_bytes
        self.n_skipped_bytes = 0
        """What was thrown away unread, because the reader was too far behind."""
        self.ending = b""
        """The lines that say how a process ended, of the target alone."""
        self.failed = ""
        """Why the log could not be read to its end."""
        self.result = None  # type: Any
        """What `consume` returned."""
        self.failure = None  # type: BaseException | None
        self._so_far = None  # type: Any
        self._asked = None  # type: Callable[[Any], None] | None
        self._consume = consume
        self._ended = threading.Event()
        self._thread = None  # type: threading.Thread | None

    def tick(self) -> "None":
        """Begin, when that has not been done yet."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="fsprobe follower", daemon=True)
            self._thread.start()

    def finish(self) -> "Any":
        """The log does not grow any more: read it to its end and give what `consume` returned.

        Raises:
            Exception: whatever `consume` raised.
        """
        self._ended.set()
        self.tick()
        assert self._thread is not None
        self._thread.join()
        if self.failure is not None:
            raise self.failure
        return self.result

    def left_out(self) -> "str":
        """What of the log was not read, "" where all of it was."""
        if self.failed:
            return "the log could not be read to its end: %s" % self.failed
        if not self.n_skipped_bytes:
            return ""
        return "%d MiB of the log were not read, as the reader was more than --max-log behind" % (
            self.n_skipped_bytes >> 20
        )

    def ask(self, act: "Callable[[Any], None]") -> "None":
        """Have `act` called soon, in the reader's thread between two lines, with what was consumed so far."""
        self._asked = act

    def _answer(self) -> "None":
        act, self._asked = self._asked, None
        if act is not None and self._so_far is not None:
            act(self._so_far)

    def _expose(self, so_far: "Any") -> "None":
        self._so_far = so_far

    def _run(self) -> "None":
        try:
            self.result = self._consume(self.lines(), expose=self._expose)
        except BaseException as error:  # shown by whoever calls `finish`
            self.failure = error

    def lines(self) -> "Iterator[bytes]":
        """The lines as they come, each with its end, until the run is over."""
        while True:
            is_over = self._ended.is_set()
            try:
                fd = own_files.open_file(self.log, os.O_RDWR)
                break
            except OSError as error:
                if is_over:
                    self.failed = error.strerror or str(error)
                    return
                time.sleep(PAUSE_S)
        try:
            yield from self._lines_of(fd)
        except OSError as error:
            self.failed = error.strerror or str(error)  # what was read so far is kept
        finally:
            try:
                os.close(fd)
            except OSError:
                pass  # nothing was written through it

    def _lines_of(self, fd: "int") -> "Iterator[bytes]":
        at = 0
        punched = HEAD_BYTES
        rest = b""
        target = b""
        while True:
            is_over = self._ended.is_set()  # before the read: what comes after it is not missed
            if self._asked is not None:
                self._answer()
            block = os.pread(fd, BLOCK_BYTES, at)
            hole = block.find(b"\0")
            if hole >= 0:
                block = block[:hole]  # the log was cut: nothing comes that is kept
            at += len(block)
            data = rest + block
            lines = data.split(b"\n")
            rest = lines.pop()
            if not target and lines:
                target = lines[0].split(None, 1)[0] + b" "
                if text_log.is_own(lines[0], self.own):
                    del lines[0]
            if b" +++ " in data:
                for line in lines:
                    if b" +++ " in line and line.startswith(target):
                        self.ending = line
            for line in lines:
                yield line + b"\n"
            if hole >= 0 or (is_over and not block):
                break
            if at - TAIL_BYTES - punched >= PUNCH_BYTES:
                own_files.punch(fd, punched, at - TAIL_BYTES)
                punched = (at - TAIL_BYTES) & ~4095
            if len(block) < BLOCK_BYTES // 2 and not is_over:
                self._ended.wait(PAUSE_S)
            elif text_log.size_bytes(self.log) - at > self.max_backlog_bytes:
                end = text_log.size_bytes(self.log)
                self.n_skipped_bytes += end - at
                at, rest = end, b""
                # the next line begins after the next line end
                first = os.pread(fd, BLOCK_BYTES, at)
                at += first.find(b"\n") + 1
        if rest:
            yield rest
