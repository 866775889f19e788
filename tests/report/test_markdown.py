"""Markdown: short, complete, and inert whatever the paths are called; read by a CommonMark parser with tables."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fsprobe.report import markdown
from fsprobe.report.foreign import visible
from tests.report.profiles import HOSTILE, bare, changed, comparison, hand_built, hostile

GOLD = Path(__file__).parent.parent / "gold" / "report.md"
READER = MarkdownIt("commonmark", {"html": True}).enable("table")


class Seen(HTMLParser):
    """The elements of a page, the text in its code elements, and its tables as rows of cells."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.codes: list[str] = []
        self.rows: list[int] = []
        self._in_code = 0
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag == "code":
            self._in_code += 1
            self.codes.append("")
        elif tag == "tr":
            self.rows.append(0)
        elif tag in ("td", "th"):
            self.rows[-1] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "code":
            self._in_code -= 1

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self.codes[-1] += data


PLAIN = set("h2 h3 p strong code pre ul li table thead tbody tr th td blockquote".split())


def test_the_report_of_the_hand_built_profile_is_the_gold_file(tmp_path: Path) -> None:
    made = re.sub(r"fsprobe \d+\.\d+\.\d+", "fsprobe VERSION", markdown.render(hand_built(), "run.fsprobe"))
    actual = tmp_path / "report.md"
    actual.write_text(made, encoding="utf-8")
    assert made == GOLD.read_text(encoding="utf-8"), f"differs from {GOLD}; the actual text is in {actual}"


@pytest.mark.parametrize("make", [hand_built, bare, hostile, comparison])
def test_a_reader_finds_headings_tables_lists_and_code_and_nothing_else(make: Any) -> None:
    seen = Seen(READER.render(markdown.render(make())))
    assert set(seen.elements) <= PLAIN, set(seen.elements) - PLAIN
    assert {name for name, _ in seen.attributes} <= {"class", "style"}


def test_hostile_text_is_shown_as_it_is() -> None:
    seen = Seen(READER.render(markdown.render(hostile())))
    assert visible(HOSTILE[0]) in seen.codes
    assert any(visible(HOSTILE[3]) == code for code in seen.codes)
    assert "echo one\necho two\n" in seen.codes


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    for make in (hand_built, hostile, comparison):
        text = markdown.render(make())
        for part in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in part.splitlines()}
            assert len(cells) == 1, part


foreign = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


@given(foreign)
def test_any_text_in_a_code_span_is_read_back(value: str) -> None:
    value = visible(value)
    expected = " ".join(value.split())
    for source, row in (("{}", 0), ("| a |\n| --- |\n| {} |", 2)):
        seen = Seen(READER.render(source.format(markdown.code(value))))
        assert [code.strip() for code in seen.codes] == [expected.strip()]
        assert len(seen.rows) == row


@given(foreign)
def test_any_text_as_words_makes_no_element(value: str) -> None:
    value = visible(value)
    for source in ("{}", "| a |\n| --- |\n| {} |", "- **a:** {}"):
        seen = Seen(READER.render(source.format(markdown.text(value))))
        assert set(seen.elements) <= {"p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "strong"}
        assert all(n == 1 for n in seen.rows)


@given(foreign)
def test_any_command_stands_in_one_block(value: str) -> None:
    value = visible(value, keep="\n")
    seen = Seen(READER.render("\n".join(markdown.block(value))))
    assert seen.elements == ["pre", "code"]
    assert seen.codes[0].strip("\n") == value.strip("\n")


def test_mentions_and_references_are_parted() -> None:
    made = markdown.text("@everyone #12 !3 https://x.org www.x.org 12 % 5.")
    assert "@everyone" not in made
    assert "#12" not in made
    assert "https://" not in made
    assert "12 % 5." in made


def test_it_is_a_ticket_readers_length() -> None:
    metrics = hand_built().metrics
    assert metrics.by_module is not None
    many = tuple(changed(metrics.by_module[4], key=f"m{number}") for number in range(500))
    profile = changed(
        hand_built(), metrics__by_module=metrics.by_module + many, metrics__by_package=metrics.by_package * 50
    )
    assert len(markdown.render(profile).splitlines()) < 120


def test_what_was_not_observed_is_said() -> None:
    text = markdown.render(bare())
    assert "### Imports\n\nNot observed." in text
    assert "**not observed**" in text
    assert "| Cache | not observed |" in text
    assert "No finding for this run." in text
