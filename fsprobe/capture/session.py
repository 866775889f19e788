"""Run one command under a tracer and stay out of its way: its output, exit code, signals and descriptors are its own.

The tracer is a child process that writes the log into the scratch directory. It is never killed: a program that runs
under a seccomp filter without its tracer gets ENOSYS from every traced call. Signals go to the target; the tracer ends
when its last tracee has ended.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import signal
import time

from fsprobe.capture import scratch as scratch_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

TICK_S = 0.1
LOW_SPACE_BYTES = 16 << 20
"""When the scratch has less room than this, what was logged is put aside compressed and recording stops. A judgement."""
TTY_SIGNAL_CODE = 128
"""si_code SI_KERNEL: the terminal sent it, to the whole foreground group, so the target has it already."""
FORWARDED = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]


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
    empty_log = False


def run(
    tracer: "list[str]",
    environment: "Mapping[str, str]",
    scratch: "str",
    max_log_bytes: "int",
    wait_descendants_s: "float",
    on_tick: "Callable[[], None] | None" = None,
) -> "Outcome":
    """Start `tracer` (a whole command line that ends in the command), wait, and say how it went.

    Args:
        tracer: command line; its first word is a path.
        environment: the target's environment.
        scratch: the scratch directory, in which the tracer writes `log`.
        max_log_bytes: bound of the log; past it what there is is kept and the rest is thrown away as it comes.
        wait_descendants_s: how long to wait, once the main process has ended, for those it left behind.
        on_tick: called about every `TICK_S` while it runs.
    """
    outcome = Outcome()
    log = os.path.join(scratch, scratch_dir.LOG)
    watched = set(FORWARDED) | {signal.SIGCHLD}
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    read_before = _read_bytes()
    outcome.started_s = time.time()
    begin = time.monotonic()
    tracer_pid = _start(tracer, environment, old_mask)
    outcome.tracer_pid = tracer_pid
    target_pid = 0
    target_gone_at = None
    ended = False
    while not ended:
        arrived = signal.sigtimedwait(watched, TICK_S)
        if arrived is not None and arrived.si_signo != signal.SIGCHLD and arrived.si_code != TTY_SIGNAL_CODE:
            target_pid = target_pid or first_pid(log)
            _send(target_pid or 0, arrived.si_signo)
        # left a zombie at first: its CPU can be told apart from its children's only before it is reaped
        ended = os.waitid(os.P_PID, tracer_pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if ended:
            break
        target_pid = target_pid or first_pid(log)
        if target_pid and target_gone_at is None and not _exists(target_pid):
            target_gone_at = time.monotonic()
            outcome.wall_s = target_gone_at - begin
        if target_gone_at is not None and time.monotonic() - target_gone_at > wait_descendants_s:
            outcome.descendants_left = True
            break
        outcome.log_truncated = outcome.log_truncated or _bound(log, scratch, max_log_bytes)
        if outcome.log_truncated:
            os.truncate(log, 0)
        if on_tick is not None:
            on_tick()
    outcome.wall_s = outcome.wall_s or time.monotonic() - begin
    _account(outcome, tracer_pid)
    if ended:
        status = os.waitpid(tracer_pid, 0)[1]
        outcome.exit_status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    else:
        outcome.exit_status = exit_status_in_log(log, target_pid)
    read_after = _read_bytes()
    if read_before is not None and read_after is not None:
        outcome.read_bytes = read_after - read_before
    outcome.empty_log = _size(log) == 0 and not outcome.log_truncated
    # one that came while we were leaving is for us again
    while signal.sigtimedwait(watched, 0) is not None:
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
    return outcome


def _start(command: "list[str]", environment: "Mapping[str, str]", mask: "Any") -> "int":
    pid = os.fork()
    if pid:
        return pid
    try:
        # Python ignores these two in itself; a program that it starts expects the default
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if hasattr(signal, "SIGXFSZ"):
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execve(command[0], command, dict(environment))
    finally:
        os._exit(127)
    return 0


def _send(pid: "int", number: "int") -> "None":
    if pid:
        try:
            os.kill(pid, number)
        except OSError:
            pass


def _exists(pid: "int") -> "bool":
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _size(path: "str") -> "int":
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def first_pid(log: "str") -> "int":
    """The target's process id, from the first line of the log; 0 while there is none."""
    try:
        with open(log, "rb", buffering=0) as source:
            words = source.read(64).split(None, 1)
    except OSError:
        return 0
    return int(words[0]) if len(words) > 1 and words[0].isdigit() else 0


def exit_status_in_log(log: "str", pid: "int") -> "int":
    """How process `pid` ended according to the log's exit lines: its code, minus a signal's number, or 0 when it does not say."""
    ending = b"%d " % pid
    status = 0
    try:
        with open(log, "rb") as source:
            for line in source:
                if b" +++ " in line and line.startswith(ending):
                    words = line.split(b" +++ ", 1)[1].split()
                    if words[:2] == [b"exited", b"with"]:
                        status = int(words[2])
                    elif words[:2] == [b"killed", b"by"]:
                        status = -int(getattr(signal, words[2].decode("ascii", "replace"), 0))
    except (OSError, ValueError, IndexError):
        pass
    return status


def _read_bytes() -> "int | None":
    # includes what reaped children read; a traced program's own /proc/PID/io is gone when the tracer has reaped it
    try:
        with open("/proc/self/io", "rb", buffering=0) as source:
            for line in source.read(4096).split(b"\n"):
                if line.startswith(b"rchar:"):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def _account(outcome: "Outcome", tracer_pid: "int") -> "None":
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


def _bound(log: "str", scratch: "str", max_log_bytes: "int") -> "str":
    """Put the log aside when it is too long or its filesystem nearly full; say why, or "" while all is well."""
    size = _size(log)
    if size > max_log_bytes:
        why = "the log reached --max-log"
    else:
        try:
            if scratch_dir.free_bytes(scratch) >= LOW_SPACE_BYTES:
                return ""
        except OSError:
            return ""
        why = "the scratch filesystem is nearly full"
    import zlib

    squeeze = zlib.compressobj(1)
    kept = os.path.join(scratch, scratch_dir.KEPT_LOG)
    left = size
    try:
        with open(log, "rb") as source, open(kept, "wb") as target:
            while left > 0:
                block = source.read(min(left, 1 << 20))
                if not block:
                    break
                left -= len(block)
                target.write(squeeze.compress(block))
            target.write(squeeze.flush())
    except OSError:
        pass
    return why


def leave_to_janitor(tracer_pid: "int", scratch: "str") -> "None":
    """Let a small detached process empty the log while the tracer still runs, and take the scratch away when it has ended.

    The tracer can't be stopped (see above), and its log would otherwise grow in memory for as long as what the command
    left behind goes on.
    """
    if os.fork():
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.closerange(3, 1024)
        log = os.path.join(scratch, scratch_dir.LOG)
        while _exists(tracer_pid):
            if _size(log):
                os.truncate(log, 0)
            time.sleep(1.0)
        scratch_dir.remove(scratch)
    finally:
        os._exit(0)
