"""A ring that comes in pieces is the one that is read whole: its kinds, what is lost of it, and all that is made of it."""

from __future__ import annotations

import errno
import random
import struct

import pytest

from fsprobe.events.ring import slots
from tests.analysis.columns.both import by_columns, same
from tests.analysis.columns.test_columns import Made

np = pytest.importorskip("numpy")

from fsprobe.analysis.columns import pieces  # noqa: E402
from fsprobe.analysis.columns.slots import read  # noqa: E402

SHORT = slots.HEADER_BYTES // slots.SLOT_BYTES
"""The fewest slots that a stretch may have."""
_DRAINED_AT = struct.calcsize("<QIIQQ")


@pytest.fixture
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "STRETCH", SHORT)


def hostile(chance: random.Random, n: int) -> bytes:
    """A ring of slots that nobody wrote: texts that begin anywhere and run over all ends, slots that are half there."""
    head = bytearray(slots.HEADER_BYTES)
    asked = n + chance.choice((0, 0, 7))
    slots.HEAD.pack_into(
        head, 0, slots.MAGIC, slots.VERSION, slots.SLOT_BYTES, n, n, chance.choice((0, 0, n // 3, 2 * n))
    )
    head[slots.NEXT_AT : slots.NEXT_AT + 8] = asked.to_bytes(8, "little")
    found = [bytes(head)]
    for _ in range(n):
        magic = chance.choice((slots.SLOT_MAGIC,) * 9 + (0,))
        state = chance.choice((slots.DONE,) * 6 + (slots.BEGUN, 0))
        kind = chance.choice((slots.CALL,) * 20 + (slots.TEXT, slots.MARK, slots.START, 6, 0xFF))
        found.append(bytes((magic, state, kind, chance.choice((0, 1, 3, 40, 255)))) + chance.randbytes(252))
    return b"".join(found)[: -chance.choice((1, 100, 256, 1000)) if chance.random() < 0.3 else None]


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("seed", range(12))
def test_kinds_and_losses_are_those_of_the_whole_ring(seed: int) -> None:
    chance = random.Random(seed)
    data = hostile(chance, chance.choice((1, SHORT, 3 * SHORT + 5)))
    expected = slots.open_ring(data)
    ends = sorted(chance.randrange(len(data)) for _ in range(5))
    parts = [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]
    found = pieces.Pieces(parts, len(data))
    n = 0
    for at, some, kinds in found.stretches():
        assert at == n
        assert some.tobytes() == data[slots.HEADER_BYTES + at * 256 :][: len(some) * 256]
        n += len(kinds)
    ring = found.ring()
    assert ring[1:] == expected[1:]
    for index, kind in enumerate(ring.kinds):
        if kind in (slots.TEXT, 0xFF):  # what a text may lie in is there
            assert slots.slot_at(ring, index) == slots.slot_at(expected, index)


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("drained", [0, 150])
def test_what_is_made_of_it_does_not_depend_on_the_stretches(drained: int) -> None:
    for seed in (3, 4):
        data = bytearray(Made(seed).ring(500))
        data[_DRAINED_AT : _DRAINED_AT + 8] = drained.to_bytes(8, "little")
        assert same(bytes(data)) is not None


def test_most_slots_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    n_kept, keep = 0, pieces.Pieces.keep

    def counted(self: pieces.Pieces, at: int, some: np.ndarray, places: np.ndarray) -> None:
        nonlocal n_kept
        n_kept += len(places)
        keep(self, at, some, places)

    monkeypatch.setattr(pieces.Pieces, "keep", counted)
    data = Made(1).ring(300)
    found = pieces.Pieces([data], len(data))
    assert read(found) is not None
    assert 0 < n_kept < found.header.n_slots // 2


def test_a_ring_that_finds_no_room_is_left_to_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    data = Made(1).ring(30)
    assert by_columns(data) is not None
    monkeypatch.setattr(pieces.mmap, "mmap", full)
    assert by_columns(data) is None
