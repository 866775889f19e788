"""How often the interpreter looks for cycles is its user's: it is given back, and stays off where it was."""

from __future__ import annotations

import gc
from contextlib import suppress
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Attributor, Notes
from fsprobe.analysis.garbage import NEVER, seldom_collected
from fsprobe.errors import BadInput
from fsprobe.model.events import ParseQuality


@pytest.fixture
def thresholds():
    found, was_on = gc.get_threshold(), gc.isenabled()
    yield found
    gc.set_threshold(*found)
    (gc.enable if was_on else gc.disable)()


@pytest.mark.parametrize("is_on", [True, False])
def test_it_is_as_before_after_an_exception(thresholds, is_on):
    (gc.enable if is_on else gc.disable)()
    gc.set_threshold(701, *thresholds[1:])
    inside = []

    @seldom_collected(5000)
    def interrupted():
        inside.append((gc.get_threshold()[0], gc.isenabled()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert inside == [(5000, is_on)]
    assert (gc.get_threshold()[0], gc.isenabled()) == (701, is_on)


@pytest.mark.parametrize("own", [0, NEVER])
def test_whoever_looks_more_seldom_keeps_it(thresholds, own):
    gc.set_threshold(own, *thresholds[1:])
    with seldom_collected(5000):
        assert gc.get_threshold()[0] == own
    assert gc.get_threshold()[0] == own


def test_a_damaged_ring_gives_it_back(thresholds):
    pytest.importorskip("numpy")
    from fsprobe.analysis.columns.analysis import fold_ring

    gc.disable()
    with pytest.raises(BadInput):
        fold_ring([b"no ring" * 100], 700, ParseQuality(), Attributor(b"", b"", Notes(), None), lambda _: "")
    assert not gc.isenabled()
    assert gc.get_threshold() == thresholds


def test_thresholds_are_put_back_after_a_file_that_is_none(tmp_path: Path) -> None:
    before = gc.get_threshold()
    with suppress(BadInput):
        pipeline.read(tmp_path / "none")
    assert gc.get_threshold() == before
