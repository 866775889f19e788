"""Open strace logs as they lie about: one log of -f, a family of -ff, plain or packed; in memory only line by line."""

from __future__ import annotations

import bz2
import gzip
import heapq
import importlib
import io
import lzma
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from fsprobe import files
from fsprobe.errors import BadInput
from fsprobe.events.strace.forms import Form, decoded, encoding_of, form_of, undressed, why_no_log
from fsprobe.events.strace.stamps import HEAD, nanoseconds, time_of_day_ns
from fsprobe.model.events import ParseQuality
from fsprobe.recording.file import MAX_LINE_BYTES, MAX_RATIO

_GZIP, _ZSTD, _BZ2, _XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\0"
_PEEK_BYTES = 65_536
_DECODED_BYTES = 1 << 20
_HALF_DAY_NS = 12 * 3600 * 1_000_000_000
_PACKED = (".gz", ".zst", ".zstd", ".xz", ".bz2")
_BORN = re.compile(rb"(?:clone|clone3|fork|vfork)\(.* = (\d{1,8})\b")
_ZSTD_HINT = "pip install zstandard, or unpack it first: zstd -d LOG"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    path: Path
    tid: int | None
    """From the name, for a file of -ff whose lines have none."""
    first_ns: int | None
    """Its first absolute stamp: since the epoch, or since midnight."""
    has_stamps: bool
    form: Form


def read_logs(paths: Sequence[Path]) -> Iterator[bytes]:
    """Open strace logs and give their lines as one log, for `parse`.

    Several logs are merged by their absolute stamps (-t, -tt, -ttt); without such stamps each parent's log is given
    whole before its children's. A log of -ff (`LOG.1234`, lines without pids) gets its pid from its name. Relative
    stamps of -ff logs are left out: strace counts them from the line before in whichever log that was.

    Args:
        paths: at least one; packing, encoding and the prefixes of who carried it are told by content, not by name.

    Raises:
        BadInput: a file can't be read, is empty, is no text, shows no paths, is damaged, or is zstd and no decompressor is here.
            All but damage is found before the first line is given.
    """
    if not paths:
        raise BadInput("no log was given", "name one log, or all logs of one strace -ff: LOG.*")
    sources = [_look_at(path, is_alone=len(paths) == 1) for path in paths]
    if len(sources) == 1:
        return _lines_of(sources[0], drop_relative=sources[0].first_ns is not None)
    if all(source.first_ns is not None for source in sources):
        return _merge(_in_order(sources))
    return _one_by_one(sources)


def check_understood(quality: ParseQuality, n_events: int, paths: Sequence[Path]) -> None:
    """Refuse a log that was read to its end and in which nothing was a line of strace.

    Raises:
        BadInput: with the first line that was not understood.
    """
    if n_events == 0 and not quality.other_calls:
        example = quality.unparsed_examples[0][:80] if quality.unparsed_examples else b""
        first = f"; it begins: {example.decode('utf-8', 'backslashreplace')}" if example else ""
        names = ", ".join(path.name for path in paths[:3])
        raise BadInput(f"{names}: not a log of strace{first}", "make one with: strace -f -ttt -T -y -o LOG CMD")


def _look_at(path: Path, *, is_alone: bool) -> _Source:
    with closing(_open(path)) as stream:
        try:
            head = stream.read(_PEEK_BYTES)
        except _damage() as error:
            raise _damaged(path, error) from None
    encoding = encoding_of(head)
    if encoding:
        head = head[: len(head) & ~1].decode(encoding, "replace").encode("utf-8", "surrogateescape")
    if not head:
        raise BadInput(f"{path}: the log is empty", "did strace start? Look at what it wrote to stderr")
    if b"\0" in head:
        raise BadInput(f"{path}: not a log of strace but binary data", "give the file that strace -o wrote")
    reason, hint = why_no_log(head)
    if reason:
        raise BadInput(f"{path} {reason}", hint)
    form = form_of(head, encoding)
    name = path.name
    for ending in _PACKED:
        name = name.removesuffix(ending)
    suffix = name.rpartition(".")[2]
    tid = int(suffix) if "." in name and suffix.isascii() and suffix.isdigit() and len(suffix) <= 8 else None
    first_ns, has_stamps = None, False
    for line in undressed(head.splitlines(keepends=True), form):
        match = HEAD.match(line)
        if match is None or not line.strip():
            continue
        if match.group(1) or match.group(2):
            tid = None
        absolute = match.group(3)
        has_stamps = has_stamps or bool(match.group(4) or match.group(5))
        if absolute is not None:
            first_ns = _absolute_ns(absolute)
            break
    if is_alone and tid is None:
        first_ns = None  # an ordinary log: give it as it is
    return _Source(path=path, tid=tid, first_ns=first_ns, has_stamps=has_stamps, form=form)


def _absolute_ns(stamp: bytes) -> int:
    return time_of_day_ns(stamp) if b":" in stamp else nanoseconds(stamp)


def _in_order(sources: list[_Source]) -> list[tuple[int, _Source]]:
    """Sort by first stamp; times of day that span midnight are told by a gap of more than half a day."""
    stamps = [source.first_ns or 0 for source in sources]
    spans_midnight = max(stamps) < 2 * _HALF_DAY_NS and max(stamps) - min(stamps) > _HALF_DAY_NS
    shift = [2 * _HALF_DAY_NS if spans_midnight and stamp < _HALF_DAY_NS else 0 for stamp in stamps]
    order = sorted(range(len(sources)), key=lambda at: (stamps[at] + shift[at], sources[at].tid or 0, at))
    return [(shift[at], sources[at]) for at in order]


def _merge(ordered: list[tuple[int, _Source]]) -> Iterator[bytes]:
    # A log is opened when its time comes: a family may be larger than the limit of open files.
    waiting = list(enumerate(ordered))[::-1]
    heap: list[tuple[int, int, bytes, Iterator[tuple[int, bytes]]]] = []
    while waiting or heap:
        while waiting:
            index, (shift, source) = waiting[-1]
            if heap and heap[0][0] < (source.first_ns or 0) + shift:
                break
            waiting.pop()
            stamped = _with_times(source, shift)
            for t_ns, line in stamped:
                heapq.heappush(heap, (t_ns, index, line, stamped))
                break
        if heap:
            _, index, line, stamped = heap[0]
            yield line
            for t_ns, following in stamped:
                heapq.heapreplace(heap, (t_ns, index, following, stamped))
                break
            else:
                heapq.heappop(heap)


def _with_times(source: _Source, shift: int) -> Iterator[tuple[int, bytes]]:
    last = (source.first_ns or 0) + shift
    for line in _lines_of(source, drop_relative=True):
        match = HEAD.match(line)
        absolute = match.group(3) if match is not None else None
        if absolute is not None:
            now = _absolute_ns(absolute) + shift
            if b":" in absolute and now < last - _HALF_DAY_NS:
                shift += 2 * _HALF_DAY_NS
                now += 2 * _HALF_DAY_NS
            last = max(last, now)
        yield last, line


def _one_by_one(sources: list[_Source]) -> Iterator[bytes]:
    by_tid = {source.tid: source for source in sources if source.tid is not None}
    children: dict[int, list[int]] = {}
    born: set[int] = set()
    for tid, source in by_tid.items():
        for line in _lines_of(source, drop_relative=False):
            match = _BORN.search(line)
            child = int(match.group(1)) if match is not None else tid
            if child in by_tid and child not in born and child != tid:
                children.setdefault(tid, []).append(child)
                born.add(child)
    ordered = [source for source in sources if source.tid is None]
    seen: set[int] = set()
    # The second round is for a circle, which a reused pid can make.
    for tid in [tid for tid in by_tid if tid not in born] + list(by_tid):
        stack = [tid]
        while stack:
            current = stack.pop()
            if current not in seen:
                seen.add(current)
                ordered.append(by_tid[current])
                stack.extend(reversed(children.get(current, [])))
    for source in ordered:
        yield from _lines_of(source, drop_relative=source.tid is not None)


def _lines_of(source: _Source, *, drop_relative: bool) -> Iterator[bytes]:
    prefix = b"" if source.tid is None else b"%-5d " % source.tid
    drop_relative = drop_relative and source.has_stamps
    with closing(_open(source.path, source.form.encoding)) as stream:
        try:
            for line in undressed(_bounded(stream, source), source.form):
                if drop_relative:
                    line = _without_relative(line)
                yield prefix + line
        except _damage() as error:
            raise _damaged(source.path, error) from None


def _bounded(stream: IO[bytes], source: _Source) -> Iterator[bytes]:
    """The lines of a log; of a longer one than a recording may have only so much.

    Raises:
        BadInput: it unpacks to more than any log does.
    """
    path = source.path
    # what is decoded keeps a list of the lines that were read at once
    at_once = _DECODED_BYTES if source.form.encoding else MAX_LINE_BYTES
    most = (path.stat().st_size + _PEEK_BYTES) * MAX_RATIO
    n_bytes = 0
    line, is_rest = b"", False
    while line := stream.readline(at_once):
        n_bytes += len(line)
        if n_bytes > most:
            raise BadInput(f"{path} unpacks to more than {MAX_RATIO} times its size: no log does", "is it one?")
        is_part = len(line) >= at_once and line[-1:] != b"\n"
        if not is_rest:
            yield line + b"\n" if is_part else line
        is_rest = is_part


def _without_relative(line: bytes) -> bytes:
    match = HEAD.match(line)
    if match is None or not (match.group(4) or match.group(5)):
        return line
    stamp = match.group(3)
    return (stamp + b" " if stamp is not None else b"") + line[match.end() :]


def _open(path: Path, encoding: str = "") -> IO[bytes]:
    stream = _unpacked(path)
    return decoded(stream, encoding) if encoding else stream


def _unpacked(path: Path) -> IO[bytes]:
    try:
        with files.open_to_read(str(path)) as raw:
            magic = raw.read(6)
            raw.seek(0)  # every log is opened twice: a pipe won't do
        if magic[:2] == _GZIP:
            return cast(IO[bytes], gzip.open(path, "rb"))
        if magic[:3] == _BZ2:
            return cast(IO[bytes], bz2.open(path, "rb"))
        if magic == _XZ:
            return cast(IO[bytes], lzma.open(path, "rb"))
        return _open_zstd(path) if magic[:4] == _ZSTD else files.open_to_read(str(path), buffering=1 << 20)
    except OSError as error:
        raise BadInput(
            f"can't read {path}: {error.strerror or error}", "is it a regular file that you may read?"
        ) from None


def _open_zstd(path: Path) -> IO[bytes]:
    try:
        return cast(IO[bytes], importlib.import_module("compression.zstd").ZstdFile(path))  # Python 3.14
    except ImportError:
        pass
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        raise BadInput(f"{path} is packed with zstd, and no Python module here reads that", _ZSTD_HINT) from None
    reader = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True, closefd=True)
    return cast(IO[bytes], io.BufferedReader(reader, 1 << 20))


def _damage() -> tuple[type[BaseException], ...]:
    kinds: list[type[BaseException]] = [OSError, EOFError, zlib.error, lzma.LZMAError]
    for module in ("compression.zstd", "zstandard"):
        try:
            kinds.append(importlib.import_module(module).ZstdError)
        except ImportError:
            continue
    return tuple(kinds)


def _damaged(path: Path, error: BaseException) -> BadInput:
    return BadInput(
        f"{path} is damaged or cut short: {error}", "unpack what can be saved and load that: zcat LOG > OUT"
    )
