"""A thread of the target, and a system call that it can be inside of: values that decoding and following share.

Runs beside the target on Python 3.6 and later: standard library, few imports.
"""

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

    __slots__ = ("tid", "call", "args", "text", "entered_ns", "reprint", "cwd", "cwd_age", "kept")

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


class Stops:
    """The threads that have stopped, in the order in which they are served."""

    __slots__ = ("queue", "at")

    def __init__(self) -> None:
        self.queue: "list[tuple[int, int]]" = []
        """Thread and wait status; (0, 0) for one that was served out of turn."""
        self.at = 0
        """Which of them is being served."""
