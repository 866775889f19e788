"""A ring that grows: whatever is there when it is looked at, the events are those of the whole ring."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from fsprobe.events import ring
from fsprobe.events.ring import RingFacts, live
from fsprobe.events.ring.slots import CALL, HEADER_BYTES, NEXT_AT, SLOT_BYTES
from fsprobe.model.events import Call, Event, Mark, ParseQuality, Process
from tests.capture.backends.inline import recorded
from tests.capture.backends.inline.recorded import PYTHON

PROGRAM = (
    "import os, subprocess, threading\n"
    "os.path.exists('/' + '/'.join(['long'] * 60))\n"
    "one = threading.Thread(target=os.listdir, args=('/etc',)); one.start(); one.join()\n"
    "subprocess.run(['ls', '/usr'], stdout=subprocess.DEVNULL)\n"
    "if os.fork() == 0: os.stat('/etc'); os._exit(3)\n"
    "os.wait()\n"
)


@pytest.fixture(scope="module")
def example(library: Path) -> bytes:
    """A ring with long texts, a thread, a fork, an exec."""
    return recorded.record(library, [PYTHON, "-I", "-S", "-c", PROGRAM]).data


class Replayed:
    """A finished ring, shown as if it grew: so many slots more at each look, and the slots in `late` not done before the end."""

    def __init__(self, data: bytes, step: int, late: Collection[int] = ()) -> None:
        self.data, self.step, self.late = data, step, frozenset(late)
        (self.n,) = struct.unpack_from("<Q", data, NEXT_AT)
        self.at = 0
        self.is_over = False
        self.freed = 0

    def ticks(self) -> Iterator[tuple[int, int, bool]]:
        while self.at < self.n:
            self.at = min(self.n, self.at + self.step)
            yield self.at, self.at, False
        self.is_over = True
        yield self.n, self.n, True

    def read(self, first: int, n: int) -> bytes:
        n = min(n, self.n - first)
        data = bytearray(self.data[HEADER_BYTES + first * SLOT_BYTES : HEADER_BYTES + (first + n) * SLOT_BYTES])
        for index in range(first, first + n):
            if index in self.late and not self.is_over:
                data[(index - first) * SLOT_BYTES + 1] = 1  # BEGUN
        return bytes(data)

    def free(self, end: int, kept: Collection[int]) -> None:
        assert end >= self.freed
        self.freed = end


def events_of(data: bytes) -> tuple[list[Event], ParseQuality]:
    quality = ParseQuality()
    return list(ring.read(data, quality, RingFacts(), cwd=b"/work")), quality


@pytest.mark.parametrize("step", [1, 37, 100_000])
def test_the_events_are_those_of_the_whole_ring(step: int, example: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LAG_S", 0.0)
    monkeypatch.setattr(live, "STRETCH", 5)
    expected, known = events_of(example)
    quality = ParseQuality()
    source = Replayed(example, step)
    events = list(ring.follow(source, quality, RingFacts(), cwd=b"/work"))
    if step == 100_000:
        assert events == expected
    assert [event for event in events if isinstance(event, Call | Mark)] == [
        event for event in expected if isinstance(event, Call | Mark)
    ]
    assert {event.child for event in events if isinstance(event, Process)} == {
        event.child for event in expected if isinstance(event, Process)
    }
    assert (quality.n_lines, quality.n_unfinished, quality.n_lost) == (
        known.n_lines,
        known.n_unfinished,
        known.n_lost,
    )


def test_a_call_that_has_not_returned_comes_when_it_has(example: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LAG_S", 0.0)
    expected, _ = events_of(example)
    last = {}
    for index in range(Replayed(example, 1).n):
        slot = example[HEADER_BYTES + index * SLOT_BYTES :][:SLOT_BYTES]
        if slot[2] == CALL:
            last[int.from_bytes(slot[4:8], "little")] = index
    source = Replayed(example, 1, late=last.values())
    events = list(ring.follow(source, ParseQuality(), RingFacts(), cwd=b"/work"))
    calls = [event for event in events if isinstance(event, Call)]
    assert sorted(calls, key=repr) == sorted((event for event in expected if isinstance(event, Call)), key=repr)
    assert not [call for call in calls if call.error == "?" and call not in expected]
