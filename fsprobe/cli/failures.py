"""How an error reaches the user: one line, a hint, the documented exit code.

Runs inside the recorder that travels too: syntax of Python 3.6.
"""

import _signal as signal  # type: ignore[import-not-found]  # the module `signal` itself loads `enum`: 40 calls
import errno
import io
import os
import sys
import time

from fsprobe.errors import EXIT_BAD_INPUT, EXIT_MACHINE, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


MIN_COLUMNS = 20
"""A terminal that says less says nothing: many are 0 columns wide."""


def printable(message: str) -> str:
    """Foreign text on one line of a terminal: no control characters, no surrogates."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)


def fitted(text: str, width: int) -> str:
    """A sentence as lines of at most `width` columns, broken between words; what stands in backquotes stays in one piece."""
    pieces = []  # type: list[str]
    for word in text.split(" "):
        if pieces and pieces[-1].count("`") % 2:
            pieces[-1] += " " + word
        else:
            pieces.append(word)
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + 1 + len(piece) > width:
            lines.append(piece)
        else:
            lines[-1] += " " + piece
    return "\n".join(lines)


def _columns() -> int:
    """Of the terminal that stderr is; 0 where it is none, or does not say."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return 0


def say(message: str) -> None:
    """A line of ours on stderr; that stderr is closed is no reason to fail, and no reason to write elsewhere.

    A file or a pipe gets one line; on a terminal a longer one is broken between words.
    """
    if sys.stderr is None:
        return
    line = f"fsprobe: {printable(message)}"
    if "`fsprobe " in line:
        from fsprobe.capture.shipped import retyped

        line = retyped(line)
    width = _columns()
    try:
        print(fitted(line, width) if width >= MIN_COLUMNS else line, file=sys.stderr, flush=True)
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
    global _is_program
    _is_program = True
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_interrupted)


_is_program = False  # this process is the command `fsprobe`: in anybody else's signals are not ours
_guarded = []  # type: list[int]  # the signals that `call_when_asked_to_end` took


def call_when_asked_to_end(do: "Callable[[], None]") -> "None":
    """From now on no signal ends fsprobe in its own way: the command has run, and how that ended is what counts.

    Where a signal is ignored or somebody else's, it stays so. What is done is done between two lines of Python: it must not
    write to `sys.stderr`, which may be at work just then; see `say_at_once`.
    """
    from fsprobe.capture.process.signals import FORWARDED

    for number in FORWARDED if _is_program else ():
        if signal.getsignal(number) in (signal.SIG_DFL, _end_interrupted):
            signal.signal(number, lambda number, frame: do())
            _guarded.append(number)


def ignore_until_the_end() -> "None":
    """All is done and the exit code settled: what `call_when_asked_to_end` took changes nothing while the interpreter goes."""
    while _guarded:
        signal.signal(_guarded.pop(), signal.SIG_IGN)


def say_at_once(message: str) -> None:
    """As `say`, where another line may be half written: from the handler of a signal."""
    if sys.stderr is None:
        return
    try:
        os.write(sys.stderr.fileno(), ("fsprobe: %s\n" % printable(message)).encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):
        pass  # it is closed


class AskedToEnd(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: what was begun is taken away, as at an interrupt."""


SAME_REQUEST_S = 1.0
"""`timeout` sends its signal twice, a terminal that goes twice or more: the second must not disturb what the first began."""
_asked = {"number": 0, "at_s": -SAME_REQUEST_S}  # type: dict[str, float]


def _raise_asked(number: "int", frame: "Any") -> "None":
    now = time.monotonic()
    if now - _asked["at_s"] >= SAME_REQUEST_S:
        _asked.update(number=number, at_s=now)
        raise AskedToEnd


def raise_when_interrupted(passes_on: "bool" = False) -> "None":
    """From now on an interrupt is a KeyboardInterrupt, as usual: what was begun is taken away.

    SIGTERM and SIGHUP are one too, but not where fsprobe `passes_on` signals to a command that it starts.
    """
    if signal.getsignal(signal.SIGINT) is _end_interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP) if _is_program and not passes_on else ():
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _raise_asked)


def ignore_interrupts() -> "None":
    """All is done; the interpreter takes itself down, and has tracebacks of its own for who disturbs it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.default_int_handler, _raise_asked):
            signal.signal(number, signal.SIG_IGN)


def report_interrupted() -> "int":
    """Say so in one line; returns the exit code."""
    say("interrupted")
    return 128 + int(_asked["number"]) if _asked["number"] else EXIT_INTERRUPTED


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
        """Write, and take note of a failure; that its reader has gone (`| head`) is none, and the exit code stays what it is."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            return len(data)
        except OSError:
            Output.has_failed = True
            raise


def open_output() -> "None":
    """Put our own file in the place of stdout, which knows whether it failed; and one that takes all in that of a closed stderr.

    Where a shell closed stdout (`>&-`), that is one which fails when it is written to, and only then. No file that is opened
    later becomes descriptor 0, 1 or 2: what anybody writes there would go into it. Programs that are started get them closed.
    """
    fd = 0
    while fd <= 2:
        fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(fd)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
    if sys.stdout is None:
        fd, old = 1, None
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
