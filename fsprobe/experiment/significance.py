"""The verdict of a comparison: is one clearly faster, by how much, and which calls differ by name."""

from __future__ import annotations

import math
import random
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from fsprobe.analysis.counting.tally import Tally
from fsprobe.model.comparison import CLEAR_P, SMALLEST_RATIO, Difference, Differences
from fsprobe.model.formats import text

MAX_EXACT = 200_000
"""Ways to split the runs in two that are all gone through; beyond, as many are drawn at random (fixed seed)."""
N_RESAMPLES = 4_000
MIN_RUNS = 5
"""With fewer runs a side no exact test can reach `CLEAR_P`: 2 / C(2n, n) is 0.029 for 4 and 0.008 for 5."""
N_DIFFERENCES = 20
_TEMPORARY = (b"/tmp/", b"/var/tmp/", b"/dev/shm/", b"/run/")
_RANDOM = re.compile(
    rb"(?<=^tmp)[a-z0-9_]{8}"  # tempfile
    rb"|(?<=[-_.])(?:[a-z0-9_]{8}|[A-Za-z0-9]{6})$"  # tempfile with a prefix; mkstemp, shm_open of semaphores
    rb"|(?<=[-_.])\d+(?=[-_.]|$)"  # process ids
)
"""Parts of names in directories of temporary files that are drawn anew in each run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Layout over baseline."""

    ratio: float
    """ratio of the medians"""
    low: float
    high: float
    """95 % interval of that ratio (bootstrap percentiles)"""
    p: float
    """two-sided exact permutation test on the rank sums"""
    exact: bool
    clear: bool
    reason: str
    """in words"""


def compare_runs(baseline_s: Sequence[float], layout_s: Sequence[float]) -> Ratio:
    """Compare the times of two sets of runs.

    Args:
        baseline_s: s of each run of the baseline, at least one, all positive.
        layout_s: the same of the layout.

    Returns:
        The ratio, its interval and whether the difference is clear. "No clear difference" is a result.

    Source: Wilcoxon's rank-sum statistic under all permutations; percentile bootstrap after Efron.
    """
    ratio = statistics.median(layout_s) / statistics.median(baseline_s)
    low, high = bootstrap_interval(baseline_s, layout_s)
    p, exact = permutation_p(baseline_s, layout_s)
    outside = low > 1 + SMALLEST_RATIO or high < 1 - SMALLEST_RATIO
    enough = min(len(baseline_s), len(layout_s)) >= MIN_RUNS
    clear = enough and p <= CLEAR_P and outside
    if not enough:
        reason = f"too few runs to tell (at least {MIN_RUNS} a layout)"
    elif clear:
        factor = 1 / ratio if ratio < 1 else ratio
        reason = f"{float(f'{factor:.2g}'):,g} times {'faster' if ratio < 1 else 'slower'}"
    else:
        reason = "no clear difference"
    return Ratio(ratio=ratio, low=low, high=high, p=p, exact=exact, clear=clear, reason=reason)


def permutation_p(left: Sequence[float], right: Sequence[float]) -> tuple[float, bool]:
    """The share of all ways to deal out the runs whose rank sums differ at least as much; and whether all were tried.

    Ranks, because one slow run on a shared machine must not decide; not medians, because too few ways of dealing out the
    runs tell those apart.
    """
    ranks = _ranks([*left, *right])
    n, k = len(ranks), len(left)
    expected = sum(ranks) * k / n
    observed = abs(sum(ranks[:k]) - expected)
    n_ways = math.comb(n, k)
    exact = n_ways <= MAX_EXACT
    if exact:
        splits: Iterable[Sequence[float]] = combinations(ranks, k)
    else:
        draw = random.Random(1)
        n_ways = 20_000
        splits = (draw.sample(ranks, k) for _ in range(n_ways))
    extreme = sum(abs(sum(chosen) - expected) >= observed - 1e-9 for chosen in splits)
    # when drawn at random the observed split counts as one of them, so that p is never 0
    return (extreme / n_ways if exact else (extreme + 1) / (n_ways + 1)), exact


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1 on; equal values share the middle of theirs."""
    order = sorted(values)
    first: dict[float, int] = {}
    for i, value in enumerate(order):
        first.setdefault(value, i)
    n_equal = Counter(values)
    return [first[value] + (n_equal[value] + 1) / 2 for value in values]


def bootstrap_interval(left: Sequence[float], right: Sequence[float]) -> tuple[float, float]:
    """95 % percentile bootstrap interval of median(right) / median(left); a fixed seed, so the same runs give the same."""
    draw = random.Random(2)
    ratios = sorted(
        statistics.median(draw.choices(right, k=len(right))) / statistics.median(draw.choices(left, k=len(left)))
        for _ in range(N_RESAMPLES)
    )
    return ratios[int(0.025 * N_RESAMPLES)], ratios[int(0.975 * N_RESAMPLES) - 1]


def call_differences(baseline: Tally, layout: Tally, renamed: Mapping[bytes, bytes] | None = None) -> Differences:
    """Explain a difference in calls by name: which paths were called how often on either side.

    Args:
        baseline: the baseline's counts.
        layout: the layout's.
        renamed: prefixes of the layout's paths that stand for one of the baseline's (a layout that runs from where it lies).

    Returns:
        The largest differences, and in `n_paths` how many (path, op) differ in all. 0 means the runs did the same calls.
    """
    left, right = _by_path_and_op(baseline, {}), _by_path_and_op(layout, renamed or {})
    # only what has no counterpart of its own name may be one that was drawn anew: an environment may lie in /tmp
    own = {key for key in {*left, *right} if left[key] != right[key]}
    left, right = (_with_stable_names(table, own) for table in (left, right))
    differing = [key for key in {*left, *right} if left[key] != right[key]]
    differing.sort(key=lambda key: (-abs(left[key] - right[key]), key))
    return Differences(
        n_baseline=baseline.total.n_metadata,
        n_layout=layout.total.n_metadata,
        n_paths=len(differing),
        rows=tuple(
            Difference(path=text(path), op=op, baseline=left[path, op], layout=right[path, op])
            for path, op in differing[:N_DIFFERENCES]
        ),
    )


def _by_path_and_op(tally: Tally, renamed: Mapping[bytes, bytes]) -> Counter[tuple[bytes, str]]:
    table: Counter[tuple[bytes, str]] = Counter()
    for path, counted in tally.by_path.items():
        for old, new in renamed.items():
            if path == old or path.startswith(old + b"/"):
                path = new + path[len(old) :]
        for op in ("open", "stat", "readlink", "list", "exec", "change"):
            n = getattr(counted.counts, f"n_{op}")
            if n:
                table[_without_pid(path), op] += n
    return table


def _with_stable_names(table: Counter[tuple[bytes, str]], among: set[tuple[bytes, str]]) -> Counter[tuple[bytes, str]]:
    stable: Counter[tuple[bytes, str]] = Counter()
    for (path, op), n in table.items():
        if (path, op) in among:
            stable[_stable(path), op] += n
    return stable


def _without_pid(path: bytes) -> bytes:
    """A path without the process id in it: of /proc, and of a .pyc that is being written."""
    parts = path.split(b"/")
    if len(parts) > 2 and parts[1] == b"proc" and parts[2].isdigit():
        parts[2] = b"PID"
    if b".pyc." in parts[-1] and parts[-1].rpartition(b".")[2].isdigit():
        parts[-1] = parts[-1].rpartition(b".")[0] + b".TEMPORARY"
    return b"/".join(parts)


def _stable(path: bytes) -> bytes:
    """A path without what differs between any two runs: process ids and random names of temporary files."""
    path = _without_pid(path)
    if b"/site-packages" in path or b"/lib/python" in path:
        return path  # an environment in a temporary directory: its names are its own
    parts = path.split(b"/")
    for place in _TEMPORARY:
        if path.startswith(place):
            n = place.count(b"/")
            parts[n:] = [_RANDOM.sub(b"TEMPORARY", part) for part in parts[n:]]
    return b"/".join(parts)
