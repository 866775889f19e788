"""Seconds and shares in sentences: two figures, never a power of ten."""

from __future__ import annotations

import pytest

from fsprobe.analysis import amounts


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0 s"),
        (0.00001234, "12 us"),
        (0.0456, "46 ms"),
        (0.996, "1 s"),
        (2.749, "2.7 s"),
        (12.6, "13 s"),
        (1_234_567.0, "1,200,000 s"),
    ],
)
def test_seconds(value: float, shown: str) -> None:
    assert amounts.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0%"), (0.0001, "<1%"), (0.0099, "<1%"), (0.01, "1%"), (0.555, "56%"), (1.0, "100%")]
)
def test_shares_are_those_of_the_tables(value: float, shown: str) -> None:
    assert amounts.share(value) == shown
