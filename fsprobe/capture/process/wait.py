"""Wait for a command and stay out of its way: its output, exit code, signals and descriptors are its own.

What was started is the command, or a tracer that starts it. A tracer is never killed: a program that runs under a seccomp
filter without its tracer gets ENOSYS from every traced call. Signals go to the command; the tracer ends when its last
tracee has ended. Who observes the command tells what only it can know: see `Observer`.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import os
import signal
import time

from fsprobe.capture.process import limits
from fsprobe.capture.process.signals import FORWARDED, SENT_BY_KERNEL, is_for_the_group, send, take_signal
from fsprobe.capture.process.start import bytes_read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from fsprobe.capture.process.signals import SignalsHeld
    from fsprobe.capture.process.start import Process

TICK_S = 0.1
CLOCK_SET_S, SHARE_CORRECTED = 1.0, 0.001
"""More than a clock gains that is corrected slowly: 0.5 ms a second at most (adjtimex(2))."""
SHORT_TICK_S = 0.02
"""Between looks at whether somebody is left, when nothing tells that the last one has ended."""


def end_facts(status: "int | None") -> "dict[str, int | None]":
    """How a command ended, for the manifest: its exit code as a shell gives it, and the signal that ended it.

    Args:
        status: the exit code, or minus the signal; None: not known.
    """
    if status is None:
        return {"exit_code": None, "signal": None}
    return {"exit_code": status if status >= 0 else 128 - status, "signal": -status if status < 0 else None}


class Outcome:
    """How a run ended. Times in s on the wall clock; CPU of the target (with its reaped children) and of the tracer apart."""

    exit_status = 0  # as os.waitstatus_to_exitcode: the exit code, or minus the signal
    is_known = True
    """Whether the process that was started told `exit_status`; else it goes on, and only an observer can know."""
    started_s = 0.0
    wall_s = 0.0
    user_s = 0.0
    sys_s = 0.0
    tracer_user_s = 0.0
    tracer_sys_s = 0.0
    majflt = 0
    read_bytes: "int | None" = None
    log_truncated = ""
    descendants_left = False
    target_pid = 0
    clock_set_s = 0.0
    """By how much the wall clock moved on more than the monotonic one meanwhile."""

    @property
    def exit_code(self) -> "int":
        """As a shell gives it: 128 and the signal's number for what a signal ended."""
        return end_facts(self.exit_status)["exit_code"] or 0

    def clock_words(self) -> "list[str]":
        """A line where the wall clock was set while the command ran; nothing is timed by it but the start."""
        if abs(self.clock_set_s) < max(CLOCK_SET_S, SHARE_CORRECTED * self.wall_s):
            return []
        way = "ahead" if self.clock_set_s > 0 else "back"
        reason = " (or the machine slept)" if self.clock_set_s > 0 else ""
        return [
            "the wall clock was set %s by %.0f s while the command ran%s: times are by another clock, but where "
            "ranks are compared by their starts, this one may be off" % (way, abs(self.clock_set_s), reason)
        ]


class Observer:
    """What is asked, while a command runs, of whoever observes it. This one sees nothing, and so nothing stands in its way."""

    tick_s = TICK_S
    """How long it can do without `watch`; asked at each tick."""
    is_stuck = False
    """It stands still for ever, and the command with it."""

    def target_pid(self) -> "int":
        """The command's process id as a tracer has it; 0 while nobody knows."""
        return 0

    def has_had(self, pid: "int", number: "int", sender: "int") -> "bool":
        """Whether the command got the signal `number` of process `sender` itself, so that it is not sent on."""
        return False

    def watch(self, process: "Process") -> "None":
        """Called at each tick, and once more when the waiting is over and something is left."""

    def is_at_work(self) -> "bool":
        """Whether something is still observed after the end of a command that was started without a tracer."""
        return False


def wait(
    process: "Process",
    observers: "Sequence[Observer]",
    held: "SignalsHeld",
    wait_descendants_s: "float",
    on_tick: "Callable[[], None] | None" = None,
) -> "Outcome":
    """Wait until all is over, hand signals on meanwhile, and say how it went.

    Args:
        process: what was started.
        observers: who observes it.
        held: the signals.
        wait_descendants_s: how long to wait, once the command has ended, for those it left behind.
        on_tick: called about every `TICK_S`.
    """
    outcome = Outcome()
    outcome.started_s = process.started_s
    waiting: "list[Any]" = []
    gone_at: "float | None" = None
    is_over = False
    told_at = 0.0
    wanted = [int(number) for number in (*FORWARDED, signal.SIGCHLD)]
    while True:
        is_short = process.is_target and gone_at is not None
        tick_s = min([by.tick_s for by in observers] + [TICK_S])
        arrived = take_signal(wanted, SHORT_TICK_S if is_short else tick_s)
        held.heed(None if arrived is None else arrived.si_signo)
        # left a zombie at first: the CPU of a tracer can be told apart from its children's only before it is reaped
        if gone_at is None or not process.is_target:
            is_over = has_ended(process.pid)
            if is_over and not process.is_target:
                break
        if not process.target_pid:
            process.target_pid = _target_pid(observers)
            if process.target_pid and process.limited:
                limits.lift_limits(process.pid)
        if arrived is not None and arrived.si_signo != signal.SIGCHLD:
            if any(by.is_stuck for by in observers):
                # not even SIGKILL ends what waits there: fsprobe alone can
                outcome.exit_status, outcome.descendants_left = -arrived.si_signo, True
                break
            if gone_at is not None:
                wait_descendants_s = 0.0  # there is nobody left to send it to: whoever sent it wants us to end
            elif not is_for_the_group(arrived):
                waiting.append(arrived)
        if process.target_pid and gone_at is None:
            if not (process.is_target and is_over):
                for one in waiting:
                    # what the kernel sent is the hang-up of a session's leader, whom alone it tells: the command must have it before
                    # it meets the terminal that is gone
                    if one.si_code == SENT_BY_KERNEL or not any(
                        by.has_had(process.target_pid, one.si_signo, one.si_pid) for by in observers
                    ):
                        send(process.target_pid, one.si_signo)
            waiting = []
            if is_over if process.is_target else not _answers(process.target_pid):
                gone_at = time.monotonic()
                outcome.wall_s = gone_at - process.begin
                if process.is_target:
                    _reap(process, outcome)
        if gone_at is not None:
            if process.is_target and not any(by.is_at_work() for by in observers):
                break
            if time.monotonic() - gone_at >= wait_descendants_s:
                # one more look: the tracer ends a moment after its last tracee
                is_over = not process.is_target and _ends_within(process.pid, TICK_S)
                outcome.descendants_left = not is_over
                break
        for by in observers:
            by.watch(process)
        if on_tick is not None and (tick_s == TICK_S or time.monotonic() - told_at >= TICK_S):
            told_at = time.monotonic()
            try:
                on_tick()
            except (OSError, ValueError):
                on_tick = None  # the terminal has gone: no reason to leave the command alone
    process.target_pid = process.target_pid or _target_pid(observers)
    outcome.target_pid = process.target_pid
    outcome.wall_s = outcome.wall_s or time.monotonic() - process.begin
    outcome.clock_set_s = time.time() - process.started_s - (time.monotonic() - process.begin)
    if not process.is_target:
        _end_of_tracer(process, outcome, is_over)
    if outcome.descendants_left:
        for by in observers:
            by.watch(process)
    return outcome


def _target_pid(observers: "Sequence[Observer]") -> "int":
    for by in observers:
        pid = by.target_pid()
        if pid:
            return pid
    return 0


def _reap(process: "Process", outcome: "Outcome") -> "None":
    """The command itself has ended: its usage holds that of the children it has waited for."""
    _, status, usage = os.wait4(process.pid, 0)
    outcome.user_s, outcome.sys_s, outcome.majflt = usage.ru_utime, usage.ru_stime, usage.ru_majflt
    outcome.exit_status = _exit_status(status)
    _note_reads(process, outcome)


def _end_of_tracer(process: "Process", outcome: "Outcome", is_over: "bool") -> "None":
    _account(outcome, process.pid)
    outcome.is_known = is_over
    if is_over:
        status = os.waitpid(process.pid, 0)[1]
        outcome.exit_status = _exit_status(status)
        if os.WIFSIGNALED(status) and process.target_pid not in (0, process.pid) and is_running(process.target_pid):
            outcome.log_truncated = (
                "signal %d killed the tracer, and from then on the command's filesystem calls failed (such a signal is for "
                "fsprobe alone, not for the whole process group)" % os.WTERMSIG(status)
            )
            while is_running(process.target_pid):
                time.sleep(TICK_S)
    _note_reads(process, outcome)


def _exit_status(status: "int") -> "int":
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _note_reads(process: "Process", outcome: "Outcome") -> "None":
    after = bytes_read()
    if process.bytes_read is not None and after is not None:
        outcome.read_bytes = after - process.bytes_read


def _account(outcome: "Outcome", tracer_pid: "int") -> "None":
    """Note the CPU of a child that has ended and was not yet waited for: its own, and apart that of its children."""
    # proc(5), /proc/PID/stat: 12 majflt, 13 cmajflt, 14 utime, 15 stime, 16 cutime, 17 cstime, in clock ticks
    try:
        with open("/proc/%d/stat" % tracer_pid, "rb", buffering=0) as source:
            fields = source.read(4096).rpartition(b")")[2].split()
        tick = float(os.sysconf("SC_CLK_TCK"))
        outcome.majflt = int(fields[10])
        outcome.tracer_user_s, outcome.tracer_sys_s = int(fields[11]) / tick, int(fields[12]) / tick
        outcome.user_s, outcome.sys_s = int(fields[13]) / tick, int(fields[14]) / tick
    except (OSError, ValueError, IndexError):
        pass


# ---- who runs -----------------------------------------------------------------------------------------------------


def is_running(pid: "int") -> "bool":
    """Whether a process is there and has not ended (one that nobody has waited for yet has)."""
    try:
        with open("/proc/%d/stat" % pid, "rb", buffering=0) as source:
            return source.read(4096).rpartition(b")")[2].split()[:1] not in ([b"Z"], [b"X"])
    except OSError as error:
        # without /proc the kernel can still be asked
        return error.errno not in (errno.ENOENT, errno.ESRCH) or (not os.path.exists("/proc/self") and _answers(pid))


def _answers(pid: "int") -> "bool":
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def has_ended(pid: "int") -> "bool":
    """Whether a child has ended, reaped or not."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _ends_within(pid: "int", limit_s: "float") -> "bool":
    end = time.monotonic() + limit_s
    while not has_ended(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
