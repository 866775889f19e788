"""A small process that stays when fsprobe has ended, for as long as a tracer is still at work.

A tracer can't be stopped (see `process.wait`), and what it writes would otherwise grow in memory for as long as what the
command left behind goes on.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import time

from fsprobe.capture.process.wait import is_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE_S = 1.0


def leave(pid: "int", every_second: "Callable[[], None]", at_end: "Callable[[], object]") -> "None":
    """Do `every_second` in a detached process while process `pid` runs, and `at_end` when it has ended."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.closerange(3, 1024)
        while is_running(pid):
            try:
                every_second()
            except OSError:
                pass  # the next time
            time.sleep(PAUSE_S)
        at_end()
    finally:
        os._exit(0)
