"""The live line of a run: calls, calls per second, failed lookups and what is being imported, read off the growing log."""

from __future__ import annotations

import re
import time
from typing import TextIO

from fsprobe.capture.directories import own_files

_LAST_MODULE = re.compile(
    rb'/(?:(?:site|dist)-packages|python3[.0-9]*(?:/lib-dynload)?)/([A-Za-z0-9_/]+?)(?:/__init__)?\.(?:cpython-[^"/]*\.)?(?:pyc|py|so)"'
)


class LiveLine:
    """Draws over one line of a terminal; `end` wipes it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._log = ""
        self._at = 0
        self._n_calls = self._n_not_found = 0
        self._begin = self._drawn = 0.0
        self._recent: list[tuple[float, int]] = []
        self._module = ""

    def start(self, log: str) -> None:
        """The run begins; its log will be at `log`."""
        self._log = log
        self._begin = time.monotonic()

    def tick(self) -> None:
        """Read what the log grew by and draw, at most five times a second."""
        now = time.monotonic()
        if now - self._drawn < 0.2 or now - self._begin < 0.5:
            return
        self._drawn = now
        try:
            with own_files.reader(self._log, buffering=0) as log:
                log.seek(self._at)
                data = log.read(1 << 22)
        except OSError:
            return
        self._at += len(data)
        # calls on a descriptor alone are in the log too, but are no metadata calls
        self._n_calls += data.count(b"\n") - data.count(b'>, "", ') - data.count(b" +++ ")
        self._n_not_found += data.count(b" ENOENT ")
        modules = _LAST_MODULE.findall(data[-20_000:])
        if modules:
            self._module = modules[-1].replace(b"/__pycache__", b"").replace(b"/", b".").decode("ascii", "replace")
        self._recent = [*self._recent[-10:], (now, self._n_calls)]
        first = self._recent[0]
        rate = (self._n_calls - first[1]) / (now - first[0]) if now > first[0] else 0.0
        line = f"fsprobe  {self._n_calls:>9,} calls  {rate:>7,.0f}/s  {self._n_not_found:>7,} not found  {self._module[:36]}"
        self._write("\r" + line[:79] + "\x1b[K")

    def end(self) -> None:
        """Wipe the line."""
        if self._drawn:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            pass
