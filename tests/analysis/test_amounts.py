"""Seconds and shares in sentences."""

from __future__ import annotations

import pytest

from fsprobe.analysis import amounts


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0 s"),
        (7.9e-4, "790 us"),
        (0.00234, "2.3 ms"),
        (0.19, "190 ms"),
        (0.9994, "1 s"),
        (2.345, "2.3 s"),
        (25.6, "26 s"),
        (99.6, "100 s"),
        (4.48e-4, "450 us"),
        (0.448, "450 ms"),
        (3600.0, "3,600 s"),
    ],
)
def test_seconds(value: float, words: str) -> None:
    assert amounts.seconds(value) == words


@pytest.mark.parametrize(("value", "words"), [(0.0, "0%"), (0.001, "<1%"), (0.123, "12%"), (1.0, "100%")])
def test_shares(value: float, words: str) -> None:
    assert amounts.share(value) == words
