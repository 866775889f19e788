"""The section of a recording that holds a ring, in one piece for its reader."""

from __future__ import annotations

import mmap
import tempfile

from fsprobe.events.ring.slots import Buffer
from fsprobe.recording.file import MAX_RING_BYTES, Recording

MAX_IN_MEMORY_BYTES = 256 << 20
LARGE_BYTES = 32_768 * 256
"""From here on a ring is folded as columns: importing numpy takes as long as some 10,000 slots one by one."""


def in_one_piece(recording: Recording, section: str) -> Buffer:
    """A section's content; a large one in a file that has no name, mapped.

    Raises:
        BadInput: it is damaged, or states to be larger than any ring.
    """
    recording.check_size(section, MAX_RING_BYTES)
    n_bytes = recording.size_bytes(section)
    if n_bytes <= MAX_IN_MEMORY_BYTES:
        data, at = bytearray(n_bytes), 0
        for block in recording.section(section):  # never more than it states
            data[at : at + len(block)] = block
            at += len(block)
        return data
    with tempfile.TemporaryFile() as spool:
        for block in recording.section(section):
            spool.write(block)
        spool.flush()
        return memoryview(mmap.mmap(spool.fileno(), n_bytes, access=mmap.ACCESS_READ))
