"""What is remembered of slots that came before is what they would have been spelled as."""

from __future__ import annotations

import random
import struct

import pytest

from fsprobe.events.ring import RingFacts, kinship, repeated, slots
from fsprobe.events.ring.reader import Run
from fsprobe.model.events import Call, Mark, ParseQuality
from tests.events.ring.test_reader import call, events_of, ring_of, slot

AT_FDCWD = 0xFFFFFF9C


def one_by_one(data: bytes) -> tuple[list[object], RingFacts]:
    """Each slot as the reader without a memory spells it."""
    ring = slots.open_ring(data)
    facts = RingFacts(n_lost=ring.n_lost)
    run = Run(ring, ParseQuality(), facts, kinship.find(ring), None, None)
    made: list[object] = []
    for index, kind in enumerate(ring.kinds):
        one = slots.slot_at(ring, index)
        event = run.call(index, one) if kind == slots.CALL else run.mark(one) if kind == slots.MARK else None
        if event is not None:
            made.append(event)
        facts.n_slots += 1
    return made, facts


def test_the_brief_layout_is_the_layout() -> None:
    values = range(1, len(slots.Slot._fields))
    fields = dict(zip(slots.Slot._fields, values, strict=False))
    data = slots.SLOT.pack(*fields.values(), b"text")
    got = repeated._BRIEF.unpack(data)
    names = (
        "state has tid t_ns dur_ns result arg0 arg1 arg2 arg3 middle nr n1 more n_reads n_maps n_fstats text".split()
    )
    found = dict(zip(names, got, strict=True))
    assert struct.unpack("<QHHI", found.pop("middle")) == tuple(
        fields[name] for name in ("size", "mode", "n4", "n_entries")
    )
    assert struct.unpack("<HHI", found.pop("more")) == tuple(fields[name] for name in ("n2", "n3", "text_at"))
    assert found.pop("text").rstrip(b"\0") == b"text"
    assert found == {name: fields[name] for name in found}


VARIANTS = {
    "nr": (262, 257, 4, 2, 21),
    "n1": (0, 2, 3, 120, 121),
    "n2": (0, 1),
    "n3": (0, 2),
    "n4": (0, 1),
    "text": (b"/xy", b"xy/d", b"/xy" + b"z" * 117, b"fsprobe>m", b"/./xy"),
    "arg0": (AT_FDCWD, 3),
    "arg1": (0, 5, 0o101),
    "arg2": (0, 0o2000000, 0o101),
    "arg3": (0, 0x100, 0x1000),
    "result": (0, 3, -2, -13),
    "mode": (0o100644, 0o040755),
    "size": (0, 12),
    "has": (0, slots.HAS_SAME, slots.HAS_LONG, slots.HAS_CUT, slots.HAS_NO_USAGE),
    "state": (slots.BEGUN, slots.DONE, slots.DONE),
    "n_reads": (0, 1),
    "n_fstats": (0, 1),
    "text_at": (0, 1),
}


@pytest.mark.parametrize("seed", range(4))
def test_any_mixture_is_read_as_one_by_one(seed: int) -> None:
    """Few values of each field, so that calls meet that differ in one of them alone."""
    chance = random.Random(seed)
    contents, before = [], dict.fromkeys(VARIANTS, 0)
    for number in range(3_000):
        changed = chance.choice(list(VARIANTS))
        before = {**before, changed: chance.randrange(len(VARIANTS[changed]))}
        fields = {name: VARIANTS[name][which] for name, which in before.items()}
        kind = slots.MARK if chance.random() < 0.2 else slots.CALL
        contents.append(slot(**{**fields, "kind": kind, "tid": 5 + number % 2, "t_ns": number, "dur_ns": number * 3}))
    data = ring_of(*contents)
    expected, facts = one_by_one(data)
    events, seen, _ = events_of(data)
    assert len(expected) > 1_000
    assert events == expected
    assert seen == facts


def test_a_call_without_a_path_is_told_from_one_with_an_unread_path() -> None:
    """Where the address is null the descriptor itself is meant, which is no lookup."""
    unread = call(b"", nr=262, arg0=AT_FDCWD, arg1=1 << 40)
    null = call(b"", nr=262, arg0=AT_FDCWD, arg1=0)
    events, _, _ = events_of(ring_of(unread, null, unread))
    assert [event.path for event in events if isinstance(event, Call)] == [b"", b""]


def test_marks_that_come_again() -> None:
    begin = slot(kind=slots.MARK, tid=5, t_ns=7, n1=9, text=b"fsprobe>m", arg0=70, arg1=1, arg2=2, arg3=3)
    end = slot(kind=slots.MARK, tid=6, t_ns=9, n1=9, text=b"fsprobe<m", has=slots.HAS_NO_USAGE)
    events, facts, _ = events_of(ring_of(begin, end, begin))
    assert events == [Mark(5, 7, "begin", b"m"), Mark(6, 9, "end", b"m"), Mark(5, 7, "begin", b"m")]
    assert [usage.cpu_ns for usage in facts.usages] == [70, 70]
