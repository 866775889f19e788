"""The first screen: some twelve lines, how the command ended first, nothing broken within a word, commands whole."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.text import Text

from fsprobe.model.finding import Finding
from fsprobe.model.profile import Profile
from fsprobe.model.time.account import TimeAccount, TimeRow
from fsprobe.report import facts
from fsprobe.report.terminal import first_screen, run
from fsprobe.report.terminal.console import Screen, broken, console_on, set_color
from tests.report.profiles import HOSTILE, changed, hand_built

LONG = "mksquashfs /project/project_465000001/" + "directory/" * 12 + "env env.sqsh -noappend -processors 1"
ACCOUNT = TimeAccount(
    wall_s=25.6, cpu_s=0.8, metadata_s=0.05, reads_s=22.0, other_s=2.75, traced_wall_s=25.7, overhead_s=0.1,
    by_import=(TimeRow(key="slow", wall_s=20.0), TimeRow(key="big.core", wall_s=3.0), TimeRow(key="a", wall_s=0.2),
               TimeRow(key="b", wall_s=0.15), TimeRow(key="tiny", wall_s=0.001)),
)  # fmt: skip


def finding(code: str, *commands: str) -> Finding:
    return Finding(
        code=code, severity="warn", audience="user", title=f"What {code} says", evidence="Seen.", advice="Do.",
        commands=commands, saves={}, source="",
    )  # fmt: skip


def whole(**more: object) -> Profile:
    """A run of which everything is known."""
    findings = (finding("FSP009", LONG, "second"), finding("FSP002", "third"))
    return changed(hand_built(), **{"time": ACCOUNT, "findings": findings, **more})


def lines_of(profile: Profile, width: int = 80, name: str = "x.fsprobe") -> list[str]:
    out = io.StringIO()
    first_screen.draw(Screen(file=out, width=width, highlight=False, color_system=None), profile, name)
    return out.getvalue().splitlines()


def test_it_has_all_that_somebody_needs_who_waits_at_a_prompt() -> None:
    lines = lines_of(whole())
    text = "\n".join(lines)
    assert len(lines) <= 15
    assert lines[0] == "fsprobe  python -c 'import big'"
    assert "One start asks 100 requests of /project; 1,000 ranks ask 100,000 at once." in text
    assert "100 metadata calls, 20 not found; cold cache: 100 server requests (predicted)" in text
    assert "Where the 25.6 s of wall time went" in text
    assert [line.split()[1] for line in lines if line.startswith("import ")] == ["slow", "big.core", "a"]
    assert re.search(r"^import big\.core +3 s, 25 calls of its own$", text, re.MULTILINE)
    assert "FSP009  What FSP009 says" in lines
    assert "FSP002  What FSP002 says" not in lines
    assert [line for line in lines if line.startswith("  $")] == [f"  $ {LONG}"], "one command, whole"
    assert "recording: x.fsprobe" in lines
    assert lines[-1].startswith("next:      fsprobe report x.fsprobe")
    assert "2 findings" in lines[-1]


def test_what_was_not_seen_is_named() -> None:
    cut = whole(manifest__log_truncated="the log reached --max-log", manifest__salvaged=True)
    assert "note: the log reached --max-log: what came after is not in the numbers (1 more" in "\n".join(lines_of(cut))
    assert not any(line.startswith("note:") for line in lines_of(whole()))


def test_what_fix_cures_is_what_fix_is_called_for() -> None:
    lines = lines_of(whole(findings=(finding("FSP001", LONG),)), name="a b.fsprobe")
    assert [line for line in lines if line.startswith("  $")] == ["  $ fsprobe fix 'a b.fsprobe'"]


def test_where_nothing_was_timed_the_imports_go_by_their_own_calls() -> None:
    assert first_screen.costliest(changed(hand_built(), time=None)) == [
        ("big.core", None, 25),
        ("big", None, 20),
        ("a.b", None, 15),
    ]


@pytest.mark.parametrize(
    ("facts_of_the_end", "line"),
    [
        ({"manifest__exit_code": 3}, "fsprobe: the command failed (exit code 3)"),
        (
            {"manifest__exit_code": 137, "manifest__signal": 9},
            "fsprobe: the command was ended by SIGKILL (exit code 137)",
        ),
    ],
)
def test_a_command_that_failed_says_so_on_the_first_line(facts_of_the_end: dict[str, int], line: str) -> None:
    profile = whole(**facts_of_the_end)
    assert lines_of(profile)[0] == line
    assert f"The command {facts.how_it_failed(profile.manifest)}." in run.render(profile, "x.fsprobe").splitlines()


@pytest.mark.parametrize("end", [{"manifest__exit_code": 0}, {"manifest__exit_code": None}])
def test_one_that_did_not_does_not(end: dict[str, int | None]) -> None:
    assert not any("failed (" in line or "ended by" in line for line in lines_of(whole(**end)))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("view", [first_screen.draw, run.draw])
def test_no_line_is_wider_than_the_screen_and_no_word_is_broken(width: int, view: object) -> None:
    profile = whole()
    texts = []
    for each in (width, 1000):
        out = io.StringIO()
        view(Screen(file=out, width=each, highlight=False, color_system=None), profile, "x.fsprobe")  # type: ignore[operator]
        texts.append(out.getvalue())
    for line in texts[0].splitlines():
        assert cell_len(line.rstrip()) <= width or LONG in line, line
    assert texts[0].count(LONG) == 1
    sentences = " ".join(texts[0].split())
    for words in ("One start asks 100 requests of /project;", "What FSP009 says"):
        assert words in sentences
    known = set(texts[1].split())
    torn = {word for word in texts[0].split() if word not in known and not set(word) & set("█▓▒░▏▎▍▌▋▊▉…")}
    assert torn <= {
        "no",
        "room",
        "here",
        "for:",
        "max",
        "median,",
        "p95,",
        "imported",
        "by",
        "time,",
        "stat,",
        "found,",
        "found",
    }


def test_columns_go_before_a_number_is_cut() -> None:
    out = io.StringIO()
    run.draw(Screen(file=out, width=60, highlight=False, color_system=None), hand_built(), "x.fsprobe")
    text = out.getvalue()
    assert "no room here for: max" in text
    assert "(standard library)" in text


@pytest.mark.parametrize("name", HOSTILE)
def test_foreign_text_is_shown_and_not_obeyed(name: str) -> None:
    profile = whole(manifest__command=(name, "\x1b]0;title\x07"), findings=(finding("FSP001", name + "\x1b[31m"),))
    text = "\n".join(lines_of(profile, name=name + "\x07"))
    assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("a bb ccc", 80, ["a bb ccc"]),
        ("a bb ccc", 4, ["a bb", "ccc"]),
        ("a /very/long/path b", 6, ["a", "/very/long/path", "b"]),
        ("日本 語", 4, ["日本", "語"]),
        ("  two spaces", 6, ["  two", "spaces"]),
        ("one\ntwo", 80, ["one", "two"]),
        ("took 52.4 ms, or 74 % of it", 9, ["took", "52.4 ms,", "or 74 %", "of it"]),
        ("1 so 2 msx", 3, ["1", "so", "2", "msx"]),
        ("", 10, [""]),
    ],
)
def test_where_a_text_breaks(text: str, width: int, lines: list[str]) -> None:
    assert [line.plain for line in broken(Text(text), width)] == lines


def test_colour_is_as_it_was_asked_for() -> None:
    def shown(when: str) -> str:
        out = io.StringIO()
        set_color(when)
        try:
            console_on(out).print(Text("x", style="bold red"))
        finally:
            set_color("auto")
        return out.getvalue()

    assert shown("auto") == shown("never") == "x\n"
    assert "\x1b[" in shown("always")
