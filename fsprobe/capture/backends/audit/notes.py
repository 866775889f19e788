"""What interpreters noted of themselves in the audit backend, and one log made of it.

What runs in the target is `hook/audit/watch.py`; it leaves one file `calls.TOKEN` per process. `gather` makes of those files
one log in strace's own words, so that all that follows reads it as it reads any other.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import json
import os
import time

from fsprobe.capture.directories import own_files
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.process.wait import is_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = "calls."
BLOCK_BYTES = 1 << 18
_FULL = "marks.full"
_CLONE = b"clone(child_stack=NULL, flags=%s) = %d"


# ---- while they run -----------------------------------------------------------------------------------------------


def size_bytes(scratch: "str") -> "int":
    """How much they noted, with their marks.

    Raises:
        OSError: their directory can't be read.
    """
    with os.scandir(os.path.join(scratch, scratch_dir.MARKS)) as entries:
        return sum(entry.stat().st_size for entry in entries)


def stop_writers(scratch: "str") -> "None":
    """Take the hooks' place away: they append by path, and where that is not there they write no more."""
    try:
        os.rename(os.path.join(scratch, scratch_dir.MARKS), os.path.join(scratch, _FULL))
    except OSError:
        pass


def running(scratch: "str") -> "list[int]":
    """Processes that a hook of this run noted and that are still there, with the hook in their environment."""
    place = os.path.join(scratch, scratch_dir.MARKS)
    try:
        names = [name for name in os.listdir(place) if name.startswith(CALLS)]
    except OSError:
        return []
    found = []
    entry = _hook_dir(scratch)
    for name in names:
        word = name[len(CALLS) :].split(".")[0]
        if word.isdigit() and is_running(int(word)) and int(word) not in found:
            try:
                with open("/proc/%s/environ" % word, "rb", buffering=0) as source:
                    is_ours = bool(entry) and entry in source.read(1 << 20)
            except OSError:
                is_ours = False
            if is_ours:
                found.append(int(word))
    return found


def _hook_dir(scratch: "str") -> "bytes":
    """What this run put on PYTHONPATH, as it wrote it down before the command started."""
    try:
        with own_files.reader(os.path.join(scratch, scratch_dir.STATE)) as source:
            return os.fsencode(str(json.loads(source.read().decode("utf-8", "surrogateescape"))["hook_dir"]))
    except (OSError, ValueError, LookupError, TypeError):
        return b""


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
    paths = [os.path.join(place, name) for name in os.listdir(place) if name.startswith(CALLS)]
    births = {path: birth for path, birth in ((path, _birth(path)) for path in paths) if birth is not None}
    streams = [_stream(path, births[path]) for path in births]
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
    return ""


class Birth:
    """The first line of a process's file: how it came to be, when, and by whom."""

    def __init__(self, words: "list[bytes]") -> "None":
        self.word = words[0].decode("ascii", "replace")
        self.pid, self.parent, self.tid, self.at_ns, self.forked_by, self.forked_ns = [int(one) for one in words[1:7]]


def _birth(path: "str") -> "Birth | None":
    try:
        with own_files.reader(path, buffering=0) as source:
            head = source.read(256).split(b"\n", 1)[0]
        return Birth(head[1:].split()) if head[:1] == b"!" else None
    except (OSError, ValueError, IndexError):
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


def _stream(path: "str", birth: "Birth") -> "Iterator[tuple[int, int, bytes]]":
    """The lines of one file, in its order; read by path in blocks, since there may be more files than descriptors."""
    at, rest, last_ns = 0, b"", birth.at_ns
    while True:
        with own_files.reader(path, buffering=0) as source:
            source.seek(at)
            block = source.read(BLOCK_BYTES)
        at += len(block)
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        for line in lines:
            words = line.split(b" ", 2)
            if len(words) == 3 and words[0].isdigit() and words[1].isdigit():
                # threads take their stamps side by side: in the file's order, but never backwards
                last_ns = max(last_ns, int(words[1]))
                yield last_ns, int(words[0]), words[2]
            elif line[:1] != b"!" and line:
                yield last_ns, birth.tid, line
        if not block:
            return
