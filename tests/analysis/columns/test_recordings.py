"""A recording's profile is the same whichever way its ring is read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.errors import BadInput
from fsprobe.events.ring import mapped
from fsprobe.model import serial
from fsprobe.recording import file
from tests.analysis.columns.test_columns import Made


def test_columns_and_events_and_no_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.fsprobe"
    file.write(str(path), "recording", [("manifest", b"{}"), ("marks", b""), ("ring", Made(4).ring(300))])
    asked: list[str] = []
    read = pipeline.ring_events
    monkeypatch.setattr(pipeline, "ring_events", lambda *args: asked.append("events") or read(*args))
    small = serial.to_json(pipeline.analyse(path))
    assert asked == ["events"]
    monkeypatch.setattr(mapped, "LARGE_BYTES", 0)
    assert serial.to_json(pipeline.analyse(path)) == small
    assert asked == ["events"], "as columns"
    for name in [name for name in sys.modules if name.startswith("fsprobe.analysis.columns")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert serial.to_json(pipeline.analyse(path)) == small
    assert asked == ["events", "events"]


def test_what_is_no_ring_is_refused_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.fsprobe"
    file.write(str(path), "recording", [("manifest", b"{}"), ("marks", b""), ("ring", b"x" * 100_000)])
    said = []
    for least in (1 << 40, 0):
        monkeypatch.setattr(mapped, "LARGE_BYTES", least)
        with pytest.raises(BadInput) as raised:
            pipeline.analyse(path)
        said.append(str(raised.value))
    assert said[0] == said[1]
