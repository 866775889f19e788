"""The time account as a bar: it fills its line, each part is named, and it needs no more than ASCII."""

from __future__ import annotations

import pytest

from fsprobe.model.time.account import TimeAccount, TimeRow
from fsprobe.report.terminal.time_bar import lines

ACCOUNT = TimeAccount(
    wall_s=25.6, cpu_s=0.8, metadata_s=0.05, reads_s=22.0, other_s=2.75, traced_wall_s=25.7, overhead_s=0.1, n_major_faults=212,
    n_reads=1100, n_read_bytes=15_414_067, cache_guess="cold",
)  # fmt: skip


@pytest.mark.parametrize("width", [40, 80])
def test_the_bar_fills_its_line_and_no_line_is_wider(width: int) -> None:
    shown = lines(ACCOUNT, width, ascii_only=True)
    assert [len(line) for line in shown if set(line) <= set("Cmr+.")] == [width]
    assert max(map(len, shown)) <= width
    assert all(line.isascii() for line in shown)


def test_each_part_has_its_share_of_the_bar_and_what_is_small_is_there() -> None:
    bar = lines(ACCOUNT, 80, ascii_only=True)[1]
    assert [bar.count(letter) for letter in "Cmr."] == [2, 1, 68, 9], "3.1%, 0.2%, 86% and 11% of 80 columns"


def test_the_legend_names_what_could_not_be_told_apart() -> None:
    strace = TimeAccount(wall_s=10.0, cpu_s=1.0, metadata_s=2.0, reads_s=None, other_s=7.0)
    shown = "\n".join(lines(strace))
    assert "other waiting (reads, page faults): 7 s (70%)" in shown
    assert "waiting in reads" not in shown
    assert "a guess" not in shown


def test_no_time_at_all_is_no_error() -> None:
    assert lines(TimeAccount(wall_s=0.0, other_s=0.0))[1] == ""


def test_a_job_has_its_slowest_ranks_bar_too() -> None:
    slowest = TimeRow(key="rank 7", wall_s=10.0, cpu_s=1.0, metadata_s=9.0, reads_s=0.0, other_s=0.0)
    job = TimeAccount(wall_s=25.0, cpu_s=10.0, metadata_s=10.0, reads_s=0.0, other_s=5.0, n_ranks=4, slowest=slowest)
    shown = lines(job, 80, ascii_only=True)
    assert shown[0] == "Where the 25 s of wall time of 4 ranks, summed, went"
    assert "of these 10 s in the slowest, rank 7" in shown
    assert [(line.count("C"), line.count("m")) for line in shown if set(line) <= set("Cmr+.")] == [(32, 32), (8, 72)]
