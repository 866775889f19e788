"""Attach to a running program, record what it does for some seconds, and let it go as it was.

Starts nothing but the observer: the backend says how it gets at the program and lets it go again.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import signal
import time

import fsprobe
from fsprobe.capture import backends, naming
from fsprobe.capture.backends import text_log
from fsprobe.capture.backends.protocol import AttachingBackend, Machine, Run
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.machine import host, mounts
from fsprobe.capture.machine.running import look_at, usage
from fsprobe.capture.process.signals import FORWARDED, SignalsHeld, take_signal
from fsprobe.capture.process.start import start
from fsprobe.capture.process.wait import TICK_S, end_facts, has_ended
from fsprobe.capture.sections import write_recording, write_state
from fsprobe.errors import BadInput, FsprobeError, MachineCannot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fsprobe.capture.machine.running import Target
    from fsprobe.capture.process.start import Process

ATTACH_LIMIT_S = 10.0


class Attached:
    """What `attach` gives back: the recording, how long the program was traced, and lines that the user should read.

    `losses` are lines that he must read, whatever else he does not want to.
    """

    def __init__(self, path: "str", wall_s: "float", warnings: "list[str]", losses: "list[str]") -> "None":
        self.path = path
        self.wall_s = wall_s
        self.warnings = warnings
        self.losses = losses


def attach(
    pid: "int",
    seconds: "float",
    output: "str" = "",
    label: "str" = "",
    tmp_dir: "str" = "",
    max_log_bytes: "int" = 2 << 30,
    replaces: "bool" = False,
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
        replaces: a file that came there meanwhile is replaced; else the recording gets another name, which is warned of.
        on_start: called with the target and the log's path once it is traced.
        on_tick: called about ten times a second meanwhile.

    Raises:
        BadInput: there is no such process, or no recording can be written there.
        MachineCannot: it can't be traced: no strace, not allowed, or traced already.
        FsprobeError: no scratch, or the recording can't be written.
    """
    target = look_at(pid)
    observer = choose(Machine(os.environ))
    run = Run(target.words or [target.program], os.environ)
    path = output or naming.default_name(run.command, os.uname().nodename, None)
    _, why_not = naming.look(path)
    if why_not:
        raise BadInput("cannot write %s: %s" % (path, why_not), "name another place with -o")
    run.scratch = scratch_dir.make(tmp_dir or None, os.environ, mounts.parse_mountinfo(mounts.read_own()))
    run.max_log_bytes = max_log_bytes
    observer.settle(run.scratch, run.scratch)
    with SignalsHeld() as held:
        process = None  # type: Process | None
        try:
            process = start(observer.attach(run, target), held)
            process.target_pid = target.pid
            _wait_until_attached(observer, process, target)
        except BaseException:
            if process is not None:
                observer.let_go(process)
            scratch_dir.remove(run.scratch)
            raise
        try:
            before = usage(target.pid)
            state = _facts(target, label, seconds, observer)
            write_state(run.scratch, state, target.mounts)  # what is recorded can be salvaged, should fsprobe be killed
            begin = time.monotonic()
            if on_start is not None:
                on_start(target, observer.log())
            after = _wait(target.pid, process, begin + seconds, observer, on_tick) or before
            state["wall_s"] = round(time.monotonic() - begin, 6)
        finally:
            is_off = observer.let_go(process)
        for name in after:
            state[name] = round(after[name] - before[name], 6) if name in before else None
        observer.watch(process)
        state["log_truncated"] = observer.truncated
        state.update(_ending(observer, target.pid))
        appeared = []  # type: list[str]
        if not replaces:
            path = naming.free_name(path, appeared)
        try:
            write_recording(run.scratch, state, path, [], [observer])
        except FsprobeError as error:
            write_state(run.scratch, state)
            if is_off:
                error.hint += "; nothing is lost: `fsprobe salvage %s -o FILE` makes the recording" % run.scratch
            raise
        if is_off:
            scratch_dir.remove(run.scratch)
        else:
            from fsprobe.capture.process import janitor

            janitor.leave(process.pid, observer.empty, lambda: scratch_dir.remove(run.scratch))
        return Attached(path, state["wall_s"], _warnings(state, is_off), appeared)


def choose(machine: "Machine") -> "AttachingBackend":
    """The first backend that gets at a running program here.

    Raises:
        MachineCannot: none does; says why.
    """
    reasons = []
    hint = ""
    for one in backends.every():
        if isinstance(one, AttachingBackend):
            why = one.why_not_attach(machine)
            if not why:
                return one
            reasons.append(why)
            hint = hint or one.remedy
    raise MachineCannot("; ".join(reasons), hint)


def _wait_until_attached(observer: "AttachingBackend", process: "Process", target: "Target") -> "None":
    end = time.monotonic() + ATTACH_LIMIT_S
    while time.monotonic() < end and not has_ended(process.pid):
        if observer.is_attached(process, target):
            return
        time.sleep(0.005)
    raise observer.why_not_attached(target)


def _wait(
    pid: "int", process: "Process", end: "float", observer: "AttachingBackend", on_tick: "Callable[[], None] | None"
) -> "dict[str, float]":
    """Wait for the time to pass, a signal, or the end of the program; gives what it had used up by then."""
    last = usage(pid)
    while True:
        left = end - time.monotonic()
        if left <= 0 or has_ended(process.pid):
            return usage(pid) or last
        arrived = take_signal([*FORWARDED, signal.SIGCHLD], min(left, TICK_S))
        if arrived is not None and arrived.si_signo != signal.SIGCHLD:
            return usage(pid) or last
        last = usage(pid) or last
        observer.watch(process)
        if on_tick is not None:
            try:
                on_tick()
            except (OSError, ValueError):
                on_tick = None


def _facts(target: "Target", label: "str", seconds: "float", observer: "AttachingBackend") -> "dict[str, Any]":
    facts = host.facts(target.environment)
    facts.update(
        fsprobe_version=fsprobe.__version__,
        command=target.words or [target.program],
        label=label,
        cwd=target.cwd,
        backend=observer.name,
        backend_version=observer.version,
        capabilities=sorted(observer.observes),
        markers="none",
        started_s=time.time(),
        cache="unknown",
        layout=None,
        fsprobe_pid=os.getpid(),
        scratch=observer.scratch,
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


def _ending(observer: "AttachingBackend", pid: "int") -> "dict[str, Any]":
    """How the program ended, where it did so while it was traced; else nothing is known."""
    return end_facts(text_log.last_ending(observer.text(), pid))


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
