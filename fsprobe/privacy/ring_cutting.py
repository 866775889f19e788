"""A ring without what is nobody's business: arguments of other programs, addresses' texts, owners; names in paths replaced.

A new ring is written, slot by slot, of what the reader understands. Each slot's text is written again, so nothing stays of
what a slot held beyond it; slots that were lost stay a number.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

from fsprobe.events.ring import slots
from fsprobe.events.ring.kinship import CLONES
from fsprobe.events.ring.slots import CALL, HAS_BASE_2, HAS_CUT, HAS_LONG, MARK, NEWTID, OBJECT, SLOT_BYTES, START, Slot
from fsprobe.privacy.concealment import Unchanged
from fsprobe.privacy.log.call_values import is_command, program_and_script
from fsprobe.privacy.log.cutting import marked

_EXECS = frozenset({59, 322})
_OPENS = frozenset({2, 85, 257, 437})
_LINK_TEXTS = frozenset({88, 89, 266, 267})
"""symlink, readlink: the second text is what the link says, relative to where it lies."""
_OWNERS = {92: "arg1", 94: "arg1", 260: "arg3"}
"""chown and its like -> the argument that names an owner beside the third one."""
_MAX_SLOTS = 255
_BLOCK_BYTES = 1 << 20
_IN_MEMORY_BYTES = 64 << 20
_LONG_HAS = {"n1": 0, "n2": 0, "n3": 0, "n4": 0}


def cut(
    data: slots.Buffer, hide: Unchanged, command: Sequence[bytes] = (), cwd: bytes | None = None
) -> Iterator[bytes]:
    """Give the blocks of a ring that may be given away.

    Args:
        data: the ring.
        hide: what becomes of paths and names.
        command: the user's own command, whose arguments stay.
        cwd: where it was started.

    Raises:
        BadInput: it is no ring.
    """
    ring = slots.open_ring(data)
    moved: dict[int, int] = {}
    n = 0
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
        for index in range(ring.drained, ring.n_slots):
            kind = ring.kinds[index]
            if kind not in (CALL, NEWTID, START, OBJECT, MARK):
                continue
            slot = slots.slot_at(ring, index)
            texts = slots.texts_of(ring, slot)
            if texts is None:
                texts, slot = (b"", b"", b"", b""), slot._replace(has=slot.has | HAS_CUT)
            if kind == CALL and slot.nr in CLONES:
                moved[index] = n
            elif kind == NEWTID and slot.arg2:
                slot = slot._replace(arg2=moved.get(slot.arg2 - 1, -1) + 1)
            slot, texts = _cut(slot, texts, hide, command, cwd)
            written = _written(slot, texts, n)
            spool.write(written)
            n += len(written) // SLOT_BYTES
        header = bytearray(slots.HEADER_BYTES)
        slots.HEAD.pack_into(header, 0, slots.MAGIC, slots.VERSION, SLOT_BYTES, n, n, 0)
        n_asked = min(n + ring.n_lost, (1 << 64) - 1)
        header[slots.NEXT_AT : slots.NEXT_AT + 8] = n_asked.to_bytes(8, "little")
        yield bytes(header)
        spool.seek(0)
        while block := spool.read(_BLOCK_BYTES):
            yield block


def _cut(
    slot: Slot, texts: tuple[bytes, bytes, bytes, bytes], hide: Unchanged, command: Sequence[bytes], cwd: bytes | None
) -> tuple[Slot, tuple[bytes, bytes, bytes, bytes]]:
    path, second, base, base_2 = texts
    if slot.kind == OBJECT:
        return slot, texts  # numbers of system calls
    if slot.kind == MARK:
        return slot, (marked(path, hide), b"", b"", b"")
    if slot.kind == NEWTID:
        return slot, (b"", b"", b"", b"")
    if hide.is_redacting:
        slot = slot._replace(arg3=0) if slot.kind == START else slot
        if slot.kind == CALL and slot.nr in _OWNERS:
            slot = slot._replace(arg2=0, **{_OWNERS[slot.nr]: 0})  # type: ignore[arg-type]
    place = base or cwd
    new = _path(path, place, hide)
    if slot.kind == START or slot.nr in _EXECS:
        second = b"".join(word + b"\0" for word in _argv(second, path.rpartition(b"/")[2], hide, command))
    elif slot.nr in _LINK_TEXTS:
        link = path if path[:1] == b"/" or not place else place + b"/" + path
        second = hide.link_text(link, second) if second else second
    elif slot.nr in _OPENS:
        second = _path(second, None, hide)
    else:
        second = _path(second, base_2 or place, hide)
    return slot, (new, second, _path(base, None, hide), _path(base_2, None, hide))


def _path(path: bytes, directory: bytes | None, hide: Unchanged) -> bytes:
    if not path:
        return path
    name = path.removesuffix(b" (deleted)")
    return hide.path(name, directory) + path[len(name) :]


def _argv(joined: bytes, program: bytes, hide: Unchanged, command: Sequence[bytes]) -> list[bytes]:
    values = joined.split(b"\0")[:-1]
    if not is_command(values, command):
        words = program_and_script([b'"%s"' % value for value in values], program, values)
        values = [word[1:-4] if word.endswith(b'"...') else word[1:-1] for word in words]
        for value in values[1:]:
            if value and (not value.startswith(b"-") or value[:2] == b"-m"):
                hide.script(value)
    return hide.argv(values)


def _written(slot: Slot, texts: tuple[bytes, bytes, bytes, bytes], index: int) -> bytes:
    """A slot with its texts, which stand in slots behind it where they are long."""
    total = b"".join(texts)
    has = slot.has & ~HAS_LONG
    lengths = dict(zip(("n1", "n2", "n3", "n4"), map(len, texts), strict=True))
    n_slots = -(-(len(total) + slots.LONG_TEXT_AT) // SLOT_BYTES)
    if len(total) > slots.TEXT_BYTES and n_slots > _MAX_SLOTS:
        has, lengths, total = has | HAS_CUT, _LONG_HAS, b""
    is_long = len(total) > slots.TEXT_BYTES
    if not texts[3]:
        has &= ~HAS_BASE_2
    slot = slot._replace(
        has=has | (HAS_LONG if is_long else 0),
        text_at=index + 1 if is_long else 0,
        text=b"" if is_long else total,
        **lengths,
    )
    written = slots.SLOT.pack(*slot)
    if is_long:
        room = slots.LONG.pack(slots.SLOT_MAGIC, slots.DONE, slots.TEXT, n_slots, slot.tid, index) + total
        written += room.ljust(n_slots * SLOT_BYTES, b"\0")
    return written
