"""Ranks that made the same calls: what one was found to do holds for the others too, and of these only the times are read.

Most ranks of a job differ in nothing but times and in names that mean nothing: process numbers, addresses, fsprobe's own
directories. The first of them is read as any recording; which path, import, phase and process each of its calls belongs to is
kept as columns (`pattern`, of rings `ring_pattern`). Of a further one the texts of all lines are compared, or of a ring what all
slots hold, what its hooks and its manifest say, and where its marks stand among its calls. Where all is the same, its tables are
those columns with its own times, counted by `analysis.columns`. A pattern is kept only if it gives the very tables that its own
recording gave the long way, and whatever differs otherwise, or is not certain, is read the long way.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Attributed, Notes
from fsprobe.analysis.columns.analysis import fold_columns, read_columns
from fsprobe.analysis.columns.slots import Numbering
from fsprobe.analysis.counting.tally import Tally
from fsprobe.analysis.requests.alike import without_own
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.analysis.requests.rows import Requests
from fsprobe.analysis.time.observed import Observed
from fsprobe.events import cpu_times
from fsprobe.events.marks import HookFiles
from fsprobe.jobs.reading import stamped
from fsprobe.jobs.reading.pattern import Lesson, Pattern, Same, Source, Unlike
from fsprobe.jobs.reading.ring_pattern import RingPattern, RingSource
from fsprobe.model.events import Mount, ParseQuality
from fsprobe.recording.file import Recording

N_KEPT = 6
"""Patterns: each takes some MB. Ranks whose threads end in another order are of another one."""
MAX_UNUSED = 3
"""So many patterns are made before one has been of use: a job whose ranks all differ is not to pay for it."""
MAX_NUMBERED = 1 << 18
"""Distinct calls that are remembered by their numbers."""
_UNTOLD = ("pid", "ns", "environment", "mounts")
"""What an interpreter says of itself that says nothing of whose a call is."""


@dataclass(slots=True)
class SameCalls:
    """The last patterns."""

    kept: deque[Pattern | RingPattern] = field(default_factory=lambda: deque(maxlen=N_KEPT))
    n_unused: int = 0
    _numbering: Numbering | None = None
    """Of the rings among them, all by the same one."""
    _new: Pattern | RingPattern | None = None

    def begin(self) -> None:
        """More is to be read: one more try, where nothing was of use."""
        self.n_unused = min(self.n_unused, MAX_UNUSED - 1)

    def source(
        self, recording: Recording, hooks: HookFiles, mounts: Sequence[Mount], lookups: Mapping[str, Any]
    ) -> Source | RingSource | None:
        """A recording as it is compared; None of one that can't be."""
        manifest, is_ring = recording.manifest, pipeline.RING in recording.names()
        log = None if is_ring else stamped.read(recording.whole("log"))
        if log is None and not is_ring:
            return None
        hook_dir, scratch = pipeline.hook_dir_of(manifest), os.fsencode(str(manifest.get("scratch") or ""))
        tokens = [token.rpartition(".")[2].encode() for token, _ in hooks.marks]
        if is_ring:
            tokens = [token.rpartition(".")[2].encode() for token in hooks.facts]
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
        if log is None:
            numbering = self._numbering.copy() if self._numbering is not None else Numbering()
            pieces, n_bytes = recording.section(pipeline.RING), recording.size_bytes(pipeline.RING)
            columns = read_columns(pieces, n_bytes, numbering)
            if columns is None:
                return None
            return RingSource.of(columns, numbering, hooks, surroundings, own, manifest.get("wall_start_ns"))
        cpu = cpu_times.read(recording.whole(pipeline.CPU)) if pipeline.CPU in recording.names() else None
        return Source(hooks, log, surroundings, own, cpu)

    def find(self, source: Source | RingSource) -> Same | None:
        """The tables of a recording, where one like it was read before."""
        for pattern in self.kept:
            found = _read(pattern, source)
            if found is not None:
                self.n_unused = 0
                if isinstance(source, Source):
                    source.hooks.unread["thread"] += 0  # as `marks.merge` leaves it
                return found
        return None

    def lesson(self, source: Source | RingSource | None) -> Lesson | None:
        """What is to pass while a log is read the long way; None where that was of no use so far."""
        return Lesson(source) if isinstance(source, Source) and self.n_unused < MAX_UNUSED else None

    def fold(
        self,
        source: Source | RingSource | None,
        recording: Recording,
        quality: ParseQuality,
        notes: Notes,
        why_not_found: Callable[[Attributed], str],
        model: RequestModel,
        times: Observed,
    ) -> Tally | None:
        """Fold a ring, whose columns are read already, and learn of it; None, with nothing filled, where there is none."""
        if not isinstance(source, RingSource):
            return None
        attributor, cwd = pipeline.attributor(recording, notes), pipeline.cwd_of(recording)
        folded = fold_columns(source.columns, quality, attributor, why_not_found, cwd, model, times)
        quality.wall_start_ns = source.wall_start_ns
        if self.n_unused < MAX_UNUSED:
            self._learn(lambda: RingPattern(source, folded, notes, quality), source, folded.tally, quality, times)
        return folded.tally

    def learn(self, lesson: Lesson, tally: Tally, notes: Notes, quality: ParseQuality, times: Observed) -> None:
        """Make a pattern of what passed, if that gives what the long way gave."""
        self._learn(lambda: Pattern(lesson, tally, notes, quality), lesson.source, tally, quality, times)

    def _learn(
        self,
        make: Callable[[], Pattern | RingPattern],
        source: Source | RingSource,
        tally: Tally,
        quality: ParseQuality,
        times: Observed,
    ) -> None:
        self.n_unused += 1
        self._new = None
        try:
            pattern = make()
        except Unlike:
            return
        found = _read(pattern, source)
        if found is not None and (found.in_full(), found.times, found.quality) == (tally, times, quality):
            self._new = pattern

    def settle(self, requests: Requests, is_of_all: bool) -> None:
        """What was learned last asks for this; `is_of_all`: all that make these calls do."""
        new, self._new = self._new, None
        if new is None or not is_of_all:
            return
        new.requests = requests
        if isinstance(new, RingPattern):
            numbering = new.source.numbering
            if len(numbering.of_key) > MAX_NUMBERED:
                self.kept, self._numbering = deque((one for one in self.kept if isinstance(one, Pattern)), N_KEPT), None
                return
            self._numbering = numbering
        self.kept.appendleft(new)


def _read(pattern: Pattern | RingPattern, source: Source | RingSource) -> Same | None:
    """What a pattern says of a recording."""
    if isinstance(pattern, RingPattern):
        return pattern.read(source) if isinstance(source, RingSource) and pattern.match(source) else None
    return pattern.read(source) if isinstance(source, Source) and pattern.match(source) else None


KNOWN = SameCalls()
"""What this process knows: it reads one part of a job after the other."""
