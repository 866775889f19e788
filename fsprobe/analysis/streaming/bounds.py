"""Bounds for a fold that never ends: what a tally must not keep one by one is put together before it is counted.

The first `MAX_PATHS` distinct paths have a row each. Later ones share a row per directory near the root (per package in a
site directory, per mount), named `.../(further paths)`: every sum stays exact, packages and mounts included, and the number
of distinct paths becomes "at least". Program images past `MAX_PROCESSES` share one row. Time bins are settled from time
to time: the busiest windows so far are kept as numbers, the bins of the timeline are made wider.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fsprobe.analysis.attribution.attribute import PHASES, Attributed, ProcessInfo
from fsprobe.analysis.attribution.not_found import WhyNotFound
from fsprobe.analysis.counting.rates import SUSTAINED_S, windows
from fsprobe.analysis.counting.tally import BIN_NS, FURTHER_PROCESSES, Tally
from fsprobe.model.events import Call, Op

MAX_PATHS = 50_000
MAX_PLACES = 2_000
MAX_PROCESSES = 2_000
MAX_BINS = 6_000
"""Ten minutes of 0.1 s, in which something was called each."""
FURTHER = b"(further paths)"
_N_DIRECTORIES = 3
_UNDECIDED = {op: {phase: f"{op.value} {phase}" for phase in PHASES} for op in Op}
"""One string each, however many keys hold it."""
_IN_SITE = re.compile(rb"(/[^\n]*?/(?:site|dist)-packages)/(?:__pycache__/)?([A-Za-z0-9_]+)")


class Bounds:
    """Keeps the tables that one fold fills within their bounds, and gives the reasons of failed lookups.

    A reason needs what the interpreters say of themselves, which is complete only at the end: it is kept as
    `op phase` with the path, for `settle_reasons`. Only for a path that loses its name it is decided at once.
    """

    def __init__(
        self, tally: Tally, mount_points: Iterable[bytes], facts: Callable[[], Iterable[Mapping[str, Any]]]
    ) -> None:
        self._tally = tally
        self._mount_points = sorted((point for point in mount_points if point != b"/"), key=len, reverse=True)
        self._facts = facts
        self._why: WhyNotFound | None = None
        self._original: Call | None = None
        self._places: dict[bytes, bytes] = {}
        self._rest = ProcessInfo(0, 0, FURTHER_PROCESSES)

    def apply(self, rows: Iterable[Attributed]) -> Iterator[Attributed]:
        """Pass rows on, with the names replaced that have no row of their own."""
        tally = self._tally
        paths, processes = tally.by_path, tally.by_process
        n_until_look = MAX_BINS
        for row in rows:
            call = row.call
            self._original = None
            if not row.own and call.op is not Op.OTHER:
                if len(paths) >= MAX_PATHS and call.path not in paths:
                    self._original = call
                    row.call = call._replace(path=self._place(call.path))
                if len(processes) >= MAX_PROCESSES:
                    info = row.process
                    if f"{info.pid} {info.label}" not in processes:
                        self._rest.kind = info.kind
                        row.process = self._rest
                n_until_look -= 1
                if not n_until_look:
                    n_until_look = MAX_BINS
                    if len(tally.timeline) > MAX_BINS:
                        settle_bins(tally)
            yield row

    def reason(self, row: Attributed) -> str:
        """What `tally.Folder` asks of a failed lookup."""
        if self._original is None:
            return _UNDECIDED[row.call.op][row.phase]
        if self._why is None:
            self._why = WhyNotFound(self._facts())
        return self._why(Attributed(self._original, row.phase, row.module, row.stack, row.process))

    def _place(self, path: bytes) -> bytes:
        directory = path.rpartition(b"/")[0]
        known = self._places.get(directory)
        if known is None:
            known = self._shared_name(directory)
            if len(self._places) >= MAX_PATHS:
                self._places.clear()
            self._places[directory] = known
        if known not in self._tally.by_path:
            if self._tally.n_further_rows >= MAX_PLACES:
                known = b"/" + FURTHER
            if known not in self._tally.by_path:
                self._tally.n_further_rows += 1
        return known

    def _shared_name(self, directory: bytes) -> bytes:
        parts = directory.split(b"/")
        n_kept = _N_DIRECTORIES + 1
        for place in (b"site-packages", b"dist-packages"):
            if place in parts:
                n_kept = parts.index(place) + 2
        shared = b"/".join(parts[:n_kept])
        for point in self._mount_points:
            if directory == point or directory.startswith(point + b"/"):
                shared = max(shared, point, key=len)
                break
        return shared + b"/" + FURTHER


def settle_bins(tally: Tally) -> None:
    """Keep the busiest windows so far as numbers, drop the bins that no later window reaches, widen those of the timeline."""
    for name, value in windows(tally).items():
        tally.settled_rates[name] = max(value, tally.settled_rates.get(name, 0))
    newest = max(tally.timeline)
    oldest_needed = newest - SUSTAINED_S * 1_000_000_000 // BIN_NS
    for process in tally.by_process.values():
        for bins in (process.n_open_by_bin, process.n_metadata_by_bin):
            for number in [number for number in bins if number < oldest_needed]:
                del bins[number]
    while len(tally.timeline) > MAX_BINS // 2:
        tally.timeline_step *= 2
        wide: dict[int, dict[str, int]] = {}
        for number, phases in tally.timeline.items():
            slot = wide.setdefault(number - number % tally.timeline_step, {})
            for phase, n in phases.items():
                slot[phase] = slot.get(phase, 0) + n
        tally.timeline.clear()
        tally.timeline.update(wide)


def settle_reasons(tally: Tally, why: WhyNotFound) -> None:
    """Turn the `op phase` of each failed lookup into its reason, now that all interpreters are known."""
    ops = {op.value: op for op in Op}
    nobody = ProcessInfo(0, 0)
    not_found: dict[tuple[str, bytes], int] = {}
    for (reason, path), n in tally.not_found.items():
        op, _, phase = reason.partition(" ")
        if op in ops and phase:
            call = Call(0, None, "", ops[op], path, "", None, b"", b"")
            reason = why(Attributed(call, phase, "", (), nobody))
        not_found[reason, path] = not_found.get((reason, path), 0) + n
    tally.not_found = not_found


def site_names(paths: Iterable[bytes]) -> dict[str, set[str]]:
    """Site directory -> the top-level names below it that a run's paths touch."""
    found: dict[str, set[str]] = {}
    for path in paths:
        match = _IN_SITE.match(path)
        if match is not None:
            found.setdefault(os.fsdecode(match.group(1)), set()).add(os.fsdecode(match.group(2)))
    return found
