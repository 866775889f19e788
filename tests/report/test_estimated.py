"""What is said of imports that were estimated: a number that the paths leave open is not shown as if it were known."""

from __future__ import annotations

from fsprobe.model.profile import Metrics, Profile, Quality
from fsprobe.model.rows import INSTALLED, UNASSIGNED, ModuleRow, ProcessRow, Row
from fsprobe.report import caveats, sentences


def profile(**rows: int) -> Profile:
    keys = {"open": UNASSIGNED, "metadata": INSTALLED}
    modules = tuple(
        ModuleRow(key=keys.get(name, name), n_stat=n, n_stat_cum=n, n_metadata_cum=n) for name, n in rows.items()
    )
    python = ProcessRow(key="1", kind="python", n_stat=sum(rows.values()))
    metrics = Metrics(
        n_stat=sum(rows.values()),
        by_phase=(Row(key="import", n_stat=sum(rows.values())),),
        by_module=modules,
        by_process=(python,),
        imports_by="package",
    )
    return Profile(metrics=metrics, quality=Quality(n_estimated=sum(rows.values()), is_marked=False))


def test_what_may_be_the_programs_makes_an_upper_bound_of_the_start() -> None:
    said = sentences.headline(profile(one=700, two=100, open=100, metadata=100))
    assert said.startswith("up to 1,000 metadata calls to start and import")
    assert "most in one itself (at least 700 calls, estimated)" in said


def test_nobody_has_most_where_what_is_left_open_could_make_another_the_first() -> None:
    shown = profile(one=400, two=300, open=200, metadata=100)
    said = sentences.headline(shown)
    assert "most in" not in said
    assert "of 300 the paths tell no import" in said
    assert sentences.imports_left(shown).endswith("each row is therefore a lower bound")
    assert sentences.how_sure(shown).format("400 calls") == "at least 400 calls (estimated)"
    assert "300 calls between imports may be the program's own" in " ".join(caveats.quality_lines(shown))


def test_little_that_is_left_open_changes_nothing() -> None:
    shown = profile(one=700, two=290, open=5, metadata=5)
    said = sentences.headline(shown)
    assert said.startswith("1,000 metadata calls, all to start and import")
    assert "most in one itself (700 calls, estimated)" in said
    assert "lower bound" not in sentences.imports_left(shown)
    assert sentences.how_sure(shown) == "{} (estimated)"
