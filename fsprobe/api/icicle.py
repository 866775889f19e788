"""The import tree as one picture without scripts: it shows in every notebook, trusted or not, and in what is made of it."""

from __future__ import annotations

from collections import Counter
from html import escape

from fsprobe.model.rows import ModuleRow
from fsprobe.report import numbers
from fsprobe.report.foreign import visible
from fsprobe.report.import_tree import ImportTree, import_tree

WIDTH, ROW, MAX_DEPTH = 960, 22, 14
LETTER = 6.3
"""Width of a letter of 11 px, on average."""
NARROWEST = 1.5
COLOURS = ("#a8d0cd", "#c9cfe8", "#ecd5ad", "#cbdfb8", "#e8c6c0", "#d9c8e4", "#b9d7ea")
OTHERS = "#dedbd4"


def draw(rows: tuple[ModuleRow, ...]) -> str:
    """An SVG element: a bar is an import, as wide as its metadata calls with those of the imports inside it.

    Packages have the colours that they have on the page of `fsprobe report --format html`.
    """
    tree = import_tree(rows)
    sums = tree.totals("n_metadata")
    own = {row.key: row.n_metadata for row in rows}
    total = sum(own.values())
    if not total:
        return ""
    bars, deepest = _place(tree, sums, total)
    colours = _colours(rows)
    drawn = []
    for key, depth, left, width in bars:
        title = (
            f"{visible(key)}: {numbers.count(round(sums[key]))} metadata calls, {numbers.count(own[key])} of its own"
        )
        label = _label(visible(key), width)
        text = f'<text x="{left + 4:.1f}" y="{depth * ROW + 15}">{escape(label)}</text>' if label else ""
        drawn.append(
            f'<g><title>{escape(title)}</title><rect x="{left:.1f}" y="{depth * ROW}" width="{max(width - 1, 0.5):.1f}" '
            f'height="{ROW - 2}" rx="2" fill="{colours.get(_top(key), OTHERS)}"/>{text}</g>'
        )
    return (
        f'<svg role="img" aria-label="imports by metadata calls" viewBox="0 0 {WIDTH} {(deepest + 1) * ROW}" '
        f'style="width:100%;max-width:{WIDTH}px;font:11px sans-serif" fill="#1d2125">{"".join(drawn)}</svg>'
    )


def _place(tree: ImportTree, sums: dict[str, float], total: int) -> tuple[list[tuple[str, int, float, float]], int]:
    """(module, depth, left, width) of each bar that is wide enough, and the greatest depth."""
    children: dict[str | None, list[str]] = {}
    for key, parent in tree.parents.items():
        children.setdefault(parent, []).append(key)
    bars: list[tuple[str, int, float, float]] = []
    ahead: list[tuple[str | None, int, float]] = [(None, 0, 0.0)]
    while ahead:
        above, depth, left = ahead.pop()
        for key in sorted(children.get(above, ()), key=lambda name: -sums[name]):
            width = sums[key] / total * WIDTH
            if width >= NARROWEST:
                bars.append((key, depth, left, width))
                if depth + 1 < MAX_DEPTH:
                    ahead.append((key, depth + 1, left))
            left += width
    return bars, max((depth for _, depth, _, _ in bars), default=0)


def _label(name: str, width: float) -> str:
    """As much of a name as fits: whole, or its last part."""
    room = int((width - 8) / LETTER)
    for text in (name, name.rpartition(".")[2]):
        if len(text) <= room:
            return text
    return ""


def _colours(rows: tuple[ModuleRow, ...]) -> dict[str, str]:
    calls: Counter[str] = Counter()
    for row in rows:
        if not row.key.startswith("("):
            calls[_top(row.key)] += row.n_metadata
    return {name: colour for (name, _), colour in zip(calls.most_common(len(COLOURS)), COLOURS, strict=False)}


def _top(key: str) -> str:
    return key if key.startswith("(") else key.split(".", 1)[0]
