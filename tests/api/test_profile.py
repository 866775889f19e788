"""What Python shows of a recording is what the typed profile holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fsprobe
from fsprobe.api import frames, icicle
from fsprobe.api.profile import Profile
from fsprobe.errors import BadInput
from fsprobe.model.profile import Metrics, Verdict
from fsprobe.model.profile import Profile as Value
from fsprobe.model.rows import ModuleRow, Row
from fsprobe.report.html.colours import slot_of


def module(key: str, n_stat: int, parent: str | None = None, cumulative: int = 0) -> ModuleRow:
    return ModuleRow(key=key, n_stat=n_stat, parent=parent, n_metadata_cum=cumulative or n_stat, n_imports=1)


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import fsprobe; print(sorted(set(sys.modules) - before))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "['fsprobe']"


def test_every_public_name_is_there() -> None:
    for name in fsprobe._API:
        assert callable(getattr(fsprobe, name))
        assert name in dir(fsprobe)
    with pytest.raises(AttributeError):
        fsprobe.nonsense  # noqa: B018


def test_every_table_sums_to_the_total(ran: Profile) -> None:
    total = ran.value.metrics.n_metadata
    for table in (ran.modules, ran.packages, ran.mounts, ran.phases, ran.processes, ran.paths):
        assert table["n_metadata"].sum() == total
    reached = ran.requests[~ran.requests["fs_class"].isin(["image", "memory", "pseudo"])]
    assert reached["n_metadata"].sum() == ran.n_requests == ran.modules["n_requests"].sum()
    assert ran.not_found["n"].sum() == ran.value.metrics.n_not_found
    assert ran.modules.loc["json", "n_imports"] == 1
    assert list(ran.findings.index) == [finding.code for finding in ran.value.findings]


def test_a_recording_opened_again_is_the_same(ran: Profile) -> None:
    assert ran.path is not None
    assert fsprobe.open(ran.path).value == ran.value


def test_imports_that_were_not_observed_are_no_empty_table() -> None:
    with pytest.raises(BadInput, match="not observed"):
        Profile(Value()).modules  # noqa: B018
    with pytest.raises(BadInput, match="not predicted"):
        Profile(Value()).requests  # noqa: B018


def test_a_table_without_rows_has_its_columns() -> None:
    made = frames.frame([], "package", ("n_metadata", "n_open"))
    assert (list(made.columns), made.index.name, len(made)) == (["n_metadata", "n_open"], "package", 0)


def test_the_bars_of_the_picture_are_as_wide_as_their_calls() -> None:
    drawn = icicle.draw((module("a", 10, cumulative=40), module("a.b", 30, "a"), module("<c>", 60)))
    assert "&lt;c&gt;: 60 metadata calls, 60 of its own" in drawn
    assert "a: 40 metadata calls, 10 of its own" in drawn
    widths = sorted(float(part.split('"', 1)[0]) for part in drawn.split(' width="')[1:])
    assert widths == pytest.approx([0.3 * 960 - 1, 0.4 * 960 - 1, 0.6 * 960 - 1])
    assert icicle.draw((module("a", 0),)) == ""


def test_a_notebook_gets_html_without_scripts(ran: Profile) -> None:
    page = ran._repr_html_()
    assert "exit code 3" in page
    assert "<svg" in page
    for word in ("<script", "http", "onload", "url("):
        assert word not in page


def test_foreign_names_are_escaped() -> None:
    value = Value(
        metrics=Metrics(n_stat=3, by_module=(module("<img src=x>", 3),), by_package=(Row(key="x", n_stat=3),)),
        verdict=Verdict(level="noticeable", sentence="<script>alert(1)</script>"),
    )
    page = Profile(value)._repr_html_()
    assert "<img" not in page
    assert "<script" not in page


def test_the_page_is_written_where_it_is_wanted(ran: Profile, tmp_path: object) -> None:
    place = f"{tmp_path}/page.html"
    assert ran.to_html(place) is None
    assert ran.to_html() == open(place, encoding="utf-8").read()  # noqa: SIM115
    assert "metadata" in ran.report()


def test_packages_have_the_colours_of_the_page_in_a_notebook() -> None:
    style = Path(icicle.__file__).parents[1].joinpath("report/html/templates/shared/page.css").read_text()
    light = dict(re.findall(r"--(p\d): (#[0-9a-f]{6})", style[: style.index("@media")]))
    assert len(light) == 10
    rows = (module("numpy", 10, cumulative=40), module("pandas.core", 30), module("json", 60))
    drawn = icicle.draw(rows)
    fills = dict(re.findall(r"<title>([\w.]+):.*?fill=\"(#[0-9a-f]{6})\"", drawn))
    assert fills == {row.key: light[f"p{slot_of(row.key.split('.')[0])}"] for row in rows}
