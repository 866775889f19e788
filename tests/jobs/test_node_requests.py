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
    by_number, by_one = NodeRequests(), NodeRequests()
    parts = [(NodeRequests(), NodeRequests()) for _ in range(3)]
    for kind, part in ranks:
        requests = kinds[kind % len(kinds)]
        for node in (by_number, parts[part][0]):
            node.join(requests, user=7)
        for node in (by_one, parts[part][1]):
            node.join(deepcopy(requests), user=7)
    in_parts, in_parts_by_one = NodeRequests(), NodeRequests()
    for one, other in parts:
        in_parts.add(one)
        in_parts_by_one.add(other)
    for node, right in ((by_number, by_one), (in_parts, in_parts_by_one)):
        assert dict(node.rows()) == dict(right.rows())
        assert node.per_path == right.per_path
        assert node.n_unplaced == right.n_unplaced == sum(kinds[kind % len(kinds)].n_unplaced for kind, _ in ranks)
