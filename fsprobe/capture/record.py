"""Record one run: options in, one recording file out. Prepare, start, wait, finish, write, once each.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import functools
import os
import time

from fsprobe import __version__, capabilities
from fsprobe.capture import backends, naming
from fsprobe.capture.backends.protocol import Machine, Run
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.machine import host, mounts, ranks, starters
from fsprobe.capture.machine.environment import own_environment
from fsprobe.capture.process.signals import SignalsHeld
from fsprobe.capture.process.start import Launch, start
from fsprobe.capture.process.wait import end_facts, wait
from fsprobe.capture.sections import NotRecorded, Recorded, empty_hook_files, write_recording, write_state
from fsprobe.errors import FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fsprobe.capture.backends.protocol import Backend
    from fsprobe.capture.machine.meter import Meter
    from fsprobe.capture.options import RunOptions
    from fsprobe.capture.process.start import Process
    from fsprobe.capture.process.wait import Outcome


class Prepared(Run):
    """A run that is ready to be started."""

    def __init__(self, launch: "Launch", scratch: "str") -> "None":
        super().__init__(launch.words, launch.environment)
        self.scratch = scratch
        self.launch = launch
        """What is started: the command at first, then what the backends make of it."""
        self.observers: "list[Backend]" = []
        """Its backends, the leading one first."""
        self.state: "dict[str, Any]" = {}
        """The manifest so far."""
        self.hook_dir = ""
        self.path = ""
        """Of the recording."""
        self.replaces = False
        """Whether what is at the path may be replaced: it was asked for, or is a part of this very recording."""
        self.counted: "Meter | None" = None
        """What the node's clients of file servers count meanwhile."""

    def clear(self) -> "list[str]":
        """Take away what was made for this run alone; gives a line on what is left of it."""
        for one in self.observers:
            one.close()
        if self.hook_dir:
            from fsprobe.capture.directories import hook_place

            try:
                hook_place.remove(self.hook_dir, self.scratch)
            except OSError:
                pass  # inert without its scratch
        is_gone = scratch_dir.remove(self.scratch)
        return [] if is_gone else ["the scratch directory %s could not be removed: rm -r it" % self.scratch]


def record(
    options: "RunOptions",
    on_start: "Callable[[str], None] | None" = None,
    on_tick: "Callable[[], None] | None" = None,
    warn: "Callable[[str], None] | None" = None,
    enter: "list[str] | None" = None,
    layout: "dict[str, Any] | None" = None,
    consume: "Callable[..., Any] | None" = None,
    carry: "Callable[[str], object] | None" = None,
    on_end: "Callable[[], None] | None" = None,
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
        carry: writes the recorder that travels to a path, for a command that starts a container: see `containers.entering`.
        on_end: called when the command has ended, while signals still wait: the place to say what one does from then on.

    Raises:
        FsprobeError: command not found (127) or not executable (126); no tracer, tracing denied, no scratch, no room, a
            container that can't be entered (125).
    """
    if options.stream and consume is None:
        raise FsprobeError(
            "the recorder alone can't fold what it records", "leave --stream away, or use fsprobe itself"
        )
    environment = own_environment()
    rank = ranks.identify(environment)
    if options.ranks and rank is not None and not ranks.selects(options.ranks, rank):
        ranks.run_untouched(options.command, environment)
    starter = starters.find(options.command, environment)
    if starter is not None:
        from fsprobe.capture.containers import entering

        path, outcome, lines = entering.record(options, starter, environment, carry, warn)
        return Recorded(path, outcome, lines, [])
    if options.exchange:
        from fsprobe.capture.containers import entering

        environment = entering.own_binds_removed(environment, options.exchange)
    seen = starters.known(options.command[0], environment)
    program, warnings = host.check_command(options.command, environment, seen)
    warnings += filter(None, [ranks.selection_warning(options.ranks, rank)])
    if warn is not None:
        # said at once, and not a second time when the command has ended
        for line in warnings:
            warn(line)
        warnings = []
    # until the recording is written: whoever wants this run to end means the command, never what was recorded of it
    with SignalsHeld() as held:
        run = prepare(options, Launch(options.command, environment, program), held, enter, layout, consume, warnings)
        try:
            if warn is not None and any(one.takes_privileges for one in run.observers):
                from fsprobe.capture import programs

                line = programs.warning_before(options.command, environment)
                if line:
                    warn(line)
            if on_start is not None:
                on_start(run.observers[0].log())
            process = start(run.launch, held)
            outcome = wait(process, run.observers, held, options.wait_descendants_s, on_tick)
            finish(run, process, outcome)
            if on_end is not None:
                on_end()
        except FsprobeError:
            # nothing has run; after any other exception the scratch stays, for a tracer may be at work in it
            for one in run.observers:
                one.abandon()
            run.clear()
            raise
        losses = write(run, outcome, warnings)
        warnings.extend(closing_words(run, outcome, options.wait_descendants_s))
        losses.extend(leave(run, process, outcome))
    return Recorded(run.path, outcome, warnings, losses)


# ---- prepare ------------------------------------------------------------------------------------------------------


def prepare(
    options: "RunOptions",
    launch: "Launch",
    held: "SignalsHeld",
    enter: "list[str] | None" = None,
    layout: "dict[str, Any] | None" = None,
    consume: "Callable[..., Any] | None" = None,
    warnings: "list[str] | None" = None,
) -> "Prepared":
    """Choose the backends, make their places, the hook and what shall be started; nothing is left where that fails.

    Args:
        options: what was asked for.
        launch: the command as it would be started without fsprobe.
        held: the signals.
        enter, layout, consume: see `record`.
        warnings: what the user should know is added.
    """
    table = mounts.parse_mountinfo(mounts.read_own(holds=True))
    run = Prepared(launch, scratch_dir.make(options.tmp_dir or None, launch.environment, table))
    run.is_entered, run.is_streamed = bool(enter), options.stream
    run.max_log_bytes, run.mask = options.max_log_bytes, held.mask
    try:
        run.observers = backends.choose(options, Machine(run.environment, options.command, run.scratch))
        lead = run.observers[0]
        for one in run.observers:
            one.settle(run.scratch, run.scratch if one is lead else os.path.join(run.scratch, one.name))
            if one is not lead:
                os.mkdir(one.place, 0o700)
        hook = {} if lead.markers == capabilities.UNMARKED else _install_hook(run, launch, warnings, table)
        run.state = first_facts(options, run, layout)
        run.state.update({"no_hook": "", "hook_fstype": "", **hook}, hook_dir=run.hook_dir)
        # the leading one last: a tracer goes around what the others have put into the command's environment
        for one in reversed(run.observers):
            run.launch = launch = one.prepare(run, launch)
            run.state.update(one.facts())
        if enter:
            launch.words = enter + launch.words
            launch.program = host.find_program(enter[0], run.environment)[0] or ""
        host_name, rank = naming.node_name(run.environment, str(run.state["host"])), ranks.identify(run.environment)
        known = naming.path_in(options.output, options.command, host_name, rank)
        run.path = known or naming.output_path(options.output, options.command, host_name, rank)
        run.replaces = options.force or bool(known)
        page = naming.page_path(run.path, options.page, rank)
        naming.check("" if known else run.path, page, options.force, str(run.state["cwd"]))
        output = os.path.normpath(os.path.join(str(run.state["cwd"]), run.path)) if run.state["cwd"] else run.path
        write_state(run.scratch, dict(run.state, output=output))
        write_so_far = functools.partial(_write_so_far, run)
        if consume is not None and options.stream:
            run.state["streamed"] = True
            lead.follow(run, functools.partial(consume, state=run.state))
        held.flush = functools.partial(lead.flush, write_so_far)
        if options.counters:
            from fsprobe.capture.machine import meter

            run.counted = meter.Meter()
    except (FsprobeError, OSError) as error:
        run.clear()
        if isinstance(error, FsprobeError):
            raise
        raise FsprobeError(
            "cannot prepare the run in %s: %s" % (run.scratch, error.strerror),
            "name a node-local directory with --tmp-dir",
        )
    return run


def _install_hook(
    run: "Prepared", launch: "Launch", warnings: "list[str] | None", table: "list[mounts.MountRow]"
) -> "dict[str, str]":
    """Put the hook into the command's environment; where it can't be, imports are estimated.

    Returns:
        For the manifest: `hook_fstype`, the type of the network filesystem that it lies on; `no_hook`, why there is none.

    Raises:
        FsprobeError: a backend is nothing without it.
    """
    from fsprobe.capture import injection
    from fsprobe.capture.directories import hook_place

    code = "\n\n".join(filter(None, [one.hook_code() for one in run.observers]))
    run.hook_dir, why_not = injection.install(run.scratch, run.observers[0].markers, launch.environment, code)
    if not why_not:
        return {"hook_fstype": hook_place.network_of(run.hook_dir, table)}
    reason = "no directory for fsprobe's hook in which nobody else can write (%s)" % why_not
    for one in run.observers:
        if capabilities.UNMARKED not in one.ways_to_mark:
            raise FsprobeError(reason, "name one with XDG_CACHE_HOME, or use a tracer: see `fsprobe doctor`")
        one.markers = capabilities.UNMARKED
    if warnings is not None:
        warnings.append(reason + ": imports are estimated. XDG_CACHE_HOME can name one")
    return {"no_hook": why_not}


def first_facts(options: "RunOptions", run: "Prepared", layout: "dict[str, Any] | None") -> "dict[str, Any]":
    """What is known before the run; written down at once, so that a run whose fsprobe is killed can be salvaged."""
    lead = run.observers[0]
    facts = host.facts(run.environment)
    facts.update(
        fsprobe_version=__version__,
        command=options.command,
        label=options.label,
        ranks=options.ranks,
        cwd=_cwd(),
        backend=backends.SEVERAL.join(one.name for one in run.observers),
        backend_version=lead.version,
        backend_why=lead.why,
        capabilities=sorted(set().union(*(one.observes for one in run.observers))),
        markers=lead.markers,
        started_s=time.time(),
        cache="unknown",
        layout=layout,
        exit_code=None,
        fsprobe_pid=os.getpid(),
        scratch=run.scratch,
    )
    return facts


def _cwd() -> "str":
    try:
        return os.getcwd()
    except OSError:
        return ""


# ---- finish -------------------------------------------------------------------------------------------------------


def finish(run: "Prepared", process: "Process", outcome: "Outcome") -> "None":
    """Complete what was observed and the manifest.

    Raises:
        FsprobeError: the command was never started.
    """
    for one in run.observers:
        try:
            one.finish(process, outcome)
        except Exception as error:  # whatever it is: the command has run
            one.truncated = one.truncated or "its end could not be read: %s" % reason_of(error)
        outcome.log_truncated = outcome.log_truncated or one.truncated
    for one in run.observers:
        one.raise_if_not_run(run, outcome)
    run.state["log_compressed_bytes"] = sum(one.n_packed_bytes for one in run.observers)
    run.state.update(last_facts(outcome), counters=run.counted.read() if run.counted is not None else {})


def last_facts(outcome: "Outcome") -> "dict[str, Any]":
    """What is known after it."""
    facts = {
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
    }  # type: dict[str, Any]
    facts.update(end_facts(outcome.exit_status))
    return facts


# ---- write --------------------------------------------------------------------------------------------------------


def reason_of(error: "Exception") -> "str":
    """Why something failed that nobody foresaw, in some words."""
    if isinstance(error, FsprobeError):
        return error.message
    return getattr(error, "strerror", None) or "%s %s" % (type(error).__name__, error)


def write(run: "Prepared", outcome: "Outcome", warnings: "list[str]") -> "list[str]":
    """Write the recording; gives lines on what of it could not be read.

    Raises:
        NotRecorded: it can't be written; the scratch stays.
    """
    appeared = []  # type: list[str]
    run.path = run.path if run.replaces else naming.free_name(run.path, appeared)
    try:
        losses = appeared + write_recording(
            run.scratch, run.state, run.path, warnings, run.observers, run.observers[0].streamed()
        )
        outcome.log_truncated = outcome.log_truncated or str(run.state.get("log_truncated") or "")
        return losses
    except Exception as error:  # whatever it is: the command has run
        hint = "nothing is lost: `fsprobe salvage %s -o FILE` makes the recording" % run.scratch
        if isinstance(error, FsprobeError):
            message, hint = error.message, "; ".join(filter(None, [error.hint, hint]))
        else:
            message = "cannot write %s: %s" % (run.path, reason_of(error))
        write_state(run.scratch, run.state)
        raise NotRecorded(message, hint, outcome)


def _write_so_far(run: "Prepared", streamed: "Any" = None) -> "None":
    """Write what there is, for a command that was asked to end and goes on: the next signal may end everything."""
    try:
        if not run.replaces and os.path.isfile(run.path):
            return
        write_recording(run.scratch, dict(run.state, flushed=True), run.path, [], run.observers, streamed)
        run.replaces = True
    except (FsprobeError, OSError):
        pass  # the end of the run will say it


def closing_words(run: "Prepared", outcome: "Outcome", waited_s: "float") -> "list[str]":
    """What the user should know of how it went."""
    cut = outcome.log_truncated
    lines = ["the recording is not complete: %s; the command ran to its end" % cut] if cut else []
    lines += [line for one in run.observers for line in one.warnings(outcome)] + outcome.clock_words()
    if outcome.descendants_left:
        lines.append(
            "processes that outlive the command were still running %g s after it ended: the recording stops there (--wait-descendants)"
            % waited_s
        )
    return lines


def leave(run: "Prepared", process: "Process", outcome: "Outcome") -> "list[str]":
    """Take away what was made for the run: at once, or when the last tracer that is still at work has ended.

    Returns:
        A line on what is left and should not be.
    """
    at_work = [one.leave() for one in run.observers] if outcome.descendants_left else []
    if not any(at_work):
        return run.clear()
    from fsprobe.capture.process import janitor

    def empty() -> "None":
        for one in run.observers:
            one.empty()
        empty_hook_files(run.scratch)

    try:
        janitor.leave(process.pid, empty, run.clear)
    except OSError as error:
        return ["nobody empties %s while what was left behind goes on: %s" % (run.scratch, error.strerror)]
    return []
