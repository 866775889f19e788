"""How far ahead the recorder keeps the ring, and how often it looks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsprobe.capture.backends.inline import ringfile
from fsprobe.capture.backends.inline.growth import Growth
from tests.capture.backends.inline.test_ringfile import put


class Grown:
    """A ring with 32,768 slots ready, as on two processors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.growth = Growth(ahead=32768, most=1 << 20)
        self.held = ringfile.make(str(path), 32768, 1 << 20)

    def look(self, taken: int, times: int = 1) -> float:
        put(self.path, ringfile.NEXT_AT, taken)
        for _ in range(times):
            assert self.growth.look(self.held)
        return self.growth.tick_s


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Grown]:
    ring = Grown(tmp_path / "ring")
    yield ring
    os.close(ring.held)


def test_it_looks_less_often_at_a_quiet_run(grown: Grown) -> None:
    assert grown.growth.tick_s == 0.02
    assert grown.look(100, times=49) == 0.02
    assert grown.look(200, times=2) == 0.1
    assert grown.look(200 + 32768 // 64) == 0.02, "at once, as soon as more is called"
    assert grown.look(200 + 32768 // 64, times=50) == 0.1


def test_what_was_written_in_a_tick_is_kept_ready_eight_times(grown: Grown) -> None:
    grown.look(20_000)
    assert grown.growth.ahead == 160_000
    grown.look(20_001)
    assert grown.growth.n_slots == 20_001 + 160_000


def test_a_header_that_was_written_into_or_cut_is_not_looked_at(grown: Grown) -> None:
    grown.look(500)
    put(grown.path, ringfile.NEXT_AT, 400)
    assert not grown.growth.look(grown.held)
    assert grown.growth.n_taken == 500
    os.truncate(grown.path, 10)
    assert not grown.growth.look(grown.held)
