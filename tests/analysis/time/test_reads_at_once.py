"""Reads of several threads or processes at once: the wall time that they waited, from their spans and sums."""

from __future__ import annotations

import itertools

import pytest

from fsprobe.analysis.time.observed import Observed
from fsprobe.analysis.time.spans import Span, covered_by
from fsprobe.events.ring import Reads, RingFacts
from fsprobe.events.ring.slots import SPAN_SHIFT, span_of
from tests.analysis.time.test_account import INLINE, MS, account, line

SECOND = 1000 * MS


def test_eight_that_read_through_the_same_second_have_waited_one_second() -> None:
    assert covered_by([Span(tid, 0, SECOND, SECOND) for tid in range(8)]) == pytest.approx(SECOND, rel=1e-6)


def test_one_after_the_other_they_wait_the_sum() -> None:
    assert covered_by([Span(n % 2, n * SECOND, (n + 1) * SECOND, SECOND) for n in range(4)]) == pytest.approx(
        4 * SECOND
    )


def test_a_thread_is_in_one_read_at_a_time() -> None:
    # four files, read by turns by one thread: a quarter of the time each
    assert covered_by([Span(1, 0, 4 * SECOND, SECOND)] * 4) == pytest.approx(4 * SECOND, rel=1e-6)


def test_of_threads_that_read_now_and_then_some_meet_by_chance() -> None:
    # each half of the time: a quarter of it nobody does
    assert covered_by([Span(1, 0, SECOND, SECOND // 2), Span(2, 0, SECOND, SECOND // 2)]) == pytest.approx(
        0.75 * SECOND
    )


def test_what_does_not_meet_adds_up_in_whatever_order_it_comes() -> None:
    halves = [Span(1, 0, SECOND, SECOND // 2), Span(2, 0, SECOND, SECOND // 2)]  # 0.75 s, as above
    alone = [
        Span(3, SECOND, 3 * SECOND, SECOND),
        Span(1, 3 * SECOND, 3 * SECOND, SECOND),
    ]  # 1 s, and of an instant 1 ns
    within = [Span(1, 5 * SECOND, 9 * SECOND, SECOND), Span(2, 6 * SECOND, 7 * SECOND, SECOND)]
    # a quarter of each of four seconds, in one of which another thread reads all the time
    expected = 0.75 * SECOND + SECOND + 1 + 0.75 * SECOND + SECOND
    for spans in itertools.permutations([*halves, *alone, *within]):
        assert covered_by(spans) == pytest.approx(expected, rel=1e-6)


def test_one_file_that_eight_read_at_once() -> None:
    assert covered_by([Span(1, 0, SECOND, 8 * SECOND)]) == pytest.approx(SECOND, rel=1e-6)


def test_what_waited_beside_them_stays() -> None:
    """Eight threads read through the same 0.5 s, then all sleep for 2 s."""
    reads = [Reads(tid, 0, b"/p/%d" % tid, 10, 1000, SECOND // 2, 0, 0, 0, 0, SECOND // 2) for tid in range(8)]
    made = account(line(100, 1000), RingFacts(reads=reads), 2.5, 0.0, INLINE)
    assert made.reads_s == pytest.approx(0.5, rel=0.01)
    assert made.other_s == pytest.approx(2.0, rel=0.01)


def test_reads_and_metadata_calls_at_once_share_the_seconds() -> None:
    reads = [Reads(7, 0, b"/p/7", 10, 1000, SECOND, 0, 0, 0, 0, SECOND)]
    made = account(line(100, 10 * MS), RingFacts(reads=reads), 1.0, 0.0, INLINE)
    assert made.reads_s == pytest.approx(0.5, rel=0.02)
    assert made.metadata_s == pytest.approx(0.5, rel=0.02)


def test_many_spans_are_folded_away() -> None:
    seen = Observed()
    for n in range(70_000):
        seen.add_span(n % 2, 0, n * MS, (n + 1) * MS, MS)
    assert len(seen.spans) < 10_000
    assert seen.n_reads_at_once == pytest.approx(1.0)
    seen.add_span(1, 0, 0, 1, 0)
    assert seen.spans == [], "a read that waits for nothing is none of these"


@pytest.mark.parametrize(
    ("word", "span"),
    [(0, (0, 0)), (0o666, (0, 0)), (24, (0, 0)), (5 << 32 | 6, (0, 0)), (6 << 32 | 1, (100, 100 + (6 << SPAN_SHIFT)))],
)
def test_of_older_recordings_it_is_not_known_when(word: int, span: tuple[int, int]) -> None:
    """The mode of an openat and the size of an openat2 stood there."""
    assert span_of(100, word) == span
