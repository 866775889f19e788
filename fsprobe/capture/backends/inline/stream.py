"""A ring whose slots are read while it grows, and given back behind the reader: a run that keeps no log.

Slots are never used twice: the ring goes on, and pages that were read are taken out of the file. Below `drained`, which the
header says, no process adds up reads any more. A call that has not returned is still to be written: its page stays.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import collections
import os
import struct
import time

from fsprobe.capture.backends import stream
from fsprobe.capture.backends.inline import ringfile
from fsprobe.capture.directories import own_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any

TICK_S = 0.05
SETTLE_S = 1.0
"""A page is given back so long after `drained` has passed it: who had looked at `drained` before has written by then."""
PAGE = 4096
KEPT_BYTES = ringfile.HEADER_BYTES + (1 << 16)
"""The header and the first slots stay: they say what the command is."""
DRAINED_AT = 32


class RingFollower(stream.Follower):
    """Hands itself to `consume`, which reads from it in the reader's thread: see `events.ring.live.Growing`."""

    def __init__(self, ring: "str", most: "int", consume: "Callable[..., Any]") -> "None":
        super().__init__(ring, 0, consume)
        self.most = most
        self.n_freed = 0
        """Slots whose pages were given back."""
        self._fd = -1
        self._drained = collections.deque()  # type: collections.deque[tuple[float, int]]
        self._punched = KEPT_BYTES

    def _run(self) -> "None":
        try:
            self._fd = own_files.open_file(self.log, os.O_RDWR)
            self.result = self._consume(self, expose=self._expose)
        except BaseException as error:  # shown by whoever calls `finish`
            self.failure = error
        finally:
            if self._fd >= 0:
                os.close(self._fd)

    def ticks(self) -> "Iterator[tuple[int, int, bool]]":
        """Slots that are there, slots that were asked for, whether the run is over."""
        while True:
            is_over = self._ended.is_set()  # before the look: what comes after it is not missed
            if self._asked is not None:
                self._answer()
            n_asked, cap, _ = ringfile.counts(self._fd)
            there = (os.fstat(self._fd).st_size - ringfile.HEADER_BYTES) // ringfile.SLOT_BYTES
            yield max(0, min(n_asked, cap, there, self.most)), n_asked, is_over
            if is_over:
                return
            self._ended.wait(TICK_S)

    def read(self, first: "int", n: "int") -> "bytes":
        """Slots as they are now."""
        return os.pread(self._fd, n * ringfile.SLOT_BYTES, ringfile.HEADER_BYTES + first * ringfile.SLOT_BYTES)

    def free(self, end: "int", kept: "Collection[int]") -> "None":
        """Take the pages of what was read out of the file, but those of slots in `kept`."""
        os.pwrite(self._fd, struct.pack("<Q", end), DRAINED_AT)
        now_s = time.monotonic()
        self._drained.append((now_s, end))
        settled = 0
        while self._drained and self._drained[0][0] <= now_s - SETTLE_S:
            settled = self._drained.popleft()[1]
        until = _page_of(settled)
        if until - self._punched < stream.PUNCH_BYTES:
            return
        # a page that must stay now stays for good: there are few, and the next look would have to find them all again
        for page in sorted({_page_of(index) for index in kept if self._punched <= _page_of(index) < until}):
            if page > self._punched:
                own_files.punch(self._fd, self._punched, page)
            self._punched = page + PAGE
        if until > self._punched:
            own_files.punch(self._fd, self._punched, until)
        self._punched = max(self._punched, until)
        self.n_freed = (self._punched - KEPT_BYTES) // ringfile.SLOT_BYTES


def _page_of(index: "int") -> "int":
    return (ringfile.HEADER_BYTES + index * ringfile.SLOT_BYTES) // PAGE * PAGE
