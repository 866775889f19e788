"""The account of a job: its ranks' times summed, what some of them did not observe, and who was slowest."""

from __future__ import annotations

import pytest

from fsprobe.analysis.time.sums import TimeSums, average
from fsprobe.model.time.account import COLD, PARTLY, WARM, MountTime, TimeAccount, TimeRow


def rank(scale: float, *, reads_s: float | None = 0.5, guess: str = WARM) -> TimeAccount:
    """A rank that computes 1 s, waits 2 s for names, 0.5 s in reads, and 0.5 s otherwise, all times `scale`."""
    told = reads_s is not None
    return TimeAccount(
        wall_s=4.0 * scale,
        cpu_s=1.0 * scale,
        metadata_s=2.0 * scale,
        reads_s=reads_s * scale if reads_s is not None else None,
        other_s=(0.5 if told else 1.0) * scale,
        traced_wall_s=4.1 * scale,
        overhead_s=0.1 * scale,
        n_major_faults=3,
        n_reads=7 if told else None,
        cache_guess=guess,
        by_mount=(MountTime(key="/p", fs_class="network", metadata_s=2.0 * scale, reads_s=reads_s),),
        by_import=(TimeRow(key="pkg.a", wall_s=1.0 * scale, cpu_s=0.25, metadata_s=0.5, wall_cum_s=3.0 * scale),),
    )


def summed(*accounts: TimeAccount) -> TimeAccount:
    sums = TimeSums()
    for number, account in enumerate(accounts):
        sums.add(account, f"rank {number}")
    made = sums.account()
    assert made is not None
    assert sum(part.time_s for part in made.parts) == pytest.approx(made.wall_s)
    return made


def test_parts_are_summed_and_the_slowest_is_kept() -> None:
    made = summed(rank(1), rank(3), rank(2))
    assert (made.n_ranks, made.wall_s, made.cpu_s, made.metadata_s, made.reads_s, made.other_s) == (3, 24, 6, 12, 3, 3)
    assert (made.n_major_faults, made.n_reads, made.overhead_s) == (9, 21, pytest.approx(0.6))
    assert made.slowest is not None
    assert (made.slowest.key, made.slowest.wall_s, made.slowest.metadata_s) == ("rank 1", 12, 6)
    assert [(row.key, row.metadata_s) for row in made.by_mount] == [("/p", 12)]
    assert made.by_import is not None
    assert made.by_package is not None
    assert [(row.key, row.wall_s, row.wall_cum_s) for row in made.by_import] == [("pkg.a", 6, 18)]
    assert [row.key for row in made.by_package] == ["pkg"]


def test_what_one_rank_did_not_tell_apart_is_in_the_rest_of_all() -> None:
    made = summed(rank(1), rank(1, reads_s=None))
    assert (made.reads_s, made.n_reads) == (None, None)
    assert made.other_s == 2.0, "1 s of the second, 0.5 s and the reads of the first"
    assert made.other_name == "other waiting (reads, page faults)"


def test_sums_of_sums_are_the_same_in_any_grouping() -> None:
    accounts = [rank(n, guess=COLD if n > 2 else WARM) for n in (1, 4, 2, 4, 3)]
    first, second = TimeSums(), TimeSums()
    for number, account in enumerate(accounts):
        (first if number < 2 else second).add(account, f"rank {number}")
    second.join(first)
    assert second.account() == summed(*accounts)
    assert summed(*accounts).cache_guess == PARTLY
    assert summed(*accounts).slowest == TimeRow(key="rank 1", wall_s=16, cpu_s=4, metadata_s=8, reads_s=2, other_s=2)


def test_one_rank_is_its_own_account() -> None:
    made = summed(rank(1))
    assert (made.slowest, made.n_ranks) == (None, 1)
    assert TimeSums().account() is None


def test_the_average_rank() -> None:
    made = average(summed(rank(1), rank(3)))
    assert (made.wall_s, made.metadata_s, made.n_major_faults, made.by_mount[0].metadata_s) == (8, 4, 3, 4)
    assert (made.n_ranks, made.slowest) == (1, None)
