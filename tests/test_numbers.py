"""Numbers as people read them: a unit always, never a power of ten."""

from __future__ import annotations

import pytest

from fsprobe import numbers


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
def test_seconds_in_sentences_have_two_figures(value: float, shown: str) -> None:
    assert numbers.rounded_seconds(value) == shown


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
        (0.9996, "1 s"),
        (0.0009996, "1 ms"),
        (0.9994, "999 ms"),
    ],
)
def test_seconds_have_a_unit(value: float | None, shown: str) -> None:
    assert numbers.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0%"), (0.004, "<1%"), (0.0099, "<1%"), (0.01, "1%"), (0.555, "56%"), (1.0, "100%"), (None, "not observed")],
)
def test_shares(value: float | None, shown: str) -> None:
    assert numbers.share(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.0, "1.00x"),
        (1.04, "1.04x"),
        (1.994, "1.99x"),
        (1.996, "2.0x"),
        (2.04, "2.0x"),
        (9.94, "9.9x"),
        (9.96, "10x"),
        (1794.7, "1,795x"),
        (0.98, "0.98x"),
        (0.0042, "0.0042x"),
    ],
)
def test_ratios_near_one_are_told_from_it(value: float, shown: str) -> None:
    assert numbers.ratio(value) == shown


def test_the_ends_of_an_interval_differ_as_shown() -> None:
    assert numbers.ratios(2.06, 2.14) == "2.06x to 2.14x"
    assert numbers.ratios(1.9, 2.34) == "1.90x to 2.3x"
    assert numbers.ratios(3.0, 3.0) == "3.0x to 3.0x"


def test_sizes_and_counts() -> None:
    assert numbers.size_bytes(1536) == "1.5 KiB"
    assert numbers.size_bytes(15_470_207) == "14.8 MiB"
    assert numbers.size_bytes(1023 << 20) == "1,023 MiB"
    assert numbers.size_bytes(1000 << 10) == "1,000 KiB"
    assert numbers.size_bytes(999) == "999 B"
    assert numbers.count(1234567) == "1,234,567"
    assert numbers.plural(1, "process", "processes") == "1 process"
    assert numbers.part_of(3, 0) == "-"
