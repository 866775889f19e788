"""How numbers look: every count, time, share, rate and size that people read is formatted here."""

from __future__ import annotations

NOT_OBSERVED = "not observed"


def count(n: int | float | None) -> str:
    """`12,345`."""
    return NOT_OBSERVED if n is None else f"{n:,.0f}"


def seconds(value: float | None) -> str:
    """`2.7 s`, `45 ms`, `12 us`: three significant figures at most, a unit always."""
    if value is None:
        return NOT_OBSERVED
    if value >= 100:
        return f"{value:,.0f} s"
    value = float(f"{value:.3g}")  # before a unit is chosen: 999.6 ms are 1 s
    if value >= 1:
        return f"{value:.3g} s"
    if value >= 0.001:
        return f"{value * 1e3:.3g} ms"
    return f"{value * 1e6:.3g} us"


def rounded_seconds(value: float) -> str:
    """`2.7 s`, `46 ms`, `1,200 s`: two significant figures, for sentences."""
    return seconds(float(f"{value:.2g}")) if value else "0 s"


def cpu(value: float | None) -> str:
    """A CPU time: the kernel counts that of a tracer's children in ticks of 10 ms, of which 0 is none."""
    return "< 10 ms" if value == 0 else seconds(value)


def milliseconds(value: float | None) -> str:
    """A latency that is given in ms, as `seconds` writes it."""
    return seconds(None if value is None else value / 1e3)


def share(value: float | None) -> str:
    """`12%`; `<1%` for what is there but small."""
    if value is None:
        return NOT_OBSERVED
    if 0 < value < 0.01:
        return "<1%"
    return f"{value * 100:.0f}%"


def part_of(n: int, total: int) -> str:
    """The share of a total; `-` of nothing."""
    return share(n / total) if total else "-"


def rate(value: float | None) -> str:
    """`1,234/s`."""
    return NOT_OBSERVED if value is None else f"{value:,.0f}/s"


def size_bytes(value: int | None) -> str:
    """`1.5 MiB`."""
    if value is None:
        return NOT_OBSERVED
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            return f"{amount:,.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.3g} {unit}"
        amount /= 1024
    raise AssertionError("unreachable")


def ratio(value: float | None, n_more: int = 0) -> str:
    """`1.04x`, `3.2x`, `1,795x`: two decimals up to 2, where they decide; `n_more` decimals where two ratios would look alike."""
    if value is None:
        return NOT_OBSERVED
    if value < 0.1:
        return f"{value:.{2 + n_more}g}x"
    n_decimals = 2 if round(value, 2) < 2 else 1 if round(value, 1) < 10 else 0
    return f"{value:,.{n_decimals + n_more}f}x"


def ratios(low: float, high: float) -> str:
    """`2.1x to 2.4x`: an interval, its ends with a decimal more where they would look alike."""
    n_more = int(low != high and ratio(low) == ratio(high))
    return f"{ratio(low, n_more)} to {ratio(high, n_more)}"


def plural(n: int, one: str, many: str | None = None) -> str:
    """`1 process`, `3 processes`."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"
