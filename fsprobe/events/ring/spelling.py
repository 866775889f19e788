"""Arguments and results of a slot's call as strace 6.1 -y writes them: later stages read flags, modes and paths from that text.

What a slot does not hold is left out (`...`): addresses, the mode of a new file, the directory of a path that does not need it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping

from fsprobe.events.ring.slots import HAS_SAME, Slot
from fsprobe.events.strace.constants import AT_FLAGS, KINDS, flag_names, opening
from fsprobe.events.strace.values import escape
from fsprobe.model.events import OP_OF_SYSCALL, Op

Texts = tuple[bytes, bytes, bytes, bytes]
Spell = Callable[[Slot, Texts], bytes]

_ODD = re.compile(rb'[^\x20-\x7e]|["\\]')
_ODD_IN_ANNOTATION = re.compile(rb'[^\x20-\x7e]|["\\<>]')

_WATCH = ((0x02000000, b"IN_DONT_FOLLOW"),)
_ERRORS: dict[int, tuple[str, bytes]] = {
    number: (name, f"-1 {name} ({os.strerror(number)})".encode()) for number, name in errno.errorcode.items()
}
AT_FDCWD = 0xFFFFFF9C


_quoted: dict[bytes, bytes] = {}
_CACHE_SIZE = 65_536


def quoted(name: bytes) -> bytes:
    """A string between quotes."""
    known = _quoted.get(name)
    if known is None:
        if len(_quoted) >= _CACHE_SIZE:
            _quoted.clear()
        known = _quoted[name] = b'"%s"' % (name if _ODD.search(name) is None else escape(name))
    return known


_annotated: dict[bytes, bytes] = {}


def annotation(path: bytes) -> bytes:
    """A path as it stands in `3</path>`."""
    known = _annotated.get(path)
    if known is None:
        if len(_annotated) >= _CACHE_SIZE:
            _annotated.clear()
        text = path if _ODD_IN_ANNOTATION.search(path) is None else escape(path, annotation=True)
        known = _annotated[path] = b"<%s>" % text
    return known


def error_of(result: int) -> tuple[str, bytes]:
    """Errno name and the whole result of a call that failed."""
    known = _ERRORS.get(-result)
    return known if known is not None else (f"errno {-result}", b"-1 (errno %d)" % -result)


def result_of(slot: Slot, texts: Texts) -> bytes:
    """The result of a call that succeeded; an open's with the path that it led to."""
    if OPS[slot.nr] is not Op.OPEN:
        return b"%d" % slot.result
    path = texts[0] if slot.has & HAS_SAME else texts[1]
    return b"%d%s" % (slot.result, annotation(path) if path else b"")


def _at(value: int, base: bytes) -> bytes:
    value &= 0xFFFFFFFF
    name = b"AT_FDCWD" if value == AT_FDCWD else b"%d" % (value - (1 << 32) if value >> 31 else value)
    return name + annotation(base) if base else name


def _path(texts: Texts) -> bytes:
    return quoted(texts[0])


_modes: dict[int, bytes] = {}


def _status(slot: Slot, prefix: bytes) -> bytes:
    if slot.result:
        return b"0x0"
    mode = _modes.get(slot.mode)
    if mode is None:
        kind = KINDS.get(slot.mode & 0o170000, b"0")
        special = b"".join(
            b"|" + name
            for bit, name in ((0o4000, b"S_ISUID"), (0o2000, b"S_ISGID"), (0o1000, b"S_ISVTX"))
            if slot.mode & bit
        )
        mode = _modes[slot.mode] = b"%s%s|%#o" % (kind, special, slot.mode & 0o777)
    return b"{%s_mode=%s, %s_size=%d, ...}" % (prefix, mode, prefix, slot.size)


def _plain(slot: Slot, texts: Texts) -> bytes:
    return _path(texts)


def _relative(slot: Slot, texts: Texts) -> bytes:
    if not texts[2] and slot.arg0 & 0xFFFFFFFF == AT_FDCWD:
        return b"AT_FDCWD, " + quoted(texts[0])
    return _at(slot.arg0, texts[2]) + b", " + _path(texts)


def _relative_with(at: int, names: tuple[tuple[int, bytes], ...], between: bytes = b"") -> Spell:
    def spell(slot: Slot, texts: Texts) -> bytes:
        value = (slot.arg2, slot.arg3)[at - 2] & 0xFFFFFFFF
        return b"%s, %s%s, %s" % (_at(slot.arg0, texts[2]), _path(texts), between, flag_names(value, names))

    return spell


def _open(slot: Slot, texts: Texts) -> bytes:
    return _path(texts) + b", " + opening(slot.arg1)


def _openat(slot: Slot, texts: Texts) -> bytes:
    return b"%s, %s" % (_relative(slot, texts), opening(slot.arg2))


def _openat2(slot: Slot, texts: Texts) -> bytes:
    return _relative(slot, texts) + b", {...}"


def _stat(slot: Slot, texts: Texts) -> bytes:
    return _path(texts) + b", " + _status(slot, b"st")


def _fstatat(slot: Slot, texts: Texts) -> bytes:
    flags = slot.arg3 & 0xFFFFFFFF
    return b"%s, %s, %s" % (
        _relative(slot, texts),
        _status(slot, b"st"),
        flag_names(flags, AT_FLAGS) if flags else b"0",
    )


def _statx(slot: Slot, texts: Texts) -> bytes:
    flags = slot.arg2 & 0xFFFFFFFF
    words = [b"AT_STATX_SYNC_AS_STAT"] if not flags & 0x6000 else []
    if flags or not words:
        words.append(flag_names(flags, AT_FLAGS))
    return b"%s, %s, %#x, %s" % (
        _relative(slot, texts),
        b"|".join(words),
        slot.arg3 & 0xFFFFFFFF,
        _status(slot, b"stx"),
    )


def _access(slot: Slot, texts: Texts) -> bytes:
    return b"%s, %s" % (_path(texts), _access_mode(slot.arg1))


def _faccessat(slot: Slot, texts: Texts) -> bytes:
    text = b"%s, %s" % (_relative(slot, texts), _access_mode(slot.arg2))
    return (
        text
        if slot.nr == 269
        else text + b", " + flag_names(slot.arg3 & 0xFFFFFFFF, ((0x200, b"AT_EACCESS"), *AT_FLAGS))
    )


def _access_mode(value: int) -> bytes:
    value &= 0xFFFFFFFF
    return flag_names(value, ((4, b"R_OK"), (2, b"W_OK"), (1, b"X_OK"))) if value else b"F_OK"


def _readlink(slot: Slot, texts: Texts) -> bytes:
    is_at = slot.nr == 267
    where = _relative(slot, texts) if is_at else _path(texts)
    target = quoted(texts[1]) if slot.result >= 0 else b"0x0"
    return b"%s, %s, %d" % (where, target, slot.arg3 if is_at else slot.arg2)


def _entries(slot: Slot, texts: Texts) -> bytes:
    return b"%s, 0x0 /* %d entries */, %d" % (_at(slot.arg0, texts[2]), slot.n_entries, slot.arg2 & 0xFFFFFFFF)


def _two(slot: Slot, texts: Texts) -> bytes:
    return _path(texts) + b", " + quoted(texts[1])


def _two_at(slot: Slot, texts: Texts) -> bytes:
    base_2 = texts[3] or (texts[2] if slot.arg0 & 0xFFFFFFFF == slot.arg2 & 0xFFFFFFFF else b"")
    return b"%s, %s, %s" % (_relative(slot, texts), _at(slot.arg2, base_2), quoted(texts[1]))


def _renameat2(slot: Slot, texts: Texts) -> bytes:
    return _two_at(slot, texts) + b", ..."


def _symlink(slot: Slot, texts: Texts) -> bytes:
    return quoted(texts[1]) + b", " + _path(texts)


def _symlinkat(slot: Slot, texts: Texts) -> bytes:
    return b"%s, %s, %s" % (quoted(texts[1]), _at(slot.arg1, texts[2]), _path(texts))


def _second(slot: Slot, texts: Texts) -> bytes:
    return b"..., " + _path(texts)


def _watch(slot: Slot, texts: Texts) -> bytes:
    return b"%d, %s, %s" % (slot.arg0 & 0xFFFFFFFF, _path(texts), flag_names(slot.arg2 & 0xFFFFFFFF, _WATCH))


def _fanotify(slot: Slot, texts: Texts) -> bytes:
    return b"%d, ..., ..., %s, %s" % (slot.arg0 & 0xFFFFFFFF, _at(slot.arg3, texts[2]), _path(texts))


def _exec(slot: Slot, texts: Texts) -> bytes:
    words = b", ".join(quoted(word) for word in texts[1].split(b"\0")[:-1])
    where = _relative(slot, texts) if slot.nr == 322 else _path(texts)
    return b"%s, [%s], ..." % (where, words)


_SPELL: Mapping[str, Spell] = {
    "open": _open, "creat": _plain, "openat": _openat, "openat2": _openat2,
    "stat": _stat, "lstat": _stat, "newfstatat": _fstatat, "statx": _statx,
    "access": _access, "faccessat": _faccessat, "faccessat2": _faccessat,
    "readlink": _readlink, "readlinkat": _readlink, "getdents": _entries, "getdents64": _entries,
    "rename": _two, "link": _two, "pivot_root": _two, "renameat": _two_at, "linkat": _renameat2, "renameat2": _renameat2,
    "move_mount": _renameat2, "symlink": _symlink, "symlinkat": _symlinkat, "mount": _second, "quotactl": _second,
    "inotify_add_watch": _watch, "fanotify_mark": _fanotify, "execve": _exec, "execveat": _exec,
    "unlinkat": _relative_with(2, AT_FLAGS), "fchmodat2": _relative_with(3, AT_FLAGS, b", ..."),
    "utimensat": _relative_with(3, AT_FLAGS, b", ..."),
}  # fmt: skip

NAMES: Mapping[int, str] = {
    2: "open", 4: "stat", 6: "lstat", 21: "access", 59: "execve", 76: "truncate", 78: "getdents", 80: "chdir", 82: "rename",
    83: "mkdir", 84: "rmdir", 85: "creat", 86: "link", 87: "unlink", 88: "symlink", 89: "readlink", 90: "chmod", 92: "chown",
    94: "lchown", 132: "utime", 133: "mknod", 134: "uselib", 137: "statfs", 155: "pivot_root", 161: "chroot", 163: "acct",
    165: "mount", 166: "umount2", 167: "swapon", 168: "swapoff", 179: "quotactl", 188: "setxattr", 189: "lsetxattr",
    191: "getxattr", 192: "lgetxattr", 194: "listxattr", 195: "llistxattr", 197: "removexattr", 198: "lremovexattr",
    217: "getdents64", 235: "utimes", 254: "inotify_add_watch", 257: "openat", 258: "mkdirat", 259: "mknodat", 260: "fchownat",
    261: "futimesat", 262: "newfstatat", 263: "unlinkat", 264: "renameat", 265: "linkat", 266: "symlinkat", 267: "readlinkat",
    268: "fchmodat", 269: "faccessat", 280: "utimensat", 301: "fanotify_mark", 303: "name_to_handle_at", 316: "renameat2",
    322: "execveat", 332: "statx", 428: "open_tree", 429: "move_mount", 433: "fspick", 437: "openat2", 439: "faccessat2",
    442: "mount_setattr", 452: "fchmodat2", 463: "setxattrat", 464: "getxattrat", 465: "listxattrat", 466: "removexattrat",
    467: "open_tree_attr", 468: "file_getattr", 469: "file_setattr",
}  # fmt: skip
"""System calls that become a `Call`, by their numbers on x86_64."""
PLAIN = frozenset(number for number in NAMES if number < 257 and number not in (78, 217, 254))
"""Calls whose relative path starts from the working directory."""
SPELLING: Mapping[int, Spell] = {
    number: _SPELL.get(name, _plain if number in PLAIN else _relative) for number, name in NAMES.items()
}
OPS: Mapping[int, Op] = {number: OP_OF_SYSCALL.get(name, Op.OTHER) for number, name in NAMES.items()}
