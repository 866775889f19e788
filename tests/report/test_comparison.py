"""What the views say of a comparison: which calls differ, and whose requests are whose."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from fsprobe.model.comparison import Comparison, Difference, Differences, LayoutCounts, LayoutRow
from fsprobe.report import markdown
from fsprobe.report.html import page as html
from fsprobe.report.terminal import comparison as terminal
from tests.report.profiles import comparison

ROWS = (
    Difference(path="/p/train.py", op="open", baseline=2, layout=0),
    Difference(path="/p/train.py", op="stat", baseline=1, layout=0),
)
MEMORY = (
    "no disk and no server is asked for what lies in memory (flash): its requests are those of the same paths elsewhere"
)


def plain_words(text: str) -> str:
    return " ".join(text.split())


def test_two_kinds_of_call_on_one_path_are_two_counts() -> None:
    found = Differences(n_baseline=10, n_layout=7, n_paths=2, rows=ROWS)
    made = replace(comparison(), differences={"flash": found})
    assert "flash differs in 2 counts by path and kind (-3 calls):" in terminal.render(made)
    assert "7 metadata calls against 10; they differ in 2 counts by path and kind." in html.render(made)
    assert "-3 metadata calls, differing in 2 counts by path and kind" in markdown.render(made)
    assert all("2 paths" not in view for view in (terminal.render(made), html.render(made), markdown.render(made)))


def test_without_an_answer_there_is_no_room_for_one() -> None:
    rows = tuple(LayoutRow(layout=name, cache="unknown", metrics=LayoutCounts(n_open=1)) for name in ("a", "b"))
    made = Comparison(baseline="a", rows=rows)
    assert terminal.render(made).startswith("\nrecording")


def test_requests_of_a_copy_in_memory_are_asked_of_nobody() -> None:
    plain, second, *others = comparison().rows
    local = replace(plain, fstype="ext4")
    views = terminal.render, html.render, markdown.render
    in_memory = replace(
        comparison(), rows=(local, replace(second, layout="flash", kind="copy", fstype="tmpfs"), *others)
    )
    on_disk = replace(comparison(), rows=(local, replace(second, layout="flash", kind="copy", fstype="xfs"), *others))
    for view in views:
        assert MEMORY in plain_words(view(in_memory))
        assert "in memory" not in plain_words(view(on_disk))


class Screen(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_step_that_is_done_is_not_at_its_beginning_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Screen()
    with terminal.progress(out) as tell:
        assert tell is not None
        tell("timing", 4, 4)
        tell("cleaning up", 0, 1)
    frames = re.split(r"\r|\n|\x1b\[2K", out.getvalue())
    assert any("cleaning up" in frame for frame in frames)
    assert not [frame for frame in frames if "timing" in frame and " 0%" in frame]
