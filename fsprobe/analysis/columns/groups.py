"""Counting in columns, with each group in the place where it came first: tables keep the order in which they were filled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fsprobe.analysis.columns.slots import Ints


class Groups(NamedTuple):
    """Distinct numbers, in the order in which they came first."""

    keys: Ints
    counts: Ints
    first: Ints
    """Where each came first."""


def group(numbers: Ints, n_possible: int) -> Groups:
    """Group numbers.

    Args:
        numbers: each at least 0.
        n_possible: they are all below it.
    """
    n = len(numbers)
    if not n:
        return Groups(numbers, numbers, numbers)  # not a look at all that would be possible
    if n_possible > 4 * n + 1024:
        keys, first, counts = np.unique(numbers, return_index=True, return_counts=True)
    else:
        all_counts = np.bincount(numbers, minlength=n_possible)
        place = np.zeros(n_possible, dtype=np.int64)
        place[numbers[::-1]] = np.arange(n - 1, -1, -1)  # the last one that is written is the first in the column
        keys = np.flatnonzero(all_counts)
        counts, first = all_counts[keys], place[keys]
    order = np.argsort(first, kind="stable")
    return Groups(keys[order], counts[order], first[order])


def ranked(numbers: Ints, n_possible: int) -> tuple[Ints, Ints]:
    """Distinct numbers in their order, and which of them each is; arguments as of `group`."""
    if n_possible > 4 * len(numbers) + 1024:
        return np.unique(numbers, return_inverse=True)
    is_there = np.zeros(n_possible, dtype=bool)
    is_there[numbers] = True
    return np.flatnonzero(is_there), (np.cumsum(is_there) - 1)[numbers]


def sums(numbers: Ints, values: Ints, n_possible: int) -> Ints:
    """Sums of values by number; they are exact below 2**53."""
    return np.bincount(numbers, values.astype(np.float64), n_possible).astype(np.int64)
