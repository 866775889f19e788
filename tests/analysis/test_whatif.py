from __future__ import annotations

import pytest

from fsprobe.analysis import whatif

PANDAS = whatif.Demand(layout="plain", cpu_s=0.29, lookup=1095, open=418, opendir=54, readdir=104, readlink=2)
"""`import pandas` on a cold client, as the simulated file server counted it."""


def test_one_start_alone() -> None:
    assert PANDAS.n_requests == 1673
    assert whatif.start_s(PANDAS, 1.0) == pytest.approx(0.29 + 1.673)


def test_names_are_shared_on_a_node_opens_are_not() -> None:
    assert PANDAS.n_requests_node(1) == PANDAS.n_requests
    assert PANDAS.n_requests_node(128) == 1095 + 104 + 2 + 128 * (418 + 54) == 61617


def test_a_job_waits_for_the_server_from_where_it_is_saturated() -> None:
    n_nodes = whatif.saturates_at_n_nodes(PANDAS, 1.0, 1, 1000)
    assert n_nodes == pytest.approx(1.963 * 1000 / 1673)
    assert whatif.job_s(PANDAS, 1.0, 1, 1, 1000) == whatif.start_s(PANDAS, 1.0)
    assert whatif.job_s(PANDAS, 1.0, 16, 1, 1000) == pytest.approx(16 * 1673 / 1000)


def test_one_file_asks_next_to_nothing() -> None:
    image = whatif.one_file(PANDAS)
    assert image.n_requests == 2
    assert image.n_requests_node(128) == 2
    assert whatif.saturates_at_n_nodes(image, 1.0, 128, 1000) > 100


def test_the_curve_is_monotonic_and_the_table_complete() -> None:
    rows = whatif.curve(PANDAS, 1.0, 128, 75_000)
    assert [row.n_nodes for row in rows] == list(whatif.DEFAULT_NODES)
    predicted = [row.predicted_s for row in rows]
    assert predicted == sorted(predicted, key=lambda value: value or 0)
    assert None not in predicted
    table = whatif.table([PANDAS, whatif.one_file(PANDAS)], whatif.PROFILES, nodes=100, ranks_per_node=128, rate=75_000)
    assert len(table) == 2 * len(whatif.PROFILES)
    assert all(row.latency_source for row in table)
