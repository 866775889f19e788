"""Marks that are noted by the stacks they leave say what `Lives` says of them one by one, and what arithmetic says."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsprobe.analysis.columns.pieces import Pieces
from fsprobe.analysis.columns.slots import read
from tests.analysis.columns.both import same
from tests.analysis.columns.test_columns import Made
from tests.events.ring.test_reader import call, ring_of

np = pytest.importorskip("numpy")

from fsprobe.analysis.columns.contexts import NODE_BITS, Contexts  # noqa: E402
from fsprobe.analysis.columns.nesting import NOT_KNOWN, Nesting  # noqa: E402
from fsprobe.analysis.columns.timed import Lives  # noqa: E402

RING = ring_of(*(call(b"/x", tid=1 + row % 3) for row in range(61)))
COLUMNS = read(Pieces([RING], len(RING)))
marks = st.tuples(st.integers(1, 3), st.sampled_from(["begin", "begin", "end", "end", "note"]), st.sampled_from("abc"))


def named(lives: Lives, numbers: Iterable[int]) -> list[str | None]:
    """Names by their numbers."""
    return [lives.names[number] if number >= 0 else None for number in numbers]


def spans_of(lives: Lives) -> list[tuple[str, int, int]]:
    """Name, begin and end of each import that has ended."""
    return sorted((lives.names[name], begun, ended) for name, begun, ended in lives.spans)


@given(st.lists(marks, max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_marks_are_those_of_lives(told: list[tuple[int, str, str]]) -> None:
    """Also ends of imports that lie deeper, or that nobody began."""
    expected, found = Lives(), Nesting(Contexts(), Lives())
    for row, (tid, kind, name) in enumerate(told):
        expected.mark(row, tid, kind, name)
        found.mark(row, tid, kind, name)
    tids = sorted({tid for tid, _, _ in told})
    between = found.between(np.full(len(tids), len(told)), np.array([found.lives.life(tid) for tid in tids], dtype=int))
    assert between.tolist() == [expected.between(tid) for tid in tids]
    expected.close()
    found.close()
    lives = found.lives
    assert list(lives.rows) == list(expected.rows)
    assert list(lives.before) == list(expected.before)
    assert list(lives.life_of) == list(expected.life_of)
    assert named(lives, lives.tops) == named(expected, expected.tops)
    assert spans_of(lives) == spans_of(expected)


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 3), st.integers(0, 5)), max_size=20, unique_by=lambda x: x[0])
)
@settings(max_examples=25, deadline=None)
def test_a_call_is_where_its_thread_was_last(told: list[tuple[int, int, int]]) -> None:
    """Row, thread and process of places that begin; of every call the last one of its thread is looked for by hand."""
    nesting = Nesting(Contexts(), Lives())
    for tid in (1, 2, 3):
        nesting.begin(0, tid, nesting.contexts.root, nesting.spell(nesting.lives.life(tid), NOT_KNOWN))
    for row, tid, process in sorted(told):
        nesting.begin(row, tid, nesting.contexts.root, nesting.spell(nesting.lives.life(tid), process))
    calls = np.arange(61)
    assert COLUMNS is not None
    pairs, between = nesting.places(COLUMNS, calls, NODE_BITS)
    for row in range(61):
        tid = 1 + row % 3
        before = [process for at, who, process in sorted(told) if who == tid and at <= row]
        assert pairs[row] == (before[-1] << NODE_BITS if before else -1)
        assert between[row] == -1 - nesting.lives.life(tid)


@pytest.mark.parametrize("depth", [1, 40])
def test_calls_and_imports_are_as_many_as_were_made(depth: int) -> None:
    """Three times imports in one another: each import has its two calls and those of all that it imports."""
    made = Made(depth)
    made.start(5)
    made.hooked(5)
    for _ in range(3):
        for level in range(depth):
            made.mark(5, b"fsprobe>level%d" % level)
            made.call(5, b"/data/%d" % level, nr=262, result=-2)
            made.call(5, b"/data/%d" % level, nr=262, result=-2)
        for level in reversed(range(depth)):
            made.mark(5, b"fsprobe<level%d" % level)
    found = same(ring_of(*made.slots))
    assert found is not None
    modules = found.tally.by_module
    for level in range(depth):
        module = modules[f"level{level}"]
        assert module.own.n_not_found == 6
        assert module.cumulative.n_not_found == 6 * (depth - level)
        assert found.notes.n_imports[f"level{level}"] == 3
        assert found.notes.imports[f"level{level}"] == {f"level{level - 1}" if level else "": 3}
