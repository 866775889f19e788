"""The course of a comparison: build the layouts, run the command in each in turn, say what came of it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from fsprobe.capture.machine import counters, mounts
from fsprobe.errors import BadInput, FsprobeError
from fsprobe.experiment import build
from fsprobe.experiment.beforehand import can_make_cold, check
from fsprobe.experiment.interruption import Interrupted, interruptions
from fsprobe.experiment.janitor import Janitor, janitor
from fsprobe.experiment.plan import BASELINE, Announcement, Plan, Probe, Progress, Side, State
from fsprobe.experiment.runs import Bench
from fsprobe.experiment.summarise import summarise
from fsprobe.layouts.mount.supervision import descendants, end_processes
from fsprobe.layouts.plain import plain
from fsprobe.model.comparison import Comparison
from fsprobe.model.formats import text

Checkpoint = Callable[[Comparison, "dict[str, bytes]"], None]
"""Takes the comparison so far, and the recordings."""
SETTLE_S, SETTLE_READS = 0.05, 6
Announce = Callable[[Announcement], None]
"""Takes what will be done; a second time when it is known how long a run takes."""
Adopt = Callable[[Comparison, Path], None]
"""Takes the whole comparison and the image that was packed for it, before that is removed."""


def run(
    plan: Plan,
    *,
    progress: Progress | None = None,
    server: Probe | None = None,
    empty: Callable[[], None] | None = None,
    checkpoint: Checkpoint | None = None,
    adopt: Adopt | None = None,
    announce: Announce | None = None,
    behind_us: Janitor | None = None,
) -> tuple[Comparison, dict[str, bytes]]:
    """Carry a comparison out.

    Interrupted (SIGINT, SIGTERM, SIGHUP) it ends with what it has; the comparison's `interrupted` then names the signal.

    Args:
        plan: what to compare.
        progress: called with (what is being done, steps done, steps in all).
        server: counters of the file server, where somebody has access to them (benchmarks do); else those that the
            kernel keeps for the environment's mount are read, if it keeps any.
        empty: makes the client cold before a layout is mounted for a cold run, instead of `plan.make_cold`.
        checkpoint: called when all were traced, after each round of runs, and with whatever there is when an interruption or an error ends it.
        adopt: called once when nothing ended it early, if an image was packed.
        announce: called before anything is started or made, and again after the first run.
        behind_us: takes away what is left should we be killed; None: one for this time alone.

    Returns:
        The comparison (Contract: Comparison JSON), and the recording of each layout's traced run by label.

    Raises:
        FsprobeError: the environment or the command is not there; the command fails; what `beforehand.check` refuses.
        Interrupted: before any layout was traced.
    """
    if not (plan.env / "bin").is_dir():
        raise BadInput(
            f"{plan.env} is no environment: it has no bin directory", "give the directory that `python -m venv` made"
        )
    announcement = check(plan, has_empty=empty is not None)
    if announce is not None:
        announce(announcement)
    if plan.output_dir is not None:
        make_directory(plan.output_dir)
    state = State()
    how_cold = choose_caches(plan, state, empty is not None)
    tell = progress or (lambda what, done, of: None)
    with (
        interruptions() as signals,  # the outermost: until everything is taken away nothing else may end us
        nullcontext(behind_us) if behind_us is not None else janitor() as behind_us,
        tempfile.TemporaryDirectory(prefix="fsprobe-compare-") as scratch,
        ExitStack() as stack,
    ):
        behind_us.note(scratch)

        def say(what: str, done: int, of: int) -> None:
            signals.check()
            tell(what, done, of)

        if server is None:
            server = find_counters(plan, state)
        bystanders = set(descendants(os.getpid()))
        bench = Bench(plan, Path(scratch), how_cold, server, behind_us)
        try:
            prepare(plan, state, bench, stack, say, announcement, announce)
            if adopt is None:
                state.notes += build.removal_notes(plan, state)
            measure(plan, state, bench, say, empty, checkpoint)
        except Interrupted as error:
            signals.hold()
            tell("ending what runs", 0, 1)
            end_processes(bystanders, quiet_s=0)  # a process that was just being started is nobody's yet
            state.interrupted = str(error)
            if not is_traced(state):
                raise
        except FsprobeError as error:
            signals.hold()
            if checkpoint is not None and is_traced(state):
                state.notes.insert(0, f"ended early: {error.message}")
                checkpoint(summarise(plan, state), recordings_of(state))
            raise
        finally:
            signals.hold()
            tell("cleaning up", 0, 1)
        result, recordings = summarise(plan, state), recordings_of(state)
        if checkpoint is not None:
            checkpoint(result, recordings)
        if adopt is not None and state.new_image is not None and not state.interrupted:
            adopt(result, state.new_image)
        return result, recordings


def make_directory(place: Path) -> None:
    """Where the command's output goes.

    Raises:
        BadInput: it can't be made.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "name another place with -o, or use --show-output"
        raise BadInput(f"cannot make {place}: {error.strerror}", hint) from error


def is_traced(state: State) -> bool:
    """Is there anything to tell of?"""
    return any(side.analysis is not None for side in state.sides)


def choose_caches(plan: Plan, state: State, has_empty: bool) -> str:
    """Set which cache states are measured; returns how caches are emptied: "" (not by us), "drop" or a shell command."""
    state.caches = plan.caches
    if has_empty or plan.make_cold:
        return "" if has_empty else plan.make_cold
    return "drop" if can_make_cold(plan) else ""


def find_counters(plan: Plan, state: State) -> Probe | None:
    """The kernel's counters for the filesystem that holds the environment; what they are, or why not, becomes a note."""
    source, why_not = counters.find(os.fsencode(os.path.realpath(plan.env)))
    if source is None:
        if why_not:
            state.notes.append(f"no counters of the filesystem's client: {why_not}")
        return None
    state.counted_by = source.name
    row = mounts.mount_of(os.fsencode(os.path.realpath(plan.env)), mounts.parse_mountinfo(mounts.read_own()))
    if row is not None:
        state.counted_mount, state.counted_device = text(row[0]), (row[1], row[2])
    state.notes.append(f"requests at the server are those that {source.name} counts: {counters.CAVEAT}")
    return partial(settled, source.read)


def settled(read: Probe) -> Mapping[str, int]:
    """The counters once they stand still, for at most 0.3 s: an NFS client sends a CLOSE after close(2) has returned.

    Source: Linux, fs/nfs/nfs4proc.c, nfs4_do_close, which waits for no answer.
    """
    counted = read()
    for _ in range(SETTLE_READS):
        time.sleep(SETTLE_S)
        last, counted = counted, read()
        if counted == last:
            break
    return counted


def prepare(
    plan: Plan,
    state: State,
    bench: Bench,
    stack: ExitStack,
    say: Progress,
    announcement: Announcement,
    announce: Announce | None,
) -> None:
    """Make the layouts, with the same byte code on all sides as far as they can be written to."""

    def made(directory: str, stays: bool) -> None:
        if bench.behind_us is not None:
            (bench.behind_us.spare if stays else bench.behind_us.note)(directory)

    say("the first run", 0, 1)
    base = Side(layout=stack.enter_context(plain(plan.env, label=BASELINE)))
    before_s = time.monotonic()
    bench.warm_up(base)
    if announce is not None:
        announce(replace(announcement, run_s=time.monotonic() - before_s))
    state.sides.append(base)
    build.build(plan, state, stack, say, bench.scratch, made)
    for side in state.sides[1:]:
        if side.layout.label in plan.existing:
            say(f"the first run in {side.layout.label}", 0, 1)
            bench.warm_up(side)
    build.compare_byte_code(plan, state, say)


def measure(
    plan: Plan,
    state: State,
    bench: Bench,
    say: Progress,
    empty: Callable[[], None] | None,
    checkpoint: Checkpoint | None,
) -> None:
    """Trace each layout once, then run all in turn; who begins a round changes, for a shared machine drifts."""
    steps = len(state.sides) * (1 + len(state.caches) * plan.n_runs)
    done = 0
    for side in state.sides:
        say(f"tracing {side.layout.label}", done, steps)
        bench.trace(side)
        done += 1
    state.notes += build.byte_code_notes(plan, state)
    if checkpoint is not None:
        checkpoint(summarise(plan, state), recordings_of(state))
    for cache in state.caches:
        for number in range(plan.n_runs):
            turn = number % len(state.sides)
            for side in [*state.sides[turn:], *state.sides[:turn]]:
                say(f"{cache} {side.layout.label}", done, steps)
                if cache == "cold" and empty is not None:
                    empty()
                state.runs.append(bench.time(side, cache))
                done += 1
            if checkpoint is not None:
                checkpoint(summarise(plan, state), recordings_of(state))
    say("done", steps, steps)


def recordings_of(state: State) -> dict[str, bytes]:
    """The recordings by label."""
    return {side.layout.label: side.recording.read_bytes() for side in state.sides if side.recording is not None}
