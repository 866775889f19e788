"""Run one command below a supervisor, and leave no process behind whatever dies first.

Three processes: the caller, a supervisor that it forks (which may move into namespaces and hold helper daemons), and the
command. Both upper ones adopt orphans, so a daemonised grandchild is still found; the supervisor is told by the kernel
when the caller dies, and the command is killed by the kernel when the supervisor dies. The process ids that the command
sees are the ordinary ones: a pid namespace would be simpler, but would change what the command observes.

Signals sent to the caller reach the command. Those that a terminal makes are left alone: the terminal sends them to the
command as well.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from fsprobe.capture.machine.host import find_program
from fsprobe.capture.process.signals import die_of, take_signal
from fsprobe.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, FsprobeError
from fsprobe.layouts.mount import linux

_FORWARDED = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
    | {signal.SIGALRM, signal.SIGWINCH, signal.SIGXCPU}
    | set(range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
)
_WATCHED = _FORWARDED | {signal.SIGCHLD}
_QUIET_S = 0.5
"""How long helpers of the command (a resource tracker, a pool's manager) may take to notice that it ended."""
_GRACE_S = 2.0
"""Between SIGTERM and SIGKILL for what stays."""
_POLL_S = 1.0
"""Upper bound of one wait, in case a signal was taken by another thread."""
_GIVE_UP_S = 10.0
"""A process in an uninterruptible wait can't be killed; don't hang on it for ever."""

_START = b"+"
_EXEC_FAILED = b"!"


class NotReady(Exception):
    """The supervisor could not prepare what the command needs; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What `prepare` hands to the supervisor once everything is mounted."""

    told: Mapping[str, str]
    """Facts for the caller (JSON-able), e.g. how the mount was made."""
    wrapper: Sequence[str | bytes] = ()
    """Goes in front of the command; `{start_fd}` in it becomes the descriptor for `start_and_exec`."""
    daemons: frozenset[int] = frozenset()
    """Child pids that serve the command and end after it."""
    after_start: Callable[[], None] = lambda: None
    undo: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the command ended."""

    status: int
    """Exit code, or minus the number of the signal that killed it (as in subprocess)."""
    n_left: int
    """Processes that outlived the command and had to be ended."""
    told: Mapping[str, str]


def run_supervised(prepare: Callable[[], Ready], argv: Sequence[str | bytes]) -> Ended:
    """Prepare in a supervisor, run `argv` there with this process's stdin, stdout and stderr, and wait for it.

    Args:
        prepare: called in the supervisor, a forked child that may change its namespaces.
        argv: the command; empty to only prepare and undo.

    Raises:
        NotReady: `prepare` raised it, or an OSError.
        FsprobeError: the command was not found (127), is not executable (126), or the supervisor was killed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    bystanders = set(descendants(os.getpid()))
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:  # inherited; with it wait() has nothing to tell
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    report_read, report_write = os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    linux.adopt_orphans(True)
    kept: list[int] = []
    try:
        caller = os.getpid()
        supervisor = os.fork()
        if supervisor == 0:
            _supervise_and_exit(prepare, argv, caller, mask, report_write)
        os.close(report_write)
        status = _wait_for(supervisor, lambda: supervisor, kept=None if argv else kept)
        report: dict[str, Any] = json.loads(_read_all(report_read) or b"{}")
        if not report:
            end_processes(bystanders, quiet_s=0, grace_s=0)
            raise FsprobeError(
                f"the supervisor of the command was killed (status {status})",
                "every process of the command was ended too",
            )
    finally:
        os.close(report_read)
        linux.adopt_orphans(False)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number in kept:  # there was no command that they could be for
        signal.raise_signal(number)
    if "not_ready" in report:
        raise NotReady(report["not_ready"])
    if report["errno"]:
        raise not_started(argv[0], report["errno"])
    return Ended(status=report["status"], n_left=report["n_left"], told=report["told"])


def not_started(program: str | bytes, number: int) -> FsprobeError:
    """The error of a command that could not be started: 127 where it was not found, else 126."""
    name = os.fsdecode(program)
    if number in (errno.ENOENT, errno.ENOTDIR):
        if os.path.isfile(name):
            return FsprobeError(f"{name}: its interpreter is not there", "see its first line", EXIT_NOT_FOUND)
        return FsprobeError(f"{name}: command not found", "check the name and PATH", EXIT_NOT_FOUND)
    return FsprobeError(f"{name}: {os.strerror(number)}", "it can't be executed", EXIT_NOT_EXECUTABLE)


def start_and_exec(start_fd: int, argv: Sequence[str | bytes]) -> NoReturn:
    """Say on `start_fd` which process becomes the command, then become it; an exec error is said there too."""
    os.set_inheritable(start_fd, False)
    os.write(start_fd, b"%d%s" % (os.getpid(), _START))
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these two for itself
        signal.signal(signum, signal.SIG_DFL)
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        number = error.errno or 0
        # a directory on PATH that may not be searched is no command that may not be run
        if number == errno.EACCES and find_program(os.fsdecode(argv[0]), os.environ)[0] is None:
            number = errno.ENOENT
        os.write(start_fd, b"%d%s" % (number, _EXEC_FAILED))
    os._exit(EXIT_NOT_FOUND)


def end_like(status: int) -> NoReturn:
    """End this process as the command ended: the same exit code, or the same signal."""
    if status >= 0:
        sys.exit(status)
    sys.stdout.flush()
    die_of(-status)
    sys.exit(128 - status)


def descendants(root: int) -> dict[int, int]:
    """The living processes below `root`: pid -> parent's pid. Zombies are left out."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state not in (b"Z", b"X"):
            parents[int(name)] = int(parent)
    below = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in below and pid not in below}
        if not more:
            return {pid: parents[pid] for pid in below if pid != root}
        below |= more


def end_processes(spared: Collection[int], quiet_s: float = _QUIET_S, grace_s: float = _GRACE_S) -> int:
    """End every process below this one except `spared` (and what is below those); returns how many had to be told."""
    told: set[int] = set()
    began = time.monotonic()
    while True:
        _reap(spared)
        below = descendants(os.getpid())
        left = {pid for pid in below if not _is_below(pid, spared, below)}
        waited = time.monotonic() - began
        if not left or waited > quiet_s + grace_s + _GIVE_UP_S:
            return len(told)
        if waited >= quiet_s:
            hard = waited >= quiet_s + grace_s
            for pid in left if hard else left - told:
                try:
                    os.kill(pid, signal.SIGKILL if hard else signal.SIGTERM)
                except ProcessLookupError:
                    pass
            told |= left
        time.sleep(0.01)


def _is_below(pid: int, tops: Collection[int], parents: Mapping[int, int]) -> bool:
    while pid in parents:
        if pid in tops:
            return True
        pid = parents[pid]
    return False


def _reap(spared: Collection[int]) -> None:
    """Collect ended children, but never one in `spared`: somebody else waits for those."""
    for pid in _children_that_ended():
        if pid not in spared:
            os.waitpid(pid, os.WNOHANG)


def _children_that_ended() -> list[int]:
    me, ended = os.getpid(), []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            if state == b"Z" and int(parent) == me:
                ended.append(int(name))
    return ended


def _wait_for(
    child: int, target: Callable[[], int], lost: Callable[[], bool] = lambda: False, kept: list[int] | None = None
) -> int | None:
    """Wait for `child`, passing signals on to `target()`, or into `kept`; None when `lost()` became true before it ended."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if lost():
            return None
        info = take_signal(_WATCHED, _POLL_S)
        if kept is not None:
            if info and info.si_signo in _FORWARDED:
                kept.append(info.si_signo)
            continue
        # si_code > 0 means that the kernel made it (terminal, child): the command got its own
        if info and info.si_signo in _FORWARDED and info.si_code <= 0 and not lost():
            try:
                os.kill(target(), info.si_signo)
            except ProcessLookupError:
                pass


def _supervise_and_exit(
    prepare: Callable[[], Ready],
    argv: Sequence[str | bytes],
    caller: int,
    mask: Collection[int],
    report_fd: int,
) -> NoReturn:
    report: dict[str, Any] = {}
    try:
        report = _supervise(prepare, argv, caller, mask)
    except (NotReady, OSError) as error:
        report = {"not_ready": str(error)}
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        end_processes((), quiet_s=0, grace_s=0)
        try:
            os.write(report_fd, json.dumps(report).encode())
        finally:
            os._exit(0 if report else 1)


def _supervise(
    prepare: Callable[[], Ready],
    argv: Sequence[str | bytes],
    caller: int,
    mask: Collection[int],
) -> dict[str, Any]:
    def caller_died() -> bool:
        return os.getppid() != caller

    linux.adopt_orphans(True)
    linux.die_with_parent(signal.SIGTERM)
    ready = prepare()
    linux.die_with_parent(signal.SIGTERM)  # a change of credentials clears it
    status, number, n_left = 0, 0, 0
    try:
        if argv and not caller_died():
            child, start_fd, target = _start(ready, argv, mask)
            ready.after_start()
            ended = _wait_for(child, lambda: target, caller_died)
            hurry = ended is None
            n_left = end_processes(ready.daemons, 0 if hurry else _QUIET_S, _GRACE_S / 2 if hurry else _GRACE_S)
            status = -signal.SIGKILL if ended is None else ended
            os.set_blocking(start_fd, False)
            number = _exec_error(start_fd)
    finally:
        ready.undo()
        end_processes((), quiet_s=0)  # the daemons
    return {"status": status, "errno": number, "n_left": n_left, "told": dict(ready.told)}


def _start(ready: Ready, argv: Sequence[str | bytes], mask: Collection[int]) -> tuple[int, int, int]:
    """Fork the command; returns the child's pid, the descriptor that tells exec errors, the command's pid."""
    supervisor = os.getpid()
    start_read, start_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(start_read)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            linux.die_with_parent(signal.SIGKILL)
            if os.getppid() == supervisor:
                if ready.wrapper:
                    os.set_inheritable(start_write, True)
                    line = [part if part != "{start_fd}" else str(start_write) for part in ready.wrapper]
                    os.execvp(line[0], [*line, *argv])
                start_and_exec(start_write, argv)
        finally:
            os._exit(EXIT_NOT_FOUND)
    os.close(start_write)
    said = b""
    while not said.endswith(_START):
        byte = os.read(start_read, 1)
        if not byte:
            raise NotReady("the command's wrapper ended before it started the command")
        said += byte
    return child, start_read, int(said[:-1])


def _exec_error(start_fd: int) -> int:
    try:
        said = os.read(start_fd, 64)
    except BlockingIOError:
        said = b""
    os.close(start_fd)
    return int(said[:-1]) if said.endswith(_EXEC_FAILED) else 0


def _read_all(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)
