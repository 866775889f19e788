"""How an error reaches the user: one line, a hint, the documented exit code.

Runs inside the recorder that travels too: syntax of Python 3.6.
"""

import _signal as signal  # type: ignore[import-not-found]  # the module `signal` itself loads `enum`: 40 calls
import errno
import io
import os
import sys

from fsprobe.errors import EXIT_BAD_INPUT, EXIT_MACHINE, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def printable(message: str) -> str:
    """Foreign text on one line of a terminal: no control characters, no surrogates."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)


def say(message: str) -> None:
    """A line of ours on stderr; that stderr is closed is no reason to fail, and no reason to write elsewhere."""
    if sys.stderr is None:
        return
    try:
        print(f"fsprobe: {printable(message)}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        # the interpreter would try once more to write it at its end, fail, and exit with 120
        sys.stderr = open(os.devnull, "w")


# ---- interrupts ---------------------------------------------------------------------------------------------------

EXIT_INTERRUPTED = 130


def _end_interrupted(number: "int", frame: "Any") -> "None":
    try:
        os.write(2, b"fsprobe: interrupted\n")
    finally:
        os._exit(EXIT_INTERRUPTED)


def end_when_interrupted() -> "None":
    """While fsprobe starts there is nothing to take away: an interrupt ends it with a line.

    An exception would come up wherever an import happens to be, which may make another one of it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_interrupted)


def call_when_interrupted(do: "Callable[[], None]") -> "None":
    """As `end_when_interrupted`, but in another way."""
    if signal.getsignal(signal.SIGINT) is _end_interrupted:
        signal.signal(signal.SIGINT, lambda number, frame: do())


def raise_when_interrupted() -> "None":
    """From now on an interrupt is a KeyboardInterrupt, as usual: what was begun is taken away."""
    if signal.getsignal(signal.SIGINT) is _end_interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore_interrupts() -> "None":
    """All is done; the interpreter takes itself down, and has tracebacks of its own for who disturbs it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def is_interrupt(error: "BaseException") -> "bool":
    """Whether an exception is an interrupt, or what a class body has made of one (up to Python 3.11)."""
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt)


# ---- errors -------------------------------------------------------------------------------------------------------


def report_error(error: FsprobeError) -> int:
    """Print an error and return its exit code."""
    say(error.message)
    if error.hint:
        say(f"hint: {error.hint}")
    return error.exit_code


class Output(io.FileIO):
    """Standard output, which remembers that it could not be written to: what fails later is not always the first write."""

    has_failed = False

    def write(self, data: "Any") -> "int":
        """Write, and take note of a failure."""
        try:
            return super().write(data) or 0
        except OSError:
            Output.has_failed = True
            raise


def open_output() -> "None":
    """Put our own file in the place of stdout, which knows whether it failed.

    Where a shell closed it (`>&-`), that is one which fails when it is written to, and only then; it also takes the lowest
    free descriptor, so that no file that is opened later becomes descriptor 1.
    """
    if sys.stdout is None:
        fd, old = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), None
    elif sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        fd, old = sys.stdout.fileno(), sys.stdout
    else:
        return
    raw = Output(fd, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if old is None else old.encoding,
        errors="backslashreplace" if old is None else old.errors,
        line_buffering=raw.isatty(),
    )


def report_broken(error: "OSError | MemoryError") -> "int":
    """Say in one line that the output, a file or the memory failed, as nobody foresaw; returns the exit code."""
    if isinstance(error, MemoryError):
        return report_error(FsprobeError("out of memory", "see `ulimit -v` and the job's memory limit", EXIT_MACHINE))
    reason = error.strerror or str(error) or type(error).__name__
    if Output.has_failed:
        # the interpreter would try again at its end, and exit with 120
        sys.stdout = open(os.devnull, "w")
        if error.errno == errno.EBADF:
            reason = "it is closed"
        return report_error(FsprobeError("cannot write to standard output: %s" % reason, "", EXIT_BAD_INPUT))
    place = "" if error.filename is None else " " + os.fsdecode(error.filename)
    return report_error(FsprobeError("input or output failed:%s %s" % (place, reason), "", EXIT_MACHINE))


NOT_IN_ONE_FILE = "pictures and data frames need all of fsprobe, as `pip install` makes it; fsprobe.pyz is without them"
NOT_WHOLE = "this installation of fsprobe is not whole, or not readable for you: `pip install` it again"


def report_missing(error: "ModuleNotFoundError") -> "int":
    """Say in one line which package of somebody else is not here, and why it may not be; returns the exit code.

    Raises:
        ModuleNotFoundError: it is one of fsprobe's own.
    """
    name = (error.name or "").partition(".")[0]
    if name in ("fsprobe", ""):
        raise error
    hint = NOT_IN_ONE_FILE if name in ("matplotlib", "pandas", "numpy") else NOT_WHOLE
    return report_error(FsprobeError("this needs %s, which is not here" % name, hint, EXIT_MACHINE))
