"""What a run did, as the request model keeps it: one step for each distinct call between two changes of the tree.

A call that was already made, with the same outcome and with nothing changed in between, asks a server for nothing new: it
is only counted, and that only where it opens something.
"""

from __future__ import annotations

import re
import stat
from array import array
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from fsprobe.analysis.requests.dentries import DIRECTORY, FILE, LINK, SPECIAL, UNKNOWN, Listing
from fsprobe.events.strace.arguments import link_target, result_path, second_path
from fsprobe.foreign_numbers import count
from fsprobe.model.events import Call

LOOK, READ_LINK, OPEN_IT, LIST_IT, EXECUTE, MAKE, HARD_LINK, REMOVE, RENAME, DESCRIBE = range(10)
"""DESCRIBE: the status of an open descriptor, which walks no path."""

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
STATUS, ACCESS_TIME, RIGHTS, SPACE = (1 << n for n in range(9, 13))
"""What a LOOK wants of what it finds: its status, its access time with that, whether it may be used, the space left."""
READ_WRITE, SETS = 1 << 13, 1 << 14
"""O_RDWR; and a LOOK that sets attributes of what it finds."""
_WANTS = {
    **dict.fromkeys("stat lstat stat64 lstat64 newfstatat fstatat64 fstat fstat64".split(), STATUS | ACCESS_TIME),
    "statx": STATUS,
    **dict.fromkeys(("access", "faccessat", "faccessat2", "chdir"), RIGHTS),
    **dict.fromkeys(("statfs", "statfs64"), SPACE),
    **dict.fromkeys("chmod fchmodat fchmodat2 chown chown32 lchown lchown32 fchownat".split(), SETS),
    **dict.fromkeys("utime utimes utimensat utimensat_time64 futimesat".split(), SETS),
    **dict.fromkeys(("truncate", "truncate64"), SETS | RIGHTS),
}
_WORDS = {
    b"AT_SYMLINK_NOFOLLOW": NO_FOLLOW,
    b"O_NOFOLLOW": NO_FOLLOW,
    b"IN_DONT_FOLLOW": NO_FOLLOW,
    b"RESOLVE_NO_SYMLINKS": NO_FOLLOW,
    b"O_PATH": PATH_ONLY,
    b"O_CREAT": CREATE,
    b"O_EXCL": EXCLUSIVE,
    b"O_WRONLY": WRITE_ONLY,
    b"O_RDWR": READ_WRITE,
    b"O_TRUNC": TRUNCATE,
    b"O_DIRECTORY": IS_DIRECTORY,
    b"O_TMPFILE": IS_DIRECTORY | WRITE_ONLY,
    b"RENAME_EXCHANGE": EXCHANGE,
    b"AT_SYMLINK_FOLLOW": FOLLOW,
}
_WORD = re.compile(rb"[A-Z_]{6,}")

_KIND_OF_MODE = {b"S_IFDIR": DIRECTORY, b"S_IFREG": FILE, b"S_IFLNK": LINK}
MAX_NS = (1 << 63) - 1
"""A later time than a clock has: of a log that somebody made."""
MAX_MEANINGS = 16_384
MAX_TAIL_BYTES = 1_000
_MODE = re.compile(rb"stx?_mode=(S_IF[A-Z]+)")
_SIZE = re.compile(rb"stx?_size=(\d{1,18})(?!\d)")
_LISTED = re.compile(rb"/\* (\d{1,9}) entries \*/, (\d{1,18})$")
_STATUS = re.compile(rb'\d+<(/[^<>\\]+)>, "", [^\n]*?stx?_mode=(S_IF[A-Z]+)[^\n]*?stx?_size=(\d{1,18})(?!\d)')
"""Arguments of a descriptor's own status, which is no call of the model but says how large an opened file is."""


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

    keeps_order: bool = True
    """Whether `in_order` is asked for: only clients with rules of their own want to know when each call was."""
    steps: list[Step] = field(default_factory=list)
    order: array[int] = field(default_factory=lambda: array("I"))
    """Each call in its order, repeated ones too: which of `steps` it is."""
    times_ns: array[int] = field(default_factory=lambda: array("q"))
    """When each began; -1 where that is not known."""
    tids: array[int] = field(default_factory=lambda: array("q"))
    modules: array[int] = field(default_factory=lambda: array("I"))
    """Which of `module_names` made each."""
    module_names: dict[str, int] = field(default_factory=dict)
    statuses: list[tuple[int, int, int]] = field(default_factory=list)
    """Statuses of open descriptors: (when in ns, which of `steps`, thread)."""
    n_unplaced: int = 0
    """Calls whose path could not be made absolute."""
    _seen: dict[tuple[int, int, str, bytes], int] = field(default_factory=dict)

    def add(self, call: Call, module: str, n: int = 1) -> None:
        """Take in a call; `n` that differ in nothing but their times, with no change of the tree in between, where these don't count."""
        tid, t_ns, syscall, _, path, error, _, args, _ = call
        if path[:1] != b"/":
            self.n_unplaced += n
            return
        # what stands behind the last string says what the call wants and what it found, whatever the path is
        at = args.rfind(b'"')
        words = (syscall, args[at:]) if at >= 0 else _LISTING if syscall == "getdents64" else (syscall, args)
        meaning = MEANINGS.get(words) or _meaning(words, args)
        action, flags, kind, size = meaning
        key = (action, flags, error, path)
        number = self._seen.get(key)
        # failed changes ask again each time, and their second path is not in the key
        if number is not None and (action < LIST_IT or action == EXECUTE) and not (error and flags & CREATE):
            if self.keeps_order:
                self._note(number, tid, t_ns, module)
            step = self.steps[number]
            step.callers[module] = step.callers.get(module, 0) + n
        else:
            step = Step(action, syscall, path, error, flags, {module: n})
            if self.keeps_order:
                self._note(len(self.steps), tid, t_ns, module)
            self._seen[key] = len(self.steps)
            self.steps.append(step)
        if action == LOOK:
            if not error:
                if kind is not None:
                    step.kind = kind
                    if size is not None and (step.size is None or size > step.size):
                        step.size = size
                if step.syscall == "chdir":
                    step.kind = DIRECTORY
            return
        if action in (HARD_LINK, RENAME):
            step.second = second_path(call)
        if error:
            return
        if action == OPEN_IT:
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
            self._seen.clear()  # something has changed: who asks now may be answered otherwise

    def _note(self, number: int, tid: int, t_ns: int | None, module: str) -> None:
        self.times_ns.append(-1 if t_ns is None or t_ns > MAX_NS else t_ns)
        self.tids.append(tid)
        self.modules.append(self.module_names.setdefault(module, len(self.module_names)))
        self.order.append(number)

    def describe(self, tid: int, t_ns: int | None, args: bytes) -> None:
        """Take in the status of an open descriptor, by the call's arguments."""
        if not self.keeps_order:
            return
        path = args.partition(b"<")[2].partition(b">, ")[0]
        if t_ns is None or path[:1] != b"/" or b"\\" in path:
            return  # there is no telling between which calls it was, or of what
        flags = STATUS if b"stx_" in args and not wants_access_time(args) else STATUS | ACCESS_TIME
        key = (DESCRIBE, flags, "", path)
        number = self._seen.get(key)
        if number is None:
            number = self._seen[key] = len(self.steps)
            self.steps.append(Step(DESCRIBE, "fstat", path, "", flags, {}))
        self.statuses.append((t_ns, number, tid))

    def in_order(self) -> Iterator[tuple[int, int, int, str]]:
        """(when it began in ns or -1, which of `steps`, thread, module) of each call: in the log's order.

        Statuses of descriptors are known before their import is, and are put between the calls by their time.
        """
        names = list(self.module_names)
        statuses = sorted(self.statuses)
        at = 0
        for t_ns, number, tid, module in zip(self.times_ns, self.order, self.tids, self.modules, strict=True):
            while at < len(statuses) and statuses[at][0] < t_ns:
                yield (*statuses[at], names[module])
                at += 1
            yield t_ns, number, tid, names[module]
        for status in statuses[at:]:
            yield (*status, names[-1] if names else "")


MEANINGS: dict[tuple[str, bytes], tuple[int, int, int | None, int | None]] = {}
"""What a call wants and what it found, by its name and what stands behind its path: action, flags, kind and size. Kept from one
recording to the next: the ranks of a job look at the same files."""


_LISTING = ("getdents64", b'"')
"""As such a call's words in `MEANINGS`: it has no string, and lists whatever it is told to."""


def _meaning(words: tuple[str, bytes], args: bytes) -> tuple[int, int, int | None, int | None]:
    syscall, tail = words
    action = ACTION_OF_SYSCALL.get(syscall, LOOK)
    flags = _flags_of(syscall, action, tail)
    kind = size = None
    if action == LOOK:
        flags |= _wanted(syscall, args)
        kind, size = _found(args)
    if tail[:1] == b'"' and len(tail) <= MAX_TAIL_BYTES:  # else it holds addresses, or is of no use again
        if len(MEANINGS) >= MAX_MEANINGS:
            MEANINGS.clear()
        MEANINGS[words] = action, flags, kind, size
    return action, flags, kind, size


def _flags_of(syscall: str, action: int, tail: bytes) -> int:
    if syscall in NO_FOLLOW_SYSCALLS:
        return NO_FOLLOW
    if action == LOOK:
        return NO_FOLLOW if tail[:1] == b'"' and b"NOFOLLOW" in tail else 0
    if syscall == "creat":
        return CREATE | WRITE_ONLY | TRUNCATE
    if action in (LIST_IT, READ_LINK, EXECUTE):
        return 0
    flags = 0
    for word in _WORD.findall(tail):
        flags |= _WORDS.get(word, 0)
    return flags


def changes_tree(call: Call) -> bool:
    """Whether who asks after a call may be answered otherwise than before it."""
    action = ACTION_OF_SYSCALL.get(call.syscall, LOOK)
    if call.error or call.path[:1] != b"/":
        return False
    return MAKE <= action <= RENAME or (action == OPEN_IT and _creates(call))


def is_told_again(call: Call) -> bool:
    """Whether a call that comes once more, word for word, is only counted, unless the tree has changed in between."""
    action = ACTION_OF_SYSCALL.get(call.syscall, LOOK)
    return (action < LIST_IT or action == EXECUTE) and not (action == OPEN_IT and _creates(call))


def told_of(call: Call) -> Hashable:
    """What a call that comes once more tells of its path, and so what one of other words may have told otherwise; None: nothing."""
    action = ACTION_OF_SYSCALL.get(call.syscall, LOOK)
    if call.error:
        return None
    if action == LOOK:
        return _found(call.args)[0]
    return result_path(call) if action == OPEN_IT else link_target(call) if action == READ_LINK else None


def _creates(call: Call) -> bool:
    return call.syscall == "creat" or b"O_CREAT" in _WORD.findall(call.args[call.args.rfind(b'"') + 1 :])


def _wanted(syscall: str, args: bytes) -> int:
    wanted = _WANTS.get(syscall, 0)
    if wanted == RIGHTS and b"F_OK" in args[args.rfind(b'"') :]:
        return 0  # whether it exists asks for no right
    if syscall == "statx" and wants_access_time(args):
        return wanted | ACCESS_TIME
    return wanted


def wants_access_time(args: bytes) -> bool:
    """Whether a statx asks for the access time: its mask stands before the structure that it fills in."""
    mask = args[args.rfind(b'"') :].partition(b"{")[0]
    return b"STATX_ATIME" in mask or b"STATX_BASIC" in mask or b"STATX_ALL" in mask


def _found(args: bytes) -> tuple[int | None, int | None]:
    """Kind and, of a file, size of what a look found; None where it does not say."""
    tail = args[args.rfind(b'"') :]
    mode = _MODE.search(tail)
    if mode is None:
        return None, None
    kind = kind_of_mode(mode.group(1))
    size = _SIZE.search(tail) if kind == FILE else None
    return kind, int(size.group(1)) if size is not None else None


def _listing(call: Call) -> Listing:
    n_entries, buffer = _listed(call.args[call.args.rfind(b"/*") :])
    end_ns = None if call.t_ns is None else call.t_ns + (call.dur_ns or 0)
    n_bytes = count(call.result) or 0
    return Listing(call.tid, call.t_ns, end_ns, n_bytes, n_entries, buffer)


@lru_cache(MAX_MEANINGS)
def _listed(tail: bytes) -> tuple[int, int]:
    """How many entries a listing gave, and into how large a buffer: the same few words in all of them."""
    listed = _LISTED.match(tail)
    return (int(listed.group(1)), max(1, int(listed.group(2)))) if listed is not None else (0, 32768)


def kind_of_number(mode: int) -> int:
    """As `kind_of_mode`, of st_mode as it is."""
    return {stat.S_IFDIR: DIRECTORY, stat.S_IFREG: FILE, stat.S_IFLNK: LINK}.get(stat.S_IFMT(mode), SPECIAL)


def kind_of_mode(mode: bytes) -> int:
    """DIRECTORY for S_IFDIR and so on; SPECIAL for devices, FIFOs and sockets."""
    return _KIND_OF_MODE.get(mode, SPECIAL)


STATUSES: dict[bytes, tuple[bytes, int, int]] = {}
"""What the arguments of a descriptor's status say: path, kind and bytes. Kept from one recording to the next."""


def keep_status(known: dict[bytes, tuple[int, int]], args: bytes) -> None:
    """Keep in `known` (kind, bytes) of an opened file, where the arguments of its fstat tell them."""
    status = STATUSES.get(args)
    if status is None:
        found = _STATUS.match(args)
        if found is None:
            return
        if len(STATUSES) >= MAX_MEANINGS:
            STATUSES.clear()
        status = STATUSES[args] = found.group(1), kind_of_mode(found.group(2)), int(found.group(3))
    path, kind, n_bytes = status
    before = known.get(path)
    known[path] = kind, n_bytes if before is None or before[1] < n_bytes else before[1]


def tells_of_links(step: Step) -> bool:
    """Whether a call may show that a name on its path is a link."""
    if step.error or step.action == DESCRIBE:
        return False
    if step.action == OPEN_IT:
        return step.second is not None and step.second != step.path
    return step.action >= MAKE or step.action == READ_LINK or (step.action == LOOK and step.kind == LINK)
