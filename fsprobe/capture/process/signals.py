"""Signals that fsprobe holds while a command runs: what somebody sends to fsprobe is meant for the command.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

FLUSH_AFTER_S = 2.0
"""A batch system sends SIGKILL some time after SIGTERM (Slurm's KillWait: 30 s). A judgement."""
SENT_BY_KERNEL = 128
"""si_code SI_KERNEL."""
_NOT_FORWARDED = (
    "SIGKILL SIGSTOP SIGCHLD SIGTSTP SIGTTIN SIGTTOU SIGCONT SIGWINCH SIGURG SIGPIPE SIGXFSZ "
    "SIGSEGV SIGBUS SIGFPE SIGILL SIGTRAP SIGABRT SIGSYS"
).split()
FORWARDED = sorted(
    # 32 and 33 are glibc's own
    set(range(1, signal.NSIG)) - {int(getattr(signal, name)) for name in _NOT_FORWARDED} - {32, 33}
)
"""Every signal that somebody may send to fsprobe and mean the command: not those of a fault or of job control."""

_taken: "Any" = None  # the last that `take_signal` gave


def take_signal(wanted: "Collection[int]", timeout_s: "float") -> "Any":
    """The next of the blocked signals `wanted`, as `signal.sigtimedwait` gives it; None when the time is over.

    CPython's own returns what happens to lie on its stack when the time is over just as a stop and a SIGCONT interrupt it:
    a number that is no signal, or once more the signal that it returned last.
    """
    global _taken
    begin = time.monotonic()
    found = signal.sigtimedwait(wanted, timeout_s)  # type: Any
    is_late = found is not None and time.monotonic() - begin >= timeout_s > 0
    if is_late and (found.si_signo not in wanted or found == _taken):
        return None
    _taken = found if found is not None else _taken
    return found


def is_for_the_group(info: "Any") -> "bool":
    """Whether the terminal sent this signal to the whole foreground group, so that the command has it already.

    A hang-up is sent to the session's leader alone (`ssh -t HOST fsprobe ...`, `tmux new-window`): where fsprobe is in the
    place that the command would have, it hands that on. Source: tty_signal_session_leader in Linux's tty_jobctrl.c.
    """
    return info.si_code == SENT_BY_KERNEL and not (info.si_signo == signal.SIGHUP and os.getsid(0) == os.getpid())


class SignalsHeld:
    """While this is open no signal ends fsprobe: they wait, to be sent on to the command, and are dropped at the end.

    SIGCHLD gets its default meanwhile: where it is ignored (as some launchers leave it) no child can be waited for.
    """

    def __enter__(self) -> "SignalsHeld":
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [*FORWARDED, signal.SIGCHLD])
        self.on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return self

    flush: "Callable[[], None] | None" = None
    """What to do once when the command was asked to end (SIGTERM) and is still there `FLUSH_AFTER_S` later."""
    asked_at: "float | None" = None

    def heed(self, number: "int | None") -> "None":
        """Take note of a signal that arrived, and flush when it is time to."""
        if number == signal.SIGTERM and self.asked_at is None:
            self.asked_at = time.monotonic()
        if self.flush is not None and self.asked_at is not None and time.monotonic() - self.asked_at >= FLUSH_AFTER_S:
            flush, self.flush = self.flush, None
            flush()

    def __exit__(self, *_: "object") -> "None":
        while signal.sigtimedwait([*FORWARDED, signal.SIGCHLD], 0) is not None:
            pass
        signal.signal(signal.SIGCHLD, self.on_child)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def send(pid: "int", number: "int") -> "None":
    """Send a signal; that there is nobody left to get it is no failure."""
    try:
        os.kill(pid, number)
    except OSError:
        pass


def die_of(number: "int") -> "None":
    """End as the command did: by its signal, without a core file of our own."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        pass
    if sys.stderr is not None:
        sys.stderr.flush()
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
