"""Pictures for papers and tickets, PNG or SVG by the file's suffix. Drawn on figures of their own, never through pyplot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from fsprobe import files, numbers
from fsprobe.errors import EXIT_BAD_INPUT, BadInput, FsprobeError
from fsprobe.model.answers import CurvePoint
from fsprobe.model.comparison import Comparison, LayoutRow
from fsprobe.model.profile import Profile
from fsprobe.report import comparison_facts, facts
from fsprobe.report.foreign import visible

PHASE_COLOURS = {
    "launch": "#c9c4ba",
    "loader": "#a09a8e",
    "init": "#b9d8d6",
    "site": "#7db5b3",
    "import": "#0d6468",
    "run": "#d69d3c",
}
ACCENT, SECOND, INK, SOFT, LINE = "#0d6468", "#8f9bd0", "#1d2125", "#5d646b", "#e3e0d9"
SERIES = (ACCENT, "#d69d3c", "#6f7fc4", "#a8433a", "#5f8f45", "#8a6aa0", "#a09a8e")
LINES = ("-", (0, (6, 3)), (0, (2, 2)), (0, (6, 2, 1.5, 2)))
SUFFIXES = (".png", ".svg")
DPI = 160


def comparison(comparison: Comparison, path: str | Path) -> None:
    """Wall time (median, every run, least to most) and requests of each layout, side by side.

    Raises:
        BadInput: no rows, or a suffix that is neither .png nor .svg.
        FsprobeError: the file can't be written.
    """
    rows = comparison.rows
    if not rows:
        raise BadInput("the comparison has no layouts to draw")
    figure = Figure(figsize=(9.5, 1.5 + 0.62 * len(rows)), layout="constrained")
    walls, requests = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    at = list(range(len(rows)))[::-1]
    _draw_walls(walls, rows, at, comparison.baseline)
    counts = [row.n_requests for row in rows]
    for y, n in zip(at, counts, strict=True):
        requests.barh(y, n or 0, height=0.55, color=SECOND)
        requests.annotate(
            numbers.count(n), (n or 0, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9, color=INK
        )
    command = visible(facts.command_line(comparison))
    if command:
        short = _plain(command if len(command) <= 90 else command[:89] + "…")
        figure.suptitle(short, x=0.01, ha="left", fontsize=10, color=INK)
    requests.set_xlabel(f"{comparison_facts.requests_name(comparison)}, cold cache (predicted)")
    requests.margins(x=0.22)
    requests.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    requests.xaxis.set_major_formatter(lambda value, _: numbers.count(value))
    walls.set_yticks(at, [_layout_label(row) for row in rows])
    for axes in (walls, requests):
        calm(axes, "x")
        axes.set_xlim(left=0)
        axes.tick_params(axis="y", length=0)
    _save(figure, path)


def _draw_walls(axes: Axes, rows: Sequence[LayoutRow], at: Sequence[int], baseline: str) -> None:
    longest = 0.0
    for y, row in zip(at, rows, strict=True):
        wall = row.wall_s
        if wall is None:
            axes.annotate(
                numbers.NOT_OBSERVED, (0, y), xytext=(5, 0), textcoords="offset points", va="center", color=SOFT
            )
            continue
        longest = max(longest, wall.max)
        axes.barh(y, wall.median, height=0.55, color=LINE if row.layout == baseline else "#a8d0cd")
        axes.plot([wall.min, wall.max], [y, y], color=INK, linewidth=1.2, solid_capstyle="butt")
        axes.plot(wall.runs, [y] * len(wall.runs), "o", color=INK, markersize=3.5, alpha=0.65)
        label = numbers.seconds(wall.median) + (f" (n={len(wall.runs)})" if wall.runs else "")
        label += _answer(row) if row.layout != baseline else ""
        axes.annotate(
            label, (wall.max, y), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9, color=INK
        )
    axes.set_xlabel("wall time, untraced, s (bar: median; dots: runs)")
    axes.set_xlim(right=longest * 1.3 or 1)


def _answer(row: LayoutRow) -> str:
    """What the runs say against the baseline's, on a line of its own."""
    if row.clear is False:
        return "\ntoo few runs to tell" if row.verdict.startswith("too few") else "\nno clear difference"
    if row.clear and row.ratio_wall:
        ratio = row.ratio_wall
        return f"\n{numbers.ratio(1 / ratio if ratio < 1 else ratio)} {'faster' if ratio < 1 else 'slower'}"
    return "\nnot compared" if row.verdict.startswith("not compared") else ""


def _layout_label(row: LayoutRow) -> str:
    parts = [visible(part) for part in (row.fstype, row.cache) if part]
    return _plain(visible(row.layout) + ("\n" + ", ".join(parts) if parts else ""))


def timeline(profile: Profile, path: str | Path) -> None:
    """Metadata calls in each step of time (0.1 s, in long runs more) by phase, stacked; pauses stay empty.

    Raises:
        BadInput: the profile has no times, or a suffix that is neither .png nor .svg.
        FsprobeError: the file can't be written.
    """
    rows, step_s = profile.metrics.timeline, profile.metrics.timeline_step_s
    if not rows:
        raise BadInput("this recording has no times, so there is no timeline to draw")
    figure = Figure(figsize=(9.5, 3.4), layout="constrained")
    axes = figure.subplots()
    times = [row.t_s for row in rows]
    below = [0.0] * len(rows)
    for phase, colour in PHASE_COLOURS.items():
        counts = [row.by_phase.get(phase, 0) for row in rows]
        if any(counts):
            axes.bar(
                times,
                counts,
                width=step_s,
                align="edge",
                bottom=below,
                color=colour,
                label=phase,
                edgecolor="white",
                linewidth=0.3,
            )
            below = [low + n for low, n in zip(below, counts, strict=True)]
    axes.set_xlim(0, times[-1] + step_s)
    axes.set_xlabel("time under tracing, s")
    axes.set_ylabel(f"metadata calls per {step_s:g} s")
    calm(axes, "y")
    command = visible(facts.command_line(profile.manifest))
    axes.set_title(_plain(command if len(command) <= 90 else command[:89] + "…"), loc="left", fontsize=10, color=INK)
    axes.legend(frameon=False, ncols=6, fontsize=9, loc="upper right", bbox_to_anchor=(1, -0.16))
    _save(figure, path)


def nodes_curve(rows: Sequence[CurvePoint], path: str | Path, *, title: str = "", subtitle: str = "") -> None:
    """Time to start over the number of nodes: predicted as lines, measured as dots, both axes logarithmic.

    Args:
        rows: the points of each layout; their latency is not shown.
        path: the picture; .png or .svg.
        title: what it shows.
        subtitle: what it assumes.

    Raises:
        BadInput: no rows, or a suffix that is neither .png nor .svg.
        FsprobeError: the file can't be written.
    """
    if not rows:
        raise BadInput("there are no rows to draw a curve of")
    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    axes = figure.subplots()
    has_measured = any(row.measured_s is not None for row in rows)
    layouts = list(dict.fromkeys(row.layout for row in rows))
    for number, layout in enumerate(layouts):
        colour = SERIES[number % len(SERIES)]
        own = sorted((row for row in rows if row.layout == layout), key=lambda row: row.n_nodes)
        predicted = [(row.n_nodes, row.predicted_s) for row in own if row.predicted_s is not None]
        measured = [(row.n_nodes, row.measured_s) for row in own if row.measured_s is not None]
        name = _plain(visible(layout))
        if predicted:
            # lines that lie on one another are all seen: the first is the widest, and the later ones have gaps
            axes.plot(
                *zip(*predicted, strict=True),
                color=colour,
                linewidth=max(1.6, 3.6 - 0.8 * number),
                linestyle=LINES[number % len(LINES)],
                label=f"{name}, predicted" if has_measured else name,
            )
        if measured:
            axes.plot(
                *zip(*measured, strict=True),
                "o",
                color=colour,
                markersize=6,
                markeredgecolor="white",
                label=f"{name}, measured",
            )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    nodes = sorted({row.n_nodes for row in rows if float(row.n_nodes).is_integer()})
    shown = nodes if len(nodes) <= 12 else nodes[:: -(-len(nodes) // 12)]
    axes.set_xticks(shown, [numbers.count(n) for n in shown])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if _is_narrow(rows) else (1,)))
    axes.yaxis.set_major_formatter(lambda value, _: numbers.seconds(value))
    axes.set_xlabel("nodes that start at once")
    axes.set_ylabel("time to start")
    calm(axes, "both")
    if title:
        axes.set_title(_plain(title), loc="left", fontsize=11, color=INK, pad=24 if subtitle else 8)
    if subtitle:
        axes.annotate(
            _plain(subtitle),
            (0, 1),
            xytext=(0, 8),
            xycoords="axes fraction",
            textcoords="offset points",
            color=SOFT,
            fontsize=9,
        )
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1), handlelength=3)
    _save(figure, path)


def _is_narrow(rows: Sequence[CurvePoint]) -> bool:
    """Do the times span so little that powers of ten alone would label too few places?"""
    times = [time for row in rows for time in (row.predicted_s, row.measured_s) if time]
    return not times or max(times) / min(times) < 1000


def _plain(text: str) -> str:
    """Foreign text for matplotlib: a dollar would begin a formula."""
    return text.replace("$", r"\$")


def calm(axes: Axes, grid: Any) -> None:
    """Axes as all pictures have them, with a grid along `grid` ("x", "y" or "both")."""
    axes.grid(axis=grid, color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left" if grid == "x" else "right"):
        axes.spines[side].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color("#c9c5bc")
    axes.tick_params(colors=SOFT, labelcolor=INK)
    axes.xaxis.label.set_color(SOFT)
    axes.yaxis.label.set_color(SOFT)


def _save(figure: Figure, path: str | Path) -> None:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInput(f"{path} ends in neither .png nor .svg", "name the picture NAME.png or NAME.svg")
    FigureCanvasAgg(figure)
    # without the date, and with ids that are not random, the same numbers make the same file
    metadata = {"Date": None} if suffix == ".svg" else {}
    try:
        with files.Replacing(str(path)) as out, rc_context({"svg.hashsalt": "fsprobe"}):
            figure.savefig(out, format=suffix[1:], dpi=DPI, facecolor="white", metadata=metadata)
    except OSError as error:
        raise FsprobeError(f"cannot write {path}: {error.strerror}", "name another place", EXIT_BAD_INPUT) from error
