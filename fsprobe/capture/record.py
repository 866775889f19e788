"""Record one run: options in, one recording file out. Reads as the list of what happens.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import functools
import os
import time

import fsprobe
from fsprobe.capture import naming, shipped
from fsprobe.capture.backends import choice, text_log
from fsprobe.capture.backends.audit import waiting
from fsprobe.capture.backends.strace import shield
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.machine import host, mounts, ranks
from fsprobe.capture.machine.environment import own_environment
from fsprobe.capture.process import session
from fsprobe.capture.sections import write_recording, write_state
from fsprobe.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_OWN_FAILURE, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fsprobe.capture.options import RunOptions

DENIED_HINT = (
    "tracing is not allowed here (container policy, Yama, or already traced): see `fsprobe doctor`, "
    "or use `--backend audit`"
)


class Recorded:
    """What `record` gives back: the file, how the run ended, and lines that the user should read."""

    def __init__(self, path: "str", outcome: "session.Outcome", warnings: "list[str]") -> "None":
        self.path = path
        self.outcome = outcome
        self.warnings = warnings


def record(
    options: "RunOptions",
    on_start: "Callable[[str], None] | None" = None,
    on_tick: "Callable[[], None] | None" = None,
    warn: "Callable[[str], None] | None" = None,
    enter: "list[str] | None" = None,
    layout: "dict[str, Any] | None" = None,
    consume: "Callable[..., Any] | None" = None,
) -> "Recorded":
    """Run a command under a tracer and write what happened.

    Args:
        options: what was asked for.
        on_start: called with the log's path before the command starts.
        on_tick: called about ten times a second while it runs.
        warn: called with what the user should know before the command starts.
        enter: a command line prefix that enters the layout in which the tracer and the command shall run.
        layout: what the manifest shall say of that layout.
        consume: with `--stream`, takes the log's lines as they come and the manifest so far, and returns what shall be in
            the recording in place of the log: see `analysis.streaming`.

    Raises:
        FsprobeError: command not found (127) or not executable (126); no tracer, tracing denied, no scratch, no room (125).
    """
    if options.stream and consume is None:
        raise FsprobeError(
            "the recorder alone can't fold what it records", "leave --stream away, or use fsprobe itself"
        )
    environment = own_environment()
    rank = ranks.identify(environment)
    if options.ranks and rank is not None and not ranks.selects(options.ranks, rank):
        ranks.run_untouched(options.command, environment)
    warnings = check_command(options.command, environment)
    if ranks.selection_warning(options.ranks, rank):
        warnings.append(ranks.selection_warning(options.ranks, rank))
    if warn is not None:
        # said at once, and not a second time when the command has ended
        for line in warnings:
            warn(line)
        warnings = []
    # until the recording is written: whoever wants this run to end means the command, never what was recorded of it
    with session.SignalsHeld() as held:
        return _record(options, environment, warnings, on_start, on_tick, enter, layout, held, consume)


def _record(
    options: "RunOptions",
    environment: "dict[str, str]",
    warnings: "list[str]",
    on_start: "Callable[[str], None] | None",
    on_tick: "Callable[[], None] | None",
    enter: "list[str] | None",
    layout: "dict[str, Any] | None",
    held: "session.SignalsHeld",
    consume: "Callable[..., Any] | None",
) -> "Recorded":
    scratch = scratch_dir.make(options.tmp_dir or None, environment, mounts.parse_mountinfo(mounts.read_own()))
    follower = cover = None
    hook_dir = no_hook = ""
    try:
        tracer = choice.choose(options, environment, scratch)
        if options.stream:
            from fsprobe.capture import stream

            if options.markers == "auto" and tracer.markers == "time":
                tracer.markers = "access"  # marks that are merged by time are complete only at the end
            stream.check(scratch, tracer.backend, tracer.markers)
        target_environment = dict(environment)
        if tracer.markers != "none":
            hook_dir, no_hook = install_hook(scratch, tracer.markers, target_environment)
            if no_hook:
                go_without_hook(tracer, no_hook, warnings)
        state = first_facts(options, tracer, environment, layout, scratch)
        state.update(hook_dir=hook_dir, no_hook=no_hook, hook_fstype=_network_of(hook_dir))
        cover = _cover(tracer, options.command, environment, scratch, held) if not enter else None
        state["shield"] = "" if cover is None else cover.path
        path = naming.output_path(
            options.output,
            options.command,
            naming.node_name(environment, str(state["host"])),
            ranks.identify(environment),
        )
        write_state(scratch, dict(state, output=os.path.abspath(path) if state["cwd"] else path))
        if on_start is not None:
            on_start(tracer.log)
    except FsprobeError:
        _clear(scratch, hook_dir)
        raise
    except OSError as error:
        _clear(scratch, hook_dir)
        raise FsprobeError(
            "cannot prepare the run in %s: %s" % (scratch, error.strerror), "name a node-local directory with --tmp-dir"
        )
    if options.stream and consume is not None:
        state["streamed"] = True
        follower = stream.Follower(
            tracer.log, options.max_log_bytes, functools.partial(consume, state=state), str(state["shield"])
        )
        held.flush = functools.partial(follower.ask, functools.partial(_flush, scratch, state, path))
        on_tick = follower.along(on_tick)
    elif tracer.backend != "audit":  # whose log is put together at the end
        held.flush = lambda: _flush(scratch, state, path)
    try:
        run = waiting.run if tracer.backend == "audit" else functools.partial(session.run, cover=cover)
        outcome = run(
            list(enter or []) + tracer.words,
            target_environment,
            scratch,
            options.max_log_bytes if follower is None else stream.NO_BOUND,
            options.wait_descendants_s,
            on_tick,
            held,
        )
        raise_if_not_run(outcome, tracer, options.command, str(state["shield"]))
    except FsprobeError:
        if follower is not None:
            follower.finish()
        # nothing has run; after any other exception the scratch stays, for the tracer may be at work in it
        _clear(scratch, hook_dir)
        raise
    finally:
        if cover is not None:
            cover.close()
    streamed = None
    if follower is not None:
        streamed = follower.finish()
        follower.correct(outcome)
    state.update(last_facts(outcome))
    try:
        write_recording(scratch, state, path, warnings, streamed)
    except FsprobeError as error:
        write_state(scratch, state)
        error.hint += "; nothing is lost: `fsprobe salvage %s -o FILE` makes the recording" % scratch
        # the command has run: its own failure is what a script that started it must see
        status = outcome.exit_status
        error.exit_code = (status if status > 0 else 128 - status) if status else EXIT_OWN_FAILURE
        raise
    if outcome.log_truncated:
        warnings.append("the recording is not complete: %s; the command ran to its end" % outcome.log_truncated)
    warnings.extend(said(scratch))
    if tracer.backend == "audit" and outcome.exit_status < 0:
        warnings.append("killed by a signal: what it did in its last 0.1 s or so may be missing from the recording")
    if outcome.descendants_left:
        warnings.append(
            "processes that outlive the command were still running %g s after it ended: the recording stops there "
            "(--wait-descendants)" % options.wait_descendants_s
        )
    if outcome.descendants_left and tracer.backend != "audit":
        session.leave_to_janitor(outcome.tracer_pid, scratch, hook_dir)
    else:
        if outcome.descendants_left:
            waiting.stop_writers(scratch)
        _clear(scratch, hook_dir)
    return Recorded(path, outcome, warnings)


def _network_of(hook_dir: "str") -> "str":
    if not hook_dir:
        return ""
    from fsprobe.capture.directories import hook_place

    return hook_place.network_of(hook_dir)


def _clear(scratch: "str", hook_dir: "str") -> "None":
    """Take away what was made for this run alone."""
    if hook_dir:
        from fsprobe.capture.directories import hook_place

        hook_place.remove(hook_dir, scratch)
    scratch_dir.remove(scratch)


def _cover(
    tracer: "choice.Tracer",
    command: "list[str]",
    environment: "dict[str, str]",
    scratch: "str",
    held: "session.SignalsHeld",
) -> "shield.Shield | None":
    """Shield a strace, whose command line then ends in the shield's."""
    program = host.find_program(command[0], environment)[0]
    if tracer.backend != "strace" or program is None:
        return None
    cover = shield.make(scratch, program, command, held.mask)
    if cover is not None:
        tracer.words[-len(command) :] = cover.command
    return cover


def said(scratch: "str") -> "list[str]":
    """Warnings that pass on what the tracer complained of."""
    lines = shield.complaints(scratch)
    if not lines:
        return []
    return ["the tracer said: %s%s" % (lines[0], " (and %d more such lines)" % (len(lines) - 1) if lines[1:] else "")]


def _flush(scratch: "str", state: "dict[str, Any]", path: "str", streamed: "Any" = None) -> "None":
    """Write what there is so far, for a command that was asked to end and goes on: the next signal may end everything."""
    try:
        write_recording(scratch, dict(state, flushed=True), path, [], streamed)
    except FsprobeError:
        pass  # the end of the run will say it


def raise_if_not_run(
    outcome: "session.Outcome", tracer: "choice.Tracer", command: "list[str]", own: "str" = ""
) -> "None":
    """Tell a command that was never started from one that failed.

    Args:
        outcome: how the tracer ended.
        tracer: what was started.
        command: the command.
        own: the shield's path.

    Raises:
        FsprobeError: tracing is denied (125), or the command's execve failed (126 or 127).
    """
    if outcome.empty_log:
        reason = "".join(": " + line for line in shield.complaints(os.path.dirname(tracer.log))[:1])
        raise FsprobeError("%s could not trace %s%s" % (tracer.backend, command[0], reason), DENIED_HINT)
    name = text_log.exec_error(tracer.log, own)
    if name and outcome.exit_status > 0:
        reason = os.strerror(getattr(errno, name, errno.ENOEXEC))
        hint = "see `man 2 execve`, %s" % name
        if name == "E2BIG":
            hint = "the command line and the environment are too long together"
        code = EXIT_NOT_FOUND if name == "ENOENT" else EXIT_NOT_EXECUTABLE
        raise FsprobeError("%s cannot be started: %s" % (command[0], reason), hint, code)


def check_command(command: "list[str]", environment: "dict[str, str]") -> "list[str]":
    """Look the command up before anything is started.

    Returns:
        Warnings: a command that loses its privileges when it is traced.

    Raises:
        FsprobeError: not found (127), not executable (126).
    """
    path, reason = host.find_program(command[0], environment)
    if path is None:
        raise FsprobeError("%s: command not found" % command[0], "check the name and PATH", EXIT_NOT_FOUND)
    if reason:
        raise FsprobeError("%s: %s" % (path, reason), "check its permissions", EXIT_NOT_EXECUTABLE)
    reason, hint, code = host.why_not_started(path)
    if reason:
        raise FsprobeError("%s: %s" % (path, reason), hint, code)
    gain = host.privilege_of(path) if os.getuid() else ""
    if not gain:
        return []
    return [
        "%s is %s and loses that when it is traced: it may fail or behave differently. Run fsprobe inside instead, as in "
        "`apptainer exec IMAGE fsprobe run -- ...`"
        % (path, "a program with file capabilities" if gain[0] == "f" else gain)
    ]


def install_hook(scratch: "str", mode: "str", environment: "dict[str, str]") -> "tuple[str, str]":
    """Put the hook where it can stay and its directory first on PYTHONPATH.

    Returns:
        The hook's directory and "", or "" and why there is none.
    """
    from fsprobe.capture.directories import hook_place

    digits = hook_place.tail_digits(scratch)
    lines = shipped.read("hook", "sitecustomize.py").split("\n")
    filled = {
        "PLACE = ": scratch[: len(scratch) - len(digits)],
        "N_DIGITS = ": len(digits),
        "MODE = ": mode,
        "NAMES = ": tuple(host.TARGET_VARIABLES),
        "IMPORTS = ": shipped.read("hook", "imports.py"),
        "AUDIT = ": waiting.hook_source() if mode == waiting.MARKERS else "",
    }
    for i, line in enumerate(lines):
        for start in filled:
            if line.startswith(start):
                lines[i] = start + ascii(filled[start])
    place, why_not = hook_place.install("\n".join(lines), scratch, environment)
    if why_not or ":" in place:
        return "", why_not or "its path has a colon, which ends an entry of PYTHONPATH"
    # never a colon after it when there is nothing to follow: an empty entry would add the working directory
    old = environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = place + ":" + old if old else place
    return place, ""


def go_without_hook(tracer: "choice.Tracer", why: "str", warnings: "list[str]") -> "None":
    """No hook can be put into the target: imports are estimated.

    Raises:
        FsprobeError: the backend is nothing without it.
    """
    reason = "no directory for fsprobe's hook in which nobody else can write (%s)" % why
    if tracer.backend == "audit":
        raise FsprobeError(reason, "name one with XDG_CACHE_HOME, or use a tracer: see `fsprobe doctor`")
    tracer.markers = "none"
    warnings.append(reason + ": imports are estimated. XDG_CACHE_HOME can name one")


def first_facts(
    options: "RunOptions",
    tracer: "choice.Tracer",
    environment: "dict[str, str]",
    layout: "dict[str, Any] | None",
    scratch: "str",
) -> "dict[str, Any]":
    """What is known before the run; written down at once, so that a run whose fsprobe is killed can be salvaged."""
    facts = host.facts(environment)
    facts.update(
        fsprobe_version=fsprobe.__version__,
        command=options.command,
        label=options.label,
        ranks=options.ranks,
        cwd=_cwd(),
        backend=tracer.backend,
        backend_version=tracer.version,
        backend_why=tracer.why,
        markers=tracer.markers,
        started_s=time.time(),
        cache="unknown",
        layout=layout,
        exit_code=None,
        fsprobe_pid=os.getpid(),
        scratch=scratch,
    )
    return facts


def _cwd() -> "str":
    try:
        return os.getcwd()
    except OSError:
        return ""


def last_facts(outcome: "session.Outcome") -> "dict[str, Any]":
    """What is known after it."""
    return {
        "exit_code": outcome.exit_status if outcome.exit_status >= 0 else 128 - outcome.exit_status,
        "signal": -outcome.exit_status if outcome.exit_status < 0 else None,
        "started_s": outcome.started_s,
        "wall_s": round(outcome.wall_s, 6),
        "user_s": outcome.user_s,
        "sys_s": outcome.sys_s,
        "tracer_user_s": outcome.tracer_user_s,
        "tracer_sys_s": outcome.tracer_sys_s,
        "majflt": outcome.majflt,
        "read_bytes": outcome.read_bytes,
        "log_truncated": outcome.log_truncated,
        "descendants_left": outcome.descendants_left,
    }
