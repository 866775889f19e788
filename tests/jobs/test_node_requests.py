"""Ranks of a node that ask for just the same are joined by number: the sum is that of as many single ones."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from fsprobe.analysis.requests.rows import RequestCounts, Requests
from fsprobe.jobs.node_requests import NodeRequests

NAMES = ("lookup", "negative", "readdir", "readlink", "open", "opendir", "change", "read", "again")


@st.composite
def asked(draw: st.DrawFn) -> Requests:
    paths = draw(st.lists(st.sampled_from((b"/a", b"/a/b", b"/c")), unique=True))
    numbers = st.tuples(*[st.integers(0, 3)] * len(NAMES))
    rows = {path: RequestCounts(**dict(zip(NAMES, draw(numbers), strict=True))) for path in paths}
    for row in rows.values():
        if draw(st.integers(0, 5)) == 0:  # of a client with rules of its own
            row.further, row.steady, row.operations = RequestCounts(lookup=1), RequestCounts(open=1), {"OPEN": 1}
    return Requests(per_path=rows, mount_of=dict.fromkeys(rows), n_unplaced=draw(st.integers(0, 2)))


@given(st.lists(asked(), min_size=1, max_size=3), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=9))
def test_the_same_again_counts_as_another_one(kinds: list[Requests], ranks: list[tuple[int, int]]) -> None:
    by_number, by_one, parts = NodeRequests(), NodeRequests(), [NodeRequests() for _ in range(3)]
    for kind, part in ranks:
        requests = kinds[kind % len(kinds)]
        by_number.join(requests, user=7)
        by_one.join(deepcopy(requests), user=7)
        parts[part].join(requests, user=7)
    in_parts = NodeRequests()
    for one in parts:
        in_parts.add(one)
    assert dict(by_number.rows()) == dict(by_one.rows())
    assert by_number.n_unplaced == by_one.n_unplaced == in_parts.n_unplaced
    assert {path: row.open for path, row in in_parts.rows()} == {path: row.open for path, row in by_one.rows()}
