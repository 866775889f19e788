"""Colours on a terminal: what is to be read has the terminal's own foreground, or a ground of its own that it can be read on."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.color import Color
from rich.console import Console
from rich.style import Style

from fsprobe.model.answers import Check, LimitRow
from fsprobe.report.terminal import comparison, first_screen, limits, run
from fsprobe.report.terminal.console import BAD, GOOD, INFO, MIND, Screen, marked
from tests.report.profiles import changed, hand_built
from tests.report.profiles import comparison as layouts

SCREENS: dict[str, Callable[[Console], None]] = {
    "run": lambda console: run.draw(console, hand_built(), "x.fsprobe"),
    "first screen": lambda console: first_screen.draw(console, hand_built(), "x.fsprobe"),
    "comparison": lambda console: comparison.draw(console, layouts()),
    "check": lambda console: limits.draw(
        console,
        Check(limits=(LimitRow(name="metadata", what="metadata calls", n=5, n_most=3, because="--max-metadata 3"),)),
    ),
}


def luminance(color: Color) -> float:
    """As WCAG 2 defines it."""
    channels = [one / 255 for one in color.get_truecolor()]
    red, green, blue = (one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("style", [GOOD, MIND, BAD, INFO])
def test_a_marked_word_can_be_read_on_any_screen(style: str) -> None:
    parsed = Style.parse(style)
    assert parsed.color is not None
    assert parsed.bgcolor is not None
    # from 16 on they are alike in all terminals
    assert {parsed.color.number or 0, parsed.bgcolor.number or 0} & set(range(16)) == set()
    light, dark = sorted((luminance(parsed.color), luminance(parsed.bgcolor)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize("name", SCREENS)
def test_no_screen_has_a_terminals_own_colours(name: str) -> None:
    out = io.StringIO()
    SCREENS[name](Screen(file=out, width=80, highlight=False, force_terminal=True, color_system="256"))
    codes = re.findall(r"\x1b\[([\d;]*)m", out.getvalue())
    assert codes, "bold at least"
    for code in codes:
        plain = re.sub(r"[34]8;5;\d+", "", code)
        own = [int(one) for one in plain.split(";") if one and int(one) not in (0, 1, 4)]
        assert own == [], "2 is dim, 30 to 37 and 90 to 97 are colours that no theme has right for dark and light"
        assert ("38;5" in code) == ("48;5" in code), "letters of a colour have a ground of a colour"


def test_a_word_is_marked_where_it_first_stands() -> None:
    found = marked("no \x1b[31mheavy heavy", "bold", {"heavy": BAD, "none": GOOD, "": MIND})
    assert found.plain == "no \\x1b[31mheavy heavy"
    assert [(span.start, span.end, span.style) for span in found.spans] == [(11, 16, BAD)]


def test_the_verdicts_level_is_marked() -> None:
    profile = hand_built()
    assert profile.verdict is not None
    out = io.StringIO()
    console = Screen(file=out, width=80, highlight=False, force_terminal=True, color_system="256")
    for level, sentence in (("heavy", "The filesystem load is heavy: x."), ("danger", "This is a danger to all.")):
        first_screen.draw(
            console, changed(profile, verdict=changed(profile.verdict, level=level, sentence=sentence)), "x"
        )
        assert f"\x1b[1;38;5;231;48;5;160m{level}\x1b[0m" in out.getvalue()
