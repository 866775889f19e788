"""How an error stands on a terminal: whole words, and what is there to be copied in one piece."""

from __future__ import annotations

import pytest

from fsprobe.cli.failures import fitted


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("fsprobe: no", 20, ["fsprobe: no"]),
        (
            "fsprobe: cannot read nosuch.fsprobe: No such file or directory",
            30,
            [
                "fsprobe: cannot read",
                "nosuch.fsprobe: No such file",
                "or directory",
            ],
        ),
        ("hint: type `fsprobe run -o FILE -- CMD` here", 20, ["hint: type", "`fsprobe run -o FILE -- CMD`", "here"]),
        ("a ` that is alone stays on one line", 20, ["a", "` that is alone stays on one line"]),
        ("/a/path/that/is/wider/than/the/screen", 20, ["/a/path/that/is/wider/than/the/screen"]),
        ("two  spaces stay two", 9, ["two ", "spaces", "stay two"]),
    ],
)
def test_an_error_is_broken_between_words(text: str, width: int, lines: list[str]) -> None:
    assert fitted(text, width).split("\n") == lines
