"""Plots: files of the kind that their name says, with every layout and unit in them, and no pyplot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fsprobe.errors import BadInput, FsprobeError
from fsprobe.model.answers import CurvePoint
from fsprobe.model.comparison import Comparison
from fsprobe.report import plots
from tests.report.profiles import bare, comparison, hand_built, hostile

CURVE = [
    CurvePoint(layout=layout, n_nodes=nodes, predicted_s=base * nodes, measured_s=base * nodes if nodes < 8 else None)
    for layout, base in (("plain", 1.5), ("cost $x_$", 0.4))
    for nodes in (1, 2, 4, 8)
]
DRAW = {
    "comparison": lambda path: plots.comparison(comparison(), path),
    "timeline": lambda path: plots.timeline(hand_built(), path),
    "hostile timeline": lambda path: plots.timeline(hostile(), path),
    "nodes curve": lambda path: plots.nodes_curve(CURVE, path),
}


@pytest.mark.parametrize("name", sorted(DRAW))
def test_a_png_is_a_png_and_an_svg_is_well_formed_and_the_same_twice(name: str, tmp_path: Path) -> None:
    DRAW[name](tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    DRAW[name](tmp_path / "a.svg")
    DRAW[name](tmp_path / "b.svg")
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_every_layout_and_what_was_not_observed_is_named(tmp_path: Path) -> None:
    # matplotlib writes each text as a comment beside its outlines
    plots.comparison(comparison(), tmp_path / "c.svg")
    drawn = (tmp_path / "c.svg").read_text()
    for words in ("plain", "squashfs", "not observed", "2.8 s (n=3)", "1,673", "wall time, untraced, s"):
        assert f"<!-- {words}" in drawn, words


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: plots.timeline(bare(), path),
        lambda path: plots.comparison(Comparison(), path),
        lambda path: plots.nodes_curve([], path),
    ],
)
def test_nothing_to_draw_is_an_error_that_says_so(draw: object, tmp_path: Path) -> None:
    assert callable(draw)
    with pytest.raises(BadInput):
        draw(tmp_path / "x.png")


def test_another_suffix_and_a_missing_directory_are_errors_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither"):
        plots.timeline(hand_built(), tmp_path / "x.pdf")
    with pytest.raises(FsprobeError, match="cannot write"):
        plots.timeline(hand_built(), tmp_path / "no" / "x.png")


def test_pyplot_is_never_imported() -> None:
    code = "import sys, fsprobe.report.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
