"""Seconds and shares as sentences give them: two significant figures, a unit always. Tables have three: `report.numbers`."""

from __future__ import annotations


def seconds(value: float) -> str:
    """`2.7 s`, `45 ms`, `12 us`."""
    value = float(f"{value:.2g}")
    if value >= 1 or not value:
        return f"{value:,.0f} s" if value >= 10 else f"{value:g} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} us"


def share(value: float) -> str:
    """`12%`; `<1%` for what is there but small."""
    return "<1%" if 0 < value < 0.01 else f"{value:.0%}"
