"""The picture of `benchmarks.layouts`: what was predicted against what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from fsprobe.model.formats import JsonObject
from fsprobe.report.plots import DPI, LINE, SERIES, SOFT, calm


def predicted_and_measured(rows: Sequence[JsonObject], path: Path, *, what: str, band: float) -> None:
    """Predicted against measured, both axes alike and logarithmic, with the line where they agree and a band about it.

    Args:
        rows: `{"series", "group", "predicted", "measured"}`, colour and shape by the first two; what is not positive has no
            place on these axes and is left out. With `"low"` and `"high"`, the 95 % interval of what was measured is drawn.
        path: the picture.
        what: the quantity with its unit.
        band: half the width of the band, as a share.

    Raises:
        ValueError: no rows.
    """
    shown = [row for row in rows if row["predicted"] > 0 and row["measured"] > 0]
    if not shown:
        raise ValueError("there are no rows to draw")
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    axes = figure.subplots()
    values = [row[name] for row in shown for name in ("predicted", "measured")]
    ends = [min(values) / 1.3, max(values) * 1.3]
    low, high = ([value * (1 + sign * band) for value in ends] for sign in (-1, 1))
    axes.fill_between(ends, low, high, color=LINE, label=f"within {band:.0%}", linewidth=0)
    axes.plot(ends, ends, color=SOFT, linewidth=1)
    intervals = [row for row in shown if "low" in row]
    if intervals:
        # one that reaches to 0 has no end on these axes: it goes on below them
        axes.vlines(
            [row["predicted"] for row in intervals],
            [max(row["low"], ends[0] / 10) for row in intervals],
            [row["high"] for row in intervals],
            color=SOFT,
            linewidth=0.8,
            alpha=0.6,
            label="measured, 95% interval",
        )
    colours = {
        name: SERIES[i % len(SERIES)] for i, name in enumerate(dict.fromkeys(str(row["series"]) for row in shown))
    }
    markers = {name: "osD^v"[i % 5] for i, name in enumerate(dict.fromkeys(str(row["group"]) for row in shown))}
    for series, group in dict.fromkeys((str(row["series"]), str(row["group"])) for row in shown):
        own = [row for row in shown if (str(row["series"]), str(row["group"])) == (series, group)]
        axes.plot(
            [row["predicted"] for row in own],
            [row["measured"] for row in own],
            linestyle="",
            marker=markers[group],
            color=colours[series],
            markersize=6,
            markeredgecolor="white",
            label=f"{series}, {group}",
        )
    for axis, set_scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        set_scale("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlim(ends[0], ends[1])
    axes.set_ylim(ends[0], ends[1])
    axes.set_xlabel(f"predicted: {what}")
    axes.set_ylabel(f"measured: {what}")
    calm(axes, "both")
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=DPI, facecolor="white")
