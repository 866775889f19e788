"""A ring's calls in strace's words, as far as the lookups after a run read them; what a profile is made of is `events.ring`.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6. The layout is that of slot.h.
"""

import errno
import re
import struct

from fsprobe.capture.backends.inline import ringfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CALL, TEXT, START = 0, 3, 2
BEGUN, DONE = 1, 2
HAS_SAME, HAS_LONG = 2, 8
EXIT_GROUP = 231
_EXIT = EXIT_GROUP.to_bytes(2, "little")
MAGIC = 0xF5
SLOT = struct.Struct("<BBBBIQQq4QQHHIHHHHIIQQII")
LONG_AT, TEXT_AT, _TEXT_BYTES = 16, 136, 120
_AT_ONCE = 4096
"""Slots that are read at a time (1 MiB)."""
MAX_SLOTS_LOOKED_AT = 1 << 20
"""For the lookups, of a longer ring (256 MiB): what a program imports, it imports early."""
_LOOK_BACK = 32
"""A long text may lie in slots behind its call's: as many slots as the longest texts fill."""
_FLAG_DIRECTORY = 0o200000
_ODD = re.compile(rb'["\\\x00-\x1f<>]')
_FDCWD = 0xFFFFFF9C

_OPENS = {2: "open", 85: "creat", 257: "openat", 437: "openat2"}
EXECS = {59: "execve", 322: "execve"}
EXEC_BYTES = frozenset(number & 0xFF for number in EXECS)
"""The first bytes of their numbers: what has none of them is none of them."""
_LINKS = {86: "link", 265: "linkat", 82: "rename", 264: "renameat", 316: "renameat2"}
_SYMLINKS = {88: "symlink", 266: "symlinkat"}
_READLINKS = {89: "readlink", 267: "readlinkat"}
_CHDIR = 80
_LOOKS = frozenset([4, 6, 21, 76, 83, 84, 90, 92, 94, 132, 133, 137, 161, 188, 189, 191, 192, 194, 195, 197, 198, 235]
                   + list(range(258, 265)) + [268, 269, 280, 303, 332, 439, 452])  # fmt: skip
"""Other calls that look a path up."""
_UNLINKS = frozenset([87, 263])
_FLAGS_IN = {2: 1, 257: 2}
"""Open -> its argument that holds the flags."""
_LSTAT, _FSTATAT, _STATX = 6, 262, 332
_FLAGS_OF_STATS = {_FSTATAT.to_bytes(2, "little"): 56, _STATX.to_bytes(2, "little"): 48}
"""Number -> where its flags stand in the slot."""
_NO_FOLLOW = 0x100
_KINDS = {0o040000: b"S_IFDIR", 0o100000: b"S_IFREG", 0o120000: b"S_IFLNK"}
_AT_IN = frozenset(
    [257, 437, 322, 265, 264, 316, 266, 267] + list(range(258, 264)) + [268, 269, 280, 303, 332, 439, 452]
)
"""Calls that name the directory which a relative path starts from."""


class Seen:
    """What a pass over the slots noted besides."""

    n_starts = 0
    first_pid = 0
    status: "int | None" = None
    """With which the first process ended, by its own word."""


def lines(
    ring: "str | int", most: "int", seen: "Seen | None" = None, is_of_starts: "bool" = False
) -> "Iterator[bytes]":
    """The calls of a ring, a line each, without times; what says nothing new is left out.

    Args:
        ring: its path, or a descriptor. What it holds is not trusted: every process of the run may have written into it.
        most: as many slots as the recorder has allocated.
        seen: filled meanwhile, but for the status where only starts are asked for.
        is_of_starts: only of the calls that start a program.

    Raises:
        OSError: it can't be read.
    """
    said = set()  # type: set[bytes]
    with ringfile.Reader(ring) as source:
        n = ringfile.n_slots(source, most)
        skip = 0
        for first in range(0, n, _AT_ONCE):
            here = min(_AT_ONCE, n - first)
            source.seek(ringfile.HEADER_BYTES + first * ringfile.SLOT_BYTES)
            data = source.read((here + _LOOK_BACK) * ringfile.SLOT_BYTES)
            for at in range(min(here, len(data) // ringfile.SLOT_BYTES)):
                if skip:
                    skip -= 1
                    continue
                place = at * ringfile.SLOT_BYTES
                magic, state, kind, has = data[place : place + 4]
                if magic != MAGIC:
                    continue
                if kind == TEXT:
                    skip = max(1, has) - 1
                    continue
                if is_of_starts and kind == CALL and data[place + 80] not in EXEC_BYTES:
                    continue
                is_exit = data[place + 80 : place + 82] == _EXIT
                if kind == CALL and not has & HAS_LONG and not is_exit:
                    # number, lengths and texts, and the result: programs ask the same things over and over
                    what = (
                        data[place + 80 : place + 88]
                        + data[place + 24 : place + 32]
                        + data[place + TEXT_AT : place + 256]
                    )
                    if what[:2] in _FLAGS_OF_STATS:
                        flags_at = place + _FLAGS_OF_STATS[what[:2]]
                        what += data[flags_at : flags_at + 4]
                    if what in said:
                        continue
                    said.add(what)
                fields = SLOT.unpack_from(data, place)
                if kind == START and state == DONE:
                    _started(fields, seen)
                if (kind == CALL and state in (BEGUN, DONE)) or (kind == START and state == DONE):
                    texts = texts_of(source, data, first, at, fields)
                    line = None if texts is None else _line(kind, state, fields, texts)
                    if line is not None:
                        yield line
                    if is_exit and kind == CALL and seen is not None and fields[4] == seen.first_pid:
                        seen.status = fields[8] & 0xFF


def has_start(ring: "str | int", most: "int") -> "bool":
    """Whether any program was seen to start.

    Raises:
        OSError: it can't be read.
    """
    seen = Seen()
    for _ in lines(ring, most, seen, is_of_starts=True):
        if seen.n_starts:
            break
    return seen.n_starts > 0


def look(ring: "str | int", most: "int") -> "Seen":
    """A pass over the slots for what is noted besides the calls.

    Raises:
        OSError: it can't be read.
    """
    seen = Seen()
    for _ in lines(ring, most, seen):
        pass
    return seen


def blocks(ring: "str | int", most: "int", is_of_starts: "bool" = False) -> "Iterator[bytes]":
    """The lines in larger pieces; see `lines`.

    Raises:
        OSError: it can't be read any further.
    """
    piece = []
    for line in lines(ring, min(most, MAX_SLOTS_LOOKED_AT), is_of_starts=is_of_starts):
        piece.append(line)
        if len(piece) >= 2048:
            yield b"".join(piece)
            piece = []
    yield b"".join(piece)


def _started(fields: "tuple[int, ...]", seen: "Seen | None") -> "None":
    if seen is not None:
        seen.n_starts += 1
        seen.first_pid = seen.first_pid or fields[8]


def texts_of(
    source: "ringfile.Reader", data: "bytes", first: "int", at: "int", fields: "tuple[int, ...]"
) -> "tuple[bytes, bytes, bytes, bytes] | None":
    """Path, second text, base and second base; None where they are not where the slot says."""
    n1, n2, n3, n4 = fields[17], fields[18], fields[19], fields[14]
    total = n1 + n2 + n3 + n4
    if not fields[3] & HAS_LONG:
        start = at * ringfile.SLOT_BYTES + TEXT_AT
        if total > _TEXT_BYTES:
            return None
        text = data[start : start + total]
    else:
        start = (fields[20] - first) * ringfile.SLOT_BYTES
        head = data[start : start + 4] if 0 <= start < len(data) - 4 else b""
        text = data[start + LONG_AT : start + LONG_AT + total]
        if len(head) < 4 or len(text) < total:
            source.seek(ringfile.HEADER_BYTES + fields[20] * ringfile.SLOT_BYTES)
            more = source.read(LONG_AT + total)
            head, text = more[:4], more[LONG_AT:]
        if len(text) < total or head[0] != MAGIC or head[2] != TEXT or total > head[3] * ringfile.SLOT_BYTES - LONG_AT:
            return None
    return text[:n1], text[n1 : n1 + n2], text[n1 + n2 : n1 + n2 + n3], text[n1 + n2 + n3 :]


def _line(
    kind: "int", state: "int", fields: "tuple[int, ...]", texts: "tuple[bytes, bytes, bytes, bytes]"
) -> "bytes | None":
    path, second, base, base_2 = texts
    if any(_ODD.search(text) for text in (path, base, base_2)):
        return None
    tid, number, result = fields[4], fields[16], fields[7]
    if kind == START or number in EXECS:
        # an exec that has not come back has become another program
        how = _result(fields) if kind == CALL and state == DONE else b"0"
        if path[:1] != b"/":
            path = base + b"/" + path if base[:1] == b"/" else path
        return b'%d execve("%s", ...) = %s\n' % (tid, path, how)
    name = _name_of(number)
    if not name or not path:
        return None
    end = b" <unfinished ...>" if state == BEGUN else b") = " + _result(fields)
    where = b""
    if number in _AT_IN or (base and path[:1] != b"/"):
        fd = fields[8] & 0xFFFFFFFF if number in _AT_IN else _FDCWD
        where = b"AT_FDCWD" if fd == _FDCWD else b"%d" % fd
        where += b"<%s>, " % base if base and path[:1] != b"/" else b", "
    if number in _OPENS:
        flags = b""
        if number in _FLAGS_IN and fields[8 + _FLAGS_IN[number]] & _FLAG_DIRECTORY:
            flags = b", O_DIRECTORY"
        led = path if fields[3] & HAS_SAME else second
        if state == BEGUN or result < 0 or not led or _ODD.search(led):
            return b'%d %s(%s"%s"%s%s\n' % (tid, name, where, path, flags, end)
        line = b'%d %s(%s"%s"%s%s<%s>\n' % (tid, name, where, path, flags, end, led)
        if fields[25]:  # its status was asked for
            line += b'%d newfstatat(%d<%s>, "", ...) = 0\n' % (tid, result, led)
        return line
    if number in _SYMLINKS:
        shown = b"" if _ODD.search(second) else second
        return b'%d %s("%s", %s"%s"%s\n' % (tid, name, shown, where, path, end)
    if number in _READLINKS and state == DONE and result >= 0:
        if _ODD.search(second):
            return None
        return b'%d %s(%s"%s", "%s", ...%s\n' % (tid, name, where, path, second, end)
    if number in _LINKS:
        if _ODD.search(second):
            return None
        if second[:1] != b"/" and (base_2 or base)[:1] == b"/":
            second = (base_2 or base) + b"/" + second
        return b'%d %s(%s"%s", "%s"%s\n' % (tid, name, where, path, second, end)
    if state == DONE and result == 0 and _does_not_follow(fields):  # of what follows links only the end is told
        kind_of = _KINDS.get(fields[13] & 0o170000, b"S_IFCHR")
        return b'%d newfstatat(%s"%s", {st_mode=%s, ...}, AT_SYMLINK_NOFOLLOW%s\n' % (tid, where, path, kind_of, end)
    return b'%d %s(%s"%s"%s\n' % (tid, name, where, path, end)


def _does_not_follow(fields: "tuple[int, ...]") -> "bool":
    number = fields[16]
    flags = {_LSTAT: _NO_FOLLOW, _FSTATAT: fields[11], _STATX: fields[10]}.get(number, 0)
    return bool(flags & _NO_FOLLOW)


def _name_of(number: "int") -> "bytes":
    for table in (_OPENS, _LINKS, _SYMLINKS, _READLINKS):
        if number in table:
            return table[number].encode("ascii")
    if number == _CHDIR:
        return b"chdir"
    if number in _UNLINKS:
        return b"unlink"
    return b"stat" if number in _LOOKS else b""


def _result(fields: "tuple[int, ...]") -> "bytes":
    result = fields[7]
    if result >= 0:
        return b"%d" % result
    return b"-1 %s" % errno.errorcode.get(-result, "E%d" % -result).encode("ascii")
