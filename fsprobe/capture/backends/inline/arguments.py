"""A ring as a recording keeps it: without arguments of programs beyond program and script, but for the user's own command.

What a log is spared by `privacy.log.call_values`. The ring itself stays as it is, for processes may still write into it: slots
are replaced on their way out.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6. The layout is that of slot.h.
"""

import struct

from fsprobe.capture.backends.inline import ringfile, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_LONG = struct.Struct("<BBBBIQ")
_N2_AT = 84
_AT_ONCE = 4096


def kept(ring: "str | int", most: "int", command: "Sequence[bytes]") -> "Iterator[bytes]":
    """Header and slots of a ring, in blocks, cut.

    Args:
        ring: its path, or a descriptor.
        most: as many slots as the recorder has allocated.
        command: the user's own command, whose arguments stay.

    Raises:
        OSError: it can't be read.
    """
    with ringfile.Reader(ring) as source:
        replaced = replacements(source, ringfile.n_slots(source, most), command)
    index = -1
    for block in ringfile.section(ring, most):
        if index < 0:  # the header
            index = 0
        else:
            n = len(block) // ringfile.SLOT_BYTES
            inside = [at for at in replaced if index <= at < index + n]
            if inside:
                changed = bytearray(block)
                for at in inside:
                    place = (at - index) * ringfile.SLOT_BYTES
                    changed[place : place + ringfile.SLOT_BYTES] = replaced[at]
                block = bytes(changed)
            index += n
        yield block


def replacements(source: "ringfile.Reader", n: "int", command: "Sequence[bytes]") -> "dict[int, bytes]":
    """The slots to be replaced, by their indexes: starts and execs with too many words, and where their texts lie."""
    found = {}  # type: dict[int, bytes]
    programs = []  # type: list[int]
    rooms = []  # type: list[tuple[int, int, int]]
    for first in range(0, n, _AT_ONCE):
        source.seek(ringfile.HEADER_BYTES + first * ringfile.SLOT_BYTES)
        data = source.read(min(_AT_ONCE, n - first) * ringfile.SLOT_BYTES)
        kinds, numbers = data[2 :: ringfile.SLOT_BYTES], data[80 :: ringfile.SLOT_BYTES]
        for at in range(min(len(kinds), len(numbers))):
            kind = kinds[at]
            if kind == words.START or (kind == words.CALL and numbers[at] in words.EXEC_BYTES):
                programs.append(first + at)
            elif kind == words.TEXT:
                place = at * ringfile.SLOT_BYTES
                _, _, _, n_slots, _, owner = _LONG.unpack_from(data, place)
                rooms.append((first + at, max(1, n_slots), owner))
    wanted = set(programs)
    used = set()  # type: set[int]
    for index in programs:
        source.seek(ringfile.HEADER_BYTES + index * ringfile.SLOT_BYTES)
        slot = source.read(ringfile.SLOT_BYTES)
        if len(slot) == ringfile.SLOT_BYTES:
            _replace(source, index, slot, command, found, used)
    for index, n_slots, owner in rooms:
        if owner in wanted and index not in used:  # its program was killed before it said where its words are
            for at in range(index, min(index + n_slots, n)):
                found.setdefault(at, bytes(ringfile.SLOT_BYTES))
            # its head stays: without it so many slots would count as lost
            source.seek(ringfile.HEADER_BYTES + index * ringfile.SLOT_BYTES)
            found[index] = source.read(_LONG.size).ljust(ringfile.SLOT_BYTES, b"\0")
    return found


def _replace(
    source: "ringfile.Reader",
    index: "int",
    slot: "bytes",
    command: "Sequence[bytes]",
    found: "dict[int, bytes]",
    used: "set[int]",
) -> "None":
    fields = words.SLOT.unpack(slot[: words.SLOT.size])
    if fields[0] != words.MAGIC or (fields[2] == words.CALL and fields[16] not in words.EXECS):
        return
    is_long = bool(fields[3] & words.HAS_LONG)
    texts = words.texts_of(source, slot, index, 0, fields)
    if texts is None:
        # what is not where the slot says is of no use to a reader
        found[index] = slot[:_N2_AT] + bytes(ringfile.SLOT_BYTES - _N2_AT)
        return
    if is_long:
        used.add(fields[20])
    path, joined, base, base_2 = texts
    cut = cut_words(joined, path.rpartition(b"/")[2], command)
    if cut == joined:
        if not is_long:
            return  # what lies behind its texts was never written
        cut = joined
    text = path + cut + base + base_2
    changed = bytearray(slot)
    struct.pack_into("<H", changed, _N2_AT, len(cut))
    if is_long:
        changed[words.TEXT_AT :] = bytes(ringfile.SLOT_BYTES - words.TEXT_AT)
        source.seek(ringfile.HEADER_BYTES + fields[20] * ringfile.SLOT_BYTES)
        head = source.read(words.LONG_AT)
        n_slots = max(1, head[3])
        room = (head + text).ljust(n_slots * ringfile.SLOT_BYTES, b"\0")
        for at in range(n_slots):
            found[fields[20] + at] = room[at * ringfile.SLOT_BYTES : (at + 1) * ringfile.SLOT_BYTES]
    else:
        changed[words.TEXT_AT :] = text.ljust(ringfile.SLOT_BYTES - words.TEXT_AT, b"\0")
    found[index] = bytes(changed)


def cut_words(joined: "bytes", program: "bytes", command: "Sequence[bytes]") -> "bytes":
    """An argument vector, each word with a NUL behind it, cut to program and script; never longer than it was."""
    values = joined.split(b"\0")[:-1]
    if not values or values == list(command):
        return joined
    from fsprobe.privacy.log import call_values

    if call_values.is_command(values, command):
        return joined
    quoted = [b'"%s"' % value for value in values]
    kept_words = [_bare(word) for word in call_values.program_and_script(quoted, program, values)]
    cut = _joined(kept_words)
    while kept_words and len(cut) > len(joined):
        kept_words.pop()
        cut = _joined(kept_words)
    return cut


def _bare(word: "bytes") -> "bytes":
    return word[1:-4] if word.endswith(b'"...') else word[1:-1]


def _joined(values: "Iterable[bytes]") -> "bytes":
    return b"".join(value + b"\0" for value in values)
