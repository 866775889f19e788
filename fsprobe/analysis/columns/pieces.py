"""A ring as it is unpacked, stretch after stretch: of most slots their columns are all that is wanted, so the ring is never held."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fsprobe.events.ring.slots import HEADER_BYTES, SLOT_BYTES, TEXT, Buffer, Header, Ring, kinds_of, read_header

NO_SLOT = 0xFF
STRETCH = 8192
"""Slots that are looked at together: what the processor's caches hold."""
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Python has its name since 3.13


@dataclass(slots=True)
class Pieces:
    """A ring that comes in pieces.

    Raises:
        BadInput: it is no ring.
        OSError: there is no room for so large a one.
    """

    pieces: Iterable[Buffer]
    n_bytes: int
    """Of all pieces together."""
    header: Header = field(init=False)
    n_lost: int = field(init=False)
    kinds: bytearray = field(init=False)
    _stretches: Iterator[memoryview] = field(init=False)
    _kept: mmap.mmap = field(init=False)

    def __post_init__(self) -> None:
        self._stretches = _stretches(self.pieces)
        self.header = read_header(next(self._stretches), self.n_bytes)
        self.n_lost = self.header.n_asked - self.header.n_slots
        self.kinds = bytearray()
        # pages of it that nothing is written to take no memory
        self._kept = mmap.mmap(-1, self.n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)

    def stretches(self) -> Iterator[tuple[int, NDArray[np.void], NDArray[np.uint8]]]:
        """Yield the index of a stretch's first slot, its slots, which hold until the next one, and their kinds."""
        at = n_inside = 0
        for stretch in self._stretches:
            n = min(len(stretch) // SLOT_BYTES, self.header.n_slots - at)
            if n <= 0:
                continue  # to the end, where sizes and checksums are compared
            area = stretch[: n * SLOT_BYTES]
            kinds, n_gone, n_over = kinds_of(area, min(n_inside, n))
            n_inside = n_over or max(0, n_inside - n)
            self.n_lost += n_gone
            self.kinds += kinds
            found = np.frombuffer(kinds, dtype=np.uint8)
            self.keep(at, area, np.flatnonzero((found == TEXT) | (found == NO_SLOT)))
            yield at, np.frombuffer(area, dtype=f"V{SLOT_BYTES}"), found
            at += n

    def keep(self, at: int, area: Buffer, places: NDArray[np.intp]) -> None:
        """Keep some slots of a stretch whole: they have to be looked at by themselves."""
        if len(places):
            kept = np.frombuffer(self._kept, dtype=f"V{SLOT_BYTES}", offset=HEADER_BYTES, count=self.header.n_slots)
            kept[at + places] = np.frombuffer(area, dtype=f"V{SLOT_BYTES}")[places]

    def ring(self) -> Ring:
        """The ring, when all stretches are through: of its slots those that were kept."""
        return Ring(
            memoryview(self._kept),
            self.header.n_slots,
            self.header.n_asked,
            self.header.drained,
            bytes(self.kinds),
            self.n_lost,
        )


def _stretches(pieces: Iterable[Buffer]) -> Iterator[memoryview]:
    """The header, then the slots: in the same place each time, and less where there is no more."""
    buffer = memoryview(bytearray(STRETCH * SLOT_BYTES))
    end, wanted = 0, HEADER_BYTES
    for piece in pieces:
        rest = memoryview(piece).cast("B")
        while len(rest):
            n = min(len(rest), wanted - end)
            buffer[end : end + n] = rest[:n]
            rest, end = rest[n:], end + n
            if end == wanted:
                yield buffer[:end]
                end, wanted = 0, len(buffer)
    yield buffer[:end]
