"""Read strace logs: lines in, events out, nothing dropped in silence.

    1892  1795506711.169777 (+     0.000257743) openat(AT_FDCWD</tmp>, "x", O_RDONLY) = 3</tmp/x> <0.000089>

Most lines are complete calls with an annotated directory, written by fsprobe's own command; `parse` takes them apart
inline with split and partition, because this loop is what a big log costs. Everything else (halves of calls,
processes, markers, odd names, logs of other people with other options) goes line by line through `_step`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from fsprobe.events.strace.lineage import Families
from fsprobe.events.strace.lines import count_other, finish, take, take_other_half
from fsprobe.events.strace.stamps import HEAD, Clock, find_first_pid, make_clock, nanoseconds
from fsprobe.events.strace.state import TEXTS, Known, Log, count, remember_duration, remember_error, remember_text
from fsprobe.events.strace.syscalls import SHAPES
from fsprobe.events.strace.values import MAX_PATH_BYTES
from fsprobe.model.events import Call, Event, Op, ParseQuality, plain


def parse(
    lines: Iterable[bytes],
    quality: ParseQuality,
    *,
    cwd: bytes | None = None,
    on_status: Callable[[int, int | None, bytes], None] | None = None,
) -> Iterator[Event]:
    """Turn the lines of one strace log into events, in the order of the log.

    A call comes out when its result is known, or with error "?" when its thread ends or the log does; within a
    thread events keep the order in which they started. The `Process` event of a birth comes before the child's
    first event. Time stamps may be absent, absolute, relative or both; see `Call.t_ns`.

    Args:
        lines: raw lines, with or without line ends.
        quality: filled while the result is consumed.
        cwd: working directory of the first process, for logs that do not show it (no -y).
        on_status: told of each successful status of an open descriptor: thread, time, the call's arguments.
    """
    out: list[Event] = []
    log = Log(quality, Families(out, cwd), out, on_status=on_status)
    first_pid, source = find_first_pid(lines)
    # The hot loop's own names: a global or an attribute costs as much as a split.
    threads, errors, durations, directories = log.families.threads, log.errors, log.durations, log.directories
    shapes, new, call_type, stat_op, open_op, list_op = SHAPES, tuple.__new__, Call, Op.STAT, Op.OPEN, Op.LIST
    others, other_calls = log.others, quality.other_calls
    texts: dict[bytes, Known] | None = TEXTS
    known: Known | None
    clock: Clock | None = None
    is_summed = has_line_ends = False
    argument = b""  # the directory that a call was relative to, of the last one that had one
    total = 0
    t_ns: int | None
    error: str | None
    line = b""
    try:
        for line in source:
            quality.n_lines += 1
            thread = None
            if is_summed:
                # Our own layout: `1892 1795506711.169777 (+ 0.000257743) REST`. Whatever differs goes the long way.
                parts = line.split(None, 4)
                if len(parts) == 5 and parts[2] == b"(+" and len(parts[3]) == 12 and log.half_line is None:
                    pid, _, _, delta, rest = parts
                    digits = delta[2:11]
                    if delta[:2] == b"0." and digits.isdigit():
                        thread = threads.get(pid)
                        if thread is not None:
                            total += int(digits)
                            t_ns = total
            if thread is None:
                rest = line.rstrip(b"\r\n")
                has_line_ends = has_line_ends or rest != line
                if log.in_summary or rest[:6] == b"% time":
                    log.in_summary = not rest.endswith(b" total")
                    continue
                if log.half_line is not None:
                    log.line = line
                    if take_other_half(log, rest):
                        yield from out
                        out.clear()
                        continue
                match = HEAD.match(rest)
                assert match is not None  # every part of it is optional
                bracketed, bare, absolute, relative, lone = match.groups()
                rest = rest[match.end() :]
                if clock is None and (absolute or relative or lone):
                    clock = make_clock(absolute, relative or lone)
                    if clock is not None:
                        is_summed = clock.is_sum_of_ns
                        quality.has_times, quality.wall_start_ns = True, clock.wall_start_ns
                t_ns = None
                if is_summed:
                    stamp = relative or lone
                    total += nanoseconds(stamp) if stamp else 0
                    t_ns = total
                elif clock is not None:
                    t_ns = clock.advance(absolute, relative or lone)
                pid = bracketed or bare or b""
                if pid:
                    quality.has_tids = True
                else:
                    pid = _unnamed(log, first_pid)
                thread = threads.get(pid)
            text = b""
            if texts is not None and thread is not None and thread.start is None and log.has_annotations:
                text, has_duration, lasted = rest.rpartition(b" <")
                key = text.replace(argument, b"\n", 1) if argument else text
                known = texts.get(key)
                dur = durations.get(lasted)
                if known is not None and dur is not None:
                    syscall, op, path, error, args, result, is_at = known
                    if is_at:
                        thread.directory.argument = argument
                        args = argument + args
                    if op is not None:
                        yield new(call_type, (thread.tid, t_ns, syscall, op, path, error, dur, args, result))
                        continue
                    other_calls[syscall] = other_calls.get(syscall, 0) + 1
                    if error:
                        quality.other_errors[syscall] = quality.other_errors.get(syscall, 0) + 1
                    elif on_status is not None:
                        on_status(thread.tid, t_ns, args)
                    continue
            name, _, after = rest.partition(b"(")
            shape = shapes.get(name)
            if thread is None or thread.start is not None or len(rest) > MAX_PATH_BYTES:
                pass
            elif shape is None:
                if name in others and after.rstrip()[-4:] != b"...>" and count_other(log, name, after):
                    continue
            elif (shape.is_simple or shape.op is list_op) and (log.has_annotations or shape.op is not open_op):
                args, _, tail = after.rpartition(b") = ")
                result, has_duration, lasted = tail.rpartition(b" <")
                if has_duration:
                    dur = durations.get(lasted)
                    if dur is None:
                        dur = remember_duration(log, lasted)
                else:
                    result, dur = tail.rstrip(), None
                error = errors.get(result)
                if error is None:
                    at = result.find(b"<")
                    if result[-1:] == b">" and result[:at].isdigit() and result.rfind(b"<") == at:
                        error = ""  # `3</x>`: every open has its own
                    else:
                        error = remember_error(log, result)
                quoted = args.split(b'"', 2)
                if error is None or error == "?" or (dur is None and has_duration):
                    pass
                elif shape.op is list_op:
                    # `3</x>, ` of a directory that was seen before; a `>` of its name is written as an escape
                    at = args.find(b">, ")
                    directory = directories.get(args[: at + 3])
                    # (known without its last slash, which only the root has, unless the log is not the kernel's)
                    if directory is not None and (not directory or args[at - 1 : at] != b"/"):
                        path = directory or b"/"
                        if text:
                            texts = remember_text(
                                log, text, b"", (shape.syscall, list_op, path, error, args, result, False)
                            )
                        yield new(call_type, (thread.tid, t_ns, shape.syscall, list_op, path, error, dur, args, result))
                        continue
                elif len(quoted) == 3:
                    before, path, _ = quoted
                    is_at = shape.dirfd_at == 0
                    is_known = False
                    if b"\\" in path:
                        pass
                    elif not before:
                        is_known = path[:1] == b"/" and not is_at
                    elif not is_at or before[-2:] != b", ":
                        pass  # a quote inside `3</x>, ` has a backslash before it: this one is not the path's
                    elif not path:
                        if shape.op is stat_op and args[-13:] == b"AT_EMPTY_PATH":
                            if text and before[:1] != b"A":
                                known = shape.syscall, None, path, error, args, result, False
                                texts = remember_text(log, text, b"", known)
                            count(log, name, is_error=error != "")
                            if on_status is not None and not error:
                                on_status(thread.tid, t_ns, args)
                            continue
                    else:
                        is_known = path[:1] == b"/"
                        if not is_known:
                            directory = directories.get(before)
                            if directory is not None:
                                path = directory + b"/" + path
                                is_known = True
                        if is_known and before[:1] == b"A":
                            thread.directory.argument = argument = before
                    if is_known:
                        if b"//" in path or b"/./" in path:
                            path = plain(path)
                        if text and before[:1] != b"A":
                            known = shape.syscall, shape.op, path, error, args, result, False
                            texts = remember_text(log, text, b"", known)
                        elif text and quoted[1][:1] == b"/":
                            known = shape.syscall, shape.op, path, error, args[len(before) :], result, True
                            texts = remember_text(log, text, before, known)
                        yield new(
                            call_type, (thread.tid, t_ns, shape.syscall, shape.op, path, error, dur, args, result)
                        )
                        continue
            log.line = line
            take(log, pid, t_ns, rest.rstrip(b"\r\n"))
            if out:
                yield from out
                out.clear()
        finish(log, ends_in_mid_line=has_line_ends and line[-1:] not in (b"\n", b"\r", b""))
        yield from out
    finally:
        out.clear()


def _unnamed(log: Log, first_pid: bytes) -> bytes:
    # strace leaves the pid out while it traces one process: at the end that need not be the first.
    threads = log.families.threads
    return next(iter(threads)) if len(threads) == 1 else first_pid
