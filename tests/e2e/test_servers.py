"""Predicted requests against a real NFS client and server: Debian's kernel under QEMU, built from packages alone.

A run is counted by the client itself (/proc/self/mountstats), cold and at once again; another run of the same program is
recorded and predicted. It takes two minutes and needs the packages that `benchmarks.vm.build` names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks import servers
from benchmarks.vm import build, layouts
from benchmarks.vm.cells import Cell, model_of
from benchmarks.vm.machine import Machine
from fsprobe.model.comparison import Comparison
from fsprobe.model.formats import JsonObject
from fsprobe.recording.file import Recording
from tests.conftest import need

pytestmark = pytest.mark.timeout(1200)
"""The machine is emulated: on a processor that others use too it takes many times its two minutes."""


class Measured(NamedTuple):
    rows: list[JsonObject]
    cells: list[Cell]
    compared: Comparison
    out: Path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    need(os.geteuid() == 0, "the machine's disk is filled as root")
    missing = build.missing_programs()
    need(not missing, f"not installed: {' '.join(missing)}")
    place = tmp_path_factory.mktemp("machine")
    build.build(place)
    with Machine(place) as machine:
        rows = servers.measure(machine, servers.ci_jobs())
        cells = servers.confirmed(
            servers.cells_of(machine, rows), lambda jobs: servers.cells_of(machine, servers.measure(machine, jobs))
        )
        layouts.ship(machine)
        compared = layouts.compare(machine, "4.2", servers.NOTHING_EXPIRES, "pass", caches="cold")
        yield Measured(rows, cells, compared, machine.share / "out")
    (place / "disk.ext4").unlink()


def test_requests_of_an_nfs_client_cold_and_warm(measured: Measured) -> None:
    runs = {(cell.version, cell.workload, cell.phase) for cell in measured.cells}
    # warm, there are workloads that ask for nothing
    assert len([run for run in runs if run[2] == "cold"]) == len(servers.CI_VERSIONS) * len(servers.CI_WORKLOADS)
    assert len(measured.cells) >= 50
    wrong = [cell for cell in measured.cells if not cell.is_exact]
    assert not wrong, "\n".join(map(str, wrong))


def test_run_counts_what_the_client_counted(measured: Measured) -> None:
    """`run --counters` has the numbers that a snapshot at the end of the run has."""
    for version, workload in servers.CI_TIMED:
        recording = Recording(str(measured.out / f"{servers.timed_name(version, workload)}.fsprobe"))
        found = recording.manifest["counters"]["/project"]
        assert "mountstats" in found["source"]
        counted = {name.upper(): n for name, n in found["operations"].items() if name not in ("metadata", "close")}
        row = row_of(measured, version, workload)
        assert counted == {name: n for name, n in row["operations"].items() if name != "CLOSE"}


def test_compare_shows_what_was_predicted_beside_what_the_client_counted(measured: Measured) -> None:
    """Both layouts ask the same server: the second one is the environment, bound to its own place."""
    assert [row.layout for row in measured.compared.rows] == ["plain", "bound"]
    for row in measured.compared.rows:
        found = {one.name: (one.predicted, one.counted) for one in row.operations}
        assert {"LOOKUP", "ACCESS", "GETATTR", "OPEN", "CLOSE"} <= set(found)
        assert all(predicted == counted for predicted, counted in found.values()), (row.layout, found)


def test_the_recorder_asks_for_little_itself(measured: Measured) -> None:
    own = [sum(row["own_operations"].values()) for row in measured.rows if row["phase"] == "record"]
    assert len(own) == len(servers.CI_WORKLOADS) + len(servers.CI_TIMED) - len(servers.TIMED_NAMES)
    assert max(own) <= 10


def row_of(measured: Measured, version: str, workload: str) -> JsonObject:
    return next(
        row
        for row in measured.rows
        if (row["version"], row["workload"], row["options"], row["phase"]) == (version, workload, "", "record")
    )


def test_attributes_expire_by_the_recorded_times(measured: Measured) -> None:
    for version, workload in servers.CI_TIMED:
        requests = model_of(measured.out / f"{servers.timed_name(version, workload)}.fsprobe").count()
        row = row_of(measured, version, workload)
        counted = {name: n for name, n in row["operations"].items() if name != "READ"}
        predicted = requests.by_mount()["/project"].operations
        assert requests.served["/project"].protocol.name == f"NFS v{version}"
        # the kernel looks at the clock a little later than the tracer: an age that ends in between is one GETATTR
        assert abs(predicted.pop("GETATTR") - counted.pop("GETATTR")) <= 2
        assert predicted == counted
