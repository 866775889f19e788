"""Rings of any length: a real one, repeated with other processes at later times, as a recording that fsprobe reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fsprobe.analysis.columns.slots import LAYOUT
from fsprobe.events.ring.kinship import WAITS
from fsprobe.events.ring.slots import (
    CALL,
    HAS_LONG,
    HEAD,
    HEADER_BYTES,
    MAGIC,
    NEWTID,
    NEXT_AT,
    SLOT_BYTES,
    START,
    TEXT_BYTES,
    VERSION,
    open_ring,
)
from fsprobe.recording import file
from fsprobe.recording.file import Recording

PID_STEP = 1_000_000
"""Between the threads of a copy and those of the next one."""
GAP_NS = 1_000_000_000


def grow(source: Path, n_slots: int, target: Path, own_trees: bool = False) -> int:
    """Write a recording whose ring has at least `n_slots` slots: copies of the source's, each a whole run; returns how many.

    Args:
        source: a recording made with --backend inline.
        n_slots: how many are wanted.
        target: the recording to write.
        own_trees: each copy looks its names up in a directory of its own (the first four letters of a path are its number), so that
            no path of one comes in another.
    """
    recording = Recording(str(source))
    ring = open_ring(b"".join(recording.section("ring")))
    n_one = ring.n_slots - ring.drained
    begin = HEADER_BYTES + ring.drained * SLOT_BYTES
    one = np.frombuffer(ring.data[begin : begin + n_one * SLOT_BYTES], dtype=LAYOUT)
    kinds = np.frombuffer(ring.kinds, dtype=np.uint8)[ring.drained :]
    is_slot = (kinds <= 5) & (kinds != 3)
    calls = is_slot & (kinds == CALL)
    said = is_slot & ((kinds == START) | (kinds == NEWTID))
    long = is_slot & ((one["has"] & HAS_LONG) != 0)
    waits = calls & np.isin(one["nr"], list(WAITS))
    forked = is_slot & (kinds == NEWTID) & (one["arg"][:, 2] > 0)
    span = int(one["t_ns"][is_slot].max() - one["t_ns"][is_slot].min()) + GAP_NS
    n_copies = -(-n_slots // n_one)
    all_slots = n_copies * n_one

    def pieces() -> Iterator[bytes]:
        head = bytearray(HEADER_BYTES)
        HEAD.pack_into(head, 0, MAGIC, VERSION, SLOT_BYTES, all_slots, all_slots, 0)
        head[NEXT_AT : NEXT_AT + 8] = all_slots.to_bytes(8, "little")
        yield bytes(head)
        for number in range(n_copies):
            copy = one.copy()
            at, pids = number * n_one - ring.drained, number * PID_STEP
            copy["tid"][is_slot] += pids
            copy["t_ns"][is_slot] += number * span
            copy["arg"][said, 0] += pids
            copy["arg"][said, 1] += pids
            copy["arg"][waits, 0] += pids
            copy["arg"][forked, 2] += at
            copy["text_at"][long] += at
            if own_trees:
                _move(copy, is_slot & ~long, number)
            yield copy.tobytes()

    sections = [("manifest", recording.whole("manifest"))]
    sections += [(name, recording.whole(name)) for name in recording.names() if name not in ("manifest", "ring")]
    file.write(str(target), "recording", [*sections, ("ring", pieces())])
    return all_slots


def _move(slots: np.ndarray, which: np.ndarray, number: int) -> None:
    """Put the paths of some calls into a directory whose name is a number."""
    letters = np.frombuffer(b"%04x" % number, dtype=np.uint8)
    texts = slots.view(np.uint8).reshape(len(slots), SLOT_BYTES)[:, SLOT_BYTES - TEXT_BYTES :]
    begin = np.zeros(len(slots), dtype=np.int64)
    for length in ("n1", "n2", "n3"):
        n = slots[length].astype(np.int64)
        rows = np.flatnonzero(which & (n > 5) & (begin + n <= TEXT_BYTES) & (slots["kind"] == CALL))
        rows = rows[texts[rows, begin[rows]] == ord("/")]
        texts[rows[:, None], begin[rows][:, None] + np.arange(1, 5)] = letters
        begin += n
