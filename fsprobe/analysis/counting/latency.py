"""Durations of calls in bins that add, so that quantiles of merged runs need no single call."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate, repeat

_STEP: float = 1.05
"""Bins grow by 5 %: a quantile is right to 5 % whatever the range."""
_HALF_STEP: float = _STEP**0.5
MAX_BIN = 600
_EDGES = tuple(accumulate(repeat(_STEP, MAX_BIN), lambda edge, step: edge * step, initial=1.0))


BINS: dict[int, int] = {}
"""Bins that were worked out, by us: a fold looks here first."""


def bin_of(us: int) -> int:
    """The bin of a duration, given in whole us: 0 for up to 1 us, then one per 5 %."""
    known = BINS.get(us)
    if known is None:
        known = min(bisect_left(_EDGES, us), MAX_BIN)
        if len(BINS) < 100_000:
            BINS[us] = known
    return known


def bin_edges() -> tuple[float, ...]:
    """The upper edges of all bins in us."""
    return _EDGES


def bin_ns(number: int) -> float:
    """The upper edge of a latency bin, in ns."""
    return 1000.0 * _STEP**number


def bin_middle_ns(number: int) -> float:
    """The middle of a latency bin, in ns: what a sum of durations takes each for."""
    return bin_ns(number) / _HALF_STEP


def quantile_ns(latency: dict[int, int], share: float) -> float | None:
    """The duration that `share` of the calls do not exceed, right to 5 %; None for no calls."""
    n_calls = sum(latency.values())
    if not n_calls:
        return None
    wanted, seen = share * n_calls, 0
    for number in sorted(latency):
        seen += latency[number]
        if seen >= wanted:
            return bin_ns(number)
    return None
