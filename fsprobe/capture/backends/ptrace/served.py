"""A target that serves a filesystem itself (FUSE): no read of its memory may wait for a server that waits for us.

A page of a mapped file that such a server keeps comes only when the server runs; where that is a tracee that has stopped, a
tracer that reads the page waits for ever, not even to be killed. A server can't be let go: under our seccomp filter its
traced calls would fail with ENOSYS from then on. So from the moment on in which one may be about, another thread reads, and
while it waits the servers are moved on from stop to stop, unread.

Who is a server is seen in its descriptors: one of /dev/fuse, opened by itself or given to it by fusermount over a socket.

Runs beside the target on Python 3.6 and later: standard library, few imports.

Source: fuse(4), process_vm_readv(2).
"""

import _thread
import os

from fsprobe.capture.backends.ptrace import abi, memory
from fsprobe.capture.backends.ptrace.tracee import Tracee

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fsprobe.capture.backends.ptrace.tracee import Stops

DEVICE = "/fuse"
OPENED = "/dev/fuse>"
"""How a descriptor of it is printed."""
MOUNTERS = "/fusermount"
"""A program whose parent is given a descriptor."""
PATIENCE_S = 0.002
"""A read that takes longer waits for something: looked at who that is. A judgement."""
LONG_S = 1.0
"""A read that takes this long is not served by the servers alone: they wait for some other tracee. A judgement."""


class Servers:
    """Those among the target's processes that serve a filesystem."""

    def __init__(self, ptrace: "Callable[..., int]", tracees: "dict[int, Tracee]", stops: "Stops") -> None:
        self.ptrace, self.tracees, self.stops = ptrace, tracees, stops
        self.names: "dict[int, str]" = {}
        """Process -> what it is called."""
        self.n_unread = 0
        """Stops that were passed on unread."""
        self._go, self._done = _thread.allocate_lock(), _thread.allocate_lock()
        self._go.acquire()
        self._done.acquire()
        self._work: "tuple[Callable[..., Any], tuple[Any, ...]]" = (int, ())
        self._result: "Any" = None
        _thread.start_new_thread(self._read, ())
        memory.read_with(self.call)

    def note(self, tid: int) -> None:
        """A process has opened the device."""
        pid = _process_of(tid)
        self.names.setdefault(pid, _name_of(pid))

    def call(self, function: "Callable[..., Any]", *arguments: "Any") -> "Any":
        """Call what may wait for a server, and move servers on meanwhile."""
        self._work = function, arguments
        self._go.release()
        waited_s = 0.0
        while not self._done.acquire(True, PATIENCE_S):
            waited_s += PATIENCE_S
            self._move_on(waited_s >= LONG_S)
        result, self._result = self._result, None
        if isinstance(result, Exception):
            raise result
        return result

    def _read(self) -> None:
        while True:
            self._go.acquire()
            function, arguments = self._work
            try:
                self._result = function(*arguments)
            except Exception as error:
                self._result = error
            self._done.release()

    def _move_on(self, also_others: bool) -> None:
        """Move on each thread of a server that has stopped; with `also_others` every thread that has, but the one that is read."""
        queue = self.stops.queue
        while True:
            try:
                pid, status = os.waitpid(-1, abi.WALL | os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            queue.append((pid, status))
        for at in range(self.stops.at + 1, len(queue)):
            pid, status = queue[at]
            if pid and os.WIFSTOPPED(status) and (also_others or self._is_server(pid)) and self._pass(pid, status):
                queue[at] = (0, 0)

    def _is_server(self, tid: int) -> bool:
        try:
            links = [os.readlink(f"/proc/{tid}/fd/{fd}") for fd in os.listdir(f"/proc/{tid}/fd")]
        except OSError:
            return False
        if not any(link.endswith(DEVICE) for link in links):
            return False
        self.note(tid)
        return True

    def _pass(self, tid: int, status: int) -> bool:
        """Let a stopped thread go on without a look at it; False for an execve, which changes more than the thread."""
        event, number = status >> 16, status >> 8 & 0xFF
        if event == abi.EVENT_EXEC:
            return False
        request, with_signal = abi.PTRACE_CONT, 0
        if event == abi.EVENT_STOP and number in abi.STOP_SIGNALS:
            request = abi.PTRACE_LISTEN
        elif event == 0 and number != abi.SIG_TRAP_SYSCALL:
            with_signal = number
        tracee = self.tracees.setdefault(tid, Tracee(tid))
        if tracee.call is not None or event == abi.EVENT_SECCOMP:
            self.n_unread += 1
            tracee.call = None
        self.ptrace(request, tid, 0, with_signal)
        return True

    def words(self) -> str:
        """What is to be said at the end; "" for nothing."""
        if not self.names and not self.n_unread:
            return ""
        names = ", ".join(sorted(set(self.names.values())))
        return (
            f"{len(self.names)} processes had /dev/fuse open to serve a filesystem to the command ({names}): {self.n_unread} "
            "of their calls were passed on unread, so that nothing waited for them"
        )


def _process_of(tid: int) -> int:
    try:
        with open(f"/proc/{tid}/status", errors="replace") as source:
            return next((int(line[5:]) for line in source if line.startswith("Tgid:")), tid)
    except (OSError, ValueError):
        return tid


def _name_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", "rb", buffering=0) as source:
            return "".join(
                one if one.isprintable() else "?" for one in source.read(64).decode("utf-8", "replace").strip()
            )
    except OSError:
        return str(pid)
