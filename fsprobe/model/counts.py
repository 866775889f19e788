"""Numbers that add: the rows of every grouping."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Numbers that add. Every grouping of a profile is a table of these."""

    n_open: int = 0
    n_stat: int = 0
    n_readlink: int = 0
    n_list: int = 0
    n_exec: int = 0
    n_change: int = 0
    n_other: int = 0
    n_missing: int = 0
    time_ns: int = 0

    @property
    def n_metadata(self) -> int:
        return self.n_open + self.n_stat + self.n_readlink + self.n_list + self.n_exec + self.n_change
