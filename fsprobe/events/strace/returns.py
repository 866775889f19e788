"""What a call means once its result is known, or once it is clear that there will be none."""

from __future__ import annotations

import os

from fsprobe.events.strace.lineage import Start, Thread, clone_abandoned, clone_returned, copy_of, cwd_of, enter
from fsprobe.events.strace.state import CACHE_SIZE, Log, count_returned
from fsprobe.events.strace.syscalls import (
    ACCESSES,
    CLONES,
    EMPTY_PATH_NAMES_THE_DESCRIPTOR,
    EXECS,
    EXITS,
    SHAPES,
    Shape,
)
from fsprobe.events.strace.values import MAX_PATH_BYTES, annotated_path, error_of, split_arguments, string_value
from fsprobe.model.events import Call, Mark, Op, Process, joined, plain

_TRACING = b"PTRACE_TRACEME", b"PTRACE_ATTACH", b"PTRACE_SEIZE"
_MARKS = {b">": "begin", b"<": "end", b"!": "note"}


def returned(log: Log, thread: Thread, start: Start, args: bytes, result: bytes, ns: int | None) -> None:
    """A call is complete, in one line or in two halves (then `start.cwd` is where it started)."""
    name, quality = start.name, log.quality
    error = error_of(result) or ""
    if ns is not None:
        quality.has_durations = True
    if name in ACCESSES and mark(log, thread, start.t_ns, name, args):
        if error == "ENOSYS":
            thread.refused_mark = args
        return
    if name in EXITS:
        thread.exit_status, thread.exit_t_ns = args.strip(), start.t_ns
        return
    if name in CLONES:
        count_returned(log, name, error)
        quality.n_untraced += not error and b"CLONE_UNTRACED" in args
        start.args = args
        clone_returned(log.families, thread, start, b"" if error else result)
        return
    shape = SHAPES.get(name)
    if shape is None:
        count_returned(log, name, error)
        if not error:
            _follow(log, thread, name, args, result)
        elif name == b"ptrace" and error == "EPERM" and args.startswith(_TRACING):
            quality.n_refused_traces += 1
        return
    path = _path(log, thread, shape, start, args)
    if path is None:
        count_returned(log, name, error)
        if log.on_status is not None and not error and shape.op is Op.STAT:
            log.on_status(start.tid, start.t_ns, args)
        return
    if not path and error not in ("EFAULT", "?") and _is_unread(args, shape):
        quality.n_unread_paths += 1
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
        thread.directory = copy_of(thread.directory)
        thread.descriptors = dict(thread.descriptors)
        log.out.append(Process("exec", start.tid, start.t_ns, thread.tid, path))
    elif name == b"chdir" and path:
        _changed_directory(thread, args, path)


def _is_unread(args: bytes, shape: Shape) -> bool:
    """Whether an address stands where a path should: the tracer could not read it, though the kernel could."""
    parts = split_arguments(args, shape.path_at + 1) if shape.path_at >= 0 else []
    return parts[shape.path_at :] != [] and parts[shape.path_at][:2] == b"0x"


def _changed_directory(thread: Thread, args: bytes, path: bytes) -> None:
    cwd_of(thread.directory)
    goes_up = set((string_value(args) or b"").split(b"/")) <= {b"..", b".", b""}
    if path == b"/" or (goes_up and thread.directory.is_resolved):
        enter(thread.directory, b"/" + os.path.normpath(path).lstrip(b"/"), is_resolved=True)
    else:
        enter(thread.directory, path, is_resolved=False)


def _is_no_error(error: str) -> bool:
    # "errno 18446744073709551595": a small negative number, unsigned
    return error[:6] == "errno " and error[6:].isdigit() and int(error[6:]) >= 1 << 63


def _opened(log: Log, thread: Thread, path: bytes, result: bytes) -> None:
    if annotated_path(result) is not None:
        log.has_annotations = True
    elif not log.has_annotations and path[:1] == b"/":
        thread.descriptors[result] = path


def _follow(log: Log, thread: Thread, name: bytes, args: bytes, result: bytes) -> None:
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
        enter(thread.directory, path, is_resolved=name == b"getcwd" or b"<" in parts[0])


def mark(log: Log, thread: Thread, t_ns: int | None, name: bytes, args: bytes) -> bool:
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


def _path(log: Log, thread: Thread, shape: Shape, start: Start, args: bytes) -> bytes | None:
    """Give the path that a call looks up, b"" where the log does not show it, None if it looks up none."""
    path = _looked_up(log, thread, shape, start, args)
    return path if path is None else b"" if len(path) > MAX_PATH_BYTES else plain(path)


def _looked_up(log: Log, thread: Thread, shape: Shape, start: Start, args: bytes) -> bytes | None:
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
    return joined(base, written)


def _directory(log: Log, thread: Thread, argument: bytes, cwd: bytes | None) -> bytes | None:
    path = annotated_path(argument)
    is_cwd = argument[:8] == b"AT_FDCWD"
    if path is not None:
        log.has_annotations = True
        if len(log.directories) >= CACHE_SIZE:
            log.directories.clear()
        log.directories[argument + b", "] = path.removesuffix(b"/")
        if is_cwd and cwd is None:
            enter(thread.directory, path, is_resolved=True)
        return path
    if is_cwd:
        return cwd or cwd_of(thread.directory)
    return None if log.has_annotations else thread.descriptors.get(argument)


def flush(log: Log, thread: Thread) -> None:
    """A call will never return: tell of it as far as it is known."""
    start, thread.start = thread.start, None
    if start is None or start.is_mark:
        return
    if start.name in CLONES:
        clone_abandoned(log.families, start)
        return
    shape = SHAPES.get(start.name)
    path = _path(log, thread, shape, start, start.args) if shape is not None else None
    if shape is not None and path is not None:
        log.quality.n_unfinished += 1
        log.out.append(Call(start.tid, start.t_ns, shape.syscall, shape.op, path, "?", None, start.args, b""))
