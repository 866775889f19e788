"""Events: what a recording says, in order. Standard library only; nothing here reads, prints or computes.

A recording yields a stream of events: `Call` (one system call), `Process` (a process began, ended or was
replaced) and `Mark` (an import began or ended). Paths are bytes everywhere in the stream. Text exists only
from the profile on, made by `model.formats.text()`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Op(str, Enum):
    """The class of a call (see `OP_OF_SYSCALL`); failed calls count in every class."""

    OPEN = "open"
    STAT = "stat"
    READLINK = "readlink"
    LIST = "list"
    EXEC = "exec"
    CHANGE = "change"
    OTHER = "other"


METADATA_OPS = (Op.OPEN, Op.STAT, Op.READLINK, Op.LIST, Op.EXEC, Op.CHANGE)

_NAMES: Mapping[Op, str] = {
    Op.OPEN: "open openat openat2 creat",
    Op.STAT: "stat lstat stat64 lstat64 oldstat oldlstat newfstatat fstatat64 statx access faccessat faccessat2",
    Op.READLINK: "readlink readlinkat",
    Op.LIST: "getdents getdents64",
    Op.EXEC: "execve execveat",
    Op.CHANGE: (
        "mkdir mkdirat unlink unlinkat rmdir rename renameat renameat2 link linkat symlink symlinkat chmod fchmodat "
        "fchmodat2 chown chown32 lchown lchown32 fchownat truncate truncate64 utime utimes utimensat futimesat mknod "
        "mknodat setxattr lsetxattr removexattr lremovexattr setxattrat removexattrat"
    ),
}
OP_OF_SYSCALL: Mapping[str, Op] = {name: op for op, names in _NAMES.items() for name in names.split()}
"""System call name -> op. A name that is not here, but takes a path, is OTHER (chdir, statfs, getxattr ...)."""

MISSING_ERRORS = frozenset({"ENOENT", "ENOTDIR"})

_STEPS_TO_NOWHERE = re.compile(rb"/(?:\.?/)+")


def plain(path: bytes) -> bytes:
    """The same path with single slashes and without `.` in between; its end, and each `..`, stays: they may lead elsewhere.

    Two slashes at the beginning are one on Linux. Everything that asks whose a path is compares names: it sees one name only.
    """
    return _STEPS_TO_NOWHERE.sub(b"/", path) if b"//" in path or b"/./" in path else path


def is_under(path: bytes, root: bytes) -> bool:
    """Whether a path is a directory or lies below it, by name."""
    return path == root or path.startswith(root.rstrip(b"/") + b"/")


def joined(directory: bytes, name: bytes) -> bytes:
    """A relative path, seen from a directory."""
    return directory + name if directory[-1:] == b"/" else directory + b"/" + name


class Call(NamedTuple):
    """One system call that names a path or lists a directory, counted where it starts.

    `path` is absolute wherever the log shows the directory it is relative to (descriptor annotation or a known
    working directory); it is not normalised: `..` and symlinks stay as the program wrote them.
    """

    tid: int
    """Thread id as the tracer saw it; 0 where the log has none."""
    t_ns: int | None
    """Start, in ns. On the log's monotonic axis (sum of its relative stamps) when it has one, else wall clock."""
    syscall: str
    op: Op
    path: bytes
    error: str
    """Errno name; "" for success, "?" where the log never shows a result (killed, or still blocked at exit)."""
    dur_ns: int | None
    """Time between entry and return; includes the tracer's own stop."""
    args: bytes
    """The raw text between the call's parentheses, unescaped by nobody: flags, st_mode, argv are read from it."""
    result: bytes
    """The raw text after ` = ` without the duration: `3</usr/lib/x>`, `-1 ENOENT (No such ...)`, `0`."""


class Process(NamedTuple):
    """A process or thread began, ended, or was replaced by exec."""

    kind: str
    """fork | thread | exit | killed | exec (a successful execve; `child` is the tid that took over)."""
    tid: int
    t_ns: int | None
    child: int
    """The new tid for fork and thread (0 if the log never told); for exec the tid that goes on: `tid` itself,
    or the leader's when another thread (`tid`) called execve."""
    detail: bytes
    """Exit status for exit, signal name for killed, program path for exec."""


class Mark(NamedTuple):
    """An import began or ended in a thread, or the hook said something about its process."""

    tid: int
    t_ns: int | None
    kind: str
    """begin | end | note, which the tracer printed as a call | memo, a note that was no call"""
    name: bytes
    """Module name; for a note the text after `fsprobe!`."""


Event = Call | Process | Mark


@dataclass(slots=True)
class ParseQuality:
    """What a parser could not use. Filled while its iterator is consumed."""

    n_lines: int = 0
    n_unparsed: int = 0
    n_partial: int = 0
    """Resumed halves whose start the log does not have, and calls cut off by the end of the log."""
    n_unfinished: int = 0
    """Calls that started and never returned (killed or blocked at exit); they are counted as calls."""
    n_unread_paths: int = 0
    """Calls whose path the tracer could not read: a program that lets nobody look into it (PR_SET_DUMPABLE, setuid)."""
    n_untraced: int = 0
    """Processes that were made so that no tracer could follow them (CLONE_UNTRACED)."""
    n_refused_traces: int = 0
    """Attempts of the program to trace a process that were refused, as each has one tracer at most: a debugger, strace, rr."""
    unparsed_examples: list[bytes] = field(default_factory=list)
    """The first lines that were not understood, as they stand."""
    n_steps_back: int = 0
    """How often a thread's stamps went back: the clock was set meanwhile. Counted where a log is loaded."""
    set_ahead_ns: int = 0
    """How much longer a loaded log takes by its wall clock than by its monotonic stamps; see `stamps.set_ahead_ns`."""
    has_times: bool = False
    has_tids: bool = False
    has_durations: bool = False
    io_uring: bool = False
    n_lost: int = 0
    """Calls, and notes about processes, for which the recorder had no room."""
    unseen: dict[str, int] = field(default_factory=dict)
    """Programs that were started where nothing of them is seen, and how often."""
    not_started: dict[str, int] = field(default_factory=dict)
    """Programs that ended with exit status 127 while they were being loaded: they may have failed because they were observed."""
    by_preload: dict[str, int] = field(default_factory=dict)
    """Programs of which the loader's own calls are not seen."""
    wall_start_ns: int | None = None
    """Wall clock (ns since the epoch) where the log's own time axis starts; None where the log has none."""
    other_calls: dict[str, int] = field(default_factory=dict)
    """Calls that were understood and returned, but name no path (read, getcwd, fstat-like), by system call."""
    other_errors: dict[str, int] = field(default_factory=dict)
    """How many of `other_calls` failed, by system call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of the target's own /proc/self/mountinfo."""

    path: bytes
    fstype: str
    fs_class: str
    """local | network | image | memory | pseudo"""
    source: bytes
    options: str
