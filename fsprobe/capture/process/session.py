"""Run one command under a tracer and stay out of its way: its output, exit code, signals and descriptors are its own.

The tracer is a child process that writes the log into the scratch directory. It is never killed: a program that runs
under a seccomp filter without its tracer gets ENOSYS from every traced call. Signals go to the target; the tracer ends
when its last tracee has ended.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import os
import signal
import time

from fsprobe.capture.backends import text_log
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.errors import EXIT_NOT_EXECUTABLE, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from fsprobe.capture.backends.strace.shield import Shield


TICK_S = 0.1
LOW_SPACE_BYTES = 32 << 20
"""With less room than this in the scratch, recording stops. A judgement: a tracer writes some 0.5 MB in a tick, other
programs may write more."""
FLUSH_AFTER_S = 2.0
"""A batch system sends SIGKILL some time after SIGTERM (Slurm's KillWait: 30 s). A judgement."""
TTY_SIGNAL_CODE = 128
"""si_code SI_KERNEL: the terminal sent it, to the whole foreground group, so the target has it already."""
_NOT_FORWARDED = (
    "SIGKILL SIGSTOP SIGCHLD SIGTSTP SIGTTIN SIGTTOU SIGCONT SIGWINCH SIGURG SIGPIPE SIGXFSZ "
    "SIGSEGV SIGBUS SIGFPE SIGILL SIGTRAP SIGABRT SIGSYS"
).split()
FORWARDED = sorted(
    # 32 and 33 are glibc's own
    set(range(1, signal.NSIG)) - {int(getattr(signal, name)) for name in _NOT_FORWARDED} - {32, 33}
)
"""Every signal that somebody may send to fsprobe and mean the command: not those of a fault or of job control."""


class Outcome:
    """How a run ended. Times in s on the wall clock; CPU of the target (with its reaped children) and of the tracer apart."""

    exit_status = 0  # as os.waitstatus_to_exitcode: the exit code, or minus the signal
    started_s = 0.0
    wall_s = 0.0
    user_s = 0.0
    sys_s = 0.0
    tracer_user_s = 0.0
    tracer_sys_s = 0.0
    majflt = 0
    read_bytes = None  # type: int | None
    log_truncated = ""
    descendants_left = False
    tracer_pid = 0
    target_pid = 0
    empty_log = False


_taken = None  # type: Any  # the last that `take_signal` gave


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


class SignalsHeld:
    """While this is open no signal ends fsprobe: they wait, for `run` to send them on, and are dropped at the end.

    SIGCHLD gets its default meanwhile: where it is ignored (as some launchers leave it) no child can be waited for.
    """

    def __enter__(self) -> "SignalsHeld":
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [*FORWARDED, signal.SIGCHLD])
        self.on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return self

    flush = None  # type: Callable[[], None] | None
    """What to do once when the command was asked to end (SIGTERM) and is still there `FLUSH_AFTER_S` later."""
    asked_at = None  # type: float | None

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


def run(
    tracer: "list[str]",
    environment: "Mapping[str, str]",
    scratch: "str",
    max_log_bytes: "int",
    wait_descendants_s: "float",
    on_tick: "Callable[[], None] | None" = None,
    held: "SignalsHeld | None" = None,
    cover: "Shield | None" = None,
) -> "Outcome":
    """Start `tracer` (a whole command line that ends in the command), wait, and say how it went.

    Args:
        tracer: command line; its first word is a path.
        environment: the target's environment.
        scratch: the scratch directory, in which the tracer writes `log`.
        max_log_bytes: bound of the log; past it what there is is kept and the rest is thrown away as it comes.
        wait_descendants_s: how long to wait, once the main process has ended, for those it left behind.
        on_tick: called about every `TICK_S` while it runs.
        held: the signals, where the caller holds them already.
        cover: what keeps the tracer's stderr and signals from those of the command, where `tracer` ends in its command.

    Raises:
        FsprobeError: the tracer can't be started.
    """
    if held is None:
        with SignalsHeld() as held:
            return run(tracer, environment, scratch, max_log_bytes, wait_descendants_s, on_tick, held, cover)
    outcome = Outcome()
    log = os.path.join(scratch, scratch_dir.LOG)
    limits = _own_limits()
    read_before = read_bytes()
    outcome.started_s = time.time()
    begin = time.monotonic()
    tracer_pid = outcome.tracer_pid = start(tracer, environment, held, "file size" in limits, cover=cover)
    waiting: "list[Any]" = []
    bound = text_log.Bound(log, scratch, max_log_bytes, LOW_SPACE_BYTES)
    seen = text_log.SignalsSeen(log)
    gone_at = None
    ended = False
    while not ended:
        arrived = take_signal([*FORWARDED, signal.SIGCHLD], TICK_S)
        held.heed(None if arrived is None else arrived.si_signo)
        # left a zombie at first: its CPU can be told apart from its children's only before it is reaped
        ended = os.waitid(os.P_PID, tracer_pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if ended:
            break
        if not outcome.target_pid:
            outcome.target_pid = text_log.first_pid(log)
            if outcome.target_pid and limits:
                _lift_limits(tracer_pid)
        if arrived is not None and arrived.si_signo != signal.SIGCHLD:
            if gone_at is not None:
                wait_descendants_s = 0.0  # there is nobody left to send it to: whoever sent it wants us to end
            elif arrived.si_code != TTY_SIGNAL_CODE:
                waiting.append(arrived)
        if outcome.target_pid:
            for one in waiting:
                if not seen.has(outcome.target_pid, one.si_signo, one.si_pid):
                    send(outcome.target_pid, one.si_signo)
            waiting = []
        if outcome.target_pid and gone_at is None and not _answers(outcome.target_pid):
            gone_at = time.monotonic()
            outcome.wall_s = gone_at - begin
        if gone_at is not None and time.monotonic() - gone_at >= wait_descendants_s:
            # one more look: the tracer ends a moment after its last tracee
            ended = _ends_within(tracer_pid, TICK_S)
            outcome.descendants_left = not ended
            break
        bound.check(outcome.target_pid)
        if on_tick is not None:
            try:
                on_tick()
            except (OSError, ValueError):
                on_tick = None  # the terminal has gone: no reason to leave the command alone
    outcome.target_pid = outcome.target_pid or text_log.first_pid(log)
    outcome.wall_s = outcome.wall_s or time.monotonic() - begin
    account(outcome, tracer_pid)
    killed = ""
    if ended:
        status = os.waitpid(tracer_pid, 0)[1]
        outcome.exit_status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if os.WIFSIGNALED(status) and outcome.target_pid not in (0, tracer_pid) and is_running(outcome.target_pid):
            killed = (
                "signal %d killed the tracer, and from then on the command's filesystem calls failed (such a signal is for "
                "fsprobe alone, not for the whole process group)" % os.WTERMSIG(status)
            )
            while is_running(outcome.target_pid):
                time.sleep(TICK_S)
    else:
        bound.check(outcome.target_pid)
        outcome.exit_status = text_log.exit_status(log, outcome.target_pid, bound.ending)
    read_after = read_bytes()
    if read_before is not None and read_after is not None:
        outcome.read_bytes = read_after - read_before
    bound.finish(outcome.target_pid, ended)
    outcome.log_truncated = killed or bound.why
    outcome.empty_log = text_log.size_bytes(log) == 0 and not bound.why
    return outcome


def start(
    command: "list[str]",
    environment: "Mapping[str, str]",
    held: "SignalsHeld",
    limited: "bool",
    program: "str" = "",
    cover: "Shield | None" = None,
) -> "int":
    """Start a child with the signals as fsprobe found them, and give its process id.

    Args:
        command: its argument list; the first word is its path where `program` does not name it.
        environment: its environment.
        held: the signals.
        limited: whether a limit of the file size must not end it.
        program: path to execute.
        cover: what a tracer puts on.

    Raises:
        FsprobeError: it can't be started.
    """
    read_end, write_end = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(read_end)
        os.close(write_end)
        raise FsprobeError(
            "cannot start the tracer: %s" % error.strerror, "the limit of processes may be reached (ulimit -u)"
        )
    if pid:
        os.close(write_end)
        reason = os.read(read_end, 16)
        os.close(read_end)
        if reason:
            os.waitpid(pid, 0)
            raise FsprobeError(
                "cannot start %s: %s" % (command[0], os.strerror(int(reason))),
                "the command line and the environment are too long together"
                if int(reason) == errno.E2BIG
                else "see `fsprobe doctor`",
                EXIT_NOT_EXECUTABLE,
            )
        return pid
    try:
        # Python ignores these in itself; a program that it starts expects the default. A limit of the file size counts
        # for the log too, and a tracer must not die of it.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if not limited or cover is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        if held.on_child is not None:
            signal.signal(signal.SIGCHLD, held.on_child)
        signal.pthread_sigmask(signal.SIG_SETMASK, held.mask)
        if cover is not None:
            cover.put_on(held.mask)
        os.execve(program or command[0], command, dict(environment))
    except OSError as error:
        os.write(write_end, b"%d" % (error.errno or 0))
    finally:
        os._exit(127)
    return 0


def send(pid: "int", number: "int") -> "None":
    """Send a signal; that there is nobody left to get it is no failure."""
    try:
        os.kill(pid, number)
    except OSError:
        pass


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


def _ends_within(pid: "int", limit_s: "float") -> "bool":
    end = time.monotonic() + limit_s
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def _own_limits() -> "set[str]":
    """Which of the limits that could end a tracer are set: "cpu time", "file size"."""
    try:
        with open("/proc/self/limits", "rb", buffering=0) as source:
            lines = source.read(8192).decode("ascii", "replace").split("\n")
    except OSError:
        return set()
    found = set()
    for name in ("cpu time", "file size"):
        for line in lines:
            if line.startswith("Max " + name) and line.split()[3] != "unlimited":
                found.add(name)
    return found


def _lift_limits(tracer_pid: "int") -> "None":
    """The target has its limits; the tracer's own, which it started with, go as high as they may."""
    import resource

    for kind in (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
        for wanted in (resource.RLIM_INFINITY, None):
            try:
                hard = resource.prlimit(tracer_pid, kind)[1] if wanted is None else wanted
                resource.prlimit(tracer_pid, kind, (hard, hard))
                break
            except (OSError, ValueError):
                continue


def read_bytes() -> "int | None":
    """Bytes that this process and the children it has waited for have read, None where /proc does not say."""
    # includes what reaped children read; a traced program's own /proc/PID/io is gone when the tracer has reaped it
    try:
        with open("/proc/self/io", "rb", buffering=0) as source:
            for line in source.read(4096).split(b"\n"):
                if line.startswith(b"rchar:"):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def account(outcome: "Outcome", tracer_pid: "int") -> "None":
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


def leave_to_janitor(tracer_pid: "int", scratch: "str", hook_dir: "str" = "") -> "None":
    """Let a small detached process empty the log while the tracer still runs, and take the scratch away when it has ended.

    The tracer can't be stopped (see above), and its log would otherwise grow in memory for as long as what the command
    left behind goes on.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.closerange(3, 1024)
        log = os.path.join(scratch, scratch_dir.LOG)
        while is_running(tracer_pid):
            if text_log.size_bytes(log):
                os.truncate(log, 0)
            time.sleep(1.0)
        if hook_dir:
            from fsprobe.capture.directories import hook_place

            hook_place.remove(hook_dir, scratch)
        scratch_dir.remove(scratch)
    finally:
        os._exit(0)
