"""How often the recorder looks at the ring."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from fsprobe.capture.backends.inline import backend, ringfile
from tests.capture.backends.inline.test_ringfile import put


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[tuple[backend.Inline, Path]]:
    """A backend whose ring has 32,768 slots ready, as on two processors."""
    path = tmp_path / "ring"
    recorder = backend.Inline()
    recorder.place, recorder.ahead, recorder.most = str(tmp_path), 32768, 1 << 20
    recorder.held = ringfile.make(str(path), recorder.ahead, recorder.most)
    yield recorder, path
    os.close(recorder.held)


def look(recorder: backend.Inline, path: Path, taken: int, times: int = 1) -> float:
    put(path, ringfile.NEXT_AT, taken)
    for _ in range(times):
        recorder.watch(mock.Mock())
    return recorder.tick_s


def test_it_looks_less_often_at_a_quiet_run(ring: tuple[backend.Inline, Path]) -> None:
    assert ring[0].tick_s == 0.02
    assert look(*ring, 100, times=49) == 0.02
    assert look(*ring, 200, times=2) == 0.05
    assert look(*ring, 200 + 32768 // 64) == 0.02, "at once, as soon as more is called"
    assert look(*ring, 200 + 32768 // 64, times=50) == 0.05


def test_it_looks_before_one_thread_has_used_up_what_is_ready(ring: tuple[backend.Inline, Path]) -> None:
    for taken in range(0, 16384, 256):
        last = look(*ring, taken)
    left = 32768 - taken
    assert last == pytest.approx(left * 2e-6), "2 us a call"
    ring[0].n_slots = taken
    assert ring[0].tick_s == 0.02
