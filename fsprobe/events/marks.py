"""Marks: what the hooks wrote, and its merge with the tracer's stream by time.

A hook notes CLOCK_MONOTONIC at each begin and end of an import; the tracer's stream has the same clock, but from an
unknown zero, and may number processes otherwise (pid namespaces). Both unknowns come from the anchors: calls of the
hook that the tracer prints, whose text holds the hook's own time, process token and thread id.

Between an anchor's own time m and the next time n that the same thread noted, the tracer stamped the call at s:
m <= s <= n. Each anchor so bounds the offset from both sides. The lower bound is the better one: it is as far off as the
quickest wake of the tracer took (some us), while the upper one holds a whole stop, and is useless where another thread
had the interpreter's lock. So the middle is taken, but no more than `WAKE_NS` above the lower bound. A call that follows
a mark is stamped after the tracer was woken, one that precedes it a whole stop (some 30 us) before it: between these two
the order per thread comes out right.
"""

from __future__ import annotations

import ast
import io
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fsprobe.foreign_numbers import count
from fsprobe.model.events import Event, Mark
from fsprobe.recording.shapes import FACTS, misfit

_KINDS = {62: "begin", 60: "end"}  # > and <
WAKE_NS = 15_000
"""Of 72,000 marks that were made visibly too, beside 0 to 5 busy processes on two cores, none is misplaced with 5,000 to 20,000 above
the lower bound; with the middle 1 of them is, and one mark in some 30 runs of six threads that import at once."""


@dataclass(slots=True)
class HookFiles:
    """What the hooks of all processes left: marks per (process token, thread id as that process saw it), and facts."""

    marks: dict[tuple[str, int], list[tuple[int, str, bytes]]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    mounts: dict[str, bytes] = field(default_factory=dict)
    n_marks: int = 0
    n_unread: int = 0
    """Lines that are not as the hook writes them: a cut-off tail, a damaged file."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A note of a hook as the tracer saw it."""

    host_tid: int
    log_ns: int
    token: str
    tid: int
    own_ns: int


def read_hook_files(blocks: Iterable[bytes]) -> HookFiles:
    """Read the recording's section `marks`: files, each led by `@name size`."""
    data = b"".join(blocks)
    files = HookFiles()
    at = n_files = 0
    while at < len(data):
        end = data.find(b"\n", at)
        words = data[at:end].split()
        size = count(words[1]) if len(words) == 2 else None
        if end < 0 or not data[at:end].startswith(b"@") or size is None:
            files.n_unread += 1
            break
        name = words[0][1:].decode("utf-8", "replace")
        n_files += 1
        if n_files > MAX_FILES:
            files.n_unread += 1
            break
        body = data[end + 1 : end + 1 + size]
        at = end + 1 + size
        if name.startswith("mounts."):
            files.mounts[name] = body
        elif name.startswith("marks."):
            _read_marks(name[len("marks.") :], body, files)
    return files


MAX_MARKS = 5_000_000
"""Of all interpreters of a run; ten thousand that import five hundred modules each. More are counted as unread."""
MAX_FILES = 1_000_000
MAX_FACTS_BYTES = 1 << 20
"""Of what an interpreter tells of itself in a line."""


def _read_marks(token: str, body: bytes, files: HookFiles) -> None:
    per_thread: dict[int, list[tuple[int, str, bytes]]] = {}
    for line in io.BytesIO(body):  # a list of all lines may be far larger than they are
        line = line.removesuffix(b"\n")
        if not line:
            continue
        if line.startswith(b"="):
            facts = _literal(line[1:]) if len(line) <= MAX_FACTS_BYTES else None
            if facts is None:
                files.n_unread += 1
            else:
                files.facts[token] = facts
            continue
        words = line.split(b" ", 2)
        kind = _KINDS.get(words[2][0]) if len(words) == 3 and words[2] else None
        at_ns, tid = (count(words[0]), count(words[1])) if kind is not None else (None, None)
        files.n_marks += 1
        if kind is None or at_ns is None or tid is None or files.n_marks > MAX_MARKS:
            files.n_unread += 1
            continue
        per_thread.setdefault(tid, []).append((at_ns, kind, words[2][1:]))
    for tid, marks in per_thread.items():
        marks.sort(key=lambda mark: mark[0])
        files.marks[token, tid] = marks


def _literal(data: bytes) -> dict[str, Any] | None:
    try:
        with warnings.catch_warnings():  # a damaged file may hold escapes that the interpreter wants to warn of
            warnings.simplefilter("ignore")
            value = ast.literal_eval(data.decode("ascii"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict) and not misfit(value, FACTS) else None


def find_anchors(lines: Iterable[bytes]) -> list[Anchor]:
    """Find the hooks' notes in a log with relative ns stamps; cheap, since it runs before the real parse.

    The log's time of a line is the sum of all stamps up to it, as in `events.strace.parser`.
    """
    anchors = []
    now_ns = 0
    for line in lines:
        at = line.find(b"(+")
        if at < 0 or at > 40:
            continue
        try:
            now_ns += int(line[at + 2 : line.index(b")", at)].replace(b".", b""))
        except ValueError:
            continue
        note = line.find(b'"fsprobe!', at)
        if note < 0 or b"(-1, " not in line[at:note]:
            continue
        words = line[note + 9 : line.find(b'"', note + 9)].split()
        pid = line.split(None, 1)[0]
        numbers = [count(pid), *map(count, words[2:4])]
        if len(numbers) == 3 and None not in numbers:
            tid, first_ns, second_ns = (number or 0 for number in numbers)
            anchors.append(Anchor(tid, now_ns, words[1].decode("ascii", "replace"), first_ns, second_ns))
    return anchors


def clock_offsets(anchors: list[Anchor], files: HookFiles) -> dict[str, tuple[int, int]]:
    """For each process token: what to add to the log's ns to get the hook's own clock, and the half-width of the doubt (ns)."""
    bounds: dict[str, tuple[int, int]] = {}
    later: dict[tuple[str, int], int] = {}
    for anchor in reversed(anchors):
        key = (anchor.token, anchor.tid)
        own = anchor.own_ns
        following = [when for when, _, _ in files.marks.get(key, ()) if when > own][:1]
        limit = min([*following, later[key]] if key in later else following, default=own + 1_000_000)
        low, high = bounds.get(anchor.token, (-(1 << 62), 1 << 62))
        bounds[anchor.token] = (max(low, own - anchor.log_ns), min(high, limit - anchor.log_ns))
        later[key] = own
    narrow = (-(1 << 62), 1 << 62)
    for low, high in bounds.values():
        if max(low, narrow[0]) <= min(high, narrow[1]):
            narrow = (max(low, narrow[0]), min(high, narrow[1]))
    offsets = {}
    for token, (low, high) in bounds.items():
        # a process in a time namespace of its own shares no interval with the rest
        shared = low <= narrow[1] and narrow[0] <= high
        low, high = narrow if shared else (low, high)
        offsets[token] = (low + min((high - low) // 2, WAKE_NS), (high - low) // 2)
    return offsets


def merge(events: Iterable[Event], files: HookFiles, anchors: list[Anchor]) -> Iterator[Event]:
    """Put each mark into the stream before the first event of its thread that started after it."""
    offsets = clock_offsets(anchors, files)
    host_tid = {(anchor.token, anchor.tid): anchor.host_tid for anchor in anchors}
    waiting: dict[int, list[tuple[int, str, bytes]]] = {}
    for (token, tid), marks in files.marks.items():
        host = host_tid.get((token, tid))
        if host is None or token not in offsets:
            files.n_unread += len(marks)
            continue
        shift = offsets[token][0]
        waiting.setdefault(host, []).extend((when - shift, kind, name) for when, kind, name in marks)
    queues = {tid: deque(sorted(marks, key=lambda mark: mark[0])) for tid, marks in waiting.items()}
    for event in events:
        queue = queues.get(event.tid)
        if queue and event.t_ns is not None:
            while queue and queue[0][0] <= event.t_ns:
                when, kind, name = queue.popleft()
                yield Mark(event.tid, when, kind, name)
        yield event
    for tid, queue in queues.items():
        for when, kind, name in queue:
            yield Mark(tid, when, kind, name)
