"""The time account of a merged job: the sum of what each rank's own recording says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from fsprobe import capabilities, pipeline
from fsprobe.jobs.reading.recordings import gather
from fsprobe.jobs.total import merge
from fsprobe.model import serial
from fsprobe.recording import file as recording
from fsprobe.report import markdown
from fsprobe.report.html import page
from fsprobe.report.terminal import job as terminal
from tests.job_recordings import rank_variables

TRACER = (
    capabilities.LOADER,
    capabilities.RESULTS,
    capabilities.STATS,
    capabilities.FOREIGN_PROGRAMS,
    capabilities.DURATIONS,
    capabilities.CHILDREN,
)
T0 = 1_800_000_000


def rank(path: Path, number: int, n_slow: int, slow_s: float, wall_s: float) -> None:
    """A rank of 100 calls of 10 us, of `n_slow` that took `slow_s` longer, and of 0.5 s of CPU, as strace writes it."""
    lines, now, since = [], 0.0, 0.0
    for n in range(100 + n_slow):
        took = 10e-6 + (slow_s if n >= 100 else 0.0)
        now += since
        lines.append(
            f'{100 + number} {T0 + now:.6f} (+     {since:.9f}) stat("/p/f{n}", 0x1) = -1 ENOENT (No such file or directory) <{took:.6f}>'
        )
        since = took + 1e-3
    manifest = {
        "backend": "strace",
        "capabilities": [*TRACER],
        "wall_s": wall_s,
        "user_s": 0.5,
        "sys_s": 0.0,
        "majflt": 1,
        "started_s": T0,
        "job": rank_variables(number, size=3, per_node=2),
    }
    mounts = b"30 1 0:99 / /p rw - lustre mds@tcp:/p rw\n"
    sections = [
        ("manifest", json.dumps(manifest).encode()),
        ("log", "\n".join([*lines, ""]).encode()),
        ("marks", b""),
        ("mounts", mounts),
    ]
    recording.write(str(path), "recording", sections)


def test_the_account_of_a_job_is_the_sum_of_its_ranks(tmp_path: Path) -> None:
    for number, (n_slow, slow_s, wall_s) in enumerate(((10, 0.1, 2.5), (40, 0.1, 6.0), (0, 0.0, 1.0))):
        rank(tmp_path / f"r{number}.fsprobe", number, n_slow, slow_s, wall_s)
    paths = sorted(tmp_path.glob("*.fsprobe"))
    singles = [pipeline.analyse(path).time for path in paths]
    profile = merge(gather([str(path) for path in paths]))
    account = profile.time
    assert account is not None
    assert account.n_ranks == 3
    for part in ("wall_s", "cpu_s", "metadata_s", "both_s", "other_s", "overhead_s"):
        assert getattr(account, part) == pytest.approx(math.fsum(getattr(one, part) for one in singles)), part
    assert account.metadata_s == pytest.approx(5.0, rel=0.03), "10 and 40 calls of 0.1 s"
    assert account.cpu_s == pytest.approx(1.5)
    assert account.slowest is not None
    assert account.slowest.key == "rank 1"
    assert account.slowest.metadata_s == pytest.approx(4.0, rel=0.03)
    # one figure, in all views
    share = f"{account.metadata_s / account.wall_s:.0%}"
    assert profile.metrics.share_of_wall == pytest.approx(account.metadata_s / account.wall_s, abs=1e-3)
    shown = terminal.render(profile, "job.fsprobe")
    assert "of 3 ranks, summed, went" in shown
    assert f"waiting in metadata calls: {account.metadata_s:.3g} s ({share})" in shown
    assert "in the slowest, rank 1" in shown
    assert f"({share})" in markdown.render(profile)
    assert "in the slowest, rank 1" in page.render(profile)
    assert serial.to_json(profile)["time"]["slowest"]["key"] == "rank 1"
    assert profile.verdict is not None
    assert profile.verdict is not None
    assert "in an average rank, waiting for /p (lustre) took 1.7 s, 53% of the wall time" in profile.verdict.sentence
    assert not [reason for reason in profile.verdict.reasons if "took 0 s" in reason]
