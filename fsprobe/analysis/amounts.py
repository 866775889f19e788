"""Seconds and shares as sentences give them: two significant figures, a unit always."""

from __future__ import annotations


def seconds(value: float) -> str:
    """`2.7 s`, `45 ms`, `12 us`."""
    if value >= 99.5:
        return f"{value:,.0f} s"
    for unit, least in (("s", 1.0), ("ms", 1e-3)):
        if value >= 0.995 * least:
            return f"{value / least:.2g} {unit}" if value < 99.5 * least else f"{value / least:.0f} {unit}"
    return f"{value * 1e6:.0f} us" if value else "0 s"


def share(value: float) -> str:
    """`12%`; `<1%` for what is there but small."""
    return "<1%" if 0 < value < 0.005 else f"{value:.0%}"
