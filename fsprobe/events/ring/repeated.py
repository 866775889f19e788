"""A whole ring to events: calls that were made before, word for word, are not spelled again.

A program looks the same names up again and again, and so do the processes that it starts: of a start of `import pandas` a call
in two was made before, of ten workers nine in ten. So the events of the commonest calls are remembered by all that they are
made of; everything else is spelled by `reader.Run`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from fsprobe.events.ring import kinship
from fsprobe.events.ring.facts import RingFacts, Usage
from fsprobe.events.ring.reader import CALLS, HAS_ODD_TEXT, MARKS, Run
from fsprobe.events.ring.slots import (
    CALL,
    DONE,
    HAS_NO_USAGE,
    MARK,
    SLOT_BYTES,
    TEXT_BYTES,
    Buffer,
    open_ring,
    slot_at,
)
from fsprobe.model.events import Call, Event, Mark, Op, ParseQuality

_BRIEF = struct.Struct("<xBxBIQQqQQQQ16sHH8sI16xII16x120s")
"""What most slots are told by: state, has, tid, t_ns, dur_ns, result, arg0 to arg3, then as bytes size, mode, n4 and n_entries;
nr, n1, as bytes n2, n3 and text_at; n_reads, n_maps, n_fstats, text. A test holds it to `slots.FIELDS`."""
_NO_MIDDLE, _NO_MORE = bytes(16), bytes(8)
_NEWFSTATAT = 262
_REMEMBERED = frozenset({_NEWFSTATAT, 257})
"""newfstatat and openat."""
_MOST_KNOWN = 65_536


def read(
    data: Buffer,
    quality: ParseQuality,
    facts: RingFacts,
    *,
    cwd: bytes | None = None,
    wall_start_ns: int | None = None,
    on_status: Callable[[int, int | None, bytes], None] | None = None,
) -> Iterator[Event]:
    """Turn a ring into the events that the strace parser gives for the same run.

    Times are CLOCK_MONOTONIC, as the marks of the import hooks have it. Durations are the calls' own.

    Args:
        data: the whole ring, header and slots; may be a memory map.
        quality: filled while the result is consumed; a "line" is a slot.
        facts: filled likewise.
        cwd: working directory of the first process.
        wall_start_ns: wall clock (ns since the epoch) at CLOCK_MONOTONIC 0, where it is known.
        on_status: told of each open descriptor whose status was asked for: thread, time, the call's arguments. When that was
            the ring does not say: most programs ask right after the open, and that is what is told.

    Raises:
        BadInput: it is no ring.
    """
    ring = open_ring(data)
    quality.has_times = quality.has_tids = quality.has_durations = True
    quality.wall_start_ns = wall_start_ns
    facts.n_lost += ring.n_lost
    run = Run(ring, quality, facts, kinship.find(ring), cwd, on_status)
    # written out: this is done for each slot of a run
    first = ring.drained
    slots = _BRIEF.iter_unpack(ring.data[ring.zero_at + first * SLOT_BYTES : ring.zero_at + ring.n_slots * SLOT_BYTES])
    make, open_op = tuple.__new__, Op.OPEN
    calls: dict[tuple[object, ...], Call] = {}
    names: dict[bytes, tuple[str, bytes]] = {}
    paths: dict[bytes, bytes] = {}
    n_told = 0
    try:
        for index, (kind, brief) in enumerate(zip(ring.kinds[first:], slots, strict=True), first):
            n_told += 1
            state, has, tid, t_ns, dur_ns, result, arg0, arg1, arg2, arg3, middle, nr, n1, more, n_reads, n_maps, n_fstats, text = brief  # fmt: skip
            if kind == CALL and nr in CALLS:
                if n1 and nr in _REMEMBERED and state == DONE and not has & HAS_ODD_TEXT:
                    # the other arguments are addresses, or not looked at
                    key = (nr, has, result, arg0, arg3 if nr == _NEWFSTATAT else arg2, middle, n1, more, text)
                    known = calls.get(key)
                    if known is not None:
                        _, _, syscall, op, path, error, _, args, answer = known
                        if (n_reads or n_maps or n_fstats) and op is open_op and not error:
                            run.opened(slot_at(ring, index), path)
                        yield make(Call, (tid, t_ns, syscall, op, path, error, dur_ns, args, answer))
                        continue
                else:
                    key = None
                slot = slot_at(ring, index)
                call = run.call(index, slot)
                if call is None:
                    continue
                if key is not None and n1 + slot.n2 + slot.n3 + slot.n4 <= TEXT_BYTES:
                    if len(calls) >= _MOST_KNOWN:
                        calls.clear()
                        paths.clear()
                    # one object for a path, however it is asked for: tables find it faster
                    call = calls[key] = call._replace(path=paths.setdefault(call.path, call.path))
                yield call
            elif kind == MARK:
                if has & HAS_ODD_TEXT or n1 > TEXT_BYTES or middle != _NO_MIDDLE or more != _NO_MORE:
                    mark = run.mark(slot_at(ring, index))
                    if mark is not None:
                        yield mark
                    continue
                words = text[:n1]
                name = names.get(words)
                if name is None:
                    mark_kind = MARKS.get(words[7:8]) if words[:7] == b"fsprobe" else None
                    if mark_kind is None:
                        run.damaged()
                        continue
                    if len(names) >= _MOST_KNOWN:
                        names.clear()
                    name = names[words] = (mark_kind, words[8:])
                if not has & HAS_NO_USAGE:
                    facts.usages.append(make(Usage, (tid, t_ns, arg0, arg1, arg3, arg2)))
                yield make(Mark, (tid, t_ns, *name))
            else:
                yield from run.seldom(index, kind, slot_at(ring, index) if kind == CALL else None)
    finally:
        quality.n_lines += n_told
        facts.n_slots += n_told
    run.close()
