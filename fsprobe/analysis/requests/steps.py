"""What a run did, as the request model keeps it: one step for each distinct call between two changes of the tree.

A call that was already made, with the same outcome and with nothing changed in between, asks a server for nothing new: it
is only counted, and that only where it opens something.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field

from fsprobe.analysis.requests.dentries import DIRECTORY, FILE, LINK, SPECIAL, UNKNOWN, Listing
from fsprobe.events.strace.arguments import link_target, result_path, second_path
from fsprobe.model.events import Call

LOOK, READ_LINK, OPEN_IT, LIST_IT, EXECUTE, MAKE, HARD_LINK, REMOVE, RENAME = range(9)

ACTION_OF_SYSCALL = {
    **dict.fromkeys(("open", "openat", "openat2", "creat"), OPEN_IT),
    **dict.fromkeys(("readlink", "readlinkat"), READ_LINK),
    **dict.fromkeys(("getdents", "getdents64"), LIST_IT),
    **dict.fromkeys(("execve", "execveat"), EXECUTE),
    **dict.fromkeys(("mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat"), MAKE),
    **dict.fromkeys(("link", "linkat"), HARD_LINK),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), REMOVE),
    **dict.fromkeys(("rename", "renameat", "renameat2"), RENAME),
}
"""Calls that are not here look a path up, and that is all that they ask."""
NO_FOLLOW_SYSCALLS = frozenset(
    "lstat lstat64 oldlstat lchown lchown32 lgetxattr lsetxattr llistxattr lremovexattr name_to_handle_at".split()
)

NO_FOLLOW, PATH_ONLY, CREATE, EXCLUSIVE, WRITE_ONLY, IS_DIRECTORY, EXCHANGE, FOLLOW, TRUNCATE = (
    1 << n for n in range(9)
)
_WORDS = {
    b"AT_SYMLINK_NOFOLLOW": NO_FOLLOW,
    b"O_NOFOLLOW": NO_FOLLOW,
    b"IN_DONT_FOLLOW": NO_FOLLOW,
    b"RESOLVE_NO_SYMLINKS": NO_FOLLOW,
    b"O_PATH": PATH_ONLY,
    b"O_CREAT": CREATE,
    b"O_EXCL": EXCLUSIVE,
    b"O_WRONLY": WRITE_ONLY,
    b"O_TRUNC": TRUNCATE,
    b"O_DIRECTORY": IS_DIRECTORY,
    b"O_TMPFILE": IS_DIRECTORY | WRITE_ONLY,
    b"RENAME_EXCHANGE": EXCHANGE,
    b"AT_SYMLINK_FOLLOW": FOLLOW,
}
_WORD = re.compile(rb"[A-Z_]{6,}")

_KIND_OF_MODE = {b"S_IFDIR": DIRECTORY, b"S_IFREG": FILE, b"S_IFLNK": LINK}
_MODE = re.compile(rb"stx?_mode=(S_IF[A-Z]+)")
_SIZE = re.compile(rb"stx?_size=(\d+)")
_LISTED = re.compile(rb"/\* (\d+) entries \*/, (\d+)$")
FSTAT = re.compile(
    rb'(?:newfstatat|fstat(?:at)?64|statx)\(\d+<(/[^<>\\]+)>, "", [^\n]*?stx?_mode=(S_IF[A-Z]+)[^\n]*?stx?_size=(\d+)'
)
"""A descriptor's own status, which is no call of the model but says how large an opened file is."""


@dataclass(slots=True)
class Step:
    """One distinct call between two changes."""

    action: int
    syscall: str
    path: bytes
    error: str
    flags: int
    callers: dict[str, int]
    """module -> how often it made this call; the first one is who caused what had to be asked"""
    kind: int = UNKNOWN
    size: int | None = None
    second: bytes | None = None
    """A link's text, the new name of a rename, the path to which an open led."""
    listing: Listing | None = None


@dataclass(slots=True)
class Steps:
    """Collects the steps of a run."""

    steps: list[Step] = field(default_factory=list)
    n_unplaced: int = 0
    """Calls whose path could not be made absolute."""
    _seen: dict[tuple[int, int, str, bytes], Step] = field(default_factory=dict)
    _flags: dict[bytes, int] = field(default_factory=dict)

    def add(self, call: Call, module: str) -> None:
        """Take in one call."""
        _, _, syscall, _, path, error, _, args, _ = call
        if path[:1] != b"/":
            self.n_unplaced += 1
            return
        action = ACTION_OF_SYSCALL.get(syscall, LOOK)
        if action == LOOK and syscall not in NO_FOLLOW_SYSCALLS and b"NOFOLLOW" not in args:
            flags = 0
        else:
            flags = self._flags_of(syscall, action, args)
        key = (action, flags, error, path)
        step = self._seen.get(key)
        # failed changes ask again each time, and their second path is not in the key
        if step is not None and (action < LIST_IT or action == EXECUTE) and not (error and flags & CREATE):
            step.callers[module] = step.callers.get(module, 0) + 1
            if action != LOOK or step.size is not None or error:
                return
        else:
            step = Step(action, syscall, path, error, flags, {module: 1})
            self.steps.append(step)
            self._seen[key] = step
        if action in (HARD_LINK, RENAME):
            step.second = second_path(call)
        if error:
            return
        if action == LOOK:
            _describe(step, args)
            if step.syscall == "chdir":
                step.kind = DIRECTORY
        elif action == OPEN_IT:
            step.second = result_path(call)
            if flags & CREATE:
                self._seen.clear()
        elif action == READ_LINK:
            step.second = link_target(call)
        elif action == LIST_IT:
            step.listing = _listing(call)
        elif action != EXECUTE:
            if action == MAKE:
                step.second = second_path(call)
            self._seen.clear()

    def _flags_of(self, syscall: str, action: int, args: bytes) -> int:
        if syscall in NO_FOLLOW_SYSCALLS:
            return NO_FOLLOW
        if action == LOOK:
            # structures that the kernel filled in differ from call to call: no use to remember them
            return NO_FOLLOW if b"NOFOLLOW" in args and b"NOFOLLOW" in args[args.rfind(b'"') :] else 0
        if syscall == "creat":
            return CREATE | WRITE_ONLY | TRUNCATE
        if action in (LIST_IT, READ_LINK, EXECUTE):
            return 0
        tail = args[args.rfind(b'"') + 1 :]
        flags = self._flags.get(tail)
        if flags is None:
            flags = 0
            for word in _WORD.findall(tail):
                flags |= _WORDS.get(word, 0)
            self._flags[tail] = flags
        return flags


def _describe(step: Step, args: bytes) -> None:
    tail = args[args.rfind(b'"') :]
    mode = _MODE.search(tail)
    if mode is not None:
        step.kind = kind_of_mode(mode.group(1))
        size = _SIZE.search(tail)
        if size is not None and step.kind == FILE:
            step.size = max(step.size or 0, int(size.group(1)))


def _listing(call: Call) -> Listing:
    listed = _LISTED.search(call.args)
    n_entries, buffer = (int(listed.group(1)), max(1, int(listed.group(2)))) if listed is not None else (0, 32768)
    end_ns = None if call.t_ns is None else call.t_ns + (call.dur_ns or 0)
    n_bytes = int(call.result) if call.result.isdigit() else 0
    return Listing(call.tid, call.t_ns, end_ns, n_bytes, n_entries, buffer)


def kind_of_number(mode: int) -> int:
    """As `kind_of_mode`, of st_mode as it is."""
    return {stat.S_IFDIR: DIRECTORY, stat.S_IFREG: FILE, stat.S_IFLNK: LINK}.get(stat.S_IFMT(mode), SPECIAL)


def kind_of_mode(mode: bytes) -> int:
    """DIRECTORY for S_IFDIR and so on; SPECIAL for devices, FIFOs and sockets."""
    return _KIND_OF_MODE.get(mode, SPECIAL)
