"""A ring that is given away: the same events, without other programs' arguments, without names where these are replaced."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fsprobe.events.ring import RingFacts, read, slots
from fsprobe.model.events import Call, Event, Mark, ParseQuality
from fsprobe.privacy import ring_cutting
from fsprobe.privacy.concealment import Unchanged
from fsprobe.privacy.redaction import Redaction
from tests.events.ring.test_reader import any_slot, call, ring_of, slot
from tests.privacy.test_redaction import ALICE, names_of

HOME = f"/users/{ALICE}".encode()


def events_of(data: bytes) -> tuple[list[Event], RingFacts]:
    facts = RingFacts()
    return list(read(data, ParseQuality(), facts)), facts


def cut(data: bytes, hide: Unchanged | None = None, command: tuple[bytes, ...] = ()) -> bytes:
    return b"".join(ring_cutting.cut(data, hide or Unchanged(), command))


def exec_slot(*words: bytes) -> bytes:
    argv = b"".join(word + b"\0" for word in words)
    return call(
        b"", nr=59, state=slots.BEGUN, n1=len(words[0]), n2=len(argv), has=slots.HAS_SECOND, text=words[0] + argv
    )


def test_arguments_of_other_programs_go() -> None:
    data = ring_of(exec_slot(b"/bin/curl", b"--token", b"SECRET"), exec_slot(b"/bin/mine", b"--epochs", b"3"))
    given_away = cut(data, command=(b"/bin/mine", b"--epochs", b"3"))
    assert b"SECRET" not in given_away
    first, second = [event for event in events_of(given_away)[0] if isinstance(event, Call)]
    assert first.args == b'"/bin/curl", ["/bin/curl"], ...'
    assert second.args == b'"/bin/mine", ["/bin/mine", "--epochs", "3"], ...'


def test_nothing_stays_of_what_a_slot_holds_beside_its_text() -> None:
    data = ring_of(
        call(b"/x", text=b"/x" + b"SECRET" * 10), bytes(256), slot(kind=77, text=b"SECRET"), call(b"/y"), asked=9
    )
    given_away = cut(data)
    assert b"SECRET" not in given_away
    events, facts = events_of(given_away)
    assert [event.path for event in events if isinstance(event, Call)] == [b"/x", b"/y"]
    assert facts.n_lost == 1 + 5


def test_names_are_replaced_everywhere() -> None:
    long = HOME + b"/" + b"x" * 200
    room = (slots.LONG.pack(slots.SLOT_MAGIC, slots.DONE, slots.TEXT, 1, 5, 0) + long).ljust(256, b"\0")
    start = HOME + b"/env/bin/python"
    data = ring_of(
        slot(kind=slots.START, tid=5, arg3=1234, n1=len(start), text=start),
        call(HOME + b"/a", result=3, n2=len(HOME + b"/b"), has=slots.HAS_SECOND, text=HOME + b"/a" + HOME + b"/b"),
        call(b"c", nr=4, n3=len(HOME), has=slots.HAS_BASE, text=b"c" + HOME),
        call(b"", n1=len(long), has=slots.HAS_LONG, text_at=4, text=b""),
        room,
        call(b"/l", nr=89, result=5, n2=len(HOME), has=slots.HAS_SECOND, text=b"/l" + HOME),
        call(b"/o", nr=92, arg1=4711, arg2=4712),
        slot(kind=slots.MARK, tid=5, n1=13, text=b"fsprobe>numpy"),
    )
    given_away = cut(data, Redaction(names_of(ALICE, learned=[HOME])))
    assert ALICE.encode() not in given_away
    assert (4711).to_bytes(8, "little") not in given_away
    before, after = events_of(data)[0], events_of(given_away)[0]
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        if isinstance(one, Call) and isinstance(other, Call):
            assert other.path == one.path.replace(ALICE.encode(), b"user1")
            assert (other.syscall, other.error, other.dur_ns) == (one.syscall, one.error, one.dur_ns)
    assert any(isinstance(event, Mark) and event.name == b"numpy" for event in after)


def test_births_keep_their_clone() -> None:
    """What was lost before it is left out, and the slots move up."""
    data = ring_of(
        bytes(256),
        slot(kind=slots.NEWTID, tid=5, arg0=5, arg1=1),
        slot(kind=slots.CALL, nr=56, tid=5, arg0=17),
        slot(kind=slots.NEWTID, tid=6, arg0=6, arg1=5, arg2=3),
        call(b"/x"),
    )
    expected, actual = events_of(data)[0], events_of(cut(data))[0]
    assert expected == actual
    assert any(getattr(event, "kind", "") == "fork" for event in actual)


def test_a_real_one(library: Path) -> None:
    from tests.capture.backends.inline import recorded

    code = "import json, subprocess, threading; threading.Thread(target=print).start(); subprocess.run(['true'])"
    data = recorded.record(library, [recorded.PYTHON, "-c", code]).data
    command = tuple(map(os.fsencode, (recorded.PYTHON, "-c", code)))
    before, facts = events_of(data)
    after, facts_after = events_of(cut(data, command=command))
    assert after == before
    assert facts_after.reads == facts.reads
    assert facts_after.fstats == facts.fstats
    assert facts_after.n_lost == facts.n_lost


@given(st.lists(any_slot(), max_size=12), st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_anything_is_cut(contents: list[bytes], asked: int) -> None:
    data = ring_of(*contents, asked=asked)
    again = cut(data)
    assert cut(again) == again
    events_of(again)
