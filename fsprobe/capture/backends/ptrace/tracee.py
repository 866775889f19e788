"""A thread of the target, the CPU time it has used, and a system call that it can be inside of: what decoding and following share.

Runs beside the target on Python 3.6 and later: standard library, few imports.
"""

import os

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Args = Sequence[int]
    Show = Callable[["Tracee", Args], str]


class Syscall:
    """How one system call is printed."""

    __slots__ = ("name", "number", "enter", "leave", "returns_fd", "moves", "hidden")

    def __init__(
        self, name: str, number: int, enter: "Show", leave: "Show | None", returns_fd: bool, moves: bool, hidden: bool
    ) -> None:
        self.name = name
        self.number = number
        self.enter = enter
        self.leave = leave
        self.returns_fd = returns_fd
        self.moves = moves
        """Its success can change what a working directory is called."""
        self.hidden = hidden
        """Stopped at for its effect on us only, not printed."""


class Tracee:
    """A thread of the target: its place in the log and what is cached of it."""

    __slots__ = (
        "tid",
        "call",
        "args",
        "text",
        "entered_ns",
        "reprint",
        "cwd",
        "cwd_age",
        "kept",
        "cpu_fd",
        "cpu_due_ns",
    )

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.call: "Syscall | None" = None
        """The call it is inside of."""
        self.args: "Args" = ()
        self.text = ""
        """The written or pending half line of that call."""
        self.entered_ns = 0
        self.reprint = False
        """Its half line is lost to an execve that changed its tid."""
        self.cwd = ""
        self.cwd_age = -1
        self.kept = 0
        """A value that a decoder keeps from entry to exit."""
        self.cpu_fd = -1
        """Where its CPU time is read; -1: not opened."""
        self.cpu_due_ns = 0
        """From when on it is noted again."""


CPU_EVERY_NS = 200000
"""How often a thread's CPU time is noted at most: reading it takes some 3 us. Between two notes it is told by the time."""
N_CPU_NOTES = 100000
"""... and after so many notes half as often: a long run's file so stays small."""
N_CPU_FILES = 200


class CpuTimes:
    """What threads have used so far, read while they stand still, when the scheduler's count is exact: a file beside the log.

    Each record: thread, CLOCK_MONOTONIC in ns, CPU time in ns (4, 8 and 8 bytes, little endian); the first says in place of these
    0, when the log begins, 0.
    """

    __slots__ = ("fd", "parts", "every_ns", "n", "n_files")

    def __init__(self, path: str, begun_ns: int) -> None:
        self.parts = [(0).to_bytes(4, "little") + begun_ns.to_bytes(8, "little") + bytes(8)]
        self.every_ns = CPU_EVERY_NS
        self.n = self.n_files = 0
        try:
            self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            self.fd = -1

    def note(self, t: Tracee, now_ns: int) -> None:
        """Note a thread that stands still."""
        data = b""
        is_kept = t.cpu_fd >= 0
        try:
            if not is_kept:
                t.cpu_fd = os.open("/proc/%d/schedstat" % t.tid, os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(t.cpu_fd, 64, 0)
        except OSError:
            pass  # no such file on this kernel, or its number is another since an exec: next time
        if is_kept and not data:
            self.forget(t)
        elif not is_kept and t.cpu_fd >= 0:
            if self.n_files < N_CPU_FILES:
                self.n_files += 1
            else:
                os.close(t.cpu_fd)
                t.cpu_fd = -1
        t.cpu_due_ns = now_ns + self.every_ns
        used = data.split(b" ", 1)[0]
        if not used.isdigit():
            return
        self.parts.append(t.tid.to_bytes(4, "little") + now_ns.to_bytes(8, "little") + int(used).to_bytes(8, "little"))
        self.n += 1
        if self.n % N_CPU_NOTES == 0:
            self.every_ns *= 2
        if len(self.parts) >= 512:
            self.flush()

    def forget(self, t: Tracee) -> None:
        """The thread has ended, or has another number."""
        if t.cpu_fd >= 0:
            os.close(t.cpu_fd)
            t.cpu_fd = -1
            self.n_files -= 1

    def flush(self) -> None:
        """Write what is gathered; where that fails nothing more is written, and what is there ends with a whole record or is cut."""
        data = b"".join(self.parts)
        del self.parts[:]
        try:
            if self.fd >= 0 and os.write(self.fd, data) != len(data):
                self.fd = -1
        except OSError:
            self.fd = -1


class Stops:
    """The threads that have stopped, in the order in which they are served."""

    __slots__ = ("queue", "at")

    def __init__(self) -> None:
        self.queue: "list[tuple[int, int]]" = []
        """Thread and wait status; (0, 0) for one that was served out of turn."""
        self.at = 0
        """Which of them is being served."""
