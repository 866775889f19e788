"""The calls of a ring as columns: who, when, how long, and which of the distinct calls it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsprobe.analysis.columns.pieces import NO_SLOT, STRETCH, Pieces
from fsprobe.events.ring import kinship
from fsprobe.events.ring.reader import CALLS, HAS_ODD_TEXT, MARKS, place_of, spelled
from fsprobe.events.ring.slots import (
    CALL,
    DONE,
    FIELDS,
    MARK,
    SLOT,
    SLOT_BYTES,
    TEXT,
    TEXT_BYTES,
    Ring,
    Slot,
)
from fsprobe.events.ring.spelling import Texts
from fsprobe.model.events import Call, Op

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Told = tuple[str, bytes, str]
"""What a mark says: its kind, the name of an import as bytes and as text."""
LAYOUT = np.dtype(
    [(name, f"<{kind}" if kind != "120s" else "V120") if kind != "4Q" else (name, "<u8", 4) for name, kind in FIELDS]
)
_NOTED = ("has", "arg", "result", "n_reads", "read_bytes", "read_ns", "n_maps", "n_fstats", "map_bytes")
_SUMMED = ("dur_ns", "read_ns", "read_bytes", "map_bytes")
MOST_NS = 1 << 52
"""Sums of whole numbers are exact in floats up to here: a hundred days."""
_KEY_WORDS = 8 + 1 + TEXT_BYTES // 8
_ARGUMENTS = {
    2: (1,), 4: (), 6: (), 21: (1,), 78: (0, 2), 89: (2,), 217: (0, 2), 257: (0, 2), 262: (0, 3), 267: (0, 3), 269: (0, 2),
    332: (0, 2, 3), 439: (0, 2, 3),
}  # fmt: skip
"""By number: the arguments of the commonest calls that `spelled` looks at, where there is a path; the others are addresses."""
_LISTS = np.isin(np.arange(1 << 16), (78, 217))


def room_for_noted(n: int, make: Callable[..., NDArray[Any]] = np.zeros) -> dict[str, NDArray[Any]]:
    """The fields of `Columns.noted` with so many rows."""
    return {name: make((n, *LAYOUT[name].shape), dtype=LAYOUT[name].base) for name in _NOTED}


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

    def copy(self) -> Shapes:
        """The same, to go on with."""
        copied = (list(self.calls), list(self.led_to), list(self.statuses), dict(self._numbers), dict(self._paths))
        return Shapes(*copied)


class _Numbers(dict[bytes, int]):
    """Numbers keys as they come."""

    def __missing__(self, key: bytes) -> int:
        number = self[key] = len(self)
        return number


@dataclass(slots=True)
class Numbering:
    """How the distinct calls and marks of rings are numbered: of two rings that share it, the same number means the same."""

    calls: _Numbers = field(default_factory=_Numbers)
    of_key: list[int] = field(default_factory=list)
    shapes: Shapes = field(default_factory=Shapes)
    words: Words = field(default_factory=lambda: Words())

    def copy(self) -> Numbering:
        """One that knows all of this one, and goes on by itself."""
        return Numbering(_Numbers(self.calls), list(self.of_key), self.shapes.copy(), self.words.copy())


@dataclass(slots=True)
class Columns:
    """The slots of a ring. Each column has a row for each slot from the first one on that is in the ring."""

    ring: Ring
    first: int
    """Index of the slot of row 0."""
    noted: dict[str, NDArray[Any]]
    """Fields that only marks and calls that something was read through have; row 0 is that of all others."""
    place: NDArray[np.int32]
    """Of each row which of these it has; see `more`."""
    kinds: NDArray[np.uint8]
    shapes: Shapes
    shape: NDArray[np.int32]
    """Which of the distinct calls it is; -1: none, or one that has to be looked at by itself."""
    tid: NDArray[np.uint32]
    t_ns: Ints
    dur_ns: Ints
    """-1: it has not ended."""
    words: list[Told] = field(default_factory=list)
    """What marks say."""
    word: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    """Which of these a mark says; -1: it is none, or has to be looked at by itself."""
    kin: list[int] = field(default_factory=list)
    """Slots of processes, by index."""
    apart: dict[int, int] = field(default_factory=dict)
    """Rows that `stops` was told to set apart -> which of the distinct calls each is."""

    def more(self, name: str, rows: Ints) -> NDArray[Any]:
        """One of the fields in `noted`, of some rows."""
        found: NDArray[Any] = self.noted[name][self.place[rows]]
        return found

    def call(self, row: int, number: int | None = None) -> Call:
        """One call, as the reader of rings gives it; `number` says which of the distinct ones, where the row does not."""
        number = int(self.shape[row]) if number is None else number
        _, _, syscall, op, path, error, _, args, result = self.shapes.calls[number]
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

    def calls(self, rows: Ints) -> Iterator[Call]:
        """Several calls, as `call` gives them."""
        made, make = self.shapes.calls, tuple.__new__
        for number, tid, t_ns, dur_ns in zip(
            *(column[rows].tolist() for column in (self.shape, self.tid, self.t_ns, self.dur_ns)), strict=True
        ):
            _, _, syscall, op, path, error, _, args, result = made[number]
            yield make(Call, (tid, t_ns, syscall, op, path, error, dur_ns if dur_ns >= 0 else None, args, result))

    def put(self, row: int, number: int, call: Call) -> None:
        """Put a call into its row that was looked at by itself."""
        self.shape[row], self.tid[row], self.t_ns[row] = number, call.tid, call.t_ns or 0
        self.dur_ns[row] = -1 if call.dur_ns is None else call.dur_ns

    def stops(self, is_apart: Callable[[Call], bool]) -> Ints:
        """Rows that have to be looked at one by one: marks, processes, odd texts, and the calls that `is_apart` names."""
        apart = np.array([is_apart(call) for call in self.shapes.calls], dtype=bool)
        known = np.flatnonzero(self.shape >= 0)
        rows = known[apart[self.shape[known]]]
        self.apart = dict(zip(rows.tolist(), self.shape[rows].tolist(), strict=True))
        self.shape[rows] = -1
        return np.flatnonzero((self.shape == -1) & (self.kinds != NO_SLOT) & (self.kinds != TEXT))


def read(pieces: Pieces, numbering: Numbering | None = None) -> Columns | None:
    """Read the slots of a ring; None where times are so absurd that their sums are not exact.

    Args:
        pieces: the ring.
        numbering: goes on with this one.
    """
    first = pieces.header.drained
    n = pieces.header.n_slots - first
    reading = _Reading(first, max(n, 0), numbering or Numbering())
    for at, area, kinds in pieces.stretches():
        slots = area.view(LAYOUT)
        reading.find_kin(at, slots, kinds)
        begin = max(0, first - at)
        if begin:
            pieces.keep(at, area, np.arange(min(begin, len(kinds))))
        if begin < len(kinds):
            odd = reading.take(at + begin - first, slots[begin:], kinds[begin:])
            pieces.keep(at + begin, area[begin:], odd)
    if not n or not reading.sanity.is_sane():
        return None
    return reading.columns(pieces.ring())


@dataclass(slots=True)
class _Sanity:
    """Whether times are such that their sums are exact."""

    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_SUMMED, 0.0))
    most: int = 0

    def add(self, slots: NDArray[np.void], there: Flags, marks: Ints) -> None:
        for name in _SUMMED:
            self.sums[name] += float(slots[name][there].astype(np.float64).sum())
        times, arguments = slots["t_ns"][there], slots["arg"][marks, :2]
        self.most = max([self.most, *(int(one.max()) for one in (times, arguments) if len(one))])

    def is_sane(self) -> bool:
        return self.most < MOST_NS and all(one < MOST_NS for one in self.sums.values())


class _Reading:
    """The columns of a ring while it is read."""

    def __init__(self, first: int, n: int, numbering: Numbering) -> None:
        self.first, self.sanity, self.shapes, self.words = first, _Sanity(), numbering.shapes, numbering.words
        self.shape, self.word = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
        self.place = np.empty(n, dtype=np.int32)
        self.tid, self.t_ns, self.dur_ns = (
            np.empty(n, dtype=np.uint32),
            np.empty(n, dtype=np.int64),
            np.empty(n, dtype=np.int64),
        )
        self._calls, self._of_key, self._keys = numbering.calls, numbering.of_key, _Keys()
        # room for all: pages that nothing is written to take no memory
        self._noted, self._n_noted = room_for_noted(1 + n, np.empty), 1
        for column in self._noted.values():
            column[0] = 0
        self._kin: list[int] = []

    def find_kin(self, at: int, slots: NDArray[np.void], kinds: NDArray[np.uint8]) -> None:
        """Find what `kinship` wants to see, of any slots."""
        is_kin = (kinds == CALL) & _MEANT[slots["nr"]] | _SAYING[kinds]
        self._kin += (at + np.flatnonzero(is_kin)).tolist()

    def take(self, at: int, slots: NDArray[np.void], kinds: NDArray[np.uint8]) -> Ints:
        """Take in the next slots, the first of which has this row; returns which have to be looked at by themselves."""
        rows = slice(at, at + len(slots))
        self.tid[rows], self.t_ns[rows], self.dur_ns[rows] = slots["tid"], slots["t_ns"], slots["dur_ns"]
        there = (kinds != NO_SLOT) & (kinds != TEXT)
        is_mark = kinds == MARK
        marks = np.flatnonzero(is_mark)
        self.sanity.add(slots, there, marks)
        shape, word = self.shape[rows], self.word[rows]
        shape[:] = word[:] = -1
        calls = _inline(slots, kinds)
        if len(calls):
            shape[calls] = self._shapes_of(slots, calls)
        self.words.take(slots, marks, word)
        has_more = is_mark | (kinds == CALL) & ((slots["n_reads"] | slots["n_maps"] | slots["n_fstats"]) != 0)
        self._note(slots, np.flatnonzero(has_more), self.place[rows])
        return np.flatnonzero(there & (shape == -1) & (word == -1))

    def _shapes_of(self, slots: NDArray[np.void], calls: Ints) -> NDArray[np.int32]:
        keys = self._keys.of(slots, calls)
        numbers = np.fromiter(map(self._calls.__getitem__, keys), dtype=np.int64, count=len(calls))
        n_known = len(self._of_key)
        new = np.flatnonzero(np.diff(np.maximum.accumulate(np.append(n_known - 1, numbers))))
        for slot in map(Slot._make, SLOT.iter_unpack(slots[calls[new]].tobytes())):
            texts = _texts(slot)
            call = spelled(slot, texts)
            self._of_key.append(-2 if call is None else self.shapes.number(slot, texts, call))
        return np.array(self._of_key, dtype=np.int32)[numbers]

    def _note(self, slots: NDArray[np.void], which: Ints, place: NDArray[np.int32]) -> None:
        begin, end = self._n_noted, self._n_noted + len(which)
        for name, column in self._noted.items():
            column[begin:end] = slots[name][which]
        place[:] = 0
        place[which] = np.arange(begin, end)
        self._n_noted = end

    def columns(self, ring: Ring) -> Columns:
        return Columns(
            ring=ring,
            first=self.first,
            noted={name: column[: self._n_noted] for name, column in self._noted.items()},
            place=self.place,
            kinds=np.frombuffer(ring.kinds, dtype=np.uint8)[self.first :],
            shapes=self.shapes,
            shape=self.shape,
            tid=self.tid,
            t_ns=self.t_ns,
            dur_ns=self.dur_ns,
            words=self.words.told,
            word=self.word,
            kin=self._kin,
        )


class Words(dict[bytes, int]):
    """What marks say whose text stands beside them: most say what others have said."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Told] = []

    def copy(self) -> Words:
        """The same, to go on with."""
        copied = Words()
        copied.update(self)
        copied.told = list(self.told)
        return copied

    def take(self, slots: NDArray[np.void], marks: Ints, word: NDArray[np.int32]) -> None:
        """Put down of marks which of `told` they say; of the others, which are not as they should be, nothing."""
        odd = (slots["has"] & HAS_ODD_TEXT) | slots["n2"] | slots["n3"] | slots["n4"]
        rows = marks[(odd[marks] == 0) & (slots["n1"][marks] <= TEXT_BYTES)]
        keys = np.empty((len(rows), 1 + TEXT_BYTES // 8), dtype=np.uint64)
        keys[:, 0] = slots["n1"][rows]
        keys[:, 1:] = slots.view(np.uint64).reshape(len(slots), SLOT_BYTES // 8)[rows, 17:]
        found = keys.view(f"V{8 + TEXT_BYTES}").ravel().tolist()
        word[rows] = np.fromiter(map(self.__getitem__, found), dtype=np.int32, count=len(rows))

    def __missing__(self, key: bytes) -> int:
        words = key[8 : 8 + int.from_bytes(key[:8], "little")]
        kind = MARKS.get(words[7:8]) if words[:7] == b"fsprobe" else None
        number = self[key] = len(self.told) if kind is not None else -1
        if kind is not None:
            self.told.append((kind, words[8:], words[8:].decode("utf-8", "backslashreplace")))
        return number


def _texts(slot: Slot) -> Texts:
    n1, n2, n3 = slot.n1, slot.n2, slot.n3
    text = slot.text
    return text[:n1], text[n1 : n1 + n2], text[n1 + n2 : n1 + n2 + n3], text[n1 + n2 + n3 : n1 + n2 + n3 + slot.n4]


_CALLS = np.isin(np.arange(1 << 16), list(CALLS))
_MEANT = np.isin(np.arange(1 << 16), list(kinship.MEANT))
_SAYING = np.isin(np.arange(1 << 8), list(kinship.SAYING))


def _inline(slots: NDArray[np.void], kinds: NDArray[np.uint8]) -> Ints:
    """Rows of the calls that have ended and whose texts stand beside them."""
    n_text = slots["n1"].astype(np.int32) + slots["n2"] + slots["n3"] + slots["n4"]
    is_plain = (kinds == CALL) & (slots["state"] == DONE) & ((slots["has"] & HAS_ODD_TEXT) == 0)
    return np.flatnonzero(is_plain & _CALLS[slots["nr"]] & (n_text <= TEXT_BYTES))


_KEPT = _kept_arguments()


class _Keys:
    """All that calls are made of, but for their threads and times."""

    def __init__(self) -> None:
        # the same memory each time: new pages cost more than what is done with them
        self._all = np.empty((STRETCH, _KEY_WORDS), dtype=np.uint64)
        self._some = np.empty(STRETCH, dtype=f"V{_KEY_WORDS * 8}")

    def of(self, slots: NDArray[np.void], calls: Ints) -> list[bytes]:
        """The keys of some slots of a stretch."""
        words = slots.view(np.uint64).reshape(len(slots), SLOT_BYTES // 8)
        keys, some = self._all[: len(slots)], self._some[: len(calls)]
        keys[:, :8] = words[:, 3:11]  # result to n3
        numbers = slots["nr"]
        kept = _KEPT[numbers]
        kept[(slots["n1"] == 0) & ~_LISTS[numbers]] = 0xFFFFFFFFFFFFFFFF
        keys[:, 1:5] &= kept
        keys[:, 8] = slots["has"]
        keys[:, 9:] = words[:, 17:]
        found: list[bytes] = np.take(keys.view(some.dtype).ravel(), calls, out=some, mode="clip").tolist()
        return found
