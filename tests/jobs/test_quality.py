"""What was not seen or not read of any rank: a job has the sum of it, and says so where its numbers are."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from fsprobe.jobs import sums, total
from fsprobe.jobs.comparison import compare_jobs
from fsprobe.jobs.reading.recordings import gather
from fsprobe.model.events import ParseQuality
from fsprobe.model.job import Absent, Unreadable
from fsprobe.recording import file as recording
from fsprobe.report import markdown
from fsprobe.report.terminal import job as terminal
from tests.job_recordings import rank_variables

SOURCE = Path(__file__).parents[1] / "data" / "servers" / "nfs-s4_stat.fsprobe"
N_RANKS = 6
NOT_ADDED = {"wall_start_ns", "unparsed_examples"}


def rank(number: int) -> ParseQuality:
    """Every field has something to add."""
    quality = ParseQuality()
    for at, field in enumerate(fields(ParseQuality)):
        value: Any = getattr(quality, field.name)
        if isinstance(value, bool):
            setattr(quality, field.name, number == at % N_RANKS)
        elif isinstance(value, int):
            setattr(quality, field.name, number * 10 + at)
        elif isinstance(value, dict):
            value.update({"of all": number + 1, f"of {number}": at + 1})
        elif isinstance(value, list):
            value.append(b"line %d" % number)
    return quality


@pytest.mark.parametrize("size", [1, 2, 3, N_RANKS])
def test_in_any_grouping_it_is_the_sum(size: int) -> None:
    whole = ParseQuality()
    for begin in range(0, N_RANKS, size):
        part = ParseQuality()
        for number in range(begin, begin + size):
            sums.add_quality(part, rank(number))
        sums.add_quality(whole, part)
    for at, field in enumerate(fields(ParseQuality)):
        value = getattr(whole, field.name)
        if isinstance(value, bool):
            assert value is True, field.name
        elif isinstance(value, dict):
            expected = {"of all": sum(range(1, N_RANKS + 1)), **{f"of {n}": at + 1 for n in range(N_RANKS)}}
            assert value == expected, field.name
        elif field.name not in NOT_ADDED:
            assert value == sum(number * 10 + at for number in range(N_RANKS)), field.name
    assert whole.unparsed_examples == [b"line %d" % number for number in range(5)]
    assert whole.wall_start_ns is None


def test_the_reports_of_a_job_say_it(tmp_path: Path) -> None:
    opened = recording.Recording(str(SOURCE))
    sections = [(name, b"".join(opened.section(name))) for name in opened.names() if name != "manifest"]
    for number in range(2):
        manifest = dict(opened.manifest, job=rank_variables(number, size=2, per_node=2))
        path = str(tmp_path / f"r{number}.fsprobe")
        recording.write(path, "recording", [("manifest", json.dumps(manifest).encode()), *sections])
    profile = total.merge(gather([str(tmp_path)]))
    lost = {"n_lost": 4711, "unseen": {"static-thing": 3}, "n_marks_unread": 815, "marks_unread": {"room": 815}}
    lost["not_started"] = {"broken-thing": 1}
    profile = replace(profile, quality=replace(profile.quality, **lost))
    for said in (terminal.render(profile, ""), markdown.render(profile, "")):
        said = " ".join(said.replace("\\", "").replace("**", "").split())
        for words in ("4,711 records lost", "static-thing", "815 marks for want of room", "broken-thing"):
            assert words in said


@pytest.mark.parametrize(
    ("n_absent", "n_unreadable", "said"),
    [
        (2, 0, "the other job lacks recordings: 2 that should be there"),
        (0, 1, "the other job lacks recordings: 1 that can't be read"),
        (2, 1, "the other job lacks recordings: 2 that should be there, 1 that can't be read"),
        (0, 0, ""),
    ],
)
def test_of_two_jobs_what_is_missing_is_named_and_no_more(n_absent: int, n_unreadable: int, said: str) -> None:
    whole = total.merge(gather([str(SOURCE)]))
    assert whole.job is not None
    lost = tuple(Unreadable(file=f"{n}.fsprobe", why="cut short") for n in range(n_unreadable))
    job = replace(whole.job, absent=Absent(n=n_absent), unreadable=lost)
    notes = compare_jobs(whole, replace(whole, job=job)).notes
    assert [note for note in notes if "lacks" in note] == [said] * bool(said)
