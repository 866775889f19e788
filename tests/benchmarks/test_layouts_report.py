"""The benchmarks of layouts and nodes: what they work out, and that their reports are what their JSON says."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import evidence, nodes
from benchmarks.layouts import gains, measure, scene
from benchmarks.layouts import report as layouts_report
from benchmarks.layouts import waits as layouts_waits
from benchmarks.layouts import work as layouts_work

LAYOUTS, NODES = evidence.REPORTS / "layouts.json", evidence.REPORTS / "nodes.json"


def row(layout: str, cache: str, wall_s: float, metadata: int, read: int) -> dict[str, Any]:
    """One row of a comparison, as far as gains look at it."""
    medians = {"metadata": metadata, "read": read, "open": 0, "ioctl": 0}
    return {
        "layout": layout,
        "cache": cache,
        "wall_s": {"median": wall_s, "runs": [wall_s - 0.1, wall_s, wall_s + 0.1]},
        "cpu_s": {"user": {"median": 1.0}, "sys": {"median": 0.0}, "around": None},
        "server_requests": {name: {"median": n} for name, n in medians.items()},
    }


def test_gains_are_differences_of_requests_times_waits() -> None:
    rows = []
    for cache in ("cold", "warm"):
        rows += [row(label, cache, 2.0, 10, 300) for label in layouts_report.LAYOUTS]
        rows[-len(layouts_report.LAYOUTS)] = row("plain", cache, 5.0, 2010, 500)
    waits = {}
    for cache in layouts_waits.CACHES:
        waits |= {f"{cache} lookup": 1e-3, f"{cache} open": 2e-3, f"{cache} read": 0.5e-3, f"{cache} ioctl": 1e-5}
    waits |= {f"flash {name}": 0.3 * wait_s for name, wait_s in waits.items()}
    for cache, squashfs_s in (("cold", 0.9), ("warm", 0.6)):
        rows[[(each["layout"], each["cache"]) for each in rows].index(("native", cache))] = row(
            "native", cache, 0.6, 0, 0
        )
        local = {"local squashfs": squashfs_s, "local squashfuse": 0.6, "local overlay": 0.6}
        rows += [row(label, cache, wall_s, 0, 0) for label, wall_s in local.items()]
    slower = [
        {"layout": "plain", "cache": "cold", "slowdown_s": 0.2},
        {"layout": "squashfs", "cache": "cold", "slowdown_s": 0.05},
    ]
    found = {(gain["layout"], gain["cache"]): gain for gain in gains.gains(rows, waits, slower)}
    squashfs = found["squashfs", "cold"]
    assert squashfs["predicted_s"] == pytest.approx(2000 * 1e-3 + 200 * 0.5e-3)
    assert squashfs["measured_s"] == pytest.approx(3.0)
    assert squashfs["is_within"] is False
    assert squashfs["ratio_metadata_requests"] == 201
    # unpacking takes 0.3 s more than the program takes on the local disk
    assert squashfs["predicted_with_own_s"] == pytest.approx(2.1 - 0.3)
    # and waiting slows the plain one down by 0.15 s more
    assert squashfs["predicted_with_slowdown_s"] == pytest.approx(2.1 - 0.3 + 0.15)
    assert found["squashfs", "warm"]["own_s"] == 0
    assert found["native", "cold"]["own_s"] == 0
    assert 2.8 <= squashfs["measured_low_s"] <= 3.0 <= squashfs["measured_high_s"] <= 3.2
    # what is asked of the faster server is waited for less
    assert found["flash-like", "cold"]["predicted_s"] == pytest.approx(2.01 + 0.25 - 10 * 0.3e-3 - 300 * 0.15e-3)


def test_a_slowdown_is_what_computing_takes_more_beside_sleeps(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    rows = [
        row("plain", "cold", 1.0, 30, 20),
        row("native", "cold", 1.0, 0, 0),
        row("local squashfs", "cold", 1.0, 99, 0),
    ]
    code = "for _ in range(25): open('/dev/null').close()"
    (found,) = layouts_work.slowdowns(
        rows, {"cold lookup": 20e-3, "cold open": 1.0, "cold read": 10e-3}, tmp_path, code, 2
    )
    assert (found["layout"], found["n_waits"], found["wait_ms"]) == ("plain", 50, pytest.approx(16))
    # 50 sleeps of 16 ms are 0.8 s: they are taken off
    assert all(0 < took < 0.8 for took in found["alone_s"] + found["beside_s"])
    script = layouts_work.PROGRAM.format(code=code)
    begin = time.perf_counter()
    assert layouts_work.run(tmp_path, script, 2.0, 1.5e-3)[0] == 25
    assert time.perf_counter() - begin > 50 * 1.5e-3


def test_what_a_slowdown_is_set_against_sleeps_as_often_for_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, float]] = []

    def run(env: Path, script: str, per_open: float, wait_s: float) -> tuple[int, float]:
        asked.append((per_open, wait_s))
        return 10, 1.25 if wait_s else 1.0

    monkeypatch.setattr(layouts_work, "run", run)
    waits = {"cold lookup": 20e-3, "cold open": 1.0, "cold read": 10e-3}
    (found,) = layouts_work.slowdowns([row("plain", "cold", 1.0, 30, 20)], waits, tmp_path, "", 2)
    assert found["slowdown_s"] == 0.25
    # 50 waits over 10 opens; the first run counts the opens
    slept = pytest.approx(16e-3 - layouts_work.OVERSLEPT_S)
    assert asked == [(0.0, 0.0), (5.0, 0.0), (5.0, slept), (5.0, 0.0), (5.0, slept)]


def test_waits_are_by_the_requests_that_were_counted(tmp_path: Path) -> None:
    modules = [(tmp_path / f"{number}.py", tmp_path / f"{number}.pyc") for number in range(4)]
    for path in (path for pair in modules for path in pair):
        path.write_bytes(b"x")
    counted = iter(
        [
            dict.fromkeys(layouts_waits.KINDS, 0),
            {"lookup": 8, "open": 4, "read": 4, "ioctl": 4},  # cold
            {"lookup": 8, "open": 4, "read": 4, "ioctl": 4},
            {"lookup": 8, "open": 6, "read": 4, "ioctl": 8},  # warm
        ]
    )
    done: list[int] = []
    pairs = [(bytes(source), bytes(byte_code)) for source, byte_code in modules]
    found = layouts_waits.waits_s(pairs, lambda: next(counted), lambda: done.append(1))
    assert len(done) == 8
    assert set(found) == {f"{cache} {kind}" for cache in layouts_waits.CACHES for kind in layouts_waits.KINDS}
    assert found["warm lookup"] == found["warm open"]
    assert found["warm read"] == found["cold read"]
    assert all(0 < wait_s < 0.1 for wait_s in found.values())


def test_the_work_between_two_requests_is_computing() -> None:
    work = layouts_waits.Work()
    begin = time.process_time()
    for _ in layouts_waits.MODULES:
        work()
    assert time.process_time() - begin > 1e-3


def test_a_cell_that_is_measured_again_takes_the_place_of_the_older_one() -> None:
    def cell(name: str, ms: float, n_runs: int) -> dict[str, Any]:
        return {"workload": name, "latency_ms": ms, "n_runs": n_runs}

    cells: list[Any] = []
    for name, ms, n_runs in (("scipy+pyplot", 1.0, 2), ("pandas", 1.0, 5), ("pandas", 0.1, 6), ("pandas", 1.0, 1)):
        cells = measure.with_cell(cells, cell(name, ms, n_runs))
    assert [(each["workload"], each["latency_ms"], each["n_runs"]) for each in cells] == [
        ("pandas", 0.1, 6),
        ("pandas", 1.0, 1),
        ("scipy+pyplot", 1.0, 2),
    ]


def test_a_quiet_machine_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = iter([1.0, 0.0])  # a third question would be an error
    monkeypatch.setattr(scene, "busy_share", lambda: next(shares))
    scene.Patience()("", 0, 1)
    assert list(shares) == []
    spent = scene.Patience(left_s=0.0)
    monkeypatch.setattr(scene, "busy_share", lambda: 1.0)
    spent("", 0, 1)  # comes back although the machine is busy


@pytest.mark.skipif(not LAYOUTS.exists(), reason="no report of layouts in this checkout")
def test_the_report_of_layouts_is_what_its_json_makes(tmp_path: Path) -> None:
    report = json.loads(LAYOUTS.read_text())
    layouts_report.render(report, tmp_path / "layouts.json")
    assert (tmp_path / "layouts.md").read_text() == LAYOUTS.with_suffix(".md").read_text()
    assert (tmp_path / "layouts.png").stat().st_size > 10_000
    assert {(cell["workload"], cell["latency_ms"]) for cell in report["cells"]} == set(
        measure.wanted_cells(list(measure.WORKLOADS), measure.LATENCIES_MS)
    )
    for cell in report["cells"]:
        rows = {(each["layout"], each["cache"]): each for each in cell["comparison"]["rows"]}
        plain = rows["plain", "cold"]["server_requests"]["metadata"]["median"]
        for label in ("squashfs", "squashfuse", "overlay"):
            served = rows[label, "cold"]["server_requests"]
            assert served["metadata"]["median"] * 100 <= plain
            assert min(served["read"]["runs"]) > 0, "a run that was called cold read nothing"


@pytest.mark.skipif(not NODES.exists(), reason="no report of nodes in this checkout")
def test_the_report_of_nodes_is_what_its_json_makes(tmp_path: Path) -> None:
    nodes.render(json.loads(NODES.read_text()), tmp_path / "nodes.json")
    assert (tmp_path / "nodes.md").read_text() == NODES.with_suffix(".md").read_text()
    assert (tmp_path / "nodes.png").stat().st_size > 10_000
