"""How often the interpreter looks for cycles is as it was, however the work ends."""

from __future__ import annotations

import gc
from contextlib import suppress
from pathlib import Path

from fsprobe import pipeline
from fsprobe.analysis.garbage import SELDOM, seldom_collected
from fsprobe.errors import BadInput


def test_thresholds_are_put_back() -> None:
    before = gc.get_threshold()
    with suppress(ValueError), seldom_collected(SELDOM):
        assert gc.get_threshold() == (SELDOM, *before[1:])
        raise ValueError
    assert gc.get_threshold() == before


def test_thresholds_are_put_back_after_a_file_that_is_none(tmp_path: Path) -> None:
    before = gc.get_threshold()
    with suppress(BadInput):
        pipeline.read(tmp_path / "none")
    assert gc.get_threshold() == before
