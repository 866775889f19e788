"""The files that hooks share memory with: what is in them, and more room while they fill.

A hook maps its file once, at its start, and from then on asks the kernel for nothing; see `capture/hook/room.py`, which has the
same layout. So who records allocates what will be written next. What is not allocated is never touched by a hook: a filesystem
without room would end the program with SIGBUS.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe.capture.directories import own_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "room."
MAGIC = b"fsproom1"
HEADER_BYTES = 4096
TABLE, ENTRY = 64, 24
N_CHILDREN, N_LEADING = 78, 7
N_PARTS = 1 + N_CHILDREN + N_LEADING * N_LEADING
N_AHEAD = 16
"""So many children that are not there yet have their part as soon as there is one."""
MAX_PAUSE = 16
"""A file in which nothing comes is looked at once in so many ticks at least."""


class Part:
    """What one process has: where its part begins and ends, up to where that is allocated and used, and how many lines it lost."""

    def __init__(self, start: "int", end: "int", limit: "int", used: "int", n_lost: "int") -> "None":
        self.start = start
        self.end = end
        self.limit = limit
        self.used = used
        self.n_lost = n_lost


def _number(data: "bytes", at: "int") -> "int":
    return int.from_bytes(data[at : at + 8], "little")


def parts(header: "bytes") -> "list[Part]":
    """The parts that a header tells of, by number; none where it is no header, or says what no hook writes."""
    if header[:8] != MAGIC or len(header) < HEADER_BYTES:
        return []
    own, child = _number(header, 8), _number(header, 16)
    if not (HEADER_BYTES < own <= 1 << 40 and 0 < child <= 1 << 40):
        return []
    found = []
    for number in range(N_PARTS):
        start = own + child * (number - 1) if number else HEADER_BYTES
        end = start + child if number else own
        limit, used, n_lost = (_number(header, TABLE + ENTRY * number + 8 * i) for i in range(3))
        found.append(Part(start, end, min(limit, end), used, n_lost))
    return found


class Rooms:
    """Allocates ahead of the hooks of one run."""

    def __init__(self, marks: "str") -> "None":
        self.marks = marks
        self._seen = {}  # type: dict[str, tuple[bytes, int, int]]  # its header, and how many ticks to wait, and still to wait

    def extend(self, may_grow: "bool" = True) -> "int":
        """Look at every file that may need it, and allocate more of it; how many bytes were added."""
        if not may_grow:
            return 0
        n_bytes = 0
        try:
            names = [name for name in os.listdir(self.marks) if name.startswith(PREFIX)]
        except OSError:
            return 0
        for name in names:
            header, pause, left = self._seen.get(name, (b"", 0, 0))
            if left > 0:
                self._seen[name] = (header, pause, left - 1)
                continue
            try:
                fd = own_files.open_file(os.path.join(self.marks, name), os.O_RDWR)
                try:
                    now = os.pread(fd, HEADER_BYTES, 0)
                    added = _extend(fd, now) if now != header else 0
                finally:
                    os.close(fd)
            except OSError:
                now, added = header, 0
            pause = min(MAX_PAUSE, 2 * pause + 1) if now == header else 0
            self._seen[name] = (now, pause, pause)
            n_bytes += added
        return n_bytes


def _extend(fd: "int", header: "bytes") -> "int":
    found = parts(header)
    if not found:
        return 0
    first = _number(header, 24)
    last_child = max([number for number, part in enumerate(found) if part.used and number <= N_CHILDREN])
    n_bytes = 0
    for number, part in enumerate(found):
        has_parent = 0 < number <= last_child + N_AHEAD if number <= N_CHILDREN else False
        if number > N_CHILDREN:
            has_parent = found[1 + (number - N_CHILDREN - 1) // N_LEADING].used > 0
        if part.used or (last_child and has_parent):
            # twice as much as was used is there, and at least what it began with
            wanted = min(part.end, max(part.used, part.start) + max(first, part.used - part.start))
            begin = max(part.limit, part.start)
            if wanted > begin + first // 4 or (wanted == part.end and wanted > begin):
                os.posix_fallocate(fd, begin, wanted - begin)
                os.pwrite(fd, wanted.to_bytes(8, "little"), TABLE + ENTRY * number)
                n_bytes += wanted - begin
    return n_bytes


def size_bytes(path: "str") -> "int":
    """How much the processes wrote into a file."""
    try:
        with own_files.reader(path, buffering=0) as source:
            found = parts(source.read(HEADER_BYTES))
    except OSError:
        return 0
    return sum(max(0, part.used - part.start) for part in found)


def read(path: "str") -> "Iterator[tuple[int, bytes]]":
    """What each process wrote: its number and its lines, the last of them `-N` where N of them had no room.

    Raises:
        OSError: it can't be read.
    """
    with own_files.reader(path, buffering=0) as source:
        header = source.read(HEADER_BYTES)
        for number, part in enumerate(parts(header)):
            source.seek(part.start)
            size = max(0, part.limit - part.start)
            lines = []  # type: list[bytes]
            # a line that was begun and never ended is none; where nothing was written there are zeros
            for line in source.read(size).replace(b"\0", b"").split(b"\n")[:-1] if part.used else ():
                lines.append(line + b"\n")
            if part.n_lost:
                lines.append(b"-%d\n" % part.n_lost)
            if lines:
                yield number, b"".join(lines)
        n_lost = _number(header, 32) if header[:8] == MAGIC else 0
        if n_lost:
            yield N_PARTS, b"-%d\n" % n_lost
