"""The ring's layout, as capture/backends/inline/slot.h has it (a test compares the two), and bounds-checked access to it."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from fsprobe.errors import BadInput

MAGIC = 0x31474E4952505346
VERSION = 1
HEADER_BYTES = 32768
SLOT_BYTES = 256
SLOT_MAGIC = 0xF5
TEXT_BYTES = 120
LONG_TEXT_AT = 16
SPAN_SHIFT = 14

CALL, NEWTID, START, TEXT, OBJECT, MARK = range(6)
BEGUN, DONE = 1, 2
HAS_SECOND, HAS_SAME, HAS_BASE, HAS_LONG, HAS_CUT, HAS_BASE_2, HAS_NO_USAGE, HAS_HANDED_ON = (1 << n for n in range(8))

FIELDS = (
    ("magic", "B"), ("state", "B"), ("kind", "B"), ("has", "B"), ("tid", "I"), ("t_ns", "Q"), ("dur_ns", "Q"), ("result", "q"),
    ("arg", "4Q"), ("size", "Q"), ("mode", "H"), ("n4", "H"), ("n_entries", "I"), ("nr", "H"), ("n1", "H"), ("n2", "H"), ("n3", "H"),
    ("text_at", "I"), ("n_reads", "I"), ("read_bytes", "Q"), ("read_ns", "Q"), ("n_maps", "I"), ("n_fstats", "I"),
    ("map_bytes", "Q"), ("map_ns", "Q"), ("text", "120s"),
)  # fmt: skip
"""Every field of a slot with its type, in order, without gaps."""
SLOT = struct.Struct("<" + "".join(kind for _, kind in FIELDS))
HEAD = struct.Struct("<QIIQQQ")
"""magic, version, slot_bytes, cap, max, drained"""
NEXT_AT = 64
_NEXT = struct.Struct("<Q")
LONG = struct.Struct("<BBBBIQ")
_NO_MAGIC = re.compile(rb"[^\xf5]")
_NOT_DONE = re.compile(rb"[^\x02]")
_NO_SLOT = 0xFF

Buffer = bytes | bytearray | memoryview


class Slot(NamedTuple):
    """One slot, without its texts' place."""

    magic: int
    state: int
    kind: int
    has: int
    tid: int
    t_ns: int
    dur_ns: int
    result: int
    arg0: int
    arg1: int
    arg2: int
    arg3: int
    size: int
    mode: int
    n4: int
    n_entries: int
    nr: int
    n1: int
    n2: int
    n3: int
    text_at: int
    n_reads: int
    read_bytes: int
    read_ns: int
    n_maps: int
    n_fstats: int
    map_bytes: int
    map_ns: int
    text: bytes


class Ring(NamedTuple):
    """A ring's slots and what its header says; or a stretch of the slots of one that still grows."""

    data: memoryview
    """Header and slots."""
    n_slots: int
    """Slots that are there and were asked for; of a stretch the index of the first one behind it."""
    n_asked: int
    drained: int
    kinds: bytes
    """The kind of each slot; 0xFF where there is none: text of the slot before, or lost."""
    n_lost: int
    """Slots that were asked for and are not there: the ring was full, or their thread was killed or jumped away before it wrote."""
    first: int = 0
    """Index of the first slot of a stretch; `kinds` begins with it."""
    zero_at: int = HEADER_BYTES
    """Where slot 0 lies in `data`; below 0 for a stretch."""


class Header(NamedTuple):
    """What a ring's header says."""

    n_slots: int
    """As `Ring` has these."""
    n_asked: int
    drained: int


def read_header(view: memoryview, n_bytes: int) -> Header:
    """Check a ring's header.

    Args:
        view: the header, or more.
        n_bytes: of the whole ring.

    Raises:
        BadInput: it is no ring, of another version, or shorter than its header.
    """
    if len(view) < HEADER_BYTES:
        raise BadInput("the ring is cut short", "was the recording copied whole?")
    magic, version, slot_bytes, cap, _, drained = HEAD.unpack_from(view, 0)
    if magic != MAGIC:
        raise BadInput("the ring does not begin as one", "was it made by fsprobe?")
    if version != VERSION or slot_bytes != SLOT_BYTES:
        raise BadInput(
            f"the ring has version {version}, this fsprobe reads {VERSION}", "read it with the fsprobe that made it"
        )
    (n_asked,) = _NEXT.unpack_from(view, NEXT_AT)
    n_slots = min(n_asked, cap, (n_bytes - HEADER_BYTES) // SLOT_BYTES)
    return Header(n_slots, n_asked, min(drained, n_slots))


def open_ring(data: Buffer) -> Ring:
    """Check a ring's header and find its slots.

    Raises:
        BadInput: as `read_header`.
    """
    view = memoryview(data).cast("B")
    n_slots, n_asked, drained = read_header(view, len(view))
    kinds, n_gone, _ = kinds_of(view[HEADER_BYTES : HEADER_BYTES + n_slots * SLOT_BYTES])
    return Ring(view, n_slots, n_asked, drained, kinds, n_gone + n_asked - n_slots)


def open_stretch(data: Buffer, first: int, n_inside: int = 0) -> Ring:
    """Find the slots of a stretch.

    Args:
        data: whole slots.
        first: index of the first one.
        n_inside: so many at its beginning are the rest of a text.
    """
    view = memoryview(data).cast("B")
    n_slots = len(view) // SLOT_BYTES
    n_inside = min(n_inside, n_slots)
    kinds, n_gone, _ = kinds_of(view[: n_slots * SLOT_BYTES], n_inside)
    end = first + n_slots
    return Ring(view, end, end, first, kinds, n_gone, first, -first * SLOT_BYTES)


def span_of(t_ns: int, word: int) -> tuple[int, int]:
    """When the first read of a file began and the last one ended, by its open's time and fourth argument; (0, 0): not known."""
    first, last = word & 0xFFFFFFFF, word >> 32
    if not 0 < first <= last:
        return 0, 0  # of a recorder that did not note it
    return t_ns + (first - 1 << SPAN_SHIFT), t_ns + (last << SPAN_SHIFT)


def n_running_over(ring: Ring) -> int:
    """How many slots behind a stretch are the rest of its last text."""
    at = ring.kinds.rfind(TEXT)
    if at < 0:
        return 0
    index = ring.first + at
    return max(0, index + max(1, ring.data[ring.zero_at + index * SLOT_BYTES + 3]) - ring.n_slots)


def kinds_of(area: memoryview, n_inside: int = 0) -> tuple[bytes, int, int]:
    """Tell what slots are.

    Args:
        area: whole slots.
        n_inside: so many at its beginning are the rest of a text.

    Returns:
        the kind of each, as `Ring.kinds`; how many are not there; how many behind them are the rest of their last text.
    """
    n_slots = len(area) // SLOT_BYTES
    kinds = bytearray(area[2::SLOT_BYTES])
    magics = bytearray(area[0::SLOT_BYTES])
    kinds[:n_inside] = bytes((_NO_SLOT,)) * n_inside
    magics[:n_inside] = bytes((SLOT_MAGIC,)) * n_inside
    at = n_over = 0
    while (
        at := kinds.find(TEXT, at)
    ) >= 0:  # in their order: what lies inside of one is no slot, whatever it looks like
        n = max(1, area[at * SLOT_BYTES + 3])
        if magics[at] == SLOT_MAGIC:
            n_over = max(0, at + n - n_slots)
            n = min(n, n_slots - at)
            kinds[at] = TEXT
            kinds[at + 1 : at + n] = bytes((_NO_SLOT,)) * (n - 1)
            magics[at : at + n] = bytes((SLOT_MAGIC,)) * n
            at += n
        else:
            at += 1
    gone = {match.start() for match in _NO_MAGIC.finditer(magics)}
    states = bytes(area[1::SLOT_BYTES])
    for match in _NOT_DONE.finditer(states):
        at = match.start()
        if kinds[at] != _NO_SLOT and (kinds[at] != CALL or states[at] != BEGUN):
            gone.add(at)
    for at in gone:
        kinds[at] = _NO_SLOT
    return bytes(kinds), len(gone), n_over


def slot_at(ring: Ring, index: int) -> Slot:
    """Give one slot; `index` is below `n_slots`."""
    return Slot._make(SLOT.unpack_from(ring.data, ring.zero_at + index * SLOT_BYTES))


def texts_of(ring: Ring, slot: Slot) -> tuple[bytes, bytes, bytes, bytes] | None:
    """Give path, second text, base and second base; None where they are not where the slot says."""
    n1, n2, n3 = slot.n1, slot.n2, slot.n3
    total = n1 + n2 + n3 + slot.n4
    if not total:
        return b"", b"", b"", b""
    if slot.has & HAS_LONG:
        at = slot.text_at
        if not ring.first <= at < ring.n_slots or ring.kinds[at - ring.first] != TEXT:
            return None
        place = ring.zero_at + at * SLOT_BYTES
        n = min(LONG.unpack_from(ring.data, place)[3], ring.n_slots - at)
        if total > n * SLOT_BYTES - LONG_TEXT_AT:
            return None
        text = bytes(ring.data[place + LONG_TEXT_AT : place + LONG_TEXT_AT + total])
    elif total <= TEXT_BYTES:
        text = slot.text
    else:
        return None
    return text[:n1], text[n1 : n1 + n2], text[n1 + n2 : n1 + n2 + n3], text[n1 + n2 + n3 : total]
