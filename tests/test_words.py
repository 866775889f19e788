"""The field's words, everywhere that a user or a developer reads: what this project once had words of its own for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FORMER = re.compile(
    r"\bin vain\b|\basked for by\b|\bdearer\b|\bstand-in\b|\bown traffic\b|\brequests of a cold client\b", re.IGNORECASE
)
READ = ("fsprobe/**/*.py", "fsprobe/**/*.j2", "fsprobe/**/*.js", "docs/**/*.md", "*.md")


def files() -> Iterator[Path]:
    """What is read: code, templates, pages."""
    for pattern in READ:
        yield from sorted(ROOT.glob(pattern))


@pytest.mark.parametrize("path", list(files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_word_of_a_private_english(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if FORMER.search(line)] == []


def test_the_grep_finds_them() -> None:
    assert all(
        FORMER.search(text)
        for text in (
            "12 looked up in vain",
            "Asked for by numpy",
            "a dearer start",
            "on the stand-in",
            "Own traffic",
            "Requests of a cold client",
        )
    )
