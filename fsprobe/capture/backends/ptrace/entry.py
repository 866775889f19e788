"""How our own tracer is started, and whether it may trace here: what the recorder needs of it, without its tables.

Runs beside the target on Python 3.6 and later: standard library, few imports.
"""

import ctypes
import errno
import os
import signal
import struct
import sys

from fsprobe.capture import shipped
from fsprobe.capture.backends.ptrace import abi

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TRACER = "tracer.py"
PASSED_BY = (
    "SIGHUP SIGINT SIGQUIT SIGPIPE SIGTERM SIGTTOU SIGTTIN SIGUSR1 SIGUSR2 SIGVTALRM SIGPROF SIGXCPU SIGIO SIGPWR"
).split()
"""What the tracer ignores: the target gets them from the terminal, from our caller, or as one of all processes of a job
step. strace dies of SIGUSR1 and what follows, and with it every traced call of its target."""
EXIT_OWN_FAILURE = 125
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127


class CannotTrace(Exception):
    """One clear line, and the exit code that goes with it."""

    def __init__(self, message: str, exit_code: int = EXIT_OWN_FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def why_not() -> "str | None":
    """Explain in one line why this machine can't run the tracer, or return None where it can.

    Tries it: a child of ours is seized and let go, which takes about a millisecond.
    """
    return why_not_this_kernel() or why_not_allowed()


def why_not_this_kernel() -> "str | None":
    """Explain in one line why this kernel has not what the tracer needs, or return None where it has."""
    machine = os.uname()
    if machine.sysname != "Linux" or machine.machine != "x86_64" or struct.calcsize("P") != 8:
        return f"the ptrace backend runs on Linux on x86_64 only, not on {machine.sysname} on {machine.machine}"
    release = []
    for part in machine.release.split("-")[0].split(".")[:2]:
        release.append(int(part) if part.isdigit() else 0)
    if release < [5, 3]:
        return f"the ptrace backend needs Linux 5.3, this is {machine.release}"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(abi.PR_SET_SECCOMP, abi.SECCOMP_MODE_FILTER, None, 0, 0)
    if ctypes.get_errno() != errno.EFAULT:
        return "the kernel has no seccomp filters"
    return None


def why_not_allowed() -> "str | None":
    """Explain in one line why nobody gets to trace a child here, or return None; it is tried."""
    libc = ctypes.CDLL(None, use_errno=True)
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    os.close(ours)
    try:
        seize(libc, pid)
    except CannotTrace as error:
        return str(error)
    finally:
        os.close(theirs)
        while True:
            _, status = os.waitpid(pid, abi.WALL)
            if not os.WIFSTOPPED(status):
                break
            libc.ptrace(abi.PTRACE_CONT, pid, None, None)
    return None


def seize(libc: "ctypes.CDLL", pid: int) -> None:
    """Become the tracer of a process.

    Raises:
        CannotTrace: another traces it, or a policy forbids it.
    """
    if libc.ptrace(abi.PTRACE_SEIZE, pid, None, ctypes.c_void_p(abi.OPTIONS)) == 0:
        return
    reason = os.strerror(ctypes.get_errno())
    with open(f"/proc/{pid}/status") as lines:
        tracer = next((line.split()[1] for line in lines if line.startswith("TracerPid:")), "0")
    if tracer != "0":
        raise CannotTrace(f"can't trace: process {tracer} traces this program already")
    raise CannotTrace(f"can't trace: {reason} (a container or the site's policy forbids ptrace)")


def hold(mask: "Iterable[int]") -> "None":
    """Block, in the child that becomes the tracer, what it will ignore: its interpreter has not come to that yet."""
    signal.pthread_sigmask(signal.SIG_SETMASK, set(mask) | {getattr(signal, name) for name in PASSED_BY})


def command(
    log_path: str,
    argv: "Sequence[str]",
    python: "str | None" = None,
    complaints: str = "",
    variables: "Mapping[str, str] | None" = None,
    mask: "Iterable[int] | None" = None,
    cpu_path: str = "",
) -> "list[str]":
    """The command line that runs `argv` under this tracer.

    Args:
        log_path: file to write.
        argv: the command and its arguments.
        python: the interpreter for the tracer (3.6 or later).
        complaints: file for what the tracer says.
        variables: set for the command alone.
        mask: the signals that shall be blocked in the command; None for those of the tracer.
        cpu_path: file for the CPU times of threads; "" for none.
    """
    # out of an archive it is started by the archive's own main
    place = (
        [shipped.archive(), "--tracer"]
        if shipped.archive()
        else [os.path.join(os.path.dirname(os.path.abspath(__file__)), TRACER)]
    )
    return (
        [python or sys.executable, "-I", "-S"]
        + place
        + ["-o", log_path]
        + (["-u", cpu_path] if cpu_path else [])
        + (["-c", complaints] if complaints else [])
        + (["-m", ",".join(str(int(number)) for number in mask)] if mask is not None else [])
        + [word for name in sorted(variables or {}) for word in ("-E", "%s=%s" % (name, (variables or {})[name]))]
        + ["--"]
        + list(argv)
    )
