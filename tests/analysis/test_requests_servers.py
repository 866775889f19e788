"""Requests by NFS's and Lustre's own rules, against what real clients counted (tests/data/servers).

The counts are those of Linux 6.1's NFS client (/proc/self/mountstats) and of Lustre 2.17 (`mdc.*.stats`), each of one run
on a fresh mount (cold) and of the same run at once again (warm); the recordings are of the same programs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.vm.cells import Cell, compare

DATA = Path(__file__).parents[1] / "data" / "servers"
UNSEEN = {"FSSTAT", "STATFS", "SEEK"}
"""Calls on open descriptors, which no recording holds."""


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return list(compare(DATA))


def chosen(cells: list[Cell], choose: Callable[[Cell], bool]) -> tuple[int, list[Cell]]:
    rows = [cell for cell in cells if choose(cell)]
    return len(rows), [cell for cell in rows if not cell.is_exact]


@pytest.mark.parametrize(("version", "n"), [("3", 84), ("4.1", 17), ("4.2", 116)])
def test_nfs_as_counted_where_nothing_expires(cells: list[Cell], version: str, n: int) -> None:
    n_cells, wrong = chosen(
        cells,
        lambda c: (c.client, c.version, c.options) == ("nfs", version, "actimeo=600") and c.delegations is not False,
    )
    assert n_cells == n
    unexplained = [
        cell
        for cell in wrong
        if cell.operation not in UNSEEN
        and not (version != "3" and cell.operation == "GETATTR" and "access times" in cell.why_not_predictable)
    ]
    assert not unexplained, "\n".join(map(str, unexplained))
    # one program opens 592 files and reads none of them: nothing else may hide behind access times
    assert {cell.workload for cell in wrong if cell.operation not in UNSEEN} <= {"tz"}


def test_opens_and_closes_without_delegations(cells: list[Cell]) -> None:
    n_cells, wrong = chosen(cells, lambda c: c.client == "nfs" and c.delegations is False)
    assert n_cells >= 29
    assert not [cell for cell in wrong if cell.operation != "GETATTR"], "\n".join(map(str, wrong))


@pytest.mark.parametrize(
    "option", ["lookupcache=none", "lookupcache=positive", "nocto", "nordirplus", "noac", "actimeo=0"]
)
def test_names_rights_and_listings_by_the_mount_s_options(cells: list[Cell], option: str) -> None:
    n_cells, wrong = chosen(cells, lambda c: c.client == "nfs" and c.options == option and c.operation != "GETATTR")
    assert n_cells > 25
    assert not wrong, "\n".join(map(str, wrong))


def test_attributes_that_nobody_believes(cells: list[Cell]) -> None:
    """noac: everything but the reads' own questions is predicted; a file that is lent needs none of them."""
    lent = [c for c in cells if c.version == "4.2" and c.options in ("noac", "actimeo=0") and c.workload != "numpy"]
    assert len([cell for cell in lent if cell.operation == "GETATTR"]) == 16
    assert all(cell.is_exact for cell in lent)
    for cell in cells:
        if cell.options in ("noac", "actimeo=0") and not cell.is_exact:
            assert "lower bound" in cell.why_not_predictable or cell.workload == "numpy", cell
            assert 0.75 * cell.counted <= cell.predicted <= cell.counted, cell


def test_lustre_cold(cells: list[Cell]) -> None:
    """Also of programs that were recorded on another client's mount."""
    n_cells, wrong = chosen(cells, lambda c: c.client == "lustre" and c.phase == "cold" and c.workload != "par4")
    assert Counter(c.operation for c in cells if c.client == "lustre" and c.phase == "cold")["enqueue"] == 13
    assert n_cells >= 32
    assert not wrong, "\n".join(map(str, wrong))


def test_lustre_warm_is_explained_by_what_is_kept_open(cells: list[Cell]) -> None:
    for cell in cells:
        if cell.client == "lustre" and cell.phase == "warm" and cell.workload != "par4":
            assert cell.is_exact or (
                "kept open" in cell.why_not_predictable and abs(cell.counted - cell.predicted) <= 2
            )


def test_four_processes_at_once_on_lustre(cells: list[Cell]) -> None:
    """What is read is asked for once; what is kept open, and who asks in the same moment, no recording tells, and it is named."""
    cold = {c.operation: c for c in cells if (c.client, c.workload, c.phase) == ("lustre", "par4", "cold")}
    assert cold["readpage"].is_exact
    for name in ("enqueue", "close"):
        assert "several processes at once" in cold[name].why_not_predictable
        assert abs(cold[name].predicted - cold[name].counted) <= 0.1 * cold[name].counted
    assert 0 <= cold["glimpse"].counted - cold["glimpse"].predicted <= 6


def test_four_processes_of_a_node_at_once(cells: list[Cell]) -> None:
    """What is cached is asked for once, whoever asks; of those who ask in the same microseconds each asks itself."""
    together = [
        cell for cell in cells if cell.client == "nfs" and cell.workload == "par4" and cell.operation != "GETATTR"
    ]
    shared = {"LOOKUP", "READLINK", "READDIR", "READDIRPLUS", "OPEN_NOATTR"}
    assert len(together) == 18
    for cell in together:
        if cell.operation in shared:
            assert cell.is_exact, cell
        else:
            assert 0 <= cell.counted - cell.predicted <= 15, cell
