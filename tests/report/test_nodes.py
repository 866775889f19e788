"""Which nodes of a job are shown, where not all are."""

from __future__ import annotations

from fsprobe.model.job import Job, NodeRow
from fsprobe.report import job_rows


def test_of_nodes_that_are_as_busy_the_first_ones_are_shown_in_the_order_of_their_numbers() -> None:
    nodes = tuple(NodeRow(key=f"n{number}", n_recordings=8, n_stat=10) for number in range(12))
    shown, rest = job_rows.node_rows(Job(nodes=nodes), 4)
    assert [row.key for row in shown] == ["n0", "n1", "n2", "n3"]
    assert rest is not None
    assert rest.n == 8


def test_the_busiest_nodes_are_shown_wherever_they_stand() -> None:
    nodes = tuple(NodeRow(key=f"n{number}", n_recordings=8, n_stat=10 + number % 7) for number in range(12))
    shown, _ = job_rows.node_rows(Job(nodes=nodes), 2)
    assert [row.key for row in shown] == ["n5", "n6"]
