from __future__ import annotations

import pytest

from fsprobe.analysis import whatif

PANDAS = whatif.Demand(layout="plain", cpu_s=0.29, lookup=1095, open=418, opendir=54, readdir=104, readlink=2)
"""`import pandas` on a cold client, as the simulated file server counted it."""
ONE_MS = whatif.Latency(name="as given", ms=1.0, source="--latency-ms")
BY_NAME = {latency.name: latency for latency in whatif.PROFILES}
TENSORFLOW = whatif.Demand(
    layout="plain", cpu_s=2.0, lookup=11_000, open=3_700, opendir=510, readdir=1_000, readlink=32, n_open_calls=4_190
)
"""`import tensorflow` with the open calls that EESSI counted; 2.0 s is what it took from a RAM disk."""


def test_one_start_alone() -> None:
    assert PANDAS.n_requests == 1673
    assert whatif.start_s(PANDAS, ONE_MS) == pytest.approx(0.29 + 1.673)


def test_names_are_shared_on_a_node_opens_are_not() -> None:
    assert PANDAS.n_requests_node(1) == PANDAS.n_requests
    assert PANDAS.n_requests_node(128) == 1095 + 104 + 2 + 128 * (418 + 54) == 61617


def test_a_job_waits_for_the_server_from_where_it_is_saturated() -> None:
    n_nodes = whatif.saturates_at_n_nodes(PANDAS, ONE_MS, 1, 1000)
    assert n_nodes == pytest.approx(1.963 * 1000 / 1673)
    assert whatif.job_s(PANDAS, ONE_MS, 1, 1, 1000) == whatif.start_s(PANDAS, ONE_MS)
    assert whatif.job_s(PANDAS, ONE_MS, 16, 1, 1000) == pytest.approx(16 * 1673 / 1000)


def test_one_file_asks_next_to_nothing() -> None:
    image = whatif.one_file(PANDAS)
    assert image.n_requests == 2
    assert image.n_requests_node(128) == 2
    assert whatif.saturates_at_n_nodes(image, ONE_MS, 128, 1000) > 100


def test_the_curve_is_monotonic_and_the_table_complete() -> None:
    rows = whatif.curve(PANDAS, ONE_MS, 128, 75_000)
    assert [row.n_nodes for row in rows] == list(whatif.DEFAULT_NODES)
    predicted = [row.predicted_s for row in rows]
    assert predicted == sorted(predicted, key=lambda value: value or 0)
    assert None not in predicted
    table = whatif.table([PANDAS, whatif.one_file(PANDAS)], whatif.PROFILES, nodes=100, ranks_per_node=128, rate=75_000)
    assert len(table) == 2 * len(whatif.PROFILES)
    assert all(row.latency_source for row in table)


@pytest.mark.parametrize(
    ("filesystem", "published_s"),
    [
        ("Lustre, busy, cold", 75),
        ("Lustre, hot", 2.8),
        ("NFS, cold", 6.4),
        ("GPFS, cold", 35),
        ("local SSD, cold", 4.3),
    ],
)
def test_what_was_published_per_open_call_multiplies_open_calls(filesystem: str, published_s: float) -> None:
    # the unit: seconds per open call times open calls gives back what was measured, however many requests they took
    assert TENSORFLOW.n_requests == 16_242
    assert BY_NAME[filesystem].per == whatif.OPEN_CALL
    assert whatif.start_s(TENSORFLOW, BY_NAME[filesystem]) == pytest.approx(published_s, rel=0.03)


def test_what_was_published_per_request_multiplies_requests() -> None:
    quiet = BY_NAME["Lustre, quiet"]
    assert quiet.per == whatif.REQUEST
    assert whatif.start_s(TENSORFLOW, quiet) == pytest.approx(2.0 + 16_242 * 0.5e-3)


def test_a_published_start_that_was_not_used_for_the_table() -> None:
    # argonne-lcf/copper: `import torch` of a venv touches 1,404 files and 555 missing names, and took 47-58 s at 128 nodes of a
    # busy Lustre; another program at another site, so no more than the order of magnitude is asked for
    torch = whatif.Demand(
        layout="plain", cpu_s=2.0, lookup=4_000, open=1_404, opendir=0, readdir=0, readlink=0, n_open_calls=1_404 + 555
    )
    estimate = whatif.start_s(torch, BY_NAME["Lustre, busy, cold"])
    assert 47 / 2 < estimate < 58 * 2


def test_without_open_calls_the_opens_that_are_requests_stand_for_them() -> None:
    assert PANDAS.n_open_calls is None
    assert whatif.start_s(PANDAS, BY_NAME["NFS, cold"]) == pytest.approx(0.29 + (418 + 54) * 1.05e-3)


def test_an_image_is_opened_once() -> None:
    assert whatif.one_file(TENSORFLOW).n_waits(BY_NAME["Lustre, busy, cold"]) == 1


def test_only_a_shared_server_saturates() -> None:
    local, hot, quiet = (BY_NAME[name] for name in ("local SSD, cold", "Lustre, hot", "Lustre, quiet"))
    for alone in (local, hot):  # each node's own disk, or its own cache
        assert whatif.job_s(PANDAS, alone, 4096, 128, 75_000) == whatif.start_s(PANDAS, alone)
        assert whatif.saturates_at_n_nodes(PANDAS, alone, 128, 75_000) == float("inf")
    assert whatif.job_s(PANDAS, quiet, 4096, 128, 75_000) > whatif.start_s(PANDAS, quiet)
