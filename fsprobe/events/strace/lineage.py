"""Who started whom: threads, their working directories, and children that speak before their parent's clone returns.

Three ways to learn of a child, in the order of certainty:

1. `clone(...) = N` before N's first line: the parent is known when N appears.
2. N's first line while exactly one clone is under way: that one made N.
3. N's first line while several are: N's lines are held back until one of them returns N.

In a pid namespace clone returns a number of that namespace and N is never named (unless strace ran with
`--decode-pids=pidns`). Such a number is smaller than the parent's own, because the outer namespace numbers every
process too. So a promise of a smaller number waits for the next stranger.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

from fsprobe.events.strace.values import MAX_PATH_BYTES, annotated_path
from fsprobe.model.events import Event, Process

MAX_HELD = 100_000
"""Lines of children with unknown parents that are kept; beyond it they are let go without a parent."""

_NUMBER = re.compile(rb"(\d{1,10})(?:<[^>]*>)?(?: /\* (\d{1,10}) in strace's PID NS \*/)?")


@dataclass(slots=True)
class Directory:
    """A working directory, shared by the threads that were cloned with CLONE_FS."""

    path: bytes | None
    is_resolved: bool = False
    """`path` came from the kernel, so its parent is what `..` means; after chdir("x") x may be a symlink."""
    argument: bytes = b""
    """The last `AT_FDCWD</x>, ` that was seen, decoded only when a bare relative path needs it."""


@dataclass(slots=True)
class Start:
    """A call that has begun and not returned."""

    name: bytes
    t_ns: int | None
    args: bytes
    tid: int
    cwd: bytes | None
    child: Thread | None = None
    """For a clone: the child that has appeared meanwhile."""
    is_mark: bool = False
    changed_pid: bool = False


@dataclass(slots=True)
class Thread:
    """What is known of one traced thread."""

    tid: int
    directory: Directory
    descriptors: dict[bytes, bytes]
    """Descriptor -> path, kept only for logs without -y."""
    has_parent: bool = False
    is_nested: bool = False
    """Its clones return numbers of another pid namespace."""
    start: Start | None = None
    exit_status: bytes | None = None
    exit_t_ns: int | None = None
    refused_mark: bytes = b""
    """A marker whose faccessat2 the kernel did not know: libc sends it again as faccessat."""


@dataclass(slots=True)
class _Promise:
    """A child that a clone has named and that has not appeared."""

    parent: Thread
    kind: str
    t_ns: int | None
    directory: Directory
    descriptors: dict[bytes, bytes]
    is_told: bool
    may_be_renamed: bool


@dataclass(slots=True)
class Families:
    """All threads of a log and what is still unknown about them."""

    out: list[Event]
    first_cwd: bytes | None
    threads: dict[bytes, Thread] = field(default_factory=dict)
    cloning: list[tuple[Thread, Start]] = field(default_factory=list)
    promises: dict[int, _Promise] = field(default_factory=dict)
    held: dict[bytes, list[tuple[int | None, bytes]]] = field(default_factory=dict)
    n_held: int = 0
    ready: deque[bytes] = field(default_factory=deque)
    """Children whose held lines can be played now."""
    may_name_the_first: bool = False
    """The log began without pids: the first stranger with one is the process of those lines."""


def cwd_of(directory: Directory) -> bytes | None:
    """Give a working directory, from the last annotation that was seen where that is newer."""
    if directory.argument:
        path = annotated_path(directory.argument)
        directory.argument = b""
        if path is not None:
            directory.path, directory.is_resolved = path, True
    return directory.path


def enter(directory: Directory, path: bytes, *, is_resolved: bool) -> None:
    """Take in that a working directory has changed."""
    # what was put together of more and more relative ones is known no longer
    known = path if len(path) <= MAX_PATH_BYTES else None
    directory.path, directory.is_resolved, directory.argument = known, is_resolved and known is not None, b""


def copy_of(directory: Directory) -> Directory:
    """Give a working directory of its own to a process that no longer shares it."""
    return Directory(directory.path, directory.is_resolved, directory.argument)


def meet(families: Families, pid: bytes, t_ns: int | None, rest: bytes) -> Thread | None:
    """Make the thread whose first line this is, telling of its birth first; None while its parent is unknown."""
    held = families.held.get(pid)
    if held is not None:
        held.append((t_ns, rest))
        families.n_held += 1
        return None
    tid = int(pid) if pid else 0
    promise = families.promises.pop(tid, None)
    if promise is None and families.cloning:
        if len(families.cloning) > 1:
            families.held[pid] = [(t_ns, rest)]
            families.n_held += 1
            return None
        parent, start = families.cloning.pop()
        promise = _promise(parent, start, is_told=False)
        start.child = _settle(families, pid, tid, promise)
        return start.child
    if promise is None:
        renamed = next((number for number, one in families.promises.items() if one.may_be_renamed), None)
        if renamed is not None:
            promise = families.promises.pop(renamed)
            promise.parent.is_nested = True
    if promise is not None:
        return _settle(families, pid, tid, promise)
    if families.may_name_the_first and pid:
        families.may_name_the_first = False
        first = families.threads.get(b"")
        if first is not None:
            families.threads[pid] = first
            return first
    return adopt(families, pid)


def adopt(families: Families, pid: bytes) -> Thread:
    """Make a thread of which no parent is known."""
    cwd, families.first_cwd = families.first_cwd, None
    thread = Thread(int(pid) if pid else 0, Directory(cwd, is_resolved=cwd is not None), {})
    families.threads[pid] = thread
    families.may_name_the_first = families.may_name_the_first or not pid
    return thread


def _settle(families: Families, pid: bytes, tid: int, promise: _Promise) -> Thread:
    if not promise.is_told:
        families.out.append(Process(promise.kind, promise.parent.tid, promise.t_ns, tid, b""))
    nested = promise.parent.is_nested
    thread = Thread(tid, promise.directory, promise.descriptors, has_parent=True, is_nested=nested)
    families.threads[pid] = thread
    return thread


def _promise(parent: Thread, start: Start, *, is_told: bool) -> _Promise:
    args = start.args
    directory = parent.directory
    if b"CLONE_FS" not in args:
        directory = copy_of(directory)
    descriptors = parent.descriptors if b"CLONE_FILES" in args else dict(parent.descriptors)
    kind = "thread" if b"CLONE_THREAD" in args else "fork"
    return _Promise(parent, kind, start.t_ns, directory, descriptors, is_told, False)


def clone_returned(families: Families, parent: Thread, start: Start, result: bytes) -> None:
    """Take in what a clone returned (b"" when it failed); held children whose parents are known become ready."""
    clone_abandoned(families, start)
    match = _NUMBER.match(result)
    if match is not None:
        _child_named(
            families, parent, start, int(match.group(2) or match.group(1)), is_outer=match.group(2) is not None
        )


def clone_abandoned(families: Families, start: Start) -> None:
    """Forget a clone that is no longer under way."""
    families.cloning = [one for one in families.cloning if one[1] is not start]
    if not families.cloning:
        families.ready.extend(families.held)  # nobody is left who could name them


def _child_named(families: Families, parent: Thread, start: Start, number: int, *, is_outer: bool) -> None:
    pid = b"%d" % number
    known = families.threads.get(pid)
    if start.child is not None:
        if start.child.tid == number:
            return
        if known is None and pid not in families.held:
            # Its own namespace's number: the child that appeared is the one.
            parent.is_nested = start.child.is_nested = True
            return
    promise = _promise(parent, start, is_told=False)
    if known is not None and not known.has_parent and known is not parent:
        # It was let go as an orphan before anybody could tell.
        families.out.append(Process(promise.kind, parent.tid, start.t_ns, number, b""))
        known.has_parent = True
        return
    if known is not None and (known.exit_status is not None or number > parent.tid or is_outer):
        del families.threads[pid]  # the number is used again
    is_held = pid in families.held
    promise.may_be_renamed = not is_outer and not is_held and (parent.is_nested or number < parent.tid)
    if not promise.may_be_renamed:
        families.out.append(Process(promise.kind, parent.tid, start.t_ns, number, b""))
        promise.is_told = True
    families.promises[number] = promise
    if is_held:
        families.ready.append(pid)


def tell_the_rest(families: Families) -> None:
    """At the end of a log: tell of the children that were named and never seen."""
    for number, promise in families.promises.items():
        if not promise.is_told:
            families.out.append(Process(promise.kind, promise.parent.tid, promise.t_ns, number, b""))
    families.promises.clear()
