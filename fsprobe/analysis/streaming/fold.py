"""The fold of `run --stream`: fed while the program runs, in bounded memory, and saved in place of the log."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsprobe.analysis.attribution.attribute import Notes, attribute
from fsprobe.analysis.counting.tally import Folder, Tally
from fsprobe.analysis.findings.evidence import Watch, watch
from fsprobe.analysis.streaming import bounds as bounded
from fsprobe.analysis.streaming import tally_file
from fsprobe.capture.directories import own_files, scratch
from fsprobe.capture.machine import mounts
from fsprobe.events import marks, ring
from fsprobe.events.strace import parser
from fsprobe.model.events import Event, ParseQuality


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What stands in the recording in place of the log."""

    tally: Tally
    notes: Notes
    quality: ParseQuality
    watch: Watch
    settle: Callable[[], None]
    """Adds what the fold has put aside: the tables then hold every call that was folded so far."""

    def blocks(self) -> Iterator[bytes]:
        """The section `tally`."""
        self.settle()
        return tally_file.write(self.tally, self.notes, self.quality, self.watch)

    def programs(self) -> list[bytes]:
        """The programs that were started."""
        return [path for path, counted in self.tally.by_path.items() if counted.counts.n_exec]

    def site_names(self) -> dict[str, set[str]]:
        """Site directory -> top-level names that the run touched."""
        return bounded.site_names(self.tally.by_path)


def consume(
    lines: Iterator[bytes] | ring.Growing, state: Mapping[str, Any], expose: Callable[[Streamed], None] = lambda _: None
) -> Streamed:
    """Parse, attribute and fold a log while it grows.

    Args:
        lines: of the log, or the ring; waits for more until the run is over.
        state: the manifest so far.
        expose: called first, with what will be returned; it is filled meanwhile.
    """
    place = os.fsencode(str(state["scratch"]))
    marks_dir = place + b"/" + scratch.MARKS.encode()
    tally, notes, quality, seen = Tally(), Notes(), ParseQuality(), Watch()
    points = [row[0] for row in mounts.parse_mountinfo(mounts.read_own())]
    bounds = bounded.Bounds(tally, points, lambda: facts_so_far(Path(os.fsdecode(marks_dir))))
    folder = Folder(tally, bounds.reason)
    streamed = Streamed(tally=tally, notes=notes, quality=quality, watch=seen, settle=folder.close)
    expose(streamed)
    cwd = os.fsencode(str(state["cwd"])) if state.get("cwd") else None
    events: Iterator[Event]
    if isinstance(lines, ring.Growing):
        events = ring.follow(lines, quality, ring.RingFacts(), cwd=cwd, wall_start_ns=state.get("wall_start_ns"))
    else:
        events = parser.parse(lines, quality, cwd=cwd)
    rows = attribute(
        events,
        notes,
        hook_dir=os.fsencode(str(state.get("hook_dir") or "")),
        marks_dir=marks_dir,
    )
    for row in watch(bounds.apply(rows), seen):
        folder.fold(row)
    folder.close()
    return streamed


def facts_so_far(directory: Path) -> list[Mapping[str, Any]]:
    """What the interpreters have said of themselves until now."""

    def blocks() -> Iterable[bytes]:
        for path in sorted(directory.glob("marks.*")):
            try:
                with own_files.reader(str(path)) as source:
                    data = source.read()
            except OSError:
                continue
            yield b"@%s %d\n" % (os.fsencode(path.name), len(data))
            yield data

    return list(marks.read_hook_files(blocks()).facts.values())
