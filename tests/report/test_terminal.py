"""The terminal report and its numbers: width, foreign text, what was not observed, a gold file."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fsprobe.report import numbers, sentences
from fsprobe.report.terminal import run
from tests.report.profiles import HOSTILE, hand_built

GOLD = Path(__file__).parent.parent / "gold" / "terminal.txt"


def test_the_report_is_as_the_gold_file() -> None:
    text = run.render(hand_built(), recording="x.fsprobe")
    if os.environ.get("UPDATE_GOLD"):
        GOLD.write_text(text)
    if text != GOLD.read_text():
        GOLD.with_suffix(".actual").write_text(text)
    assert text == GOLD.read_text(), "compare with tests/gold/terminal.actual; UPDATE_GOLD=1 takes it"


def test_no_line_is_wider_than_80_columns() -> None:
    for line in run.render(hand_built(), recording="x" * 200).splitlines():
        assert cell_len(line) <= 80, line


@pytest.mark.parametrize("name", HOSTILE)
def test_foreign_text_obeys_no_control_character(name: str) -> None:
    profile = hand_built()
    for table in ("by_mount", "by_module", "by_package", "by_process", "by_path"):
        for row in profile["metrics"][table] or []:
            row["key"] = name + "\x1b[31m\x07"
    profile["manifest"]["command"] = [name, "\x1b]0;title\x07"]
    text = run.render(profile, recording=name)
    assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]
    assert "\x1b" not in text


@given(st.text())
def test_clean_text_is_printable_and_short(value: str) -> None:
    assert run.clean(value).isprintable()
    assert len(run.clean(value, 10)) <= 10


def test_what_was_not_observed_says_so_and_is_never_zero() -> None:
    profile = copy.deepcopy(hand_built())
    profile["manifest"].update(wall_s=None, user_s=None, sys_s=None, majflt=None, read_bytes=None)
    profile["metrics"]["share_fs_time_at_most"] = None
    for rows in ("by_phase", "by_package", "by_mount", "by_module"):
        for row in profile["metrics"][rows]:
            row["time_s"] = None
            row.update({name: None for name in ("p50_ms", "p95_ms", "max_ms", "time_cum_s") if name in row})
    profile["metrics"]["rates"] = dict.fromkeys(profile["metrics"]["rates"])
    text = run.render(profile, recording="x.fsprobe")
    for line in ("rate", "wall", "CPU"):
        assert any(found.startswith(line) and numbers.NOT_OBSERVED in found for found in text.splitlines()), line
    assert "not observed: median, p95, max" in text
    assert "None" not in text
    profile["metrics"]["by_module"] = None
    assert numbers.NOT_OBSERVED in run.render(profile, recording="x.fsprobe")


def test_the_headline_can_be_pasted() -> None:
    profile = hand_built()
    assert str(profile["metrics"]["n_startup"]) in sentences.headline(profile)
    assert sentences.headline(profile).endswith(".")
    assert "\n" not in sentences.headline(profile)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "not observed"),
        (0.0, "0 us"),
        (4e-6, "4 us"),
        (0.0123, "12.3 ms"),
        (2.719, "2.72 s"),
        (1234.5, "1,234 s"),
        (99.99, "100 s"),
    ],
)
def test_seconds_have_a_unit(value: float | None, shown: str) -> None:
    assert numbers.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0 %"), (0.004, "<1 %"), (0.5, "50 %"), (1.0, "100 %"), (None, "not observed")]
)
def test_shares(value: float | None, shown: str) -> None:
    assert numbers.share(value) == shown


def test_sizes_and_counts() -> None:
    assert numbers.size_bytes(1536) == "1.5 KiB"
    assert numbers.size_bytes(15_470_207) == "14.8 MiB"
    assert numbers.count(1234567) == "1,234,567"
    assert numbers.plural(1, "process", "processes") == "1 process"
    assert numbers.part_of(3, 0) == "-"


def test_an_import_that_only_hands_on_is_left_out() -> None:
    rows = [
        {"key": "a", "parent": None, "n_metadata_cum": 100},
        {"key": "a.b", "parent": "a", "n_metadata_cum": 95},
        {"key": "a.b.c", "parent": "a.b", "n_metadata_cum": 40},
        {"key": sentences.NO_IMPORT, "parent": None, "n_metadata_cum": 50},
    ]
    assert [row["key"] for row in sentences.costly_imports(rows)] == ["a", "a.b.c"]
