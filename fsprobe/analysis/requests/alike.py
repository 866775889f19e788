"""Runs that did the same: what one was counted to ask holds for the others too.

Most ranks of a job make the very same calls. Counting walks all of them several times, comparing costs a tenth of that. What
is compared is everything that a count by FUSE's rules looks at: the steps, the mounts, what was looked up after the run, and
the sizes of the files that it asked about. By the rules of NFS and Lustre the times of the calls count too, and no two runs
have the same.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsprobe.analysis.requests.model import RequestModel
from fsprobe.analysis.requests.rows import Requests
from fsprobe.analysis.requests.steps import DESCRIBE, Step
from fsprobe.capture.directories import scratch
from fsprobe.model.events import Mount

N_KEPT = 8
"""So many kinds of runs are remembered; each takes about as much memory as what a rank asks for."""
_LOOKED_UP = ("programs", "files", "links", "missing", "sizes")
"""What of the lookups the model uses."""


class _Asked(dict[bytes, tuple[int, int]]):
    """Sizes of files that notes which of them were asked for."""

    def __init__(self, sizes: Mapping[bytes, tuple[int, int]]) -> None:
        super().__init__(sizes)
        self.asked: dict[bytes, tuple[int, int] | None] = {}

    def get(self, path: bytes, default: Any = None) -> Any:
        """As of any dict."""
        found = super().get(path)
        self.asked[path] = found
        return default if found is None else found

    def __contains__(self, path: object) -> bool:
        found = super().__contains__(path)
        if isinstance(path, bytes):
            self.asked.setdefault(path, super().get(path))
        return found


@dataclass(frozen=True, slots=True)
class _Counted:
    """A run as the model saw it, and what it asks for."""

    steps: list[tuple[Any, ...]]
    surroundings: tuple[object, ...]
    sizes: Mapping[bytes, tuple[int, int] | None]
    requests: Requests


@dataclass(slots=True)
class Alike:
    """The last runs that were counted."""

    kept: deque[_Counted] = field(default_factory=lambda: deque(maxlen=N_KEPT))

    def count(
        self,
        model: RequestModel,
        mounts: Iterable[Mount],
        lookups: Mapping[str, Any],
        own: Sequence[str],
        *rest: Hashable,
    ) -> Requests:
        """What a run asks for, as `RequestModel.count` says it; the result may be another run's too and is not to be changed.

        Args:
            model: which has taken in the run's calls.
            mounts: what it was made of.
            lookups: likewise.
            own: fsprobe's own directories in that run, which have names that no other run's have.
            rest: what else the model was made of.
        """
        steps = None if model.needs_order else _timeless(model.taken.steps)
        tables, places = without_own(lookups, [place for place in own if place])
        if steps is None or _mention(places, steps, tables):
            return model.count()
        surroundings = (tuple(mounts), tables, *rest, model.taken.n_unplaced)
        for known in self.kept:
            if (
                known.steps == steps
                and known.surroundings == surroundings
                and all(model.sizes.get(path) == size for path, size in known.sizes.items())
            ):
                return known.requests
        sizes = model.sizes = _Asked(model.sizes)
        requests = model.count()
        self.kept.append(_Counted(steps, surroundings, sizes.asked, requests))
        return requests

    def holds(self, requests: Requests) -> bool:
        """Whether these are of all runs that make the same calls, whenever they make them."""
        return any(known.requests is requests for known in self.kept)


def without_own(lookups: Mapping[str, Any], own: Sequence[str]) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """The lookups without those of fsprobe's own directories and of the links to themselves on the way there; those places."""
    links = lookups.get("links") or {}
    ways = {path for place in own for path in links if links[path] == "." and place.startswith(path + "/")}
    places = {*own, *(path.rpartition("/")[0] for path in ways)} - ways
    tables: dict[str, dict[str, Any]] = {}
    for name in _LOOKED_UP:
        table = lookups.get(name) or {}
        tables[name] = {
            path: table[path] if isinstance(table, Mapping) else None
            for path in table
            if path not in ways and path not in places and not any(path.startswith(place + "/") for place in places)
        }
    return tables, places


def _mention(places: Iterable[str], steps: Iterable[tuple[Any, ...]], tables: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether any of the paths may lie in one of these places: then what was left out counts."""
    names = [os.fsencode(_name_of(place)) for place in places]
    paths = b"\0".join(part for step in steps for part in (step[0], step[7]) if part)
    found = "\0".join(word for table in tables.values() for entry in table.items() for word in map(str, entry))
    return any(name in paths or name in os.fsencode(found) for name in names)


def _name_of(place: str) -> str:
    """The name by which a path into a place is known, whatever way it takes there.

    That of fsprobe's own directory on the way, where there is one: `hook`, the last name of some, is a part of many others.
    """
    names = place.rstrip("/").split("/")
    return next((name for name in reversed(names) if name.startswith(scratch.PREFIX)), names[-1])


def _timeless(steps: Iterable[Step]) -> list[tuple[Any, ...]] | None:
    """The steps without their times, which only tell readers of one directory apart; None where some read at once.

    Statuses of open descriptors ask for nothing by FUSE's rules.
    """
    made: list[tuple[Any, ...]] = []
    readers: dict[int, int] = {}
    end_ns = -1
    for step in steps:
        listing = step.listing
        read: tuple[int, ...] | None = None
        if listing is not None:
            if listing.t_ns is None or listing.end_ns is None or listing.t_ns < end_ns:
                return None
            end_ns = listing.end_ns
            read = (readers.setdefault(listing.tid, len(readers)), *listing[3:])
        if step.action != DESCRIBE:
            made.append(
                (
                    step.path,
                    step.action,
                    step.syscall,
                    step.error,
                    step.flags,
                    step.kind,
                    step.size,
                    step.second,
                    read,
                    step.callers,
                )
            )
    return made
