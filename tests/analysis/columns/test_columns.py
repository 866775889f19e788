"""A ring as columns says what its events say one by one, in every table and in the same order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsprobe.analysis.columns.groups import group
from fsprobe.analysis.counting.latency import bin_edges, bin_of
from fsprobe.analysis.counting.tally import check_sums
from fsprobe.events.ring import slots
from tests.analysis.columns.both import HOOK, LOCAL, MARKS, NFS, same
from tests.capture.backends.inline import recorded
from tests.events.ring.test_live import PROGRAM
from tests.events.ring.test_reader import any_slot, call, ring_of, slot

pytest.importorskip("numpy")

AT_FDCWD = 0xFFFFFF9C
NAMES = [
    b"pkg",
    b"pkg.mod",
    b"pkg.other",
    b"runpy",
    b"multiprocessing.spawn",
    b"matplotlib.font_manager",
    b"sitecustomize",
]
LABELS = [b"/usr/bin/python3\0-c\0x\0", b"/usr/bin/python3\0-c\0multiprocessing.spawn\0", b"/bin/sh\0-c\0x\0"]
PATHS = [
    b"/data/lib/python3.11/site-packages/pkg", b"/data/lib/python3.11/site-packages/pkg/__init__.py", b"/data/x.so", b"rel/x",
    b"/data/a/b.cpython-311-x86_64-linux-gnu.so", b"/data/p.dist-info/entry_points.txt", b"/tmp/x.pyc.123", b"/proc/self/fd",
    b"/data/" + b"long/" * 30 + b"end", b"/data/lib/python3.11/encodings", HOOK, HOOK + b"/sitecustomize.py", MARKS + b"/marks.x",
]  # fmt: skip


class Made:
    """A ring of one's own: several processes and threads that import, look up, fork, exec and end."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.slots: list[bytes] = []
        self.now = 1_000_000_000
        self.tids = [5]
        self.pids = {5: 5}

    def add(self, **fields: int | bytes) -> None:
        self.now += self.chance.choice((0, 10, 3_000, 90_000_000))
        self.slots.append(slot(**{"t_ns": self.now + self.chance.choice((0, 0, 0, -5_000)), **fields}))

    def mark(self, tid: int, text: bytes) -> None:
        has = slots.HAS_NO_USAGE if self.chance.random() < 0.02 else 0
        n = self.chance.randrange(1000)
        self.add(kind=slots.MARK, tid=tid, n1=len(text), text=text, has=has, arg0=self.now // 2 + n, arg1=n % 7)

    def start(self, tid: int, parent: int = 1) -> None:
        path, words = b"/usr/bin/python3", self.chance.choice(LABELS)
        text = path + words
        self.add(kind=slots.START, tid=tid, arg0=tid, arg1=parent, n1=len(path), n2=len(words), text=text)

    def hooked(self, tid: int) -> None:
        """An interpreter that is past its start."""
        self.call(tid, b"/data/lib/python3.11/encodings", nr=262, result=0)
        for text in (b"fsprobe!begin 1 1", b"fsprobe!ready 1 1 0", b"fsprobe>sitecustomize", b"fsprobe<sitecustomize"):
            self.mark(tid, text)

    def call(self, tid: int, path: bytes, **fields: int | bytes) -> None:
        has = 0
        if len(path) > slots.TEXT_BYTES:
            n = -(-(len(path) + slots.LONG_TEXT_AT) // slots.SLOT_BYTES)
            head = bytes((slots.SLOT_MAGIC, slots.DONE, slots.TEXT, n)) + bytes(slots.LONG_TEXT_AT - 4)
            fields["text_at"] = len(self.slots)
            self.slots.append((head + path).ljust(n * slots.SLOT_BYTES, b"\0"))
            has, text = slots.HAS_LONG, b""
        else:
            text = path
        self.add(
            **{"kind": slots.CALL, "tid": tid, "n1": len(path), "text": text, "has": has, "dur_ns": self.chance.choice((0, 900, 5_000, 400_000)),
               "arg0": AT_FDCWD, **fields}
        )  # fmt: skip

    def any_call(self, tid: int) -> None:
        chance = self.chance
        path = chance.choice(PATHS)
        nr = chance.choice((262, 262, 262, 257, 257, 2, 4, 6, 21, 89, 217, 83, 87, 80, 137, 332, 59, 267))
        result = chance.choice((0, 0, 0, 3, 4, -2, -2, -20, -13))
        state = slots.BEGUN if chance.random() < 0.02 else slots.DONE
        fields: dict[str, int | bytes] = {"nr": nr, "result": result, "state": state, "arg1": 1}
        if nr in (2, 257):
            fields["arg1" if nr == 2 else "arg2"] = chance.choice((0, 0, 0o2000000, 0o101, 0o1101))
            if result >= 0 and chance.random() < 0.5 and len(path) < 60:
                fields |= {"n_reads": 2, "read_ns": 700, "read_bytes": 4_000, "n_fstats": chance.randrange(2)}
                fields |= {"mode": 0o100644, "size": chance.choice((9, 12))}
            if result >= 0 and path[:1] == b"/" and len(path) < 60:
                fields |= chance.choice(({"has": slots.HAS_SAME}, {"n2": 6, "text": path + b"/led/2"}))
        else:
            fields |= {"mode": chance.choice((0o100644, 0o040755)), "size": 12, "arg3": chance.choice((0, 0x100))}
        if len(path) > slots.TEXT_BYTES:
            fields.pop("has", None)
        if chance.random() < 0.01:
            fields["has"] = slots.HAS_CUT
        self.call(tid, path, **fields)

    def step(self) -> None:
        chance = self.chance
        tid = chance.choice(self.tids)
        what = chance.random()
        if what < 0.7:
            self.any_call(tid)
        elif what < 0.93:
            self.mark(tid, b"fsprobe" + chance.choice((b">", b">", b"<", b"<")) + chance.choice(NAMES))
        elif what < 0.95:
            new = max(self.pids) + 1
            is_thread = chance.random() < 0.5
            index = len(self.slots)
            self.add(kind=slots.CALL, tid=tid, nr=56, arg0=0x10000 if is_thread else 0, arg1=77 if is_thread else 0)
            pid = self.pids[tid] if is_thread else new
            self.add(
                kind=slots.NEWTID, tid=new, arg0=pid, arg1=self.pids[tid], arg2=0 if is_thread else index + 1, arg3=77
            )
            self.tids.append(new)
            self.pids[new] = pid
        elif what < 0.96:
            self.call(tid, b"/usr/bin/python3", nr=59, state=slots.BEGUN)
            self.start(tid)
            if chance.random() < 0.8:
                self.hooked(tid)
        elif what < 0.97:
            self.add(kind=slots.CALL, tid=tid, nr=chance.choice((60, 231)))
        elif what < 0.98:
            self.mark(
                tid,
                chance.choice((b"fsprobe!lazy 1 1 9 a.py pkg", b"fsprobe!lost 1 1 3", b"fsprobe!begin 1 1", b"odd")),
            )
        else:
            self.add(kind=chance.choice((slots.OBJECT, 9)), tid=tid, nr=chance.randrange(400))

    def ring(self, n: int) -> bytes:
        self.start(5)
        if self.chance.random() < 0.9:
            self.hooked(5)
        for _ in range(n):
            self.step()
        return ring_of(*self.cut())

    def cut(self) -> Iterator[bytes]:
        for one in self.slots:
            yield from (one[at : at + slots.SLOT_BYTES] for at in range(0, len(one), slots.SLOT_BYTES))


@pytest.mark.parametrize("seed", range(12))
def test_any_run_is_told_alike(seed: int) -> None:
    found = same(Made(seed).ring(600), (LOCAL,) if seed % 3 else (LOCAL, NFS))
    assert found is not None
    assert found.tally.total.n_metadata > 100
    assert check_sums(found.tally) == []


def test_a_real_ring_and_damaged_ones_are_told_alike(library: Path) -> None:
    """With long texts, a thread, a fork, an exec."""
    data = recorded.record(library, [recorded.PYTHON, "-I", "-S", "-c", PROGRAM]).data
    n = int.from_bytes(data[slots.NEXT_AT : slots.NEXT_AT + 8], "little")
    data = data[: slots.HEADER_BYTES + n * slots.SLOT_BYTES]
    assert same(data) is not None
    chance = random.Random(3)
    for _ in range(12):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 30)):
            changed[chance.randrange(slots.HEADER_BYTES, len(changed))] = chance.randrange(256)
        same(bytes(changed), (LOCAL, NFS))
        same(data[: chance.randrange(slots.HEADER_BYTES, len(data))])


def _tamed(data: bytes) -> bytes:
    """A slot whose times a clock may have had; all else stays as it is."""
    one = bytearray(data)
    for at in (8, 16, 32, 40, 96, 104, 120, 128):  # t_ns, dur_ns, arg0, arg1, and what was read and mapped
        one[at + 4 : at + 8] = bytes(4)
    return bytes(one)


@given(st.lists(any_slot().map(_tamed), max_size=12), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_anything_is_told_alike(contents: list[bytes], asked: int) -> None:
    made = Made(1)
    made.start(5)
    made.hooked(5)
    assert same(ring_of(*made.slots, *contents, asked=len(made.slots) + asked)) is not None


def test_times_that_no_clock_has_are_left_to_the_other_way() -> None:
    assert same(ring_of(call(b"/x", t_ns=1 << 60))) is None
    assert same(ring_of(call(b"/x", dur_ns=1 << 60))) is None
    assert same(ring_of()) is None


@pytest.mark.parametrize("n_possible", [5, 10**9])
def test_groups_stand_where_they_came_first(n_possible: int) -> None:
    import numpy as np

    found = group(np.array([4, 1, 4, 3, 1, 4]), n_possible)
    assert [column.tolist() for column in found] == [[4, 1, 3], [3, 2, 1], [0, 1, 3]]


def test_bins_are_those_of_single_calls() -> None:
    import numpy as np

    edges = bin_edges()
    assert len(edges) == 601
    micro = [*range(2, 400), 1_000, 10**6, 10**12, 10**15]
    assert np.minimum(np.searchsorted(edges, micro), 600).tolist() == [bin_of(us) for us in micro]
