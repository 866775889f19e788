"""Constants of system calls by the names that strace gives them: for calls of a ring, and for logs that hold numbers (`-X raw`)."""

from __future__ import annotations

_ACCESS = (b"O_RDONLY", b"O_WRONLY", b"O_RDWR", b"O_ACCMODE")
_OPEN = (
    (0o20200000, b"O_TMPFILE"), (0o100, b"O_CREAT"), (0o200, b"O_EXCL"), (0o400, b"O_NOCTTY"), (0o1000, b"O_TRUNC"),
    (0o2000, b"O_APPEND"), (0o4000, b"O_NONBLOCK"), (0o4010000, b"O_SYNC"), (0o10000, b"O_DSYNC"), (0o40000, b"O_DIRECT"),
    (0o100000, b"O_LARGEFILE"), (0o400000, b"O_NOFOLLOW"), (0o1000000, b"O_NOATIME"), (0o2000000, b"O_CLOEXEC"),
    (0o10000000, b"O_PATH"), (0o200000, b"O_DIRECTORY"),
)  # fmt: skip
AT_FLAGS = (
    (0x100, b"AT_SYMLINK_NOFOLLOW"), (0x200, b"AT_REMOVEDIR"), (0x400, b"AT_SYMLINK_FOLLOW"), (0x800, b"AT_NO_AUTOMOUNT"),
    (0x1000, b"AT_EMPTY_PATH"), (0x2000, b"AT_STATX_FORCE_SYNC"), (0x4000, b"AT_STATX_DONT_SYNC"), (0x8000, b"AT_RECURSIVE"),
)  # fmt: skip
KINDS = {
    0o040000: b"S_IFDIR", 0o100000: b"S_IFREG", 0o120000: b"S_IFLNK", 0o020000: b"S_IFCHR", 0o060000: b"S_IFBLK",
    0o010000: b"S_IFIFO", 0o140000: b"S_IFSOCK",
}  # fmt: skip


def flag_names(value: int, names: tuple[tuple[int, bytes], ...]) -> bytes:
    """Flags by their names, the rest as a number."""
    if not value:
        return b"0"
    found = []
    for bits, name in names:
        if value & bits == bits:
            found.append(name)
            value &= ~bits
    if value:
        found.append(b"%#x" % value)
    return b"|".join(found) or b"0"


_open_flags: dict[int, bytes] = {}


def opening(value: int) -> bytes:
    """The flags of an open."""
    value &= 0xFFFFFFFF
    known = _open_flags.get(value)
    if known is None:
        rest = value & ~3
        known = _ACCESS[value & 3] + (b"|" + flag_names(rest, _OPEN) if rest else b"")
        if len(_open_flags) < 4096:
            _open_flags[value] = known
    return known
