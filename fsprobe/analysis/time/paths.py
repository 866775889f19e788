"""What an account of a run's time asks about its paths: of the tables of a tally, or of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from fsprobe.analysis.counting.tally import Tally
from fsprobe.model.events import Mount
from fsprobe.model.formats import text

NOT_KNOWN = "(not known)"
"""Key of the mount of paths whose mount is not known, as in the rows by mount."""


class PathTimes(Protocol):
    """How long the calls on a run's paths took."""

    def total_ns(self) -> int:
        """All together."""

    def slow(self, is_counted: Callable[[bytes], bool], limit_ns: float) -> tuple[int, int]:
        """Of the paths that count and whose calls took any time: how many, and of how many the slowest took more than `limit_ns`."""

    def by_mount(self, mount_of: Callable[[bytes], Mount | None]) -> Mapping[str, tuple[Mount | None, dict[int, int]]]:
        """Mount point -> the mount, and how many calls there are in each bin of latencies."""


class TallyPaths:
    """The paths of a tally."""

    def __init__(self, tally: Tally) -> None:
        self._by_path = tally.by_path

    def total_ns(self) -> int:
        """All together."""
        return sum(counted.counts.time_ns for counted in self._by_path.values())

    def slow(self, is_counted: Callable[[bytes], bool], limit_ns: float) -> tuple[int, int]:
        """Of the paths that count and whose calls took any time: how many, and of how many the slowest took more than `limit_ns`."""
        n_paths = n_slow = 0
        for path, counted in self._by_path.items():
            if counted.max_ns and is_counted(path):
                n_paths += 1
                n_slow += counted.max_ns > limit_ns
        return n_paths, n_slow

    def by_mount(self, mount_of: Callable[[bytes], Mount | None]) -> Mapping[str, tuple[Mount | None, dict[int, int]]]:
        """Mount point -> the mount, and how many calls there are in each bin of latencies."""
        table: dict[str, tuple[Mount | None, dict[int, int]]] = {}
        known: dict[int, dict[int, int]] = {}
        for path, counted in self._by_path.items():
            mount = mount_of(path)
            bins = known.get(id(mount))
            if bins is None:
                bins = known[id(mount)] = table.setdefault(mount_key(mount), (mount, {}))[1]
            for number, n in counted.latency.items():
                bins[number] = bins.get(number, 0) + n
        return table


def mount_key(mount: Mount | None) -> str:
    """How rows by mount call it."""
    return text(mount.path) if mount is not None else NOT_KNOWN
