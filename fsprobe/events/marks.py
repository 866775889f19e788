"""Marks: what the hooks wrote, and its merge with the tracer's stream by time.

A hook notes CLOCK_MONOTONIC at each begin and end of an import; the tracer's stream has the same clock, but from an
unknown zero, and may number processes otherwise (pid namespaces). Both unknowns come from the anchors: calls of the
hook that the tracer prints, whose text holds the hook's own time, process token and thread id (`events.clocks`).
"""

from __future__ import annotations

import ast
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fsprobe.events.clocks import Clocks, offsets
from fsprobe.model.events import Event, Mark
from fsprobe.recording.shapes import FACTS, misfit

_KINDS = {62: "begin", 60: "end"}  # > and <


@dataclass(slots=True)
class HookFiles:
    """What the hooks of all processes left: marks per (process token, thread id as that process saw it), and facts."""

    marks: dict[tuple[str, int], list[tuple[int, str, bytes]]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    mounts: dict[str, bytes] = field(default_factory=dict)
    n_unread: int = 0
    """Lines that are not as the hook writes them: a cut-off tail, a damaged file."""


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
            _read_marks(name[len("marks.") :], body, files)
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
        words = line.split(b" ", 2)
        kind = _KINDS.get(words[2][0]) if len(words) == 3 and words[2] else None
        if kind is None or not words[0].isdigit() or not words[1].isdigit():
            files.n_unread += 1
            continue
        per_thread.setdefault(int(words[1]), []).append((int(words[0]), kind, words[2][1:]))
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


def merge(events: Iterable[Event], files: HookFiles, clocks: Clocks) -> Iterator[Event]:
    """Put each mark into the stream before the first event of its thread that started after it."""
    shifts = offsets(clocks, {thread: [when for when, _, _ in marks] for thread, marks in files.marks.items()})
    host_tid = clocks.host_tid
    waiting: dict[int, list[tuple[int, str, bytes]]] = {}
    for (token, tid), marks in files.marks.items():
        host = host_tid.get((token, tid))
        if host is None or token not in shifts:
            files.n_unread += len(marks)
            continue
        shift = shifts[token][0]
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
