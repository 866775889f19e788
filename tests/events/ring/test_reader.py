"""The reader takes nothing of a ring for granted: any process of the run may have written into it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsprobe.errors import BadInput
from fsprobe.events.ring import RingFacts, read, slots
from fsprobe.events.ring.spelling import NAMES, annotation, quoted
from fsprobe.events.strace.values import annotated_path, escape, string_value
from fsprobe.model.events import Call, Event, Mark, ParseQuality, Process
from tests.capture.backends.inline import recorded
from tests.capture.backends.inline.recorded import PYTHON


def ring_of(*contents: bytes, asked: int | None = None, cap: int | None = None) -> bytes:
    head = bytearray(slots.HEADER_BYTES)
    slots.HEAD.pack_into(
        head, 0, slots.MAGIC, slots.VERSION, slots.SLOT_BYTES, len(contents) if cap is None else cap, 1 << 20, 0
    )
    head[64:72] = (len(contents) if asked is None else asked).to_bytes(8, "little")
    return bytes(head) + b"".join(contents)


def slot(**fields: int | bytes) -> bytes:
    text = fields.pop("text", b"")
    fields = {"magic": slots.SLOT_MAGIC, "state": slots.DONE, **fields}
    values = slots.Slot(*[0] * (len(slots.Slot._fields) - 1), b"")._replace(**fields)  # type: ignore[arg-type]
    return slots.SLOT.pack(*values[:-1], text)


def events_of(data: bytes) -> tuple[list[Event], RingFacts, ParseQuality]:
    facts, quality = RingFacts(), ParseQuality()
    return list(read(data, quality, facts)), facts, quality


def call(path: bytes, nr: int = 2, **fields: int | bytes) -> bytes:
    return slot(**{"kind": slots.CALL, "nr": nr, "tid": 5, "n1": len(path), "text": path, **fields})


def test_a_call() -> None:
    (one,), facts, quality = events_of(ring_of(call(b"/x", result=-2, t_ns=7, dur_ns=9)))
    assert one == Call(
        5, 7, "open", one.op, b"/x", "ENOENT", 9, b'"/x", O_RDONLY', b"-1 ENOENT (No such file or directory)"
    )  # type: ignore[union-attr]
    assert (facts.n_slots, facts.n_lost, facts.n_damaged) == (1, 0, 0)
    assert quality.has_times
    assert quality.has_tids


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 100,
        bytes(slots.HEADER_BYTES),
        ring_of()[:-1],
        b"FSPRING2" + ring_of()[8:],
        ring_of()[:8] + b"\2" + ring_of()[9:],
    ],
)
def test_no_ring(data: bytes) -> None:
    with pytest.raises(BadInput):
        events_of(data)


def test_what_the_header_says_is_not_more_than_there_is() -> None:
    data = ring_of(call(b"/x"), asked=1 << 40, cap=1 << 50)
    events, facts, _ = events_of(data)
    assert len(events) == 1
    assert facts.n_lost == (1 << 40) - 1


def test_an_empty_path_that_is_none() -> None:
    """With AT_EMPTY_PATH a descriptor is meant: no lookup. Without it, or where the path was lost, it is one."""
    flags = [(260, "arg3"), (303, "arg3"), (428, "arg2"), (439, "arg3")]
    meant = [call(b"", nr=number, arg0=3, arg1=1 << 40, **{at: 0x1000}) for number, at in flags]
    failed = call(b"", nr=439, arg0=3, arg1=1 << 40, result=-2)
    cut = call(b"", nr=439, arg0=3, arg1=1 << 40, arg3=0x1000, has=slots.HAS_CUT)
    begun = call(b"", nr=439, arg0=3, arg1=1 << 40, arg3=0x1000, state=slots.BEGUN)
    events, _, _ = events_of(ring_of(*meant, failed, cut, begun))
    assert [(event.syscall, event.error) for event in events if isinstance(event, Call)] == [
        ("faccessat2", "ENOENT"),
        ("faccessat2", ""),
        ("faccessat2", "?"),
    ]


def test_lost_slots_are_counted() -> None:
    hole, torn = bytes(256), slot(kind=slots.NEWTID, state=slots.BEGUN)
    never = slot(kind=slots.CALL, state=0, nr=2)
    events, facts, _ = events_of(ring_of(call(b"/a"), hole, torn, never, call(b"/b"), asked=9, cap=5))
    assert [event.path for event in events if isinstance(event, Call)] == [b"/a", b"/b"]
    assert facts.n_lost == 3 + 4


@pytest.mark.parametrize(
    "bad",
    [
        call(b"/x", n2=500),
        call(b"/x", has=slots.HAS_LONG, text_at=0),
        call(b"/x", has=slots.HAS_LONG, text_at=99),
        call(b"/x", has=slots.HAS_LONG, text_at=(1 << 32) - 1),
        slot(kind=slots.CALL, nr=9999),
        slot(kind=77),
        slot(kind=slots.MARK, n1=3, text=b"abc"),
    ],
)
def test_damaged_slots_are_counted_and_harm_nothing(bad: bytes) -> None:
    events, facts, quality = events_of(ring_of(call(b"/a"), bad, call(b"/b")))
    paths = [event.path for event in events if isinstance(event, Call)]
    assert paths[0] == b"/a"
    assert paths[-1] == b"/b"
    assert facts.n_damaged == quality.n_unparsed == 1


def test_text_that_looks_like_slots_is_none() -> None:
    inner = call(b"/inside")
    room = slots.LONG.pack(slots.SLOT_MAGIC, slots.DONE, slots.TEXT, 3, 5, 0) + (inner + inner)[: 256 - 16]
    data = ring_of(call(b"/a"), room, inner, inner, call(b"/b"))
    events, facts, _ = events_of(data)
    assert [event.path for event in events if isinstance(event, Call)] == [b"/a", b"/b"]
    assert facts.n_damaged == 0


def test_a_text_of_fewer_slots_than_it_needs() -> None:
    room = slots.LONG.pack(slots.SLOT_MAGIC, slots.DONE, slots.TEXT, 1, 5, 0) + b"x" * 240
    long = slot(kind=slots.CALL, nr=2, n1=241, has=slots.HAS_LONG, text_at=0)
    fits = slot(kind=slots.CALL, nr=2, n1=240, has=slots.HAS_LONG, text_at=0)
    events, facts, _ = events_of(ring_of(room, long, fits))
    assert [event.path for event in events if isinstance(event, Call)] == [b"", b"x" * 240]
    assert facts.n_damaged == 1


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_names_are_spelled_as_strace_does(name: bytes) -> None:
    assert quoted(name) == b'"' + escape(name) + b'"'
    assert string_value(quoted(name)) == name
    assert annotation(b"/" + name) == b"<" + escape(b"/" + name, annotation=True) + b">"
    assert annotated_path(b"3" + annotation(b"/" + name)) == b"/" + name


_numbers = st.integers(0, (1 << 64) - 1) | st.integers(0, 300) | st.sampled_from(sorted(NAMES))


@st.composite
def any_slot(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(min_size=256, max_size=256))
    words = [draw(_numbers) for _ in range(len(slots.Slot._fields) - 1)]
    words[0], words[1], words[2] = slots.SLOT_MAGIC, draw(st.integers(0, 3)), draw(st.integers(0, 6))
    words[3] = draw(st.integers(0, 255))
    words[16] = draw(st.sampled_from([*sorted(NAMES), 56, 57, 58, 60, 61, 231, 247, 425, 435]))
    for at in (4, 8, 9, 10):
        words[at] = draw(st.integers(0, 6))
    words[7] = draw(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-130, 5)) & ((1 << 64) - 1)
    for at in (17, 18, 19, 14):
        words[at] = draw(st.integers(0, 60) | st.integers(0, 65535))
    words[20] = draw(st.integers(0, 30))
    sizes = (1, 1, 1, 1, 4, 8, 8, 8, 8, 8, 8, 8, 8, 2, 2, 4, 2, 2, 2, 2, 4, 4, 8, 8, 4, 4, 8, 8)
    data = b"".join(
        (word & ((1 << 8 * size) - 1)).to_bytes(size, "little") for word, size in zip(words, sizes, strict=True)
    )
    return data + draw(st.binary(min_size=120, max_size=120))


@given(st.lists(any_slot(), max_size=12), st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_anything_is_read(contents: list[bytes], asked: int) -> None:
    data = ring_of(*contents, asked=asked)
    events, facts, _ = events_of(data)
    assert facts.n_slots == min(asked, len(contents))
    for event in events:
        assert isinstance(event, Call | Mark | Process)
        assert isinstance(event.tid, int)
        if isinstance(event, Call):
            assert isinstance(event.path, bytes)


def test_a_real_ring_with_bits_turned(library: Path) -> None:
    """Damage of a true recording: read to its end, each time."""
    data = recorded.record(
        library, [PYTHON, "-c", "import json, subprocess; subprocess.run(['true'])"], slots=5000
    ).data
    n = min(int.from_bytes(data[64:72], "little"), 5000)
    data = data[: slots.HEADER_BYTES + n * 256]
    chance = random.Random(7)
    whole = len(events_of(data)[0])
    for _ in range(60):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 40)):
            changed[chance.randrange(slots.HEADER_BYTES, len(changed))] = chance.randrange(256)
        events, facts, _ = events_of(bytes(changed))
        assert len(events) <= whole + 200
        assert facts.n_slots == n
    for _ in range(60):
        cut = data[: chance.randrange(slots.HEADER_BYTES, len(data))]
        _, facts, _ = events_of(cut)
        assert facts.n_slots + facts.n_lost >= n
