"""Signals that ask a comparison to end: the first one raises, the later ones wait until everything is cleaned up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Somebody wants us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruptions:
    """Raises `Interrupted` in the main thread at the first signal, unless it was told not to."""

    def __init__(self) -> None:
        self.may_raise = True
        self.number = 0
        """the first signal that came; 0 while none did"""

    def take(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        self.number = self.number or number
        if self.may_raise:
            self.may_raise = False
            raise Interrupted(number)

    def check(self) -> None:
        """Raise what was raised before and lost: an exception in a finaliser or a callback of a library ends there."""
        if self.number:
            raise Interrupted(self.number)

    def hold(self) -> None:
        """From here on nothing is interrupted: what was made is being taken away."""
        self.may_raise = False


@contextmanager
def interruptions() -> Iterator[Interruptions]:
    """Take SIGINT, SIGTERM and SIGHUP for the time of the block; what was ignored before stays ignored."""
    taken = Interruptions()
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in map(int, SIGNALS):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, taken.take)
    try:
        yield taken
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
