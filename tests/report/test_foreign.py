"""Foreign text: what does not print is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsprobe.report import foreign
from fsprobe.report.foreign import visible, visible_in

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain /p/a b", "plain /p/a b"),
        ("naïve 名前", "naïve 名前"),
        ("a\nb\tc\x1b[31m", "a\\x0ab\\x09c\\x1b[31m"),
        ("\u202egnp", "\\u202egnp"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_is_shown(value: str, shown: str) -> None:
    assert visible(value) == shown


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_is_one_line_that_any_file_can_hold(value: str) -> None:
    shown = visible(value)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert visible(shown) == shown


def test_commands_keep_their_lines_and_nothing_else_does() -> None:
    value = {"commands": ["a\nb\x1b"], "title": "a\nb", "n": 3, "x": None}
    assert visible_in(value) == {"commands": ["a\nb\\x1b"], "title": "a\\x0ab", "n": 3, "x": None}


def test_only_our_own_commands_are_marked_up() -> None:
    sentence = (
        "Compile first (`fsprobe pack --compile` does both): `UV_COMPILE_BYTECODE=1`, not `rm -rf /`, `<b>` or ``."
    )
    assert foreign.parts(sentence) == [
        ("Compile first (", False),
        ("fsprobe pack --compile", True),
        (" does both): ", False),
        ("UV_COMPILE_BYTECODE=1", True),
        (", not `rm -rf /`, `<b>` or ``.", False),
    ]


def test_every_command_in_a_sentence_of_ours_is_one_that_is_marked_up() -> None:
    # what stands in backquotes in the rules and in the caveats is what `parts` knows
    rooms = [*(ROOT / "fsprobe" / "analysis" / "findings").glob("*.py"), ROOT / "fsprobe" / "report" / "caveats.py"]
    for room in rooms:
        for text in re.findall(r'^\s+(?:advice=)?f?"([^"]+`[^"]+)"', room.read_text(), re.M):
            assert "`" not in "".join(part for part, is_own in foreign.parts(text) if not is_own), (room, text)
