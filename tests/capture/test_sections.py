"""What hooks left is taken as far as a reader of the recording takes it."""

from __future__ import annotations

import os
from pathlib import Path

from fsprobe.capture import sections
from fsprobe.capture.directories import room, scratch


def test_no_more_marks_are_taken_than_a_reader_takes(tmp_path: Path) -> None:
    """A file of many GiB without anything in it is made in no time; to read it takes minutes, and all memory."""
    (tmp_path / "marks.1.a").write_bytes(b"1\n")
    (tmp_path / "marks.2.b").touch()
    os.truncate(tmp_path / "marks.2.b", 16 << 30)
    (tmp_path / "mounts.3").touch()
    os.truncate(tmp_path / "mounts.3", 16 << 30)
    header = bytearray(room.HEADER_BYTES)
    header[:8] = room.MAGIC
    for at, number in ((8, 1 << 39), (room.TABLE, 1 << 38), (room.TABLE + 8, room.HEADER_BYTES + 1)):
        header[at : at + 8] = number.to_bytes(8, "little")
    (tmp_path / f"{scratch.ROOM}4.d").write_bytes(header)
    (tmp_path / "marks.5.e").write_bytes(b"5\n")
    names, unread, texts = sections.hook_files(str(tmp_path))
    assert sorted(unread) == sorted(["marks.2.b", "mounts.3", f"{scratch.ROOM}4.d"])
    assert set(unread.values()) == {"they are more than 256 MiB"}
    taken = b"".join(sections._marks_blocks(str(tmp_path), [name for name in names if name not in unread], texts))
    assert taken == b"@marks.1.a 2\n1\n@marks.5.e 2\n5\n"
