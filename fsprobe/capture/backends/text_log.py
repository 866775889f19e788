"""The tracer's log while it grows: who the target is, how it ended, which signals it got, and how much of it is kept.

A tracer writes at an offset of its own. When a log is cut while it is written, what comes later lies behind a hole, and a
hole reads as NUL bytes, which no tracer writes: a log ends at its first NUL.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import re
import signal
import time

from fsprobe.capture.directories import own_files
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.machine import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from fsprobe.capture.backends.packed import Packer

NO_BOUND = 1 << 62
"""Of a log that is taken away as it grows."""
LOW_SPACE_BYTES = 32 << 20
"""With less room than this in the scratch, recording stops. A judgement: a tracer writes some 0.5 MB in a tick, other
programs may write more."""
CUT = "the log reached --max-log, or its filesystem was nearly full"
LOW_MEMORY = "the log lies in memory, and the job's limit of memory was nearly reached (--tmp-dir can name a disk)"
LOW_SPACE = "the scratch filesystem was nearly full"
PACK_AT_BYTES = 16 << 20
"""So much of a log in a job's memory is compressed at once. A judgement."""
LOW_CHARGE_BYTES = 4 << 20
"""A log of less than this is no reason for a job to run out of memory. A judgement."""
BLOCK_BYTES = 1 << 20
SIGNAL_WAIT_S = 0.1
"""How long to wait for the tracer to print that the target got the same signal itself. A judgement."""
_SIGRTMIN = 32
SIGNAL_TAIL_BYTES = 1 << 18


def size_bytes(log: "str") -> "int":
    """Size of the log, 0 while there is none."""
    try:
        return os.stat(log).st_size
    except OSError:
        return 0


def look(log: "str") -> "tuple[int, str]":
    """Size of a log that should be there, and why it can't be read ("" where it can, or where no tracer has begun it)."""
    why = ""
    for _ in range(2):  # what failed for a moment does not the next time
        try:
            return os.stat(log).st_size, ""
        except FileNotFoundError:
            if os.path.isdir(os.path.dirname(log)):
                return 0, ""
            return 0, "its log was removed while the command ran, with the directory that it was in"
        except OSError as error:
            why = "its log can't be read: %s" % error.strerror
    return 0, why


def first_pid(log: "str") -> "int":
    """The target's process id, from the first line of the log; 0 while there is none."""
    try:
        with own_files.reader(log, buffering=0) as source:
            words = source.read(64).split(None, 1)
    except OSError:
        return 0
    return int(words[0]) if len(words) > 1 and words[0].isdigit() else 0


def blocks(log: "str", own: "str" = "") -> "Iterator[bytes]":
    """The log's content up to its end or its first hole, without the line of the shield at `own`."""
    return without_own(_blocks(log), own)


def kept(text: "Iterable[bytes]", command: "Sequence[bytes]" = ()) -> "Iterator[bytes]":
    """A log as a recording keeps it: without arguments of child programs and other values that no analysis reads.

    Args:
        text: its blocks.
        command: the user's own command, whose arguments stay; its execve is the log's first. () where nothing was started.
    """
    rest, n_known = b"", 1 if command else 0
    cut = None  # type: Callable[[bytes, Sequence[bytes]], bytes] | None
    for block in text:
        block = rest + block
        end = block.rfind(b"\n") + 1
        rest, block = block[end:], block[:end]
        if cut is None and (block.count(b"execve") > n_known or b"xattr" in block or b" mount" in block):
            cut = _cutter()  # most programs start no other ones, and then it need not be imported
        n_known = 0 if block else n_known
        yield block if cut is None else cut(block, command)
    if rest:
        yield (cut or _cutter())(rest, command)


def _cutter() -> "Callable[[bytes, Sequence[bytes]], bytes]":
    from fsprobe.privacy.log import call_values

    return call_values.cut_block


def n_packed_bytes(log: "str") -> "int":
    """How much of a log's head was compressed beside it: see `packed`."""
    if not os.path.exists(log + ".z"):
        return 0  # so what most runs do not need is not loaded for them
    from fsprobe.capture.backends import packed

    return packed.n_bytes(log)


def _blocks(log: "str") -> "Iterator[bytes]":
    source = own_files.reader(log, buffering=0)
    try:
        if n_packed_bytes(log):
            from fsprobe.capture.backends import packed

            for block in packed.read(log):
                yield block
                source.seek(len(block), os.SEEK_CUR)
        while True:
            block = source.read(BLOCK_BYTES)
            end = block.find(b"\0")
            if end >= 0:
                block = block[:end]
            if block:
                yield block
            if not block or end >= 0:
                return
    finally:
        try:
            source.close()
        except OSError:
            pass  # it was only read; and whoever gives the log up half-way could not be told


def is_own(line: "bytes", path: "str") -> "bool":
    """Whether the first line of a log is the execve of the shield at `path` ("" for a run without one)."""
    return bool(path) and b' execve("%s", ' % os.fsencode(path) in line


def without_own(blocks: "Iterable[bytes]", path: "str") -> "Iterator[bytes]":
    """A log without the shield's line, as blocks; a block may begin and end anywhere."""
    head = b""
    is_past = False
    for block in blocks:
        if not is_past:
            head += block
            line, end, rest = head.partition(b"\n")
            if not end:
                continue
            block, head, is_past = rest if is_own(line, path) else head, b"", True
        if block:
            yield block
    if head:
        yield head


def has_hole(log: "str") -> "bool":
    """Whether the log was cut while it was written."""
    with own_files.reader(log, buffering=0) as source:
        source.seek(n_packed_bytes(log))
        return any(b"\0" in block for block in iter(lambda: source.read(BLOCK_BYTES), b""))


def exit_status(log: "str", pid: "int") -> "int":
    """How process `pid` ended according to the log's exit lines: its code, minus a signal's number, or 0 when it does not say."""
    return last_ending(blocks(log), pid) or 0


def last_ending(text: "Iterable[bytes]", pid: "int") -> "int | None":
    """How process `pid` ended according to the whole lines of a log's blocks; None when they do not say."""
    status = None
    rest = b""
    try:
        for block in text:
            lines = (rest + block.lstrip(b"\0")).split(b"\n")  # a hole: what was cut off
            rest = lines.pop()
            for line in lines:
                status = ending(line, pid, status)
    except OSError:
        pass
    return status


def ending(line: "bytes", pid: "int", before: "int | None") -> "int | None":
    if b" +++ " not in line or not line.startswith(b"%d " % pid):
        return before
    words = line.split(b" +++ ", 1)[1].split()
    if words[:2] == [b"exited", b"with"] and len(words) > 2 and words[2].isdigit():
        return int(words[2])
    if words[:2] == [b"killed", b"by"] and len(words) > 2:
        return -_number(words[2].decode("ascii", "replace"))
    return before


def exec_error(log: "str", own: "str" = "") -> "str":
    """The errno name with which the target's very first execve failed; "" when it did not. `own`: the shield's path."""
    try:
        with own_files.reader(log, buffering=0) as source:
            lines = source.read(1 << 18).split(b"\n", 2)
    except OSError:
        return ""
    line = lines[1] if len(lines) > 1 and is_own(lines[0], own) else lines[0]
    # a thread's execve under seccomp is printed as an error without a name; the first one is no thread's
    found = re.search(rb' execve\(.*\) += -1 (E[A-Z0-9]+) [^"]*$', line)
    return found.group(1).decode("ascii") if found else ""


class Bound:
    """Keeps the log within its bound and its filesystem from running full. What was logged so far always stays.

    Where it lies in memory that the job is charged for it is compressed as it grows, and so it is where its place gets full. Only when
    that gives no more room nothing more is kept.
    """

    def __init__(self, log: "str", scratch: "str", max_bytes: "int", low_space_bytes: "int") -> "None":
        self.log = log
        self.scratch = scratch
        self.max_bytes = max_bytes
        self.low_space_bytes = low_space_bytes
        self.why = ""
        self.ending: "int | None" = None
        """How the target ended, where its exit line was in a part that was cut off."""
        self.packer: "Packer | None" = None
        self._may_pack = max_bytes < NO_BOUND
        self._kept = 0
        self._read = 0
        self._charge = memory.Charge(scratch)

    def check(self, target_pid: "int") -> "None":
        """Stop keeping lines when it is time to, and from then on throw away what has come."""
        size = size_bytes(self.log)
        if not self.why:
            self.why = self._reason(size)
            if self._may_pack and (self.why in (LOW_SPACE, LOW_MEMORY) or self._grows(size)):
                from fsprobe.capture.backends import packed

                self.packer = self.packer or packed.Packer(self.log)
                if self.packer.pack(size) and self.why in (LOW_SPACE, LOW_MEMORY):
                    self.why = ""  # the next look tells whether that was enough
            if not self.why:
                return
            self._kept = self._read = _last_line_end(self.log, size)
        if size > self._read:
            self._look_for_ending(target_pid, size)
        if size > self._kept:
            try:
                os.truncate(self.log, self._kept)
            except OSError:
                pass

    def _grows(self, size: "int") -> "bool":
        """Whether it is time to compress some of a log that a job's memory is charged for."""
        n_packed = self.packer.n_bytes if self.packer is not None else 0
        return bool(self._charge.limits) and size - n_packed > PACK_AT_BYTES

    def _reason(self, size: "int") -> "str":
        if size > self.max_bytes:
            return "the log reached --max-log"
        try:
            if scratch_dir.free_bytes(self.scratch) < self.low_space_bytes:
                return LOW_SPACE
            if size > LOW_CHARGE_BYTES and self._charge.is_low():
                return LOW_MEMORY
        except OSError:
            pass
        return ""

    def _look_for_ending(self, target_pid: "int", size: "int") -> "None":
        try:
            with own_files.reader(self.log, buffering=0) as source:
                source.seek(max(self._read - 256, self._kept))
                found = last_ending(iter(lambda: source.read(BLOCK_BYTES), b""), target_pid)
                self.ending = self.ending if found is None else found
        except OSError:
            pass
        self._read = size

    def finish(self, target_pid: "int", ended: "bool") -> "None":
        """The run is over: cut what is past the bound, and see whether the log has its end.

        Args:
            target_pid: the target.
            ended: whether the tracer has ended, so that nothing more comes.
        """
        if self.why:
            self.check(target_pid)
        elif ended and target_pid and not self._has_ending():
            self.why = "the tracer could not write all of it (was the scratch filesystem full?)"

    def _has_ending(self) -> "bool":
        # descendants may have gone on for long after it: only where the very end is cut short, or no exit is in it at all
        try:
            with own_files.reader(self.log) as source:
                source.seek(-min(size_bytes(self.log), 1 << 16), os.SEEK_END)
                tail = source.read()
        except OSError:
            return True
        return not tail or (tail.endswith(b" +++\n"))


def _last_line_end(log: "str", size: "int") -> "int":
    try:
        with own_files.reader(log, buffering=0) as source:
            start = max(0, size - (1 << 18))
            source.seek(start)
            return start + source.read(size - start).rfind(b"\n") + 1
    except OSError:
        return size


class SignalsSeen:
    """Tells whether the target got a signal from the same sender at the same time as fsprobe: then it is not sent on.

    That is so when somebody signals a whole process group or job step, as batch systems and `timeout` do.
    """

    def __init__(self, log: "str") -> "None":
        self.log = log
        self._read = 0

    def has(self, target_pid: "int", number: "int", sender: "int") -> "bool":
        """Look for the signal in what was logged in the last second, and a moment longer.

        Args:
            target_pid: who should have got it.
            number: the signal.
            sender: process id of who sent it.
        """
        name = b"--- " + _name(number) + b" {"
        by = b"si_pid=%d," % sender
        start = b"%d " % target_pid
        end = time.monotonic() + SIGNAL_WAIT_S
        at = max(self._read, size_bytes(self.log) - SIGNAL_TAIL_BYTES)
        while True:
            try:
                with own_files.reader(self.log, buffering=0) as source:
                    source.seek(at)
                    data = source.read(SIGNAL_TAIL_BYTES * 16)
            except OSError:
                return False
            offset = at
            for line in data.split(b"\n"):
                offset += len(line) + 1
                if name in line and by in line and line.startswith(start) and _is_recent(line):
                    self._read = offset
                    return True
            if time.monotonic() > end:
                return False
            time.sleep(0.005)


def _name(number: "int") -> "bytes":
    """As a tracer prints it: real-time signals count from the kernel's first, not from the C library's."""
    if number > _SIGRTMIN:
        return b"SIGRT_%d" % (number - _SIGRTMIN)
    return signal.Signals(number).name.encode("ascii")


def _number(name: "str") -> "int":
    if name.startswith("SIGRT_") and name[6:].isdigit():
        return _SIGRTMIN + int(name[6:])
    return int(getattr(signal, name, 0))


def _is_recent(line: "bytes") -> "bool":
    try:
        return abs(time.time() - float(line.split(None, 2)[1])) < 1.0
    except (ValueError, IndexError):
        return False


def is_written(log: "str") -> "bool":
    """Whether some process runs that was started to write this log, whoever started it."""
    wanted = os.fsencode(log)
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/cmdline" % name, "rb", buffering=0) as source:
                words = source.read(1 << 16).split(b"\0")
        except OSError:
            continue
        if wanted in words:
            return True
    return False
