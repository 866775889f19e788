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

A process that was forked off says nothing that the tracer could print: it may be confined. It notes which part of its parent's
file it has, when and by which thread it was forked off; the fork in the tracer's stream that follows this tells its number.
"""

from __future__ import annotations

import ast
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fsprobe.model.events import Event, Mark, Process
from fsprobe.recording.shapes import FACTS, misfit

_KINDS = {62: "begin", 60: "end", 33: "memo"}  # > and < and !
_FORK = "fork"
WAKE_NS = 15_000
"""Of 72,000 marks that were made visibly too, beside 0 to 5 busy processes on two cores, none is misplaced with 5,000 to 20,000 above
the lower bound; with the middle 1 of them is, and one mark in some 30 runs of six threads that import at once."""


@dataclass(slots=True)
class HookFiles:
    """What the hooks of all processes left: marks per (process token, thread id as that process saw it), and facts."""

    marks: dict[tuple[str, int], list[tuple[int, str, bytes]]] = field(default_factory=dict)
    forks: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Token of a process that was forked off -> its parent's, when, and in which thread; such a token is its ancestor's and `+N`.
    0 is the first thread of such a process."""
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    mounts: dict[str, bytes] = field(default_factory=dict)
    n_unread: int = 0
    """Lines that are not as the hook writes them (a cut-off tail, a damaged file), that had no room, or whose thread isn't known."""


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
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        words = data[at:end].split()
        if end < 0 or not data[at:end].startswith(b"@") or len(words) != 2 or not words[1].isdigit():
            files.n_unread += 1
            break
        name, size = words[0][1:].decode("utf-8", "replace"), int(words[1])
        body = data[end + 1 : end + 1 + size]
        at = end + 1 + size
        if name.startswith("mounts."):
            files.mounts[name] = body
        elif name.startswith("marks."):
            token = name[len("marks.") :]
            _read_marks(token[:-2] if token.endswith("+0") else token, body, files)
    return files


def _read_marks(token: str, body: bytes, files: HookFiles) -> None:
    per_thread: dict[int, list[tuple[int, str, bytes]]] = {}
    for line in body.split(b"\n"):
        if not line:
            continue
        if line.startswith(b"="):
            facts = _literal(line[1:])
            if facts is None:
                files.n_unread += 1
            else:
                files.facts[token] = facts
            continue
        if line.startswith((b"+", b"-")):
            _read_count(token, line, files)
            continue
        words = line.split(b" ", 2)
        kind = _KINDS.get(words[2][0]) if len(words) == 3 and words[2] else None
        if kind is None or not words[0].isdigit() or not words[1].isdigit():
            files.n_unread += 1
            continue
        per_thread.setdefault(int(words[1]), []).append((int(words[0]), kind, words[2][1:]))
    for tid, marks in per_thread.items():
        marks.sort(key=lambda mark: mark[0])
        files.marks[token, tid] = marks


def _read_count(token: str, line: bytes, files: HookFiles) -> None:
    """Who forked this process off, or how many lines had no room."""
    words = line[1:].split()
    root, is_child, _ = token.partition("+")
    if line[:1] == b"-" and len(words) == 1 and words[0].isdigit():
        files.n_unread += int(words[0])
    elif is_child and len(words) == 3 and all(word.isdigit() for word in words):
        parent = root if words[0] == b"0" else f"{root}+{int(words[0])}"
        files.forks[token] = (parent, int(words[1]), int(words[2]))
    else:
        files.n_unread += 1


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
        if len(words) >= 4 and words[2].isdigit() and words[3].isdigit() and pid.isdigit():
            anchors.append(Anchor(int(pid), now_ns, words[1].decode("ascii", "replace"), int(words[2]), int(words[3])))
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


class _Places:
    """Which thread of the log has which marks, as far as that is known by now."""

    def __init__(self, files: HookFiles, anchors: list[Anchor]) -> None:
        self.offsets = clock_offsets(anchors, files)
        self.waiting = dict(files.marks)
        self.queues: dict[int, deque[tuple[int, str, bytes]]] = {}
        self.forks: dict[tuple[str, int], list[tuple[int, str, bytes]]] = {}
        for child, (parent, when, tid) in files.forks.items():
            self.forks.setdefault((parent, tid), []).append((when, _FORK, child.encode()))
        host_tid = {(anchor.token, anchor.tid): anchor.host_tid for anchor in anchors}
        self.same = {token: True for token, _ in host_tid}
        """Processes whose numbers are the same inside and outside."""
        for (token, tid), host in host_tid.items():
            self.same[token] = self.same[token] and tid == host
        for (token, tid), host in host_tid.items():
            self.put(token, tid, host)
        for token in self.same:
            self.put_others(token)

    def put_others(self, token: str) -> None:
        """The threads of a process that no call told of: where the numbers are the same, they are known."""
        if self.same.get(token.partition("+")[0]):
            for key in [*self.waiting, *self.forks]:
                if key[0] == token and key[1]:
                    self.put(token, key[1], key[1])

    def put(self, token: str, tid: int, host: int) -> None:
        """The marks of a thread, and the processes that it forks off, are those of a thread of the log."""
        offset = self.offsets.get(token.partition("+")[0])
        if offset is None:
            return
        found = self.waiting.pop((token, tid), []) + self.forks.pop((token, tid), [])
        if found:
            rest = [*self.queues.get(host, ()), *((when - offset[0], kind, name) for when, kind, name in found)]
            self.queues[host] = deque(sorted(rest, key=lambda mark: mark[0]))

    def n_left(self) -> int:
        """Marks whose thread was never found."""
        return sum(len(marks) for marks in self.waiting.values())


def merge(events: Iterable[Event], files: HookFiles, anchors: list[Anchor]) -> Iterator[Event]:
    """Put each mark into the stream before the first event of its thread that started after it."""
    places = _Places(files, anchors)
    forked: dict[int, str] = {}
    for event in events:
        queue = places.queues.get(event.tid)
        if queue and event.t_ns is not None:
            is_fork = isinstance(event, Process) and event.kind == "fork"
            # a fork is noted before it is called, whatever the clocks' difference is thought to be
            while queue and queue[0][0] <= event.t_ns + (WAKE_NS if is_fork and queue[0][1] == _FORK else 0):
                when, kind, name = queue.popleft()
                if kind == _FORK:
                    forked[event.tid] = name.decode()
                else:
                    yield _mark(event.tid, when, kind, name)
        if isinstance(event, Process) and event.kind == "fork" and event.child:
            token = forked.pop(event.tid, "")
            if token:
                places.put(token, 0, event.child)
                places.put_others(token)
        yield event
    files.n_unread += places.n_left()
    for tid, queue in places.queues.items():
        for when, kind, name in queue:
            if kind != _FORK:
                yield _mark(tid, when, kind, name)


def _mark(tid: int, when: int, kind: str, name: bytes) -> Mark:
    if kind != "memo":
        return Mark(tid, when, kind, name)
    word, _, rest = name.partition(b" ")
    return Mark(tid, when, kind, b"%s - %d %d %s" % (word, tid, when, rest))
