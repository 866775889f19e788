"""The audit backend: no tracer. The command runs directly, and each interpreter in it notes its own calls.

Not observed: the loader, whatever runs before `site`, programs that are not Python, durations, and results of calls that only
an audit event tells of (` = ?`).

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe import capabilities
from fsprobe.capabilities import MARKED_INSIDE, UNMARKED
from fsprobe.capture import shipped
from fsprobe.capture.backends import text_log
from fsprobe.capture.backends.audit import notes
from fsprobe.capture.backends.protocol import Backend
from fsprobe.capture.directories import room
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.machine import memory
from fsprobe.capture.process.witness import Witness
from fsprobe.errors import BadInput, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fsprobe.capture.backends.protocol import Machine, Run
    from fsprobe.capture.process.start import Launch, Process
    from fsprobe.capture.process.wait import Outcome

HOOK_PARTS = ("stream.py", "functions.py", "events.py", "watch.py")


class Audit(Backend):
    """Hooks in the interpreters, and nothing beside them."""

    name = "audit"
    observes = frozenset([capabilities.RESULTS, capabilities.STATS])
    ways_to_mark = (MARKED_INSIDE,)
    data_files = tuple("hook/audit/" + name for name in HOOK_PARTS)

    tick_s = 0.025
    """More often than usual: what is noted between two looks must have room."""

    max_bytes = text_log.NO_BOUND
    rooms: "room.Rooms | None" = None
    charge: "memory.Charge | None" = None
    witness: "Witness | None" = None

    def why_rather_not(self, machine: "Machine") -> "str":
        """Always: a tracer tells more."""
        return "it observes neither the loader nor programs that are not Python"

    def why_not_marked(self, way: "str") -> "FsprobeError":
        """It is made of markers; where `auto` came to it, why that had to be."""
        if way == UNMARKED:
            return FsprobeError(
                self.why or "the audit backend is made of markers",
                "the audit backend can't do without markers: leave --no-markers away, or use a tracer (see `fsprobe doctor`)",
            )
        return FsprobeError("the audit backend has markers of its own", "leave the option away")

    def hook_code(self) -> "str":
        """What notes the calls, in each interpreter."""
        return "\n\n".join(shipped.read("hook", "audit", name) for name in HOOK_PARTS)

    def log(self) -> "str":
        """The log that is made at the end."""
        return os.path.join(self.place, scratch_dir.LOG)

    def prepare(self, run: "Run", launch: "Launch") -> "Launch":
        """The command as it is."""
        self.max_bytes = run.max_log_bytes
        self.charge = memory.Charge(self.scratch)
        self.rooms = room.Rooms(os.path.join(self.scratch, scratch_dir.MARKS), self.charge)
        self.witness = Witness()
        return launch

    def has_had(self, pid: "int", number: "int", sender: "int") -> "bool":
        """What was sent to all beside fsprobe the command has had."""
        return self.witness is not None and self.witness.has_had(number, sender)

    def watch(self, process: "Process") -> "None":
        """Take the hooks' place away when there is too much in it or too little room."""
        if self.truncated or self.rooms is None:
            return
        size = self.rooms.used_bytes()
        try:
            free = scratch_dir.free_bytes(self.scratch)
        except OSError:
            return
        if size > self.max_bytes:
            self.truncated = "the log reached --max-log"
        elif free < text_log.LOW_SPACE_BYTES:
            self.truncated = "the scratch filesystem is nearly full"
        elif size > text_log.LOW_CHARGE_BYTES and self.charge is not None and self.charge.is_low(2 * size):
            self.truncated = text_log.LOW_MEMORY
        else:
            self.rooms.extend()
            self.truncated = text_log.LOW_MEMORY if self.rooms.is_short else ""
        if self.truncated:
            notes.stop_writers(self.scratch)

    def is_at_work(self) -> "bool":
        """Whether interpreters outlive the command."""
        return bool(notes.running(self.scratch))

    def finish(self, process: "Process", outcome: "Outcome") -> "None":
        """Make the log of what they noted."""
        if self.witness is not None:
            self.witness.close()
        notes.stop_writers(self.scratch)
        try:
            missing = notes.gather(self.scratch, self.log())
            self.truncated = "; ".join(why for why in (self.truncated, missing) if why)
        except OSError as error:
            raise FsprobeError(
                "what the interpreters noted in %s cannot be read: %s" % (self.scratch, error.strerror),
                "the command has run; name another place with --tmp-dir",
                outcome.exit_code or None,
            )

    def warnings(self, outcome: "Outcome") -> "list[str]":
        """What is written at the end of a process is lost with it."""
        if outcome.exit_status >= 0:
            return []
        return ["killed by a signal: what it did in its last 0.1 s or so may be missing from the recording"]

    def leave(self) -> "bool":
        """Where the hooks' place is not there, they write no more."""
        notes.stop_writers(self.scratch)
        return False

    def sections(self) -> "Iterator[tuple[str, Iterable[bytes]]]":
        """The log."""
        yield "log", self.text()

    def text(self) -> "Iterator[bytes]":
        """The log."""
        return text_log.blocks(self.log())

    def recover(self, scratch: "str") -> "str":
        """Make the log of what was noted so far."""
        try:
            missing = notes.gather(self.scratch, self.log())
        except OSError as error:
            raise BadInput("%s cannot be read: %s" % (scratch, error.strerror), "nothing can be made of it")
        if not text_log.size_bytes(self.log()):
            raise BadInput("%s holds no log" % scratch, "the run was stopped before its command started")
        return missing

    def is_going_on(self, scratch: "str") -> "bool":
        """Whether interpreters of the run are still there."""
        return bool(notes.running(scratch))
