"""The files that hooks share memory with: what is in them, and more room while they fill.

A hook maps its file once, at its start, and from then on asks the kernel for nothing; see `capture/hook/room.py`, which has the
same layout. So who records allocates what will be written next. What is not allocated is never touched by a hook: a filesystem
without room would end the program with SIGBUS.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe.capture.directories import own_files, scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsprobe.capture.machine.memory import Charge

PREFIX, NOTED = scratch.ROOM, "noted."
"""How the names begin of files with marks, and with the calls that the audit backend notes."""
MAGIC = b"fsproom1"
HEADER_BYTES = 4096
TABLE, ENTRY = 64, 24
N_CHILDREN, N_LEADING = 78, 7
N_PARTS = 1 + N_CHILDREN + N_LEADING * N_LEADING
N_AHEAD = 16
"""So many children that are not there yet have their part as soon as there is one."""
MAX_AHEAD_BYTES = 16 << 20
ENOUGH_BYTES = 1 << 20
"""Up to so much in all is allocated however little memory is left to the job."""
TIMES = 3
"""What is written comes up to so many times in memory: as it is, and at the end as the log that is made of it and its sorted lines."""
STOP = 40
"""Where a hook sees that it shall write no more."""
WATCHED = 48
"""Where a hook counts what it did not note, since the target had a profile or trace function."""
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
    if not (HEADER_BYTES < own <= 1 << 40 and 0 <= child <= 1 << 40):
        return []
    found = []
    for number in range(N_PARTS if child else 1):
        start = own + child * (number - 1) if number else HEADER_BYTES
        end = start + child if number else own
        limit, used, n_lost = [_number(header, TABLE + ENTRY * number + 8 * i) for i in range(3)]
        found.append(Part(start, end, min(limit, end), min(used, end), n_lost))
    return found


class Rooms:
    """Allocates ahead of the hooks of one run."""

    def __init__(self, marks: "str", charge: "Charge | None" = None) -> "None":
        """Of a directory, and what it may take of the job's memory."""
        self.marks = marks
        self.charge = charge
        self.is_short = False
        """Whether a process needed more than the job's memory gives."""
        self._seen = {}  # type: dict[str, tuple[bytes, int, int]]  # its header, and how many ticks to wait, and still to wait

    def stop(self) -> "None":
        """Tell the hooks to write no more."""
        stop(self.marks)

    def used_bytes(self) -> "int":
        """How much was written, as of the last look."""
        return sum(used_bytes(header) for header, _, _ in self._seen.values())

    def extend(self) -> "None":
        """Look at every file that may need it, and allocate more of it."""
        try:
            names = [name for name in os.listdir(self.marks) if name.startswith((PREFIX, NOTED))]
        except OSError:
            return
        most_bytes = None  # type: int | None
        for name in names:
            header, pause, left = self._seen.get(name, (b"", 0, 0))
            if left > 0:
                self._seen[name] = (header, pause, left - 1)
                continue
            try:
                fd = own_files.open_file(os.path.join(self.marks, name), os.O_RDWR)
                try:
                    now = os.pread(fd, HEADER_BYTES, 0)
                    if now != header:
                        most_bytes = self._most_bytes() if most_bytes is None else most_bytes
                        n_bytes, is_short = _extend(fd, now, most_bytes)
                        most_bytes -= n_bytes
                        self.is_short |= is_short
                finally:
                    os.close(fd)
            except OSError:
                now = header
            pause = min(MAX_PAUSE, 2 * pause + 1) if now == header else 0
            self._seen[name] = (now, pause, pause)

    def _most_bytes(self) -> "int":
        """How much may be allocated now: what a job's memory does not give would end a program of it."""
        spare = None if self.charge is None else self.charge.spare_bytes()
        if spare is None:
            return 1 << 62
        used = self.used_bytes()
        return max(spare - (TIMES - 1) * used, TIMES * (ENOUGH_BYTES - used), 0) // TIMES


def _extend(fd: "int", header: "bytes", most_bytes: "int") -> "tuple[int, bool]":
    """Allocate more of a file; gives how much, and whether a part that is in use got none of what it needs."""
    found = parts(header)
    if not found:
        return 0, False
    n_bytes, is_short = 0, False
    first = _number(header, 24)
    last_child = max([0] + [n for n, part in enumerate(found) if part.used and n <= N_CHILDREN])
    for number, part in enumerate(found):
        has_parent = 0 < number <= last_child + N_AHEAD if number <= N_CHILDREN else False
        if number > N_CHILDREN:
            has_parent = found[1 + (number - N_CHILDREN - 1) // N_LEADING].used > 0
        if part.used or (last_child and has_parent):
            # twice as much as was used is there, and at least what it began with; where something was kept back, much more
            ahead = MAX_AHEAD_BYTES if part.n_lost else min(MAX_AHEAD_BYTES, max(first, part.used - part.start))
            if not part.used:
                ahead = min(ahead, first // 4)
            wanted = min(part.end, max(part.used, part.start) + ahead)
            begin = max(part.limit, part.start)
            is_last, needs = wanted == part.end, part.used and wanted > begin + first // 4
            if wanted - begin > most_bytes - n_bytes:
                wanted, is_last = begin + (most_bytes - n_bytes) // HEADER_BYTES * HEADER_BYTES, False
            if wanted > begin + first // 4 or (is_last and wanted > begin):
                os.posix_fallocate(fd, begin, wanted - begin)
                os.pwrite(fd, wanted.to_bytes(8, "little"), TABLE + ENTRY * number)
                n_bytes += wanted - begin
            elif needs:
                is_short = True
    return n_bytes, is_short


def used_bytes(header: "bytes") -> "int":
    """How much the processes of a file wrote, as its header says."""
    return sum(max(0, part.used - part.start) for part in parts(header))


def allocated_bytes(header: "bytes") -> "int":
    """How much of a file is read for the processes that wrote into it."""
    return sum(max(0, part.limit - part.start) for part in parts(header) if part.used)


def header_of(path: "str") -> "bytes":
    """The header of a file; b"" where it can't be read."""
    for _ in range(2):  # what failed for a moment does not the next time
        try:
            with own_files.reader(path, buffering=0) as source:
                return source.read(HEADER_BYTES)
        except OSError:
            continue
    return b""


def stop(marks: "str") -> "None":
    """Tell the hooks that write into a directory to write no more."""
    try:
        names = [name for name in os.listdir(marks) if name.startswith((PREFIX, NOTED))]
    except OSError:
        return
    for name in names:
        try:
            fd = own_files.open_file(os.path.join(marks, name), os.O_RDWR)
            try:
                os.pwrite(fd, b"\1", STOP)
            finally:
                os.close(fd)
        except OSError:
            continue


def read(path: "str") -> "Iterator[tuple[int, bytes]]":
    """What each process wrote: its number and its lines, the last of them `-N REASON` where N of them were not written.

    Raises:
        OSError: it can't be read.
    """
    with own_files.reader(path, buffering=0) as source:
        header = source.read(HEADER_BYTES)
        found = parts(header)
        for number, part in enumerate(found):
            source.seek(part.start)
            size = max(0, part.limit - part.start)
            lines = []  # type: list[bytes]
            # a line that was begun and never ended is none; where nothing was written there are zeros
            for line in source.read(size).replace(b"\0", b"").split(b"\n")[:-1] if part.used else ():
                lines.append(line + b"\n")
            if part.n_lost:
                lines.append(b"-%d room\n" % part.n_lost)
            if lines:
                yield number, b"".join(lines)
        if found and n_lost_elsewhere(header):
            counts = ((_number(header, 32), b"processes"), (_number(header, WATCHED), b"watched"))
            yield N_PARTS, b"".join(b"-%d %s\n" % (n, why) for n, why in counts if n)


def n_lost_elsewhere(header: "bytes") -> "int":
    """How many lines processes lost for which there was no part, and calls that were not noted since the target watched its own."""
    return _number(header, 32) + _number(header, WATCHED) if header[:8] == MAGIC else 0
