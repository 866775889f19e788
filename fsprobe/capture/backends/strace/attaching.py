"""strace at a program that runs already.

strace traces all threads of the process, and what they start meanwhile. It is ended by SIGINT, on which it lets go of every
thread without a stop; should fsprobe be killed, the kernel sends it that very signal (PR_SET_PDEATHSIG). `--seccomp-bpf`
does not work on a running program, so every system call of it stops twice meanwhile: it is slowed down for as long.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import ctypes
import os
import signal
import time

from fsprobe.capture.backends.tracing import COMPLAINTS
from fsprobe.capture.directories import own_files
from fsprobe.capture.machine.running import status_of, tids_of, tracer_of
from fsprobe.capture.process.signals import send
from fsprobe.capture.process.start import Launch
from fsprobe.capture.process.wait import has_ended
from fsprobe.errors import BadInput, FsprobeError, MachineCannot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fsprobe.capture.machine.running import Target

LIMIT_S = 10.0
"""A thread in an uninterruptible wait (a file server that does not answer) can't be let go before it returns."""
_PR_SET_PDEATHSIG = 1


def launch(words: "list[str]", place: "str", environment: "Mapping[str, str]") -> "Launch":
    """What starts strace with the command line `words`.

    Raises:
        OSError: what it says can't be written in `place`.
    """
    made = Launch(words, environment)
    made.is_target = False
    errors = os.open(os.path.join(place, COMPLAINTS), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    made.kept.append(errors)
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def dress(_: "Iterable[int]") -> "None":
        # a process group of its own: Ctrl-C in the terminal is for fsprobe, which ends this one in its own time
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(errors, 2)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)

    made.dress = dress
    return made


def is_attached(tracer_pid: "int", target: "Target") -> "bool":
    """Whether `tracer_pid` traces every thread of the process; those are then in `target`."""
    tids = tids_of(target.pid)
    if not tids or not all(tracer_of(target.pid, tid) == tracer_pid for tid in tids):
        return False
    target.tids = tids
    return True


def refusal(target: "Target", place: "str") -> "FsprobeError":
    """Why strace did not get at it, in words."""
    status = status_of(target.pid)
    if not status or status.get("State", "")[:1] in "ZX":
        return BadInput(
            "process %d ended before it could be traced" % target.pid, "start it with `fsprobe run` instead"
        )
    try:
        with own_files.reader(os.path.join(place, COMPLAINTS)) as source:
            said = source.read(1 << 16).decode("utf-8", "replace").strip().split("\n")[0]
    except OSError:
        said = ""
    owner = int(status.get("Uid", "0").split()[0])
    if "Operation not permitted" in said or "EPERM" in said:
        if os.getuid() and owner != os.getuid():
            return MachineCannot(
                "process %d belongs to user id %d, you are %d" % (target.pid, owner, os.getuid()),
                "only root may trace the programs of others",
            )
        scope = _read_number("/proc/sys/kernel/yama/ptrace_scope")
        if scope == 1 and os.getuid():
            return MachineCannot(
                "the kernel lets a process trace only what it started itself (Yama, ptrace_scope 1)",
                "start the program with `fsprobe run`, or let it call prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY)",
            )
        if scope is not None and scope > 1:
            return MachineCannot(
                "tracing is switched off on this machine (Yama, ptrace_scope %d)" % scope,
                "the administrator can allow it; `fsprobe run --backend audit` needs no tracing",
            )
        return MachineCannot(
            "the kernel does not allow to trace process %d" % target.pid,
            "it may run with other privileges, in a container, or be a thread of the kernel",
        )
    return MachineCannot("strace could not attach to process %d: %s" % (target.pid, said or "it does not say why"))


def _read_number(path: "str") -> "int | None":
    try:
        with open(path, "rb", buffering=0) as source:
            return int(source.read(16))
    except (OSError, ValueError):
        return None


def let_go(tracer_pid: "int") -> "bool":
    """Have strace detach, and wait for it; never by force, which would leave the program stopped. False: it is still at it."""
    end = time.monotonic() + LIMIT_S
    asked_at = 0.0
    while not has_ended(tracer_pid):
        if time.monotonic() > end:
            return False
        if time.monotonic() - asked_at > 1.0:
            send(tracer_pid, signal.SIGINT)
            asked_at = time.monotonic()
        time.sleep(0.005)
    try:
        os.waitpid(tracer_pid, 0)
    except ChildProcessError:
        pass
    return True
