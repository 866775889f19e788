"""Marks: what the hooks wrote, and its merge with the tracer's stream by time.

A hook notes CLOCK_MONOTONIC at each begin and end of an import; the tracer's stream has the same clock, but from an
unknown zero, and may number processes otherwise (pid namespaces). Both unknowns come from the anchors: calls of the
hook that the tracer prints, whose text holds the hook's own time, process token and thread id (`events.clocks`).

A process that was forked off says nothing that the tracer could print: it may be confined. It notes which part of its parent's
file it has, when and by which thread it was forked off; the fork in the tracer's stream that follows this tells its number.
"""

from __future__ import annotations

import ast
import io
import re
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from fsprobe.events.clocks import WAKE_NS, Clocks, offsets
from fsprobe.foreign_numbers import MAX_DIGITS, count
from fsprobe.model.events import Call, Event, Mark, Process
from fsprobe.recording.shapes import FACTS, misfit

UNREAD = ("room", "watched", "processes", "damaged", "thread", "file")
"""Why marks are lost: no room was left where they are written; the target watched its own calls, and none of the hook's may be among
them; more processes were forked off than have a place; lines that are not as the hook writes them (a cut-off tail, a damaged file);
whose thread isn't known; files that could not be read."""
_KINDS = {b">": "begin", b"<": "end", b"!": "memo"}
_FORK = "fork"


@dataclass(slots=True)
class HookFiles:
    """What the hooks of all processes left: marks per (process token, thread id as that process saw it), and facts."""

    marks: dict[tuple[str, int], list[tuple[int, str, bytes]]] = field(default_factory=dict)
    forks: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Token of a process that was forked off -> its parent's, when, and in which thread; such a token is its ancestor's and `+N`.
    0 is the first thread of such a process."""
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    mounts: dict[str, bytes] = field(default_factory=dict)
    n_marks: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    """Marks that are not known, by reason: one of `UNREAD`."""


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
            files.unread["damaged"] += 1
            break
        name = words[0][1:].decode("utf-8", "replace")
        n_files += 1
        if n_files > MAX_FILES:
            files.unread["damaged"] += 1
            break
        body = data[end + 1 : end + 1 + size]
        at = end + 1 + size
        if name.startswith("mounts."):
            files.mounts[name] = body
        elif name.startswith("marks."):
            token = name[len("marks.") :]
            _read_marks(token[:-2] if token.endswith("+0") else token, body, files)
    return files


MAX_MARKS = 5_000_000
"""Of all interpreters of a run; ten thousand that import five hundred modules each. More are counted as unread."""
MAX_FILES = 1_000_000
MAX_FACTS_BYTES = 1 << 20
"""Of what an interpreter tells of itself in a line."""


_STEPS_TO_NOWHERE = re.compile(r"/(?:\.?/)+")


def _with_plain_paths(facts: dict[str, Any]) -> dict[str, Any]:
    """What an interpreter says of itself, its paths spelled as those of calls are (sys.path keeps `//` at the beginning)."""

    def spelled(value: Any) -> Any:
        if isinstance(value, list):
            return [spelled(entry) for entry in value]
        return _STEPS_TO_NOWHERE.sub("/", value) if isinstance(value, str) else value

    names = ("path", "prefix", "base_prefix", "executable")
    return {**facts, **{name: spelled(facts[name]) for name in names if name in facts}}


def _read_marks(token: str, body: bytes, files: HookFiles) -> None:
    per_thread: dict[bytes, list[tuple[int, str, bytes]]] = {}
    n_marks = files.n_marks
    for line in io.BytesIO(body):  # a list of all lines may be far larger than they are
        # written out: there is one for each begin and end of an import
        words = line.split(b" ", 2)
        if len(words) == 3:
            at, tid, rest = words
            kind = _KINDS.get(rest[:1])
            if kind is not None and at.isdigit() and len(at) <= MAX_DIGITS and n_marks < MAX_MARKS:
                marks = per_thread.get(tid)
                if marks is None and count(tid) is not None:
                    marks = per_thread[tid] = []
                if marks is not None:
                    n_marks += 1
                    marks.append((int(at), kind, rest[1:].removesuffix(b"\n")))
                    continue
        n_marks += _read_other(token, line.removesuffix(b"\n"), files)
    files.n_marks = n_marks
    for text, marks in per_thread.items():
        marks.sort(key=itemgetter(0))
        key = token, int(text)
        # a number may be written in several ways
        files.marks[key] = marks if key not in files.marks else sorted([*files.marks[key], *marks], key=itemgetter(0))


def _read_other(token: str, line: bytes, files: HookFiles) -> int:
    """A line that is no mark; 1 where it should have been one."""
    if not line:
        return 0
    if line.startswith(b"="):
        facts = _literal(line[1:]) if len(line) <= MAX_FACTS_BYTES else None
        if facts is None:
            files.unread["damaged"] += 1
        else:
            files.facts[token] = _with_plain_paths(facts)
        return 0
    if line.startswith((b"+", b"-")):
        _read_count(token, line, files)
        return 0
    files.unread["damaged"] += 1
    return 1


def _read_count(token: str, line: bytes, files: HookFiles) -> None:
    """Who forked this process off, or how many lines had no room."""
    words = line[1:].split()
    root, is_child, _ = token.partition("+")
    numbers = [number for number in map(count, words) if number is not None]
    if line[:1] == b"-" and len(numbers) == 1 and words[1:] in ([], [b"room"], [b"watched"], [b"processes"]):
        files.unread[words[1].decode() if words[1:] else "room"] += numbers[0]
    elif is_child and len(numbers) == len(words) == 3:
        parent = root if numbers[0] == 0 else f"{root}+{numbers[0]}"
        files.forks[token] = (parent, numbers[1], numbers[2])
    else:
        files.unread["damaged"] += 1


def _literal(data: bytes) -> dict[str, Any] | None:
    try:
        with warnings.catch_warnings():  # a damaged file may hold escapes that the interpreter wants to warn of
            warnings.simplefilter("ignore")
            value = ast.literal_eval(data.decode("ascii"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict) and not misfit(value, FACTS) else None


class _Places:
    """Which thread of the log has which marks, as far as that is known by now."""

    def __init__(self, files: HookFiles, clocks: Clocks) -> None:
        self.offsets = offsets(
            clocks, {thread: [when for when, _, _ in marks] for thread, marks in files.marks.items()}
        )
        self.leeway_ns = {token: max(2 * doubt_ns, WAKE_NS) for token, (_, doubt_ns) in self.offsets.items()}
        """By so much the note of a fork may come too late, by the process that was not forked off."""
        self.waiting = dict(files.marks)
        self.queues: dict[int, deque[tuple[int, str, bytes]]] = {}
        self.forks: dict[tuple[str, int], list[tuple[int, str, bytes]]] = {}
        for child, (parent, when, tid) in files.forks.items():
            self.forks.setdefault((parent, tid), []).append((when, _FORK, child.encode()))
        host_tid = clocks.host_tid
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

    def n_before_fork(self, host: int, t_ns: int) -> int:
        """How many of a thread's marks come before its fork at this time, up to the note of this fork; 0 where none tells.

        A fork is noted before it is called, and nothing else of its thread comes between. With the clocks' likely difference its
        note may come after it all the same, with the greatest that is possible never.
        """
        most_ns = max(self.leeway_ns.values())
        for n_marks, (when, kind, name) in enumerate(self.queues[host], 1):
            if when > t_ns + most_ns:
                break
            if kind == _FORK:
                return n_marks if when <= t_ns + self.leeway_ns[name.decode().partition("+")[0]] else 0
        return 0

    def n_left(self) -> int:
        """Marks whose thread was never found."""
        return sum(len(marks) for marks in self.waiting.values())


def merge(events: Iterable[Event], files: HookFiles, clocks: Clocks) -> Iterator[Event]:
    """Put each mark into the stream before the first event of its thread that started after it."""
    places = _Places(files, clocks)
    queues = places.queues
    forked: dict[int, str] = {}
    for event in events:
        if type(event) is Call:  # written out: this is done for each call of a run
            queue = queues.get(event[0])
            if queue:
                t_ns = event[1]
                while queue and t_ns is not None and queue[0][0] <= t_ns:
                    when, kind, name = queue.popleft()
                    if kind == _FORK:
                        forked[event[0]] = name.decode()
                    else:
                        yield _mark(event[0], when, kind, name)
            yield event
            continue
        queue = queues.get(event.tid)
        if queue and event.t_ns is not None:
            is_fork = isinstance(event, Process) and event.kind == "fork"
            n_before = places.n_before_fork(event.tid, event.t_ns) if is_fork else 0
            while queue and (n_before > 0 or queue[0][0] <= event.t_ns):
                n_before -= 1
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
    files.unread["thread"] += places.n_left()
    for tid, queue in places.queues.items():
        for when, kind, name in queue:
            if kind != _FORK:
                yield _mark(tid, when, kind, name)


def _mark(tid: int, when: int, kind: str, name: bytes) -> Mark:
    if kind != "memo":
        return Mark(tid, when, kind, name)
    word, _, rest = name.partition(b" ")
    return Mark(tid, when, kind, b"%s - %d %d %s" % (word, tid, when, rest))
