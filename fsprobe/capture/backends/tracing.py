"""What the backends have in common that trace: a tracer starts the command and writes one log in strace's words.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import os
import time

from fsprobe import capabilities
from fsprobe.capabilities import MARKED_BY_CALLS, MARKED_BY_TIME, MARKED_TWICE, UNMARKED
from fsprobe.capture.backends import text_log
from fsprobe.capture.backends.protocol import Backend
from fsprobe.capture.directories import own_files
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.process.start import Launch
from fsprobe.capture.process.wait import is_running
from fsprobe.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, BadInput, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from fsprobe.capture.backends.protocol import Machine, Run
    from fsprobe.capture.backends.stalls import Stall
    from fsprobe.capture.backends.stream import Follower
    from fsprobe.capture.directories.room import Rooms
    from fsprobe.capture.process.start import Process
    from fsprobe.capture.process.wait import Outcome

DENIED_HINT = (
    "tracing is not allowed here (container policy, Yama, or already traced): see `fsprobe doctor`, "
    "or use `--backend audit`"
)
COMPLAINTS = "complaints"
"""What the tracer says on stderr, in its place."""
MAX_COMPLAINT_BYTES = 1 << 16
LONG_S = 1.0
"""A tracer is watched for standing still from then on: what most runs do not need is not loaded for them."""
OVER = "over"
"""What the directory of marks is called once nobody shall write there any more."""


class Tracer(Backend):
    """A tracer of another process, which writes the log."""

    observes = frozenset(
        [
            capabilities.LOADER,
            capabilities.RESULTS,
            capabilities.STATS,
            capabilities.DURATIONS,
            capabilities.CHILDREN,
            capabilities.FOREIGN_PROGRAMS,
        ]
    )
    ways_to_mark: "tuple[str, ...]" = (MARKED_BY_TIME, MARKED_BY_CALLS, MARKED_TWICE, UNMARKED)
    can_stream = True
    takes_privileges = True

    shield = ""
    """Path of the program that stands between the tracer and the command; its own start is the log's first line then."""
    follower: "Follower | None" = None
    bound: "text_log.Bound | None" = None
    rooms: "Rooms | None" = None
    stall: "Stall | None" = None
    began_s = 0.0

    def why_harmful(self, machine: "Machine") -> "str":
        """A program that traces others can't when it is traced."""
        from fsprobe.capture.machine import starters

        name = starters.tracer_in(machine.command, machine.environment, in_text=False)
        return "%s traces programs itself, and a program that is traced can't" % name if name else ""

    def log(self) -> "str":
        """The tracer's log."""
        return os.path.join(self.place, scratch_dir.LOG)

    def facts(self) -> "dict[str, Any]":
        """The shield, whose line is none of the command's."""
        return {"shield": self.shield}

    def begin(self, run: "Run") -> "None":
        """Get ready to watch the log, before there is one."""
        self.seen = text_log.SignalsSeen(self.log())
        self.began_s = time.monotonic()
        bound = text_log.NO_BOUND if run.is_streamed else run.max_log_bytes
        self.bound = text_log.Bound(self.log(), self.place, bound, text_log.LOW_SPACE_BYTES)
        if self.markers in (MARKED_BY_TIME, MARKED_TWICE):
            from fsprobe.capture.directories import room
            from fsprobe.capture.machine import memory

            self.rooms = room.Rooms(os.path.join(self.scratch, scratch_dir.MARKS), memory.Charge(self.scratch))

    def prepare(self, run: "Run", launch: "Launch") -> "Launch":
        """A launch of the tracer; the words are its own business."""
        self.begin(run)
        made = Launch([], launch.environment)
        made.is_target = False
        made.kept = launch.kept
        return made

    def follow(self, run: "Run", consume: "Callable[..., Any]") -> "None":
        """Read the log as it grows, and take it away behind the reader."""
        from fsprobe.capture.backends import stream

        reason = stream.why_not(self.place)
        if reason:
            raise FsprobeError(reason, "name a directory on tmpfs, ext4 or xfs with --tmp-dir")
        self.follower = stream.Follower(self.log(), run.max_log_bytes, consume, self.shield)

    # -- while it runs -------------------------------------------------------------------------------------------------

    def target_pid(self) -> "int":
        """The first process of the log."""
        return text_log.first_pid(self.log())

    def has_had(self, pid: "int", number: "int", sender: "int") -> "bool":
        """A tracer notes the signals of its tracees."""
        return self.seen.has(pid, number, sender)

    def watch(self, process: "Process") -> "None":
        """Keep the log within its bound; see that the tracer does not wait for its own tracee."""
        if self.stall is None and time.monotonic() - self.began_s >= LONG_S:
            from fsprobe.capture.backends.stalls import Stall

            self.stall = Stall(os.path.join(self.scratch, scratch_dir.MOUNTS))
        if self.stall is not None:
            self.stall.look(_tracer_of(process))
            self.is_stuck = self.stall.is_stuck
        if self.bound is not None:
            self.bound.check(process.target_pid)
            self.truncated = self.bound.why
        if self.stall is not None and self.stall.why:
            self.truncated = self.stall.why
        if self.follower is not None:
            self.follower.tick()
            if self.follower.failed and self.bound is not None:
                self.bound.max_bytes = 0  # nobody reads the log any more: it must not grow
        if self.rooms is not None and not self.truncated:
            self.rooms.extend()

    def flush(self, write: "Callable[[Any], None]") -> "None":
        """A log can be read at any time; a stream between two lines."""
        if self.follower is not None:
            self.follower.ask(write)
        else:
            write(None)

    def finish(self, process: "Process", outcome: "Outcome") -> "None":
        """Read the command's end in the log, where the tracer goes on; see whether the log has its own."""
        bound = self.bound
        if bound is None:
            return
        if not outcome.is_known and not self.is_stuck:
            told = text_log.exit_status(self.log(), process.target_pid) if bound.ending is None else bound.ending
            outcome.exit_status = told
        bound.finish(process.target_pid, outcome.is_known)
        self.n_packed_bytes = bound.packer.n_bytes if bound.packer is not None else 0
        self.truncated = bound.why or (self.stall.why if self.stall is not None else "")
        if self.follower is not None:
            self.follower.finish()
            status = text_log.ending(self.follower.ending, process.target_pid, None)
            if outcome.descendants_left and status is not None:
                outcome.exit_status = status
            self.truncated = "; ".join(why for why in (self.truncated, self.follower.left_out()) if why)
        size, lost = text_log.look(self.log())
        if not self.truncated and process.target_pid and not size:
            self.truncated = lost or "its log was emptied or removed while the command ran"

    def streamed(self) -> "Any":
        """What the reader of the log returned."""
        return None if self.follower is None else self.follower.result

    def raise_if_not_run(self, run: "Run", outcome: "Outcome") -> "None":
        """An empty log: nothing could be traced. An execve that failed first of all: no such command."""
        command = run.command[0]
        size, lost = text_log.look(self.log())
        if lost and not self.truncated:
            # whether the command ran nobody knows then; a tracer that can't start it would have said so
            self.truncated = outcome.log_truncated = lost
        if not size and not self.truncated:
            reason = "".join(": " + line for line in self.complaints()[:1])
            raise FsprobeError("%s could not trace %s%s" % (self.name, command, reason), DENIED_HINT)
        name = text_log.exec_error(self.log(), self.shield)
        if name and outcome.exit_status > 0:
            reason = os.strerror(getattr(errno, name, errno.ENOEXEC))
            hint = "see `man 2 execve`, %s" % name
            if name == "E2BIG":
                hint = "the command line and the environment are too long together"
            code = EXIT_NOT_FOUND if name == "ENOENT" else EXIT_NOT_EXECUTABLE
            raise FsprobeError("%s cannot be started: %s" % (command, reason), hint, code)

    def warnings(self, outcome: "Outcome") -> "list[str]":
        """Pass on what the tracer complained of."""
        lines = self.complaints()
        if not lines:
            return []
        more = " (and %d more such lines)" % (len(lines) - 1) if lines[1:] else ""
        return ["the tracer said: %s%s" % (lines[0], more)]

    def complaints(self) -> "list[str]":
        """What the tracer said, each different line once."""
        try:
            with own_files.reader(os.path.join(self.place, COMPLAINTS), buffering=0) as source:
                text = source.read(MAX_COMPLAINT_BYTES).decode("utf-8", "backslashreplace")
        except OSError:
            return []
        found = []  # type: list[str]
        for line in text.split("\n"):
            if line.strip() and line.strip() not in found:
                found.append(line.strip())
        return found

    def leave(self) -> "bool":
        """A tracer can't be ended: it writes until its last tracee has ended. The hooks can: where their place is gone they do nothing."""
        marks = os.path.join(self.scratch, scratch_dir.MARKS)
        if self.rooms is not None:
            self.rooms.stop()
        try:
            os.rename(marks, os.path.join(self.scratch, OVER))  # a hook that starts now finds no place
        except OSError:
            pass
        own_files.remove(os.path.join(self.scratch, OVER))
        if self.bound is not None and self.bound.packer is not None:
            from fsprobe.capture.backends import packed

            packed.remove(self.log())
        return True

    def empty(self) -> "None":
        """Throw away what the tracer wrote, and what a hook that was just starting may have."""
        own_files.remove(os.path.join(self.scratch, OVER))
        if text_log.size_bytes(self.log()):
            os.truncate(self.log(), 0)

    def abandon(self) -> "None":
        """End the reader of the log."""
        if self.follower is not None:
            self.follower.finish()

    # -- what was observed ---------------------------------------------------------------------------------------------

    def sections(self) -> "Iterator[tuple[str, Iterable[bytes]]]":
        """The log as it is."""
        yield "log", self.text()

    def text(self) -> "Iterator[bytes]":
        """The log, without the shield's line; nothing where the tracer has not begun it."""
        return text_log.blocks(self.log(), self.shield)

    # -- a run whose fsprobe was killed --------------------------------------------------------------------------------

    def resume(self, facts: "Mapping[str, Any]") -> "None":
        """With the shield that was between tracer and command."""
        self.shield = str(facts.get("shield") or "")

    def recover(self, scratch: "str") -> "str":
        """The log is there; whether it was cut while it was written, it says."""
        try:
            os.close(own_files.open_file(self.log()))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise BadInput("the log in %s is not taken: %s" % (scratch, error.strerror), "nothing can be made of it")
        if not text_log.size_bytes(self.log()):
            raise BadInput("%s holds no log" % scratch, "the run was stopped before its command started")
        return text_log.CUT if text_log.has_hole(self.log()) else ""

    def is_going_on(self, scratch: "str") -> "bool":
        """Whether a tracer runs that was told to write this log."""
        return text_log.is_written(os.path.join(scratch, scratch_dir.LOG))

    def status_of_ended(self, is_going_on: "bool") -> "int | None":
        """The exit line of the first process."""
        pid = text_log.first_pid(self.log())
        return None if is_going_on and is_running(pid) else text_log.exit_status(self.log(), pid)


def _tracer_of(process: "Process") -> "int":
    """The tracer's process, also where what was started enters a layout first."""
    pid = process.target_pid
    from fsprobe.capture.machine.running import tracer_of

    return (tracer_of(pid, pid) if pid else 0) or process.pid
