"""Attach to a running program, record what it does for some seconds, and let it go as it was.

strace traces all threads of the process, and what they start meanwhile. It is ended by SIGINT, on which it lets go of every
thread without a stop; should fsprobe be killed, the kernel sends it that very signal (PR_SET_PDEATHSIG). `--seccomp-bpf`
does not work on a running program, so every system call of it stops twice meanwhile: it is slowed down for as long.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import ctypes
import json
import os
import signal
import time

import fsprobe
from fsprobe.capture import naming
from fsprobe.capture.backends import text_log
from fsprobe.capture.backends.strace import installed
from fsprobe.capture.directories import own_files
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.lookups import collect
from fsprobe.capture.machine import host, mounts
from fsprobe.capture.machine.running import Target, look_at, status_of, tids_of, tracer_of, usage
from fsprobe.capture.process import session
from fsprobe.capture.sections import write_state
from fsprobe.errors import BadInput, FsprobeError, MachineCannot
from fsprobe.recording import file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ERRORS = "errors"
"""What strace says on stderr, in the scratch directory."""
ATTACH_LIMIT_S = 10.0
DETACH_LIMIT_S = 10.0
"""A thread in an uninterruptible wait (a file server that does not answer) can't be let go before it returns."""
_PR_SET_PDEATHSIG = 1


class Attached:
    """What `attach` gives back: the recording, how long the program was traced, and lines that the user should read."""

    def __init__(self, path: "str", wall_s: "float", warnings: "list[str]") -> "None":
        self.path = path
        self.wall_s = wall_s
        self.warnings = warnings


def attach(
    pid: "int",
    seconds: "float",
    output: "str" = "",
    label: "str" = "",
    tmp_dir: "str" = "",
    max_log_bytes: "int" = 2 << 30,
    on_start: "Callable[[Target, str], None] | None" = None,
    on_tick: "Callable[[], None] | None" = None,
) -> "Attached":
    """Trace a running process for a while and write what it did.

    Args:
        pid: process id, or the id of one of its threads.
        seconds: how long; a signal to fsprobe or the end of the program ends it sooner.
        output: the recording; named after the program where it is "".
        label: a word for this run in reports.
        tmp_dir: where the log is kept meanwhile.
        max_log_bytes: bound of the log.
        on_start: called with the target and the log's path once it is traced.
        on_tick: called about ten times a second meanwhile.

    Raises:
        BadInput: there is no such process.
        MachineCannot: it can't be traced: no strace, not allowed, or traced already.
        FsprobeError: no scratch, or the recording can't be written.
    """
    target = look_at(pid)
    program = installed.find(os.environ)
    if program is None:
        raise MachineCannot("attaching needs strace, and there is none on PATH", "load a module that has it")
    version = installed.version(program)
    if version is None or version < installed.MIN_VERSION:
        raise MachineCannot("%s is too old or does not run" % program, "fsprobe needs %d.%d" % installed.MIN_VERSION)
    scratch = scratch_dir.make(tmp_dir or None, os.environ, mounts.parse_mountinfo(mounts.read_own()))
    log = os.path.join(scratch, scratch_dir.LOG)
    with session.SignalsHeld() as held:
        tracer_pid = 0
        try:
            tracer_pid = _start(installed.attach_line(program, version, log, target.pid), scratch, held)
            _wait_until_traced(target, tracer_pid, scratch)
        except BaseException:
            _let_go(tracer_pid)
            scratch_dir.remove(scratch)
            raise
        try:
            before = usage(target.pid)
            state = _facts(target, label, seconds, version, scratch)
            write_state(scratch, state, target.mounts)  # what is recorded can be salvaged, should fsprobe be killed
            begin = time.monotonic()
            if on_start is not None:
                on_start(target, log)
            bound = text_log.Bound(log, scratch, max_log_bytes, session.LOW_SPACE_BYTES)
            after = _wait(target.pid, tracer_pid, begin + seconds, bound, on_tick) or before
            state["wall_s"] = round(time.monotonic() - begin, 6)
        finally:
            is_off = _let_go(tracer_pid)
        for name in after:
            state[name] = round(after[name] - before[name], 6) if name in before else None
        bound.check(target.pid)
        state["log_truncated"] = bound.why
        state.update(_ending(log, target.pid))
        path = output or naming.default_name(target.words or [target.program], str(state["host"]), None)
        try:
            _write(path, state, log, target)
        except FsprobeError as error:
            write_state(scratch, state)
            if is_off:
                error.hint += "; nothing is lost: `fsprobe salvage %s -o FILE` makes the recording" % scratch
            raise
        if is_off:
            scratch_dir.remove(scratch)
        else:
            session.leave_to_janitor(tracer_pid, scratch)
        return Attached(path, state["wall_s"], _warnings(state, is_off))


# ---- the tracer -------------------------------------------------------------------------------------------------------


def _start(words: "list[str]", scratch: "str", held: "session.SignalsHeld") -> "int":
    errors = os.open(os.path.join(scratch, ERRORS), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    libc = ctypes.CDLL(None)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(errors)
        return pid
    try:
        # a process group of its own: Ctrl-C in the terminal is for fsprobe, which ends this one in its own time
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(errors, 2)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() == parent:
            os.execve(words[0], words, dict(os.environ))
    finally:
        os._exit(127)
    return 0


def _wait_until_traced(target: "Target", tracer_pid: "int", scratch: "str") -> "None":
    end = time.monotonic() + ATTACH_LIMIT_S
    while time.monotonic() < end:
        if _has_ended(tracer_pid):
            break
        tids = tids_of(target.pid)
        if tids and all(tracer_of(target.pid, tid) == tracer_pid for tid in tids):
            target.tids = tids
            return
        time.sleep(0.005)
    raise _refusal(target, scratch)


def _refusal(target: "Target", scratch: "str") -> "FsprobeError":
    """Why strace did not get at it, in words."""
    status = status_of(target.pid)
    if not status or status.get("State", "")[:1] in "ZX":
        return BadInput(
            "process %d ended before it could be traced" % target.pid, "start it with `fsprobe run` instead"
        )
    try:
        with own_files.reader(os.path.join(scratch, ERRORS)) as source:
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


def _has_ended(pid: "int") -> "bool":
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _wait(
    pid: "int", tracer_pid: "int", end: "float", bound: "text_log.Bound", on_tick: "Callable[[], None] | None"
) -> "dict[str, float]":
    """Wait for the time to pass, a signal, or the end of the program; gives what it had used up by then."""
    last = usage(pid)
    while True:
        left = end - time.monotonic()
        if left <= 0 or _has_ended(tracer_pid):
            return usage(pid) or last
        arrived = session.take_signal([*session.FORWARDED, signal.SIGCHLD], min(left, session.TICK_S))
        if arrived is not None and arrived.si_signo != signal.SIGCHLD:
            return usage(pid) or last
        last = usage(pid) or last
        bound.check(pid)
        if on_tick is not None:
            try:
                on_tick()
            except (OSError, ValueError):
                on_tick = None


def _let_go(tracer_pid: "int") -> "bool":
    """Have strace detach, and wait for it; never by force, which would leave the program stopped. False: it is still at it."""
    if not tracer_pid:
        return True
    end = time.monotonic() + DETACH_LIMIT_S
    asked_at = 0.0
    while not _has_ended(tracer_pid):
        if time.monotonic() > end:
            return False
        if time.monotonic() - asked_at > 1.0:
            session.send(tracer_pid, signal.SIGINT)
            asked_at = time.monotonic()
        time.sleep(0.005)
    try:
        os.waitpid(tracer_pid, 0)
    except ChildProcessError:
        pass
    return True


# ---- the recording ----------------------------------------------------------------------------------------------------


def _facts(
    target: "Target", label: "str", seconds: "float", version: "tuple[int, int]", scratch: "str"
) -> "dict[str, Any]":
    facts = host.facts(target.environment)
    facts.update(
        fsprobe_version=fsprobe.__version__,
        command=target.words or [target.program],
        label=label,
        cwd=target.cwd,
        backend="strace",
        backend_version="%d.%d" % version,
        markers="none",
        started_s=time.time(),
        cache="unknown",
        layout=None,
        fsprobe_pid=os.getpid(),
        scratch=scratch,
        privileged=[],
        descendants_left=False,
        attached={
            "pid": target.pid,
            "tids": target.tids,
            "program": target.program,
            "is_python": target.is_python,
            "for_s": seconds,
        },
    )
    return facts


def _ending(log: "str", pid: "int") -> "dict[str, Any]":
    """How the program ended, where it did so while it was traced; else nothing is known."""
    status = None
    try:
        for block in text_log.blocks(log):
            for line in block.split(b"\n"):
                status = text_log.ending(line, pid, status)
    except OSError:
        pass
    if status is None:
        return {"exit_code": None, "signal": None}
    return {"exit_code": status if status >= 0 else 128 - status, "signal": -status if status < 0 else None}


def _write(path: "str", state: "dict[str, Any]", log: "str", target: "Target") -> "None":
    if not os.path.exists(log):
        open(log, "wb").close()
    # in another mount namespace the same paths may be other files
    found = collect.collect(log) if target.shares_mounts else {}
    file.write(
        path,
        "recording",
        [
            ("manifest", json.dumps(state, indent=1, sort_keys=True).encode("ascii")),
            ("log", text_log.blocks(log)),
            ("marks", b""),
            ("mounts", target.mounts),
            ("lookups", json.dumps(found).encode("ascii")),
        ],
    )


def _warnings(state: "dict[str, Any]", is_off: "bool") -> "list[str]":
    warnings = []
    if state["log_truncated"]:
        warnings.append("the recording is not complete: %s; the program goes on" % state["log_truncated"])
    if state["exit_code"] is not None:
        warnings.append("the program ended while it was traced, with exit code %d" % state["exit_code"])
    if not is_off:
        warnings.append(
            "strace has not let go of all threads yet: one waits in the kernel and can't be interrupted. It will when that "
            "returns; do not kill it, that would leave the program stopped"
        )
    return warnings
