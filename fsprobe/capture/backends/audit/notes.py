"""What interpreters noted of themselves in the audit backend, and one log made of it.

What runs in the target is `hook/audit/watch.py`; it leaves one file `noted.TOKEN` per interpreter, with a part for each process that
this forked off (older versions left a file `calls.TOKEN` per process). `gather` makes of those one log in strace's own words, so
that all that follows reads it as it reads any other. A process that was forked off did not ask who it is: it gets a number
that no process has, and so do threads that the interpreter doesn't know.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import os
import time

from fsprobe.capture.directories import own_files, room
from fsprobe.capture.directories import scratch as scratch_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = "calls."
BLOCK_BYTES = 1 << 18
FIRST_UNKNOWN = 1 << 22
"""Processes and threads whose number nobody asked for are counted from here: Linux has none above it."""
_FULL = "marks.full"
_CLONE = b"clone(child_stack=NULL, flags=%s) = %d"
_CLONE_THREAD = b"clone(child_stack=0x1, flags=CLONE_VM|CLONE_FS|CLONE_THREAD) = %d"


# ---- while they run -----------------------------------------------------------------------------------------------


def stop_writers(scratch: "str") -> "None":
    """Tell the hooks to write no more, and take their place away: an interpreter that starts now does nothing there."""
    room.stop(os.path.join(scratch, scratch_dir.MARKS))
    try:
        os.rename(os.path.join(scratch, scratch_dir.MARKS), os.path.join(scratch, _FULL))
    except OSError:
        pass


def running(scratch: "str") -> "list[int]":
    """Processes that share memory with a file of this run: interpreters with its hook, and what they forked off."""
    place = os.path.join(scratch, scratch_dir.MARKS)
    try:
        names = [name for name in os.listdir(place) if name.startswith(room.NOTED)]
    except OSError:
        return []
    if not names:
        return []
    wanted = os.fsencode(os.path.join(os.path.realpath(place), room.NOTED))
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open("/proc/%s/maps" % name, "rb") as source:
                    if wanted in source.read():
                        found.append(int(name))
            except OSError:
                continue
    return found


# ---- one log ------------------------------------------------------------------------------------------------------


def gather(scratch: "str", log: "str") -> "str":
    """Make the log of what the processes noted, ordered by time, each after what shows who started it.

    Args:
        scratch: the scratch directory, in which they noted it.
        log: the file to write.

    Returns:
        Why the log is not complete, "" when it is.

    Raises:
        OSError: what they noted can't be read.
    """
    import heapq

    place = os.path.join(scratch, scratch_dir.MARKS)
    if not os.path.isdir(place):
        os.rename(os.path.join(scratch, _FULL), place)
    to_wall_ns = int(time.time() * 1e9) - int(time.monotonic() * 1e9)
    found, n_lost, n_unread = _notes_in(place)
    births = _named(found)
    streams = [_stream(one, births[id(one)], births) for one in found]
    streams.append(iter(_clones(sorted(births.values(), key=lambda birth: birth.at_ns))))
    try:
        with os.fdopen(own_files.open_file(log, os.O_WRONLY | os.O_CREAT), "wb") as target:
            target.truncate()
            for at_ns, tid, rest in heapq.merge(*streams, key=lambda entry: entry[0]):
                seconds, ns = divmod(at_ns + to_wall_ns, 1000000000)
                target.write(b"%d %d.%09d %s\n" % (tid, seconds, ns, rest))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return "the scratch filesystem is full"
    why = "there was no room, or the program watched its own calls (sys.setprofile, sys.settrace, sys.monitoring)"
    reasons = ["%d files of what interpreters noted can't be read" % n_unread] if n_unread else []
    reasons += ["at least %d calls were not noted: %s" % (n_lost, why)] if n_lost else []
    return "; ".join(reasons)


class Notes:
    """What one process noted: a stretch of a file, and how it came to be."""

    def __init__(self, path: "str", part: "int" = 0, start: "int" = 0, end: "int | None" = None) -> "None":
        self.path = path
        self.part = part
        self.start = start
        self.end = end
        self.birth = _birth(path, start)


def _notes_in(place: "str") -> "tuple[list[Notes], int, int]":
    """What the processes noted in a directory, how many lines had no room, and how many files can't be read."""
    found, n_lost, n_unread = [], 0, 0
    for name in sorted(os.listdir(place)):
        path = os.path.join(place, name)
        if name.startswith(CALLS):
            found.append(Notes(path))
        elif name.startswith(room.NOTED):
            header = room.header_of(path)
            n_unread += not header
            for number, part in enumerate(room.parts(header)):
                n_lost += part.n_lost
                if part.used:
                    found.append(Notes(path, number, part.start, part.limit))
            n_lost += room.n_lost_elsewhere(header)
    return [one for one in found if one.birth is not None], n_lost, n_unread


def _named(found: "list[Notes]") -> "dict[int, Birth]":
    """How each came to be, with numbers for those who did not ask for one; by the notes' identity."""
    births = {}  # type: dict[int, Birth]
    of_parts = {}  # type: dict[tuple[str, int], Birth]
    for n, one in enumerate(found):
        birth = one.birth
        if birth is None:
            continue
        if one.part:
            birth.pid = birth.tid = FIRST_UNKNOWN + n
        births[id(one)] = of_parts[one.path, one.part] = birth
    for one in found:
        birth = births[id(one)]
        if one.part:
            parent = of_parts.get((one.path, birth.parent))
            birth.parent = parent.pid if parent is not None else 0
            if parent is not None and not birth.forked_by:
                birth.forked_by = parent.tid
    return births


class Birth:
    """The first line of a process's notes: how it came to be, when, and by whom."""

    def __init__(self, words: "list[bytes]") -> "None":
        self.word = words[0].decode("ascii", "replace")
        # a thread that the interpreter did not know is taken for the process's first
        numbers = [int(one) if one.isdigit() else 0 for one in words[1:7]]
        self.pid, self.parent, self.tid, self.at_ns, self.forked_by, self.forked_ns = numbers


def _birth(path: "str", at: "int" = 0) -> "Birth | None":
    for _ in range(2):  # what failed for a moment does not the next time
        try:
            with own_files.reader(path, buffering=0) as source:
                source.seek(at)
                head = source.read(256).split(b"\n", 1)[0]
            return Birth(head[1:].split()) if head[:1] == b"!" else None
        except (ValueError, IndexError):
            return None
        except OSError:
            continue
    return None


def _clones(births: "list[Birth]") -> "list[tuple[int, int, bytes]]":
    """The calls that made the processes, as far as their parents are known: sorted by time."""
    born = {}  # type: dict[int, Birth]
    found = []
    for birth in births:
        if birth.word == "fork":
            by = birth.forked_by or birth.parent
            flags = b"CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD"
            found.append((birth.forked_ns or birth.at_ns - 1, by, _CLONE % (flags, birth.pid)))
        elif birth.parent in born and birth.pid not in born:
            flags = b"CLONE_VM|CLONE_VFORK|SIGCHLD"
            found.append((birth.at_ns - 1, birth.parent, _CLONE % (flags, birth.pid)))
        born[birth.pid] = birth
    return sorted(found)


def _stream(notes: "Notes", birth: "Birth", births: "dict[int, Birth]") -> "Iterator[tuple[int, int, bytes]]":
    """The lines of one process, in its order; read by path in blocks, since there may be more files than descriptors."""
    at, rest, last_ns = notes.start, b"", birth.at_ns
    tids = {b"0": birth.pid} if notes.part else {}  # type: dict[bytes, int]
    while True:
        with own_files.reader(notes.path, buffering=0) as source:
            source.seek(at)
            size = BLOCK_BYTES if notes.end is None else min(BLOCK_BYTES, notes.end - at)
            block = source.read(size)
        at += len(block)
        lines = (rest + (block if notes.end is None else block.replace(b"\0", b""))).split(b"\n")
        rest = lines.pop()
        for line in lines:
            words = line.split(b" ", 2)
            if len(words) == 3 and words[1].isdigit() and (words[0].isdigit() or words[0][:1] == b"?"):
                # threads take their stamps side by side: in the file's order, but never backwards
                last_ns = max(last_ns, int(words[1]))
                if words[0] not in tids:
                    tids[words[0]] = int(words[0]) if words[0].isdigit() else _next_unknown(births)
                tid = tids[words[0]]
                if words[2] != b"*":
                    yield last_ns, tid, words[2]
                elif tid != birth.pid:
                    yield last_ns, birth.pid, _CLONE_THREAD % tid
            elif line[:1] != b"!" and line:
                yield last_ns, birth.tid, line
        if not block:
            return


def _next_unknown(births: "dict[int, Birth]") -> "int":
    """The number of a thread that nobody knows, which no process and no other thread has."""
    births[0] = last = births.get(0) or Birth([b"thread", b"%d" % (2 * FIRST_UNKNOWN)] + [b"0"] * 5)
    last.pid += 1
    return last.pid
