"""Whether a signal was sent to fsprobe alone, or to everybody beside it: a batch step, a process group.

Where no tracer notes what the command gets, a process that does nothing but wait for signals stands beside it. What that gets
from the same sender the command got too, and it is not sent on. Signals of the terminal are told by themselves (`signals`).

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import signal
import time

from fsprobe.capture.process.signals import FORWARDED, take_signal

LOOK_S = 2.0
"""How often it looks whether fsprobe is still there."""
WAIT_S = 0.1
"""How long a signal to all may take from one of them to the next: a judgement."""
MOST_WAIT_S = 5.0
"""How long it is waited for on a busy machine."""


class Witness:
    """Made where the signals are held already, so that it starts with all of them blocked.

    Args:
        closed: a descriptor that it shall not have.
    """

    def __init__(self, closed: "int" = -1) -> "None":
        self._had = []  # type: list[tuple[int, int]]
        self._rest = b""
        self._fd, told = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                if closed >= 0:
                    os.close(closed)
                _stand(parent, told)
            finally:
                os._exit(0)
        os.close(told)

    def has_had(self, number: "int", sender: "int") -> "bool":
        """Whether it got this signal of this sender too; once for each time."""
        import select  # a signal is seldom sent

        begin = time.monotonic()
        wait_s = WAIT_S
        while (number, sender) not in self._had:
            if self._fd < 0:
                return False
            if not select.select([self._fd], [], [], wait_s)[0]:
                # on a busy machine it may not have been let run: while it waits for a processor, it has something to tell
                is_late = time.monotonic() - begin >= MOST_WAIT_S or self._is_asleep()
                wait_s = 0.0 if is_late else WAIT_S / 10
                if is_late and not select.select([self._fd], [], [], 0)[0]:
                    return False
                continue
            data = os.read(self._fd, 4096)
            if not data:
                return False
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            self._had.extend((int(line.split()[0]), int(line.split()[1])) for line in lines)
        self._had.remove((number, sender))
        return True

    def _is_asleep(self) -> "bool":
        """Whether it waits for a signal, so that none has come to it; or whether that is not known."""
        try:
            with open("/proc/%d/stat" % self._pid, "rb") as stat:
                return stat.read().rpartition(b")")[2].split()[0] != b"R"
        except (OSError, IndexError):
            return True

    def close(self) -> "None":
        """End it."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        try:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        except OSError:
            pass


def _stand(parent: "int", told: "int") -> "None":
    """Wait for signals and tell of each, while fsprobe is there."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    while os.getppid() == parent:
        info = take_signal(FORWARDED, LOOK_S)
        if info is not None:
            os.write(told, b"%d %d\n" % (info.si_signo, info.si_pid))
