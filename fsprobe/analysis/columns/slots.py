"""The calls of a ring as columns: who, when, how long, and which of the distinct calls it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fsprobe.events.ring.reader import CALLS, HAS_ODD_TEXT, place_of, spelled
from fsprobe.events.ring.slots import (
    CALL,
    DONE,
    FIELDS,
    MARK,
    SLOT_BYTES,
    TEXT,
    TEXT_BYTES,
    Ring,
    Slot,
    slot_at,
)
from fsprobe.events.ring.spelling import Texts
from fsprobe.model.events import Call, Op

Ints = NDArray[np.int64]
LAYOUT = np.dtype(
    [(name, f"<{kind}" if kind != "120s" else "V120") if kind != "4Q" else (name, "<u8", 4) for name, kind in FIELDS]
)
_CHUNK = 32_768
"""Slots that are looked at together."""
NO_SLOT = 0xFF
MOST_NS = 1 << 52
"""Sums of whole numbers are exact in floats up to here: a hundred days."""
_KEY_WORDS = 8 + 1 + TEXT_BYTES // 8
_ARGUMENTS = {
    2: (1,), 4: (), 6: (), 21: (1,), 78: (0, 2), 89: (2,), 217: (0, 2), 257: (0, 2), 262: (0, 3), 267: (0, 3), 269: (0, 2),
    332: (0, 2, 3), 439: (0, 2, 3),
}  # fmt: skip
"""By number: the arguments of the commonest calls that `spelled` looks at, where there is a path; the others are addresses."""
_LISTS = (78, 217)


def _kept_arguments() -> NDArray[np.uint64]:
    kept = np.full((1 << 16, 4), -1, dtype=np.int64).view(np.uint64)
    for number, looked_at in _ARGUMENTS.items():
        kept[number] = 0
        kept[number, list(looked_at)] = 0xFFFFFFFFFFFFFFFF
    return kept


@dataclass(slots=True)
class Shapes:
    """The distinct calls of a ring, numbered in the order in which they were first made."""

    calls: list[Call] = field(default_factory=list)
    """Thread and times of these mean nothing."""
    led_to: list[bytes] = field(default_factory=list)
    """Where a successful open led to; b"" of any other call."""
    statuses: list[tuple[int, int]] = field(default_factory=list)
    """st_mode and size that were asked for through the descriptor, where they were."""
    _numbers: dict[tuple[object, ...], int] = field(default_factory=dict)
    _paths: dict[bytes, bytes] = field(default_factory=dict)

    def number(self, slot: Slot, texts: Texts, call: Call) -> int:
        """The number of a call; a new one where nothing like it came before."""
        op, path, error = call.op, call.path, call.error
        if op is Op.OPEN and slot.result >= 0 and error != "?":
            return self._number(call, place_of(slot, texts, path), (slot.mode, slot.size))
        return self._number(call)

    def plain_number(self, call: Call) -> int:
        """The same of a call that opens nothing."""
        return self._number(call)

    def _number(self, call: Call, led_to: bytes = b"", status: tuple[int, int] = (0, 0)) -> int:
        _, _, syscall, op, path, error, _, args, result = call
        key = (syscall, path, error, args, result, led_to, status)
        found = self._numbers.get(key)
        if found is None:
            path = self._paths.setdefault(path, path)
            found = self._numbers[key] = len(self.calls)
            self.calls.append(Call(0, 0, syscall, op, path, error, 0, args, result))
            self.led_to.append(self._paths.setdefault(led_to, led_to))
            self.statuses.append(status)
        return found


class _Numbers(dict[bytes, int]):
    """Numbers keys as they come."""

    def __missing__(self, key: bytes) -> int:
        number = self[key] = len(self)
        return number


@dataclass(slots=True)
class Columns:
    """The slots of a ring. Each column has a row for each slot from the first one on that is in the ring."""

    ring: Ring
    first: int
    """Index of the slot of row 0."""
    slots: NDArray[np.void]
    kinds: NDArray[np.uint8]
    shapes: Shapes
    shape: NDArray[np.int32]
    """Which of the distinct calls it is; -1: none, or one that has to be looked at by itself."""
    tid: NDArray[np.uint32]
    t_ns: Ints
    dur_ns: Ints
    """-1: it has not ended."""

    def call(self, row: int) -> Call:
        """One call, as the reader of rings gives it."""
        _, _, syscall, op, path, error, _, args, result = self.shapes.calls[self.shape[row]]
        dur_ns = int(self.dur_ns[row])
        return Call(
            int(self.tid[row]),
            int(self.t_ns[row]),
            syscall,
            op,
            path,
            error,
            dur_ns if dur_ns >= 0 else None,
            args,
            result,
        )

    def put(self, row: int, number: int, call: Call) -> None:
        """Put a call into its row that was looked at by itself."""
        self.shape[row], self.tid[row], self.t_ns[row] = number, call.tid, call.t_ns or 0
        self.dur_ns[row] = -1 if call.dur_ns is None else call.dur_ns

    def stops(self, is_apart: Callable[[Call], bool]) -> Ints:
        """Rows that have to be looked at one by one: marks, processes, odd texts, and the calls that `is_apart` names."""
        apart = np.array([is_apart(call) for call in self.shapes.calls], dtype=bool)
        known = np.flatnonzero(self.shape >= 0)
        self.shape[known[apart[self.shape[known]]]] = -1
        return np.flatnonzero((self.shape == -1) & (self.kinds != NO_SLOT) & (self.kinds != TEXT))


def read(ring: Ring) -> Columns | None:
    """Read the slots of a ring; None where times are so absurd that their sums are not exact."""
    first = ring.drained
    n = ring.n_slots - first
    begin = ring.zero_at + first * SLOT_BYTES
    slots = np.frombuffer(ring.data[begin : begin + n * SLOT_BYTES], dtype=LAYOUT)
    kinds = np.frombuffer(ring.kinds, dtype=np.uint8)[first:]
    if not n or not _is_sane(slots, kinds):
        return None
    shapes = Shapes()
    shape = np.full(n, -1, dtype=np.int32)
    numbers = _Numbers()
    of_key: list[int] = []
    for at in range(0, n, _CHUNK):
        some = slots[at : at + _CHUNK]
        rows = _inline(some, kinds[at : at + _CHUNK])
        if not len(rows):
            continue
        keys = np.fromiter(map(numbers.__getitem__, _keys(some[rows])), dtype=np.int64, count=len(rows))
        n_known = len(of_key)
        new = np.flatnonzero(np.diff(np.maximum.accumulate(np.append(n_known - 1, keys))))
        for row in rows[new].tolist():
            slot = slot_at(ring, first + at + row)
            texts = _texts(slot)
            call = spelled(slot, texts)
            of_key.append(-2 if call is None else shapes.number(slot, texts, call))
        shape[at + rows] = np.array(of_key, dtype=np.int32)[keys]
    return Columns(
        ring=ring,
        first=first,
        slots=slots,
        kinds=kinds,
        shapes=shapes,
        shape=shape,
        tid=slots["tid"].copy(),
        t_ns=slots["t_ns"].astype(np.int64),
        dur_ns=slots["dur_ns"].astype(np.int64),
    )


def _texts(slot: Slot) -> Texts:
    n1, n2, n3 = slot.n1, slot.n2, slot.n3
    text = slot.text
    return text[:n1], text[n1 : n1 + n2], text[n1 + n2 : n1 + n2 + n3], text[n1 + n2 + n3 : n1 + n2 + n3 + slot.n4]


def _is_sane(slots: NDArray[np.void], kinds: NDArray[np.uint8]) -> bool:
    there = (kinds != NO_SLOT) & (kinds != TEXT)
    marks = kinds == MARK
    for name in ("dur_ns", "read_ns", "read_bytes", "map_bytes"):
        if float(slots[name][there].astype(np.float64).sum()) >= MOST_NS:
            return False
    times = slots["t_ns"][there]
    arguments = slots["arg"][marks, :2]
    return bool(
        (not len(times) or int(times.max()) < MOST_NS) and (not len(arguments) or int(arguments.max()) < MOST_NS)
    )


_CALLS = np.isin(np.arange(1 << 16), list(CALLS))


def _inline(slots: NDArray[np.void], kinds: NDArray[np.uint8]) -> Ints:
    """Rows of the calls that have ended and whose texts stand beside them."""
    n_text = slots["n1"].astype(np.int32) + slots["n2"] + slots["n3"] + slots["n4"]
    is_plain = (kinds == CALL) & (slots["state"] == DONE) & ((slots["has"] & HAS_ODD_TEXT) == 0)
    return np.flatnonzero(is_plain & _CALLS[slots["nr"]] & (n_text <= TEXT_BYTES))


_KEPT = _kept_arguments()


def _keys(slots: NDArray[np.void]) -> Iterator[bytes]:
    """All that a call is made of, but for its thread and its times."""
    words = slots.view(np.uint8).reshape(len(slots), SLOT_BYTES).view(np.uint64)
    keys = np.empty((len(slots), _KEY_WORDS), dtype=np.uint64)
    keys[:, :8] = words[:, 3:11]  # result to n3
    numbers = slots["nr"]
    kept = _KEPT[numbers]
    kept[(slots["n1"] == 0) & ~np.isin(numbers, _LISTS)] = 0xFFFFFFFFFFFFFFFF
    keys[:, 1:5] &= kept
    keys[:, 8] = slots["has"]
    keys[:, 9:] = words[:, 17:]
    found: list[bytes] = keys.view(f"V{_KEY_WORDS * 8}").ravel().tolist()
    return iter(found)
