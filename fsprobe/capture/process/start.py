"""Start one process with signals, descriptors and limits as fsprobe found them.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import os
import signal
import time

from fsprobe.capture.process import limits
from fsprobe.errors import EXIT_NOT_EXECUTABLE, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fsprobe.capture.process.signals import SignalsHeld


_counts = {}  # type: dict[int, int]  # process -> descriptor of what it and its children read: asked for twice, opened once


class Launch:
    """What is to be started: the command itself, or a tracer that starts it."""

    is_target = True
    """Whether the process that is started becomes the command; else it starts it, and ends after it."""
    dress: "Callable[[Iterable[int]], None] | None" = None
    """Called in the child right before it executes, with the signal mask of the command."""

    def __init__(self, words: "list[str]", environment: "Mapping[str, str]", program: "str" = "") -> "None":
        self.words = words
        """Its argument list; the first word is its path where `program` does not name it."""
        self.environment = dict(environment)
        self.program = program
        """Path to execute."""
        self.target_variables = {}  # type: dict[str, str]
        """What only the command shall find in its environment, not the tracer that starts it."""
        self.kept = []  # type: list[int]
        """Descriptors that the child alone needs: closed here once it has been started."""

    def close(self) -> "None":
        """Let go of what only the child needs."""
        for fd in self.kept:
            try:
                os.close(fd)
            except OSError:
                pass  # it is closed all the same
        self.kept = []


class Process:
    """A process that was started, and what is known of the command."""

    target_pid = 0
    """0 while a tracer has not yet told."""
    started_s = 0.0
    begin = 0.0
    limited: "frozenset[int]" = frozenset()
    bytes_read: "int | None" = None
    """What fsprobe and its children had read before."""

    def __init__(self, pid: "int", is_target: "bool") -> "None":
        self.pid = pid
        self.is_target = is_target
        if is_target:
            self.target_pid = pid


def start(launch: "Launch", held: "SignalsHeld") -> "Process":
    """Start a child with the signals as fsprobe found them.

    Args:
        launch: what to start; its descriptors are closed in any case.
        held: the signals.

    Raises:
        FsprobeError: it can't be started.
    """
    limited = limits.own_limits()
    before = bytes_read()
    started_s, begin = time.time(), time.monotonic()
    try:
        process = Process(_fork(launch, held, limits.FILE_SIZE in limited), launch.is_target)
    finally:
        launch.close()
    process.started_s, process.begin = started_s, begin
    process.limited, process.bytes_read = limited, before
    return process


def _fork(launch: "Launch", held: "SignalsHeld", is_limited: "bool") -> "int":
    environment = dict(launch.environment, **launch.target_variables) if launch.is_target else launch.environment
    read_end, write_end = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(read_end)
        os.close(write_end)
        raise FsprobeError(
            "cannot start the command: %s" % error.strerror, "the limit of processes may be reached (ulimit -u)"
        )
    if pid:
        os.close(write_end)
        reason = os.read(read_end, 16)
        os.close(read_end)
        if reason:
            os.waitpid(pid, 0)
            raise FsprobeError(
                "cannot start %s: %s" % (launch.words[0], os.strerror(int(reason))),
                "the command line and the environment are too long together"
                if int(reason) == errno.E2BIG
                else "see `fsprobe doctor`",
                EXIT_NOT_EXECUTABLE,
            )
        return pid
    try:
        # Python ignores these in itself; a program that it starts expects the default. A limit of the file size counts
        # for the log too, and a tracer must not die of it: it blocks the signal, or has it ignored.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if launch.is_target or not is_limited or launch.dress is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        if held.on_child is not None:
            signal.signal(signal.SIGCHLD, held.on_child)
        signal.pthread_sigmask(signal.SIG_SETMASK, held.mask)
        if launch.dress is not None:
            launch.dress(held.mask)
        os.execve(launch.program or launch.words[0], launch.words, environment)
    except OSError as error:
        os.write(write_end, b"%d" % (error.errno or 0))
    except ValueError:  # a word that no program can be given
        os.write(write_end, b"%d" % errno.EINVAL)
    finally:
        os._exit(127)
    return 0


def bytes_read() -> "int | None":
    """Bytes that this process and the children it has waited for have read, None where /proc does not say."""
    # includes what reaped children read; a traced program's own /proc/PID/io is gone when the tracer has reaped it
    process = os.getpid()
    try:
        if process not in _counts:
            _counts[process] = os.open("/proc/self/io", os.O_RDONLY | os.O_CLOEXEC)
        for line in os.pread(_counts[process], 4096, 0).split(b"\n"):
            if line.startswith(b"rchar:"):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None
