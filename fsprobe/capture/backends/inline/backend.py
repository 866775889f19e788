"""The inline backend: no tracer. The loader's and the C library's own system calls note themselves in a ring that is shared.

What is put into each process is `fsprobe-inline.so` (entry.c says how it gets in, docs/security.md what that means). This module
tries it out before a run, makes the ring, keeps it ahead of those who write, and gives it to the recording.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import time

from fsprobe import capabilities
from fsprobe.capabilities import MARKED_IN_RING, UNMARKED
from fsprobe.capture.backends.inline import arguments, command, library, ringfile, trial, words
from fsprobe.capture.backends.inline.growth import MAX_AHEAD, Growth
from fsprobe.capture.backends.inline.processes import is_in_use
from fsprobe.capture.backends.protocol import NO, OK, Backend
from fsprobe.capture.backends.text_log import LOW_SPACE_BYTES
from fsprobe.capture.directories import own_files
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.machine import memory
from fsprobe.capture.process import limits
from fsprobe.capture.process.witness import Witness
from fsprobe.errors import EXIT_NOT_FOUND, BadInput, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from fsprobe.capture.backends.inline.stream import RingFollower
    from fsprobe.capture.backends.protocol import Machine, Run
    from fsprobe.capture.process.start import Launch, Process
    from fsprobe.capture.process.wait import Outcome

RING = "ring"
TRIAL = "trial"
"""The ring of a dry start."""
TRIAL_SLOTS = 512
MAX_CPUS = 4
"""Of how many processors the first slots are meant to last for a tick. With more the ring is kept further ahead once it is used."""
SHARE_OF_ADDRESSES = 64
"""Of a limited address space the ring takes so small a part: the rest is the program's."""
TRACER = "a tracer sees it: use --backend strace or ptrace"


class Inline(Backend):
    """The recorder in the processes themselves."""

    name = "inline"
    by_name_alone = True
    observes = frozenset(
        [
            capabilities.LOADER,
            capabilities.RESULTS,
            capabilities.STATS,
            capabilities.DURATIONS,
            capabilities.TRUE_DURATIONS,
            capabilities.READS,
            capabilities.CHILDREN,
            capabilities.FOREIGN_PROGRAMS,
        ]
    )
    ways_to_mark = (MARKED_IN_RING, UNMARKED)
    remedy = TRACER
    data_files = (library.DATA_FILE,)
    can_stream = True

    library = ""
    tables = b""
    """Where the system calls of this machine's loader and libc lie, as the dry start found them."""
    most = ringfile.MOST
    growth = Growth()
    why_full = ""
    follower: "RingFollower | None" = None
    witness: "Witness | None" = None
    held = -1
    """The ring, open as long as this is a run of ours."""
    tried = -1
    """That of the dry start, between it and the run; and its path."""
    tried_at = ""
    max_log_bytes = 0
    command: "Sequence[bytes]" = ()

    # -- before the run -----------------------------------------------------------------------------------------------

    def why_not(self, machine: "Machine") -> "str":
        """Say why it can't work here, or with this command ("" when it can): a program that does nothing is started under it."""
        self.most = _most_slots()
        why = trial.why_not_machine()
        if not why:
            self.library, why = library.find(machine.environment)
        if why:
            return "the inline recorder can't be used: " + why
        why = self._dry_start(machine)
        if why:
            return "the inline recorder does not work here: " + why
        if not machine.command:
            return ""
        why = command.why_not_outside(machine.command, machine.environment)
        return why or command.why_not(machine.command[0], self.library, machine.environment)

    def _dry_start(self, machine: "Machine") -> "str":
        """Start /bin/true with a ring of its own, and keep what it found."""
        if machine.scratch:
            # where the run's own may be: then it need not be made again
            return self._start_with(os.path.join(machine.scratch, RING), machine.environment, is_kept=True)
        for place in scratch_dir.candidates(machine.environment):
            folder = os.path.join(os.path.realpath(place), "%strial-%s" % (scratch_dir.PREFIX, os.urandom(6).hex()))
            try:
                os.mkdir(folder, 0o700)
            except OSError:
                continue
            try:
                return self._start_with(os.path.join(folder, TRIAL), machine.environment)
            finally:
                own_files.remove(folder)
        return "there is no place for a ring"

    def _start_with(self, ring: "str", environment: "Mapping[str, str]", is_kept: "bool" = False) -> "str":
        try:
            # as large as the run's may be: it must not be in the way
            fd = ringfile.make(ring, TRIAL_SLOTS, self.most)
        except OSError as error:
            return "no ring can be made in %s: %s" % (os.path.dirname(ring), error.strerror)
        why = "it was interrupted"
        try:
            why = trial.try_out(self.library, ring, fd, environment)
            self.tables = b"" if why else ringfile.tables_of(fd)
            return why
        finally:
            if is_kept and not why:
                self.tried, self.tried_at = fd, ring
            else:
                os.close(fd)
                os.unlink(ring)

    def check(self, machine: "Machine") -> "tuple[str, str, str] | None":
        """Whether it works here; `auto` does not take it, so that is no reproach."""
        why = self.why_not(machine)
        if why:
            return NO, why, "`auto` does without it"
        return (
            OK,
            "works here (--backend inline; `fsprobe doctor --selftest` compares it with strace)",
            "",
        )

    def why_not_marked(self, way: "str") -> "FsprobeError":
        """Marks come through the ring alone."""
        return FsprobeError("the inline backend has markers of its own", "leave the option away")

    @property
    def ring(self) -> "str":
        """The run's ring."""
        return os.path.join(self.place, RING)

    def prepare(self, run: "Run", launch: "Launch") -> "Launch":
        """The command with the recorder in its environment, and the ring, allocated ahead of it."""
        if not launch.is_target:
            raise FsprobeError("the tracer has to be named first", "--backend strace+inline")
        self.max_log_bytes = run.max_log_bytes
        max_slots = run.max_log_bytes // ringfile.SLOT_BYTES
        if run.is_streamed:
            self.most = _most_slots(ringfile.MOST_STREAMED)
            most_ahead = max(ringfile.AHEAD, min(MAX_AHEAD, max_slots // 8))
        else:
            self.most = max(1, min(self.most, max_slots))
            most_ahead = MAX_AHEAD
        ahead = ringfile.AHEAD * min(MAX_CPUS, _n_cpus())
        self.growth = Growth(ahead, self.most, most_ahead, self._has_room, may_skip=run.is_streamed)
        if self.place == self.scratch:  # else a tracer leads, which notes signals itself
            # before there is a ring that it would have open too: see `is_in_use`
            self.witness = Witness(closed=self.tried)
        self.held = self._make_ring()
        self.command = [os.fsencode(word) for word in run.command]
        changed = ringfile.environment(launch.environment, self.library, self.ring)
        variables = {name: changed[name] for name in changed if launch.environment.get(name) != changed[name]}
        if run.is_entered:
            # what enters the layout is none of the command, and may have more rights than it
            launch.words = ["/usr/bin/env"] + ["%s=%s" % pair for pair in sorted(variables.items())] + launch.words
        else:
            launch.target_variables.update(variables)
        return launch

    def _make_ring(self) -> "int":
        """The run's ring: that of the dry start, if it is at its place, which is empty again."""
        tried, self.tried = self.tried, -1
        if tried >= 0 and self.tried_at == self.ring:
            try:
                ringfile.reuse(tried, self.growth.ahead, self.most)
            except BaseException:
                os.close(tried)
                raise
            scratch_dir.note(self.scratch, RING)
            return tried
        if tried >= 0:
            os.close(tried)
            os.unlink(self.tried_at)
        return ringfile.make(self.ring, self.growth.ahead, self.most, self.tables)

    def facts(self) -> "dict[str, Any]":
        """What the wall clock showed when CLOCK_MONOTONIC, which is the ring's, was 0; and how many slots there may be."""
        return {"wall_start_ns": int(time.time() * 1e9) - int(time.monotonic() * 1e9), "max_slots": self.most}

    def follow(self, run: "Run", consume: "Callable[..., Any]") -> "None":
        """Read the ring as it grows, and take it away behind the reader."""
        from fsprobe.capture.backends import stream
        from fsprobe.capture.backends.inline.stream import RingFollower

        reason = stream.why_not(self.place)
        if reason:
            raise FsprobeError(reason, "name a directory on tmpfs, ext4 or xfs with --tmp-dir")
        self.follower = RingFollower(self.ring, self.most, consume)

    # -- while it runs -------------------------------------------------------------------------------------------------

    def has_had(self, pid: "int", number: "int", sender: "int") -> "bool":
        """What was sent to all beside fsprobe the command has had."""
        return self.witness is not None and self.witness.has_had(number, sender)

    @property
    def tick_s(self) -> "float":  # type: ignore[override]
        """As long as the ring needs no look."""
        return self.growth.tick_s

    def watch(self, process: "Process") -> "None":
        """Let the ring grow, and take away behind a reader."""
        if self.growth.look(self.held) and self.follower is not None:
            self.follower.tick()

    def close(self) -> "None":
        """Let go of the ring, and of who stands beside; what outlives the run may have the ring still."""
        if self.held >= 0:
            try:
                ringfile.stay(self.held)
            except OSError:
                pass  # then it waits once
        if self.witness is not None:
            self.witness.close()
        for fd in (self.held, self.tried):
            if fd >= 0:
                os.close(fd)
        self.held = self.tried = -1

    @property
    def _source(self) -> "str | int":
        """The ring to read from: that of a run which fsprobe itself did not live to see the end of by its path."""
        return self.held if self.held >= 0 else self.ring

    def _has_room(self, n_bytes: "int") -> "bool":
        """Whether the scratch filesystem and the job's memory leave so many bytes, and some for the command."""
        if self.follower is not None:
            n_held = self.growth.n_slots - self.follower.n_freed
            if n_held * ringfile.SLOT_BYTES + n_bytes > self.max_log_bytes:
                self.why_full = "the reader was more than --max-log behind"
                return False
        if scratch_dir.free_bytes(self.place) < n_bytes + LOW_SPACE_BYTES:
            self.why_full = "the scratch filesystem is nearly full"
        else:
            room = memory.free_bytes()
            if room is not None and room < n_bytes + LOW_SPACE_BYTES:
                self.why_full = "the memory limit of this job is near"
            else:
                self.why_full = ""
        return not self.why_full

    def is_at_work(self) -> "bool":
        """Whether processes outlive the command."""
        return is_in_use(self.held, is_read=self.follower is not None)

    def flush(self, write: "Callable[[Any], None]") -> "None":
        """A ring can be read at any time; a stream between two looks."""
        if self.follower is not None:
            self.follower.ask(write)
        else:
            write(None)

    def streamed(self) -> "Any":
        """What the reader of the ring returned."""
        return None if self.follower is None else self.follower.result

    def finish(self, process: "Process", outcome: "Outcome") -> "None":
        """See what was lost."""
        if self.witness is not None:
            self.witness.close()
        self.watch(process)
        if self.follower is not None:
            self.follower.finish()
        if self._n_lost():
            if self.growth.n_slots >= self.most:
                self.truncated = "the log reached --max-log"
            else:
                self.truncated = self.why_full or "calls were made faster than the ring could grow"

    def _n_lost(self) -> "int":
        """Slots for which there was no room; of a stream the reader knows, as the ring went on when there was some again."""
        if self.follower is not None and self.follower.result is not None:
            return int(self.follower.result.quality.n_lost)
        return max(0, self.growth.n_taken - self.growth.n_slots)

    def raise_if_not_run(self, run: "Run", outcome: "Outcome") -> "None":
        """The command ended with 127 and never said that it started: the loader may not have started it because of us."""
        if outcome.exit_status != EXIT_NOT_FOUND or self._has_started():
            return
        raise FsprobeError(
            "%s ended with exit code 127 before the inline recorder saw it start" % run.command[0],
            "what stands above says why; without the recorder it may start: use --backend strace or ptrace",
            EXIT_NOT_FOUND,
        )

    def _has_started(self) -> "bool":
        try:
            return words.has_start(self._source, self.most)
        except OSError:
            return False

    def warnings(self, outcome: "Outcome") -> "list[str]":
        """Nothing was seen at all, or calls were lost."""
        found = []
        if self._n_lost():
            found.append(
                "%d slots of the ring were lost: there are more calls than the recording shows" % self._n_lost()
            )
        if not self._has_started():
            found.append("no program of the run was seen to start under the inline recorder; " + TRACER)
        return found

    def leave(self) -> "bool":
        """Those who go on find no slot any more."""
        try:
            ringfile.stop(self._source)
        except OSError:
            pass
        return False

    # -- what was observed ---------------------------------------------------------------------------------------------

    def sections(self) -> "Iterator[tuple[str, Iterable[bytes]]]":
        """The ring, without the arguments of other programs than the command."""
        yield RING, arguments.kept(self._source, self.most, self.command)

    def text(self) -> "Iterator[bytes]":
        """The calls in strace's words."""
        return words.blocks(self._source, self.most)

    def starts(self) -> "Iterator[bytes]":
        """The calls of exec in strace's words."""
        return words.blocks(self._source, self.most, is_of_starts=True)

    # -- a run whose fsprobe was killed --------------------------------------------------------------------------------

    def resume(self, facts: "Mapping[str, Any]") -> "None":
        """With the command whose arguments stay."""
        words_of_it = facts.get("command")
        self.command = [os.fsencode(str(word)) for word in words_of_it] if isinstance(words_of_it, list) else []

    def recover(self, scratch: "str") -> "str":
        """The ring is there; what was lost it says itself."""
        try:
            with ringfile.Reader(self.ring) as source:
                n = ringfile.n_slots(source)
        except FileNotFoundError:
            n = 0
        except OSError as error:
            raise BadInput("the ring in %s is not taken: %s" % (scratch, error.strerror), "nothing can be made of it")
        if not n:
            raise BadInput("%s holds no log" % scratch, "the run was stopped before its command started")
        return ""

    def is_going_on(self, scratch: "str") -> "bool":
        """Whether a process has the ring mapped."""
        return is_in_use(self.ring)

    def status_of_ended(self, is_going_on: "bool") -> "int | None":
        """The first process's own exit; nobody has seen the signal that ended it."""
        try:
            return None if is_going_on else words.look(self.ring, self.most).status
        except OSError:
            return None


def _most_slots(most: "int" = ringfile.MOST) -> "int":
    """How many slots may be mapped in each process: a small part of its address space where that is limited (ulimit -v)."""
    limit = limits.own_limit(limits.ADDRESS_SPACE)
    if limit is None:
        return most
    return max(TRIAL_SLOTS, min(most, limit // SHARE_OF_ADDRESSES // ringfile.SLOT_BYTES))


def _n_cpus() -> "int":
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1
