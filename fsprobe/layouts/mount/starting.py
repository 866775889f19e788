"""Start a program that ends with us, such that a signal in the midst of it neither is lost nor leaves the program behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fsprobe.layouts.mount import linux

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

End = Callable[["subprocess.Popen[bytes]"], None]


@contextmanager
def started(
    argv: Sequence[str], end: End, *, deadly: signal.Signals, **popen: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `argv` for the time of the block; `end` it when the block, or a signal's handler, raises.

    A handler of Python code runs between any two steps. One that raises would, after the fork, be heard by nobody in the
    child (its traceback goes to stderr, the program starts all the same), and in us forget the child that was just made.
    So handlers wait until the program has started; in the child the signal does what it does to any program.

    Args:
        argv: the program and its arguments.
        end: ends the process.
        deadly: what the kernel sends to it when we are killed.
        popen: the rest is subprocess.Popen's.

    Raises:
        OSError: it can't be started.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    handlers: dict[int, Any] = {}

    def in_child() -> None:
        for number in handlers:
            signal.signal(number, signal.SIG_DFL)
        linux.die_with_parent(deadly)
        for number in came:
            os.kill(os.getpid(), number)

    def hear() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)

    if threading.current_thread() is threading.main_thread():
        handlers = {
            number: signal.getsignal(number) for number in map(int, _SIGNALS) if callable(signal.getsignal(number))
        }
    try:
        for number in handlers:
            signal.signal(number, note)
        process = subprocess.Popen(argv, preexec_fn=in_child, **popen)
    except BaseException:
        hear()
        raise
    try:
        hear()
        yield process
    except BaseException:
        end(process)
        raise
