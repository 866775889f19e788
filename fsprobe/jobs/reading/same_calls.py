"""Ranks that made the same calls: what one was found to do holds for the others too, and of these only the times are read.

Most ranks of a job differ in nothing but times and in names that mean nothing: process numbers, addresses, fsprobe's own
directories. The first of them is read as any recording; which path, import, phase and process each of its calls belongs to is
kept as columns (`pattern`). Of a further one the texts of all lines are compared, what its hooks and its manifest say, and
where its marks stand among its calls. Where all is the same, its tables are those columns with its own times, counted by
`analysis.columns`. A pattern is kept only if it gives the very tables that its own recording gave the long way, and whatever
differs otherwise, or is not certain, is read the long way.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.counting.tally import Tally
from fsprobe.analysis.requests.alike import without_own
from fsprobe.analysis.requests.rows import Requests
from fsprobe.analysis.time.observed import Observed
from fsprobe.events import cpu_times
from fsprobe.events.marks import HookFiles
from fsprobe.jobs.reading import stamped
from fsprobe.jobs.reading.pattern import Lesson, Pattern, Same, Source, Unlike
from fsprobe.model.events import Mount, ParseQuality
from fsprobe.recording.file import Recording

N_KEPT = 6
"""Patterns: each takes some MB. Ranks whose threads end in another order are of another one."""
MAX_UNUSED = 3
"""So many patterns are made before one has been of use: a job whose ranks all differ is not to pay for it."""
_UNTOLD = ("pid", "ns", "environment", "mounts")
"""What an interpreter says of itself that says nothing of whose a call is."""


@dataclass(slots=True)
class SameCalls:
    """The last patterns."""

    kept: deque[Pattern] = field(default_factory=lambda: deque(maxlen=N_KEPT))
    n_unused: int = 0
    _new: Pattern | None = None

    def begin(self) -> None:
        """More is to be read: one more try, where nothing was of use."""
        self.n_unused = min(self.n_unused, MAX_UNUSED - 1)

    def source(
        self, recording: Recording, hooks: HookFiles, mounts: Sequence[Mount], lookups: Mapping[str, Any]
    ) -> Source | None:
        """A recording as it is compared; None of one that can't be."""
        log = stamped.read(recording.whole("log"))
        if log is None:
            return None
        manifest = recording.manifest
        hook_dir, scratch = pipeline.hook_dir_of(manifest), os.fsencode(str(manifest.get("scratch") or ""))
        tokens = [token.rpartition(".")[2].encode() for token, _ in hooks.marks]
        parts = [part for place in (hook_dir, scratch) for part in place.split(b"/") if part.startswith(b"fsprobe-")]
        facts = [{name: said for name, said in one.items() if name not in _UNTOLD} for one in hooks.facts.values()]
        tables, _ = without_own(lookups, [os.fsdecode(place) for place in (scratch, hook_dir) if place])
        surroundings = (
            pipeline.cwd_of(recording),
            tuple(mounts),
            facts,
            tables,
            str(manifest.get("kernel") or ""),
            bool(hook_dir),
            bool(scratch),
        )
        own = tuple(dict.fromkeys(name for name in (hook_dir, scratch, *parts, *tokens) if name))
        cpu = cpu_times.read(recording.whole(pipeline.CPU)) if pipeline.CPU in recording.names() else None
        return Source(hooks, log, surroundings, own, cpu)

    def find(self, source: Source) -> Same | None:
        """The tables of a recording, where one like it was read before."""
        for pattern in self.kept:
            found = pattern.read(source) if pattern.match(source) else None
            if found is not None:
                self.n_unused = 0
                source.hooks.unread["thread"] += 0  # as `marks.merge` leaves it
                return found
        return None

    def lesson(self, source: Source) -> Lesson | None:
        """What is to pass while it is read the long way; None where that was of no use so far."""
        return Lesson(source) if self.n_unused < MAX_UNUSED else None

    def learn(self, lesson: Lesson, tally: Tally, notes: Notes, quality: ParseQuality, times: Observed) -> None:
        """Make a pattern of what passed, if that gives what the long way gave."""
        self.n_unused += 1
        self._new = None
        try:
            pattern = Pattern(lesson, tally, notes, quality)
        except Unlike:
            return
        found = pattern.read(lesson.source) if pattern.match(lesson.source) else None
        if found is not None and (found.in_full(), found.times, found.quality) == (tally, times, quality):
            self._new = pattern

    def settle(self, requests: Requests, is_of_all: bool) -> None:
        """What was learned last asks for this; `is_of_all`: all that make these calls do."""
        if self._new is not None and is_of_all:
            self._new.requests = requests
            self.kept.appendleft(self._new)
        self._new = None


KNOWN = SameCalls()
"""What this process knows: it reads one part of a job after the other."""
