"""Read strace logs: lines in, events out, nothing dropped in silence.

    1892  1795506711.169777 (+     0.000257743) openat(AT_FDCWD</tmp>, "x", O_RDONLY) = 3</tmp/x> <0.000089>

Most lines are complete calls with an annotated directory, written by fsprobe's own command; `parse` takes them apart
inline with split and partition, because this loop is what a big log costs. Everything else (halves of calls,
processes, markers, odd names, logs of other people with other options) goes line by line through `_step`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from fsprobe.model import Call, Event, Mark, Op, ParseQuality, Process
from fsprobe.parse.arguments import exec_argv, link_target, mode_kind, open_flags, result_path, second_path
from fsprobe.parse.fields import (
    annotated_path,
    duration_ns,
    error_of,
    escape,
    split_arguments,
    split_result,
    string_value,
    unescape,
)
from fsprobe.parse.lineage import (
    MAX_HELD,
    Families,
    Start,
    Thread,
    adopt,
    clone_abandoned,
    clone_returned,
    cwd_of,
    meet,
    tell_the_rest,
)
from fsprobe.parse.stamps import HEAD, Clock, find_first_pid, make_clock
from fsprobe.parse.syscalls import ACCESSES, CLONES, EMPTY_PATH_NAMES_THE_DESCRIPTOR, EXECS, EXITS, SHAPES, Shape

__all__ = [
    "escape",
    "exec_argv",
    "format_call",
    "link_target",
    "mode_kind",
    "open_flags",
    "parse",
    "result_path",
    "second_path",
    "unescape",
]

N_EXAMPLES = 5
_CACHE_SIZE = 65_536

_NAME = re.compile(rb"[a-z_][a-z0-9_]*")
_RESUMED = re.compile(rb"<\.\.\. ([a-z_][a-z0-9_]*|\?+) resumed>(?: (?=\)))?")
_EXITED = re.compile(rb"\+\+\+ exited with (-?\d+) \+\+\+")
_KILLED = re.compile(rb"\+\+\+ killed by (\S+)(?: \(core dumped\))? \+\+\+")
_SUPERSEDED = re.compile(rb"\+\+\+ superseded by execve in pid (\d+) \+\+\+")
_CHANGED_PID = re.compile(rb" ?<pid changed to (\d+) \.\.\.>")
_CUT_OFF = (b"<unfinished ...>", b"<detached ...>")
_ATTACHED_HERE = re.compile(rb"(?:strace: )?Process \d+ attached(?: \(waiting for parent\))?")
_CHATTER = re.compile(
    rb"(?:strace: )?Process \d+ (?:attached|detached|resumed|suspended)\b.*|strace: .*|\[ Process PID=\d+ runs in .*"
    rb"|--- .* ---|> .*"
)
_MARKS = {b">": "begin", b"<": "end", b"!": "note"}


@dataclass(slots=True)
class _Log:
    """Everything that one pass over a log remembers."""

    quality: ParseQuality
    families: Families
    out: list[Event]
    line: bytes = b""
    last_unparsed: int = 0
    has_annotations: bool = False
    errors: dict[bytes, str] = field(default_factory=dict)
    durations: dict[bytes, int] = field(default_factory=dict)
    directories: dict[bytes, bytes | None] = field(default_factory=dict)
    """First argument with its comma (`3</x>, `) -> path of the directory, for descriptors that -y annotates."""
    half_line: tuple[bytes, int | None, bytes] | None = None
    in_summary: bool = False


def parse(lines: Iterable[bytes], quality: ParseQuality, *, cwd: bytes | None = None) -> Iterator[Event]:
    """Turn the lines of one strace log into events, in the order of the log.

    A call comes out when its result is known, or with error "?" when its thread ends or the log does; within a
    thread events keep the order in which they started. The `Process` event of a birth comes before the child's
    first event. Time stamps may be absent, absolute, relative or both; see `Call.t_ns`.

    Args:
        lines: raw lines, with or without line ends.
        quality: filled while the result is consumed.
        cwd: working directory of the first process, for logs that do not show it (no -y).
    """
    out: list[Event] = []
    log = _Log(quality, Families(out, cwd), out)
    first_pid, source = find_first_pid(lines)
    # The hot loop's own names: a global or an attribute costs as much as a split.
    threads, errors, durations, directories = log.families.threads, log.errors, log.durations, log.directories
    shapes, new, call_type, list_op = SHAPES, tuple.__new__, Call, Op.LIST
    clock: Clock | None = None
    is_summed = False
    advance: Callable[[bytes | None, bytes | None], int | None] | None = None
    total = 0
    line = b""
    has_line_ends = False
    try:
        for line in source:
            quality.n_lines += 1
            if is_summed and log.half_line is None:
                parts = line.split(None, 4)
                thread = threads.get(parts[0]) if len(parts) == 5 and parts[2] == b"(+" else None
                delta = parts[3] if thread is not None else b""
                if thread is not None and delta[-11:-10] == b"." and delta[:-11].isdigit() and delta[-10:-1].isdigit():
                    total += int(delta[:-11] + delta[-10:-1])
                    rest = parts[4]
                    if rest[-1:] == b"\n":
                        rest = rest[:-1]
                    name, _, after = rest.partition(b"(")
                    shape = shapes.get(name)
                    if shape is not None and log.has_annotations and thread.start is None:
                        args, _, tail = after.rpartition(b" = ")
                        result, _, lasted = tail.rpartition(b" <")
                        dur = durations.get(lasted)
                        if dur is None:
                            dur = _remember_duration(log, lasted)
                        error = errors.get(result)
                        if error is None:
                            error = _remember_error(log, result)
                        if dur is not None and error is not None and error != "?" and args[-1:] == b")":
                            args = args[:-1]
                            path = None
                            if shape.is_simple:
                                quoted = args.split(b'"', 2)
                                if len(quoted) == 3:
                                    before, path, _ = quoted
                                    if b"\\" in path:
                                        path = None
                                    elif before:
                                        # `AT_FDCWD</x>, ` or `3</x>, `: no quote or escape before the path's own
                                        if before[-2:] != b", " or shape.dirfd_at != 0:
                                            path = None
                                        elif path[:1] != b"/":
                                            directory = directories.get(before) if path else None
                                            path = directory + b"/" + path if directory is not None else None
                                        if before[:1] == b"A" and path is not None:
                                            thread.directory.argument = before
                                    elif path[:1] != b"/":
                                        path = None
                            elif shape.op is list_op:
                                path = directories.get(args[: args.find(b", ") + 2])
                                if path == b"":
                                    path = b"/"
                            if path is not None:
                                yield new(
                                    call_type,
                                    (thread.tid, total, shape.syscall, shape.op, path, error, dur, args, result),
                                )
                                continue
                    log.line = line
                    _take(log, parts[0], total, rest)
                    if out:
                        yield from out
                        out.clear()
                    continue
            log.line = line
            rest = line.rstrip(b"\r\n")
            has_line_ends = has_line_ends or rest != line
            if log.in_summary or rest[:6] == b"% time":
                log.in_summary = not rest.endswith(b" total")
                continue
            if log.half_line is not None:
                pid, t_ns, half = log.half_line
                log.half_line = None
                if rest[:1] in (b" ", b",", b")", b"="):
                    _take(log, pid, t_ns, half + rest)
                    yield from out
                    out.clear()
                    continue
                _unparsed(log, half)
            match = HEAD.match(rest)
            assert match is not None  # every part of it is optional
            bracketed, bare, absolute, relative, lone = match.groups()
            if clock is None and (absolute is not None or relative is not None or lone is not None):
                clock = make_clock(absolute, relative or lone)
                if clock is not None:
                    advance, is_summed = clock.advance, clock.is_sum_of_ns
                    quality.has_times, quality.wall_start_ns = True, clock.wall_start_ns
            t_ns = None
            if is_summed:
                stamp = relative or lone
                if stamp is not None:
                    seconds, _, fraction = stamp.partition(b".")
                    total += int(seconds) * 1_000_000_000 + int(fraction.ljust(9, b"0"))
                t_ns = total
            elif advance is not None:
                t_ns = advance(absolute, relative or lone)
            found = bracketed or bare
            if found is not None:
                quality.has_tids = True
                pid = found
            else:
                pid = first_pid or _only_thread(log)
            _take(log, pid, t_ns, rest[match.end() :])
            if out:
                yield from out
                out.clear()
        _finish(log, ends_in_mid_line=has_line_ends and line[-1:] not in (b"\n", b"\r", b""))
        yield from out
    finally:
        out.clear()


def _only_thread(log: _Log) -> bytes:
    # strace leaves the pid out when one process is left: that need not be the first one.
    threads = log.families.threads
    if b"" in threads or len(threads) != 1:
        return b""
    return next(iter(threads))


def _take(log: _Log, pid: bytes, t_ns: int | None, rest: bytes) -> None:
    """Take in one line without its head, whatever it is."""
    name, opened, after = rest.partition(b"(")
    is_call = opened != b"" and _NAME.fullmatch(name) is not None
    is_resumed = rest[:5] == b"<... "
    if not (is_call or is_resumed or rest[:4] == b"+++ "):
        if rest and _CHATTER.fullmatch(rest) is None:
            _unparsed(log, log.line)
        return
    families = log.families
    thread = families.threads.get(pid)
    if thread is None:
        is_newborn = not is_resumed or pid in families.held or int(pid or b"0") in families.promises
        thread = meet(families, pid, t_ns, rest) if is_newborn else adopt(families, pid)
        if thread is None:
            if families.n_held > MAX_HELD:
                _let_go(log)
            return
    if is_call:
        _take_call(log, pid, thread, t_ns, name, after)
    elif is_resumed:
        _take_second_half(log, pid, thread, t_ns, rest)
    else:
        _take_end(log, pid, thread, t_ns, rest)


def _play(log: _Log, pids: Iterable[bytes]) -> None:
    families = log.families
    for pid in pids:
        lines = families.held.pop(pid, [])
        families.n_held -= len(lines)
        for t_ns, rest in lines:
            log.line = pid + b"  " + rest
            _take(log, pid, t_ns, rest)


def _let_go(log: _Log) -> None:
    # Nobody has said whose children these are, and they must not fill the memory.
    while log.families.held:
        pids = list(log.families.held)
        for pid in pids:
            adopt(log.families, pid)
        _play(log, pids)


def _take_call(log: _Log, pid: bytes, thread: Thread, t_ns: int | None, name: bytes, after: bytes) -> None:
    if thread.start is not None:
        _flush(log, thread)  # its second half is missing
    if after.endswith(_CUT_OFF):
        _begin(log, thread, t_ns, name, after[: after.rindex(b"<")].removesuffix(b" "))
        return
    if after[-5:] == b" ...>":
        changed = _CHANGED_PID.search(after)
        if changed is not None and changed.end() == len(after) and name in EXECS:
            _begin(log, thread, t_ns, name, after[: changed.start()])
            _take_over(log, pid, changed.group(1))
            return
    if name in SHAPES or name in _FOLLOWED:
        parts = split_result(after)
        if parts is not None:
            _returned(log, thread, Start(name, t_ns, parts[0], thread.tid, None), *parts)
            return
    elif _count_other(log, name, after):
        return
    attached = _ATTACHED_HERE.search(after)
    if attached is not None and attached.end() == len(after):
        log.half_line = (pid, t_ns, name + b"(" + after[: attached.start()])
        return
    _unparsed(log, log.line)


_FOLLOWED = CLONES | EXITS | {b"fchdir", b"getcwd", b"close", b"dup", b"dup2", b"dup3", b"fcntl"}
"""Calls that are no `Call`, but change what later paths mean or who runs."""


def _count_other(log: _Log, name: bytes, after: bytes) -> bool:
    _, found, result = after.rpartition(b" = ")
    if not found:
        return False
    _count(log, name, is_error=result[:4] in (b"-1 E", b"-1 (") or result[:3] == b"? E")
    if name[:8] == b"io_uring":
        log.quality.io_uring = True
    return True


def _count(log: _Log, name: bytes, *, is_error: bool) -> None:
    key = name.decode("ascii")
    log.quality.other_calls[key] = log.quality.other_calls.get(key, 0) + 1
    if is_error:
        log.quality.other_errors[key] = log.quality.other_errors.get(key, 0) + 1


def _begin(log: _Log, thread: Thread, t_ns: int | None, name: bytes, args: bytes) -> None:
    shape = SHAPES.get(name)
    if shape is None and name not in _FOLLOWED:
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
        start.is_mark = _mark(log, thread, t_ns, name, args)
    elif name in CLONES:
        log.families.cloning.append((thread, start))
    thread.start = start


def _take_second_half(log: _Log, pid: bytes, thread: Thread, t_ns: int | None, rest: bytes) -> None:
    match = _RESUMED.match(rest)
    if match is None:
        _unparsed(log, log.line)
        return
    name, tail, start = match.group(1), rest[match.end() :], thread.start
    if start is None or name != start.name:
        if name in EXITS:
            return
        _take_orphan_half(log, thread, t_ns, name, tail)
        return
    parts = split_result(start.args + tail)
    if parts is None:
        _unparsed(log, log.line)
        return
    thread.start = None
    args, result, ns = parts
    args = args.removesuffix(b"<unfinished ...>").removesuffix(b" ")
    if start.is_mark:
        if error_of(result) == "ENOSYS":
            thread.refused_mark = start.args
        return
    _returned(log, thread, start, args, result, ns)


def _take_orphan_half(log: _Log, thread: Thread, t_ns: int | None, name: bytes, tail: bytes) -> None:
    parts = split_result(tail)
    if parts is None:
        _unparsed(log, log.line)
    elif name in SHAPES or name in CLONES:
        log.quality.n_partial += 1
        if name in CLONES:
            args, result, _ = parts
            _play(log, clone_returned(log.families, thread, Start(name, t_ns, args, thread.tid, None), result))
    else:
        _count_other(log, name, tail)


def _take_end(log: _Log, pid: bytes, thread: Thread, t_ns: int | None, rest: bytes) -> None:
    exited, killed, superseded = _EXITED.fullmatch(rest), _KILLED.fullmatch(rest), _SUPERSEDED.fullmatch(rest)
    if superseded is not None:
        _take_over(log, superseded.group(1), pid)
        return
    ended = exited or killed
    if ended is None:
        _unparsed(log, log.line)
        return
    if thread.start is not None:
        _flush(log, thread)
    log.out.append(Process("exit" if exited else "killed", thread.tid, t_ns, 0, ended.group(1)))
    threads = log.families.threads
    threads.pop(pid, None)
    if threads.get(b"") is thread:
        del threads[b""]


def _take_over(log: _Log, former: bytes, leader_pid: bytes) -> None:
    """A thread's execve ends all others, and the call returns in the leader's name."""
    threads = log.families.threads
    if former == leader_pid or former not in threads:
        return
    caller = threads.pop(former)
    leader = threads.get(leader_pid)
    if leader is None:
        leader = adopt(log.families, leader_pid)
    if leader.start is not None:
        _flush(log, leader)
    leader.directory, leader.descriptors = caller.directory, caller.descriptors
    start = caller.start
    if start is not None and start.name in EXECS:
        start.changed_pid = True
        leader.start = start
    elif start is not None:
        _flush(log, caller)


def _returned(log: _Log, thread: Thread, start: Start, args: bytes, result: bytes, ns: int | None) -> None:
    """A call is complete, in one line or in two halves (then `start.cwd` is where it started)."""
    name, quality = start.name, log.quality
    error = error_of(result) or ""
    if ns is not None:
        quality.has_durations = True
    if name in ACCESSES and _mark(log, thread, start.t_ns, name, args):
        if error == "ENOSYS":
            thread.refused_mark = args
        return
    if name in EXITS:
        thread.exit_status, thread.exit_t_ns = args.strip(), start.t_ns
        return
    if name in CLONES:
        _count(log, name, is_error=error not in ("", "?"))
        start.args = args
        _play(log, clone_returned(log.families, thread, start, b"" if error else result))
        return
    shape = SHAPES.get(name)
    if shape is None:
        _count(log, name, is_error=error not in ("", "?"))
        if not error:
            _follow(log, thread, name, args, result)
        return
    path = _path(log, thread, shape, start, args)
    if path is None:
        _count(log, name, is_error=error not in ("", "?"))
        return
    if error == "?":
        quality.n_unfinished += 1
    is_exec = name in EXECS
    if is_exec and (start.changed_pid or _is_no_error(error)):
        error = ""  # with --seccomp-bpf strace prints a stale register as the result of a thread's execve
    elif not error and shape.op is Op.OPEN:
        _opened(log, thread, path, result)
    log.out.append(Call(start.tid, start.t_ns, shape.syscall, shape.op, path, error, ns, args, result))
    if error:
        return
    if is_exec:
        directory = thread.directory
        thread.directory = type(directory)(directory.path, directory.argument)
        thread.descriptors = dict(thread.descriptors)
        log.out.append(Process("exec", start.tid, start.t_ns, thread.tid, path))
    elif name == b"chdir" and path:
        thread.directory.path, thread.directory.argument = path, b""


def _is_no_error(error: str) -> bool:
    # "errno 18446744073709551595": a small negative number, unsigned
    return error[:6] == "errno " and error[6:].isdigit() and int(error[6:]) >= 1 << 63


def _opened(log: _Log, thread: Thread, path: bytes, result: bytes) -> None:
    if annotated_path(result) is not None:
        log.has_annotations = True
    elif not log.has_annotations:
        thread.descriptors[result] = path


def _follow(log: _Log, thread: Thread, name: bytes, args: bytes, result: bytes) -> None:
    """A call without a path that changes what later paths are relative to."""
    parts = split_arguments(args, 2)
    if not parts:
        return
    if name == b"getcwd":
        path = string_value(parts[0])
    elif name == b"fchdir":
        path = _directory(log, thread, parts[0], None)
    else:
        if not log.has_annotations:
            if name == b"close":
                thread.descriptors.pop(parts[0], None)
            elif name != b"fcntl" or (len(parts) > 1 and parts[1][:7] == b"F_DUPFD"):
                held = thread.descriptors.get(parts[0])
                if held is not None:
                    thread.descriptors[result] = held
        return
    if path is not None and path[:1] == b"/":
        thread.directory.path, thread.directory.argument = path, b""


def _mark(log: _Log, thread: Thread, t_ns: int | None, name: bytes, args: bytes) -> bool:
    """Tell of an import if this access call is a marker: descriptor -1 and a name that no program uses."""
    if args[:5] != b'-1, "':
        return False
    parts = split_arguments(args, 2)
    text = string_value(parts[1]) if len(parts) > 1 else None
    kind = _MARKS.get(text[7:8]) if text is not None and text[:7] == b"fsprobe" else None
    if text is None or kind is None:
        return False
    if thread.refused_mark:
        refused, thread.refused_mark = split_arguments(thread.refused_mark, 2), b""
        if name == b"faccessat" and refused[1] == parts[1]:
            return True
    log.out.append(Mark(thread.tid, t_ns, kind, text[8:]))
    return True


def _path(log: _Log, thread: Thread, shape: Shape, start: Start, args: bytes) -> bytes | None:
    """Give the path that a call looks up, b"" where the log does not show it, None if it looks up none."""
    parts = split_arguments(args, max(shape.path_at, shape.dirfd_at) + 1)
    if shape.path_at < 0:
        return _directory(log, thread, parts[0], start.cwd) or b"" if parts else b""
    argument = parts[shape.path_at] if len(parts) > shape.path_at else b""
    written = string_value(argument)
    has_directory = 0 <= shape.dirfd_at < len(parts)
    base = _directory(log, thread, parts[shape.dirfd_at], start.cwd) if has_directory else None
    if not written:
        if written is not None and start.name in EMPTY_PATH_NAMES_THE_DESCRIPTOR:
            return base or b""
        is_descriptor = b"AT_EMPTY_PATH" in args or (argument == b"NULL" and has_directory)
        return None if is_descriptor else b""
    if written[:1] == b"/":
        return written
    if shape.dirfd_at < 0:
        base = start.cwd or cwd_of(thread.directory)
    if base is None:
        return written
    return base + written if base[-1:] == b"/" else base + b"/" + written


def _directory(log: _Log, thread: Thread, argument: bytes, cwd: bytes | None) -> bytes | None:
    path = annotated_path(argument)
    is_cwd = argument[:8] == b"AT_FDCWD"
    if path is not None:
        log.has_annotations = True
        if len(log.directories) >= _CACHE_SIZE:
            log.directories.clear()
        log.directories[argument + b", "] = path.removesuffix(b"/")
        if is_cwd and cwd is None:
            thread.directory.path, thread.directory.argument = path, b""
        return path
    if is_cwd:
        return cwd or cwd_of(thread.directory)
    return None if log.has_annotations else thread.descriptors.get(argument)


def _flush(log: _Log, thread: Thread) -> None:
    """A call will never return: tell of it as far as it is known."""
    start, thread.start = thread.start, None
    if start is None or start.is_mark:
        return
    if start.name in CLONES:
        _play(log, clone_abandoned(log.families, start))
        return
    shape = SHAPES.get(start.name)
    path = _path(log, thread, shape, start, start.args) if shape is not None else None
    if shape is not None and path is not None:
        log.quality.n_unfinished += 1
        log.out.append(Call(start.tid, start.t_ns, shape.syscall, shape.op, path, "?", None, start.args, b""))


def _finish(log: _Log, *, ends_in_mid_line: bool) -> None:
    quality = log.quality
    if log.half_line is not None:
        _unparsed(log, log.half_line[2])
    if ends_in_mid_line and log.last_unparsed == quality.n_lines and log.line:
        quality.n_unparsed -= 1
        quality.n_partial += 1
        if quality.unparsed_examples and quality.n_unparsed < N_EXAMPLES:
            quality.unparsed_examples.pop()
    _let_go(log)
    ended: dict[int, Thread] = {id(thread): thread for thread in log.families.threads.values()}
    for thread in ended.values():
        _flush(log, thread)
        if thread.exit_status is not None:
            log.out.append(Process("exit", thread.tid, thread.exit_t_ns, 0, thread.exit_status))
    tell_the_rest(log.families)


def _unparsed(log: _Log, line: bytes) -> None:
    quality = log.quality
    quality.n_unparsed += 1
    log.last_unparsed = quality.n_lines
    if len(quality.unparsed_examples) < N_EXAMPLES:
        quality.unparsed_examples.append(line.rstrip(b"\r\n"))


def _remember_error(log: _Log, result: bytes) -> str | None:
    error = error_of(result)
    if error is not None:
        if len(log.errors) >= _CACHE_SIZE:
            log.errors.clear()
        log.errors[result] = error
    return error


def _remember_duration(log: _Log, raw: bytes) -> int | None:
    ns = duration_ns(raw)
    if ns is not None:
        log.quality.has_durations = True
        if len(log.durations) >= _CACHE_SIZE:
            log.durations.clear()
        log.durations[raw] = ns
    return ns


def format_call(call: Call, *, since_ns: int = 0, wall_start_ns: int = 0) -> bytes:
    """Write a call as one line (with its line end) of fsprobe's own strace command; `parse` gives it back.

    Args:
        call: its `args` and `result` are written as they are; `path` is not (it is read from `args`).
        since_ns: `t_ns` of the line before, from which the relative stamp counts.
        wall_start_ns: wall clock at t_ns = 0, for the absolute stamp.
    """
    head = b"%-5d " % call.tid
    if call.t_ns is not None:
        wall, delta = wall_start_ns + call.t_ns, call.t_ns - since_ns
        head += b"%d.%06d " % (wall // 1_000_000_000, wall // 1000 % 1_000_000)
        head += b"(+%6d.%09d) " % divmod(delta, 1_000_000_000)
    head += call.syscall.encode("ascii") + b"(" + call.args
    if not call.result:
        return head + b" <unfinished ...>\n"
    lasted = b"" if call.dur_ns is None else _format_duration(call.dur_ns)
    return head + b") = " + call.result + lasted + b"\n"


def _format_duration(ns: int) -> bytes:
    seconds, rest = divmod(ns, 1_000_000_000)
    return b" <%d.%09d>" % (seconds, rest) if rest % 1000 else b" <%d.%06d>" % (seconds, rest // 1000)
