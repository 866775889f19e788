"""One line of any strace log, without its head: a call, half a call, or the end of a thread."""

from __future__ import annotations

import re

from fsprobe.events.strace.lineage import MAX_HELD, Start, Thread, adopt, clone_returned, cwd_of, meet, tell_the_rest
from fsprobe.events.strace.returns import flush, mark, returned
from fsprobe.events.strace.state import N_EXAMPLES, Log, count, unparsed
from fsprobe.events.strace.syscalls import ACCESSES, CLONES, EXECS, EXITS, FOLLOWED, SHAPES
from fsprobe.events.strace.values import MAX_CALL_BYTES, error_of, split_result
from fsprobe.model.events import Process

_NAME = re.compile(rb"[a-z_][a-z0-9_]*|\?+")
"""`???`: the thread was ended before strace could ask which call it began."""
_RESUMED = re.compile(rb"<\.\.\. ([a-z_][a-z0-9_]*|\?+) resumed>(?: (?=\)))?")
_EXITED = re.compile(rb"\+\+\+ exited with (-?\d+) \+\+\+")
_KILLED = re.compile(rb"\+\+\+ killed by (\S+)(?: \(core dumped\))? \+\+\+")
_SUPERSEDED = re.compile(rb"\+\+\+ superseded by execve in pid (\d+) \+\+\+")
_CHANGED_PID = re.compile(rb" ?<pid changed to (\d+) \.\.\.>")
_RESULT_STARTS = frozenset(b"%c" % code for code in b"-0123456789?")
_CUT_OFF = (b"<unfinished ...>", b"<detached ...>")
_ATTACHED_HERE = re.compile(
    rb"(?:(?:/(?:[^/\s,()|<>\"]+/)*)?strace: )?Process \d+ attached(?: \(waiting for parent\))?"
)
_CHATTER = re.compile(
    rb"(?:\S*strace: )?Process \d+ (?:attached|detached|resumed|suspended)\b.*|\S*strace: .*|\[ Process PID=\d+ runs in .*"
    rb"|--- .* ---|> .*"
)


def take(log: Log, pid: bytes, t_ns: int | None, rest: bytes) -> None:
    """Take in one line without its head (`log.line` is the whole); events go to `log.out`."""
    _take(log, pid, t_ns, rest)
    families = log.families
    if families.n_held > MAX_HELD:
        _let_go(log)
    while families.ready:
        _play(log, families.ready.popleft())


def _take(log: Log, pid: bytes, t_ns: int | None, rest: bytes) -> None:
    name, opened, after = rest.partition(b"(")
    is_call = opened != b"" and _NAME.fullmatch(name) is not None
    is_resumed = rest[:5] == b"<... "
    if len(rest) > MAX_CALL_BYTES and name not in EXECS:
        unparsed(log, log.line)
        return
    if not (is_call or is_resumed or rest[:4] == b"+++ "):
        if rest and _CHATTER.fullmatch(rest) is None:
            unparsed(log, log.line)
        return
    families = log.families
    thread = families.threads.get(pid)
    if thread is None:
        # A second half is no newborn's first line, so it is no reason to look for a parent.
        is_newborn = not is_resumed or pid in families.held or int(pid or b"0") in families.promises
        thread = meet(families, pid, t_ns, rest) if is_newborn else adopt(families, pid)
        if thread is None:
            return
    if is_call:
        _take_call(log, pid, thread, t_ns, name, after)
    elif is_resumed:
        _take_second_half(log, thread, t_ns, rest)
    else:
        _take_end(log, pid, thread, t_ns, rest)


def _play(log: Log, pid: bytes) -> None:
    lines = log.families.held.pop(pid, [])
    log.families.n_held -= len(lines)
    for t_ns, rest in lines:
        log.line = pid + b"  " + rest
        _take(log, pid, t_ns, rest)


def _let_go(log: Log) -> None:
    # Nobody has said whose children these are, and they must not fill the memory.
    families = log.families
    while families.held or families.ready:
        pid = families.ready.popleft() if families.ready else next(iter(families.held))
        if pid in families.held and pid not in families.threads and int(pid) not in families.promises:
            adopt(families, pid)
        _play(log, pid)


def _take_call(log: Log, pid: bytes, thread: Thread, t_ns: int | None, name: bytes, after: bytes) -> None:
    if thread.start is not None:
        flush(log, thread)  # its second half is missing
    if after.endswith(_CUT_OFF):
        _begin(log, thread, t_ns, name, after[: after.rindex(b"<")].removesuffix(b" "))
        return
    if after[-5:] == b" ...>":
        changed = _CHANGED_PID.search(after)
        if changed is not None and changed.end() == len(after) and name in EXECS:
            _begin(log, thread, t_ns, name, after[: changed.start()])
            _take_over(log, pid, changed.group(1))
            return
    if name in SHAPES or name in FOLLOWED:
        parts = split_result(after)
        if parts is not None:
            returned(log, thread, Start(name, t_ns, parts[0], thread.tid, None), *parts)
            return
    elif count_other(log, name, after):
        return
    attached = _ATTACHED_HERE.search(after) if b" attached" in after[-40:] else None
    if attached is not None and attached.end() == len(after):
        log.half_line = (pid, t_ns, name + b"(" + after[: attached.start()])
        return
    unparsed(log, log.line)


def count_other(log: Log, name: bytes, after: bytes) -> bool:
    """Count a call that names no path; False when `after` is no complete call."""
    _, found, result = after.rpartition(b" = ")
    if not found or result[:1] not in _RESULT_STARTS:
        return False
    log.others.add(name)
    is_error = result[:4] in (b"-1 E", b"-1 (") or result[:3] == b"? E"
    if is_error or result[:1] != b"?":
        count(log, name, is_error=is_error)  # a lone `?` never returned
    if name[:8] == b"io_uring":
        log.quality.io_uring = True
    return True


def take_other_half(log: Log, rest: bytes) -> bool:
    """Join a line to the one that `strace: Process 12 attached` interrupted; False if it does not continue it."""
    if log.half_line is None:
        return False
    if _CHATTER.fullmatch(rest) is not None:
        return True  # another child: the line goes on after it
    pid, t_ns, half = log.half_line
    log.half_line = None
    if rest[:5] == b"[pid ":
        unparsed(log, half)
        return False
    take(log, pid, t_ns, half + rest)
    return True


def _begin(log: Log, thread: Thread, t_ns: int | None, name: bytes, args: bytes) -> None:
    shape = SHAPES.get(name)
    if shape is None and name not in FOLLOWED:
        if name[:8] == b"io_uring":
            log.quality.io_uring = True
        return
    if name in EXITS:
        thread.exit_status, thread.exit_t_ns = args.strip(), t_ns
        return
    if args[:9] == b"AT_FDCWD<":
        thread.directory.argument = args
    start = Start(name, t_ns, args, thread.tid, cwd_of(thread.directory))
    if name in ACCESSES:
        start.is_mark = mark(log, thread, t_ns, name, args)
    elif name in CLONES:
        log.families.cloning.append((thread, start))
    thread.start = start


def _take_second_half(log: Log, thread: Thread, t_ns: int | None, rest: bytes) -> None:
    match = _RESUMED.match(rest)
    if match is None:
        unparsed(log, log.line)
        return
    name, tail, start = match.group(1), rest[match.end() :], thread.start
    if start is None or name != start.name:
        if name in EXITS:
            return
        _take_orphan_half(log, thread, t_ns, name, tail)
        return
    parts = split_result(start.args + tail)
    if parts is None:
        unparsed(log, log.line)
        return
    thread.start = None
    args, result, ns = parts
    args = args.removesuffix(b"<unfinished ...>").removesuffix(b" ")
    if start.is_mark:
        if error_of(result) == "ENOSYS":
            thread.refused_mark = start.args
        return
    returned(log, thread, start, args, result, ns)


def _take_orphan_half(log: Log, thread: Thread, t_ns: int | None, name: bytes, tail: bytes) -> None:
    parts = split_result(tail)
    if parts is None:
        unparsed(log, log.line)
    elif name in SHAPES or name in CLONES:
        log.quality.n_partial += 1
        if name in CLONES:
            args, result, _ = parts
            clone_returned(log.families, thread, Start(name, t_ns, args, thread.tid, None), result)
    else:
        count_other(log, name, tail)


def _take_end(log: Log, pid: bytes, thread: Thread, t_ns: int | None, rest: bytes) -> None:
    exited, killed, superseded = _EXITED.fullmatch(rest), _KILLED.fullmatch(rest), _SUPERSEDED.fullmatch(rest)
    if superseded is not None:
        _take_over(log, superseded.group(1), pid)
        return
    ended = exited or killed
    if ended is None:
        unparsed(log, log.line)
        return
    if thread.start is not None:
        flush(log, thread)
    log.out.append(Process("exit" if exited else "killed", thread.tid, t_ns, 0, ended.group(1)))
    threads = log.families.threads
    threads.pop(pid, None)
    if threads.get(b"") is thread:
        del threads[b""]


def _take_over(log: Log, former: bytes, leader_pid: bytes) -> None:
    """A thread's execve ends all others, and the call returns in the leader's name."""
    threads = log.families.threads
    if former == leader_pid or former not in threads:
        return
    caller = threads.pop(former)
    leader = threads.get(leader_pid)
    if leader is None:
        leader = adopt(log.families, leader_pid)
    if leader.start is not None:
        flush(log, leader)
    leader.directory, leader.descriptors = caller.directory, caller.descriptors
    start = caller.start
    if start is not None and start.name in EXECS:
        start.changed_pid = True
        leader.start = start
    elif start is not None:
        flush(log, caller)


def finish(log: Log, *, ends_in_mid_line: bool) -> None:
    quality = log.quality
    if log.half_line is not None:
        unparsed(log, log.half_line[2])
    if ends_in_mid_line and log.last_unparsed == quality.n_lines and log.line:
        quality.n_unparsed -= 1
        quality.n_partial += 1
        if quality.unparsed_examples and quality.n_unparsed < N_EXAMPLES:
            quality.unparsed_examples.pop()
    _let_go(log)
    ended: dict[int, Thread] = {id(thread): thread for thread in log.families.threads.values()}
    for thread in ended.values():
        flush(log, thread)
        if thread.exit_status is not None:
            log.out.append(Process("exit", thread.tid, thread.exit_t_ns, 0, thread.exit_status))
    tell_the_rest(log.families)
