"""Where the seconds of imports went, and of a job's ranks: terminal, Markdown and page say the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fsprobe import capabilities
from fsprobe.model.job import Job
from fsprobe.model.profile import Profile
from fsprobe.model.time.account import TimeAccount, TimeRow
from fsprobe.report import facts, job_facts, markdown, sentences
from fsprobe.report.html.tables import all_tables
from fsprobe.report.terminal import run
from tests.report.profiles import hand_built

ROWS = tuple(
    TimeRow(key=name, wall_s=wall_s, cpu_s=wall_s / 4, metadata_s=wall_s / 2, other_s=wall_s / 4, wall_cum_s=wall_s + 1)
    for name, wall_s in (("numpy", 1.6), ("pandas", 0.8))
)
ACCOUNT = TimeAccount(
    wall_s=8.0, cpu_s=1.0, metadata_s=2.0, reads_s=None, other_s=5.0, overhead_s=0.5, by_import=ROWS, by_package=ROWS
)


@pytest.fixture
def timed() -> Profile:
    made = hand_built()
    return replace(made, time=ACCOUNT, metrics=replace(made.metrics, share_of_wall=0.99))


def test_packages_on_the_terminal(timed: Profile) -> None:
    shown = run.render(timed, "x.fsprobe")
    line = next(line for line in shown.splitlines() if line.startswith("numpy") and "1.6 s" in line)
    assert line.split() == ["numpy", "1.6", "s", "400", "ms", "800", "ms", "400", "ms"]
    assert "not observed: in reads" in shown


def test_packages_in_markdown(timed: Profile) -> None:
    shown = markdown.render(timed)
    assert "| `numpy` | 1.6 s | 400 ms | 800 ms | not observed | 400 ms |" in shown
    assert "| waiting in metadata calls | 2 s (25%) |" in shown


def test_tables_of_the_page(timed: Profile) -> None:
    found = {table["id"]: table for table in all_tables(timed)}
    for name in ("import-seconds", "package-seconds"):
        keys = [column["key"] for column in found[name]["columns"]]
        assert keys == ["key", "wall_s", "wall_cum_s", "cpu_s", "metadata_s", "other_s"], (
            "what was not observed is left out"
        )
        assert found[name]["rows"][0] == ["numpy", 1.6, 2.6, 0.4, 0.8, 0.4]
    assert "import-seconds" not in {table["id"] for table in all_tables(replace(timed, time=None))}


def test_one_figure_for_waiting_in_metadata_calls(timed: Profile) -> None:
    """That of the bar, 2 s of 8 s, wherever it stands."""
    figure = facts.time_in_calls(timed, "of the wall time")
    assert (figure.label, figure.value) == ("Waiting in metadata calls", "25%")
    assert figure.note == "of the wall time, tracing overhead subtracted; 2 s"
    shown = run.render(timed, "x.fsprobe")
    assert "waiting in metadata calls: 2 s (25%)" in shown
    assert "up to" not in shown
    assert sentences.share_pattern(replace(timed, time=None)).startswith("up to")


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ((capabilities.DURATIONS, capabilities.FOREIGN_PROGRAMS), "under tracing, which slows every call"),
        (
            (capabilities.DURATIONS, capabilities.TRUE_DURATIONS, capabilities.FOREIGN_PROGRAMS),
            "under the inline recorder, which slows every call a little",
        ),
        ((capabilities.RESULTS,), "under the hooks, which slow every call"),
    ],
)
def test_a_jobs_rates_are_under_the_recorder_that_was_there(shown: tuple[str, ...], words: str) -> None:
    made = replace(hand_built(), manifest=replace(hand_built().manifest, capabilities=shown))
    assert job_facts.rates_note(made) == f"Rates are those {words}."


def test_by_which_clocks_nodes_are_compared_is_said_of_several() -> None:
    of = {n: replace(hand_built(), job=Job(n_nodes_traced=n, clock="By their own clocks.")) for n in (1, 2)}
    assert job_facts.times_note(of[1]) == job_facts.rates_note(of[1])
    assert job_facts.times_note(of[2]) == f"By their own clocks. {job_facts.rates_note(of[2])}"


def test_times_of_calls_are_said_to_include_the_tracing_overhead_where_there_is_one() -> None:
    for us in (9.0, 0.0):
        made = replace(hand_built(), time=ACCOUNT, metrics=replace(hand_built().metrics, tracing_overhead_us=us))
        notes = {table["id"]: table["note"] for table in all_tables(made)}
        for name in ("modules", "packages", "mounts", "processes", "paths"):
            assert ("Times include the tracing overhead." in notes[name]) is (us > 0), name
        assert "overhead subtracted" in notes["package-seconds"]
        shown = " ".join(run.render(made, "x.fsprobe").split())
        words = "times here and below include the tracing overhead, some 9 us per call, but not the seconds by package"
        assert (words in shown) is (us > 0)
