"""The import tree as one picture without scripts: it shows in every notebook, trusted or not, and in what is made of it."""

from __future__ import annotations

from html import escape

from fsprobe import numbers
from fsprobe.model.rows import ModuleRow
from fsprobe.report.foreign import visible
from fsprobe.report.html import colours
from fsprobe.report.html.import_tree import ImportTree, import_tree

WIDTH, ROW, MAX_DEPTH = 960, 22, 14
LETTER = 6.3
"""Width of a letter of 11 px, on average."""
NARROWEST = 1.5
COLOURS = ("#e6e3dc", "#b4bcc5", "#88b2f7", "#c6d0ac", "#d6a95b", "#d47b7c", "#7ddaf2", "#f5e78f", "#a08dc3", "#a9f7e6")
"""`--p0` to `--p9` of the page's style sheet, by the slots of `fsprobe.report.html.colours`."""


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
    drawn = []
    for key, depth, left, width in bars:
        title = (
            f"{visible(key)}: {numbers.count(round(sums[key]))} metadata calls, {numbers.count(own[key])} of its own"
        )
        label = _label(visible(key), width)
        text = f'<text x="{left + 4:.1f}" y="{depth * ROW + 15}">{escape(label)}</text>' if label else ""
        drawn.append(
            f'<g><title>{escape(title)}</title><rect x="{left:.1f}" y="{depth * ROW}" width="{max(width - 1, 0.5):.1f}" '
            f'height="{ROW - 2}" rx="2" fill="{COLOURS[colours.slot_of(colours.top_of(key))]}"/>{text}</g>'
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
