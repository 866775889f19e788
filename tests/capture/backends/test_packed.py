"""The head of a log is compressed while it is written: what is read is what was written, whenever whoever compresses it is killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsprobe.capture.backends import packed, stream, text_log
from fsprobe.capture.directories import own_files
from tests.conftest import need


def line(number: int) -> bytes:
    return b'%d 1795506711.%06d (+     0.000000001) stat("/nonexistent/%d") = -1 ENOENT <0.000001>\n' % (
        77,
        number,
        number,
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    need(not stream.why_not(str(tmp_path)), "this filesystem can't free a part of a file")
    path = tmp_path / "log"
    path.write_bytes(b"".join(map(line, range(60_000))))
    return path


def test_what_is_read_is_what_was_written(log: Path) -> None:
    whole = log.read_bytes()
    packer = packed.Packer(str(log))
    assert packer.pack(len(whole)) > len(whole) - packed.TAIL_BYTES - packed.BLOCK_BYTES
    used = log.stat().st_blocks * 512 + Path(str(log) + packed.SUFFIX).stat().st_size
    assert used < packed.HEAD_BYTES + packed.TAIL_BYTES + packed.BLOCK_BYTES + len(whole) / 4
    with open(log, "ab") as tracer:  # which goes on at its own offset
        tracer.write(line(60_000) * 30_000)
    whole += line(60_000) * 30_000
    assert packer.pack(len(whole)) > 0
    assert packer.pack(len(whole)) == 0
    assert b"".join(text_log.blocks(str(log))) == whole
    assert text_log.first_pid(str(log)) == 77
    assert not text_log.has_hole(str(log))
    packed.remove(str(log))
    assert text_log.n_packed_bytes(str(log)) == 0


@pytest.mark.parametrize("left", ["a half frame", "half a header", "rubbish"])
def test_killed_in_the_midst_of_a_frame(log: Path, left: str) -> None:
    whole = log.read_bytes()
    packer = packed.Packer(str(log))
    packer.pack(len(whole))
    more = {
        "a half frame": packed.FRAME.pack(packed.MAGIC, 1 << 20, 500) + b"x",
        "half a header": b"fspz\1",
        "rubbish": os.urandom(100),
    }
    with open(str(log) + packed.SUFFIX, "ab") as target:
        target.write(more[left])
    assert b"".join(text_log.blocks(str(log))) == whole


def test_a_place_without_room_is_left_as_it_was(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = log.read_bytes()
    packer = packed.Packer(str(log))
    monkeypatch.setattr(own_files, "punch", lambda *_: 28)
    assert packer.pack(len(whole)) == 0
    assert packer.pack(len(whole)) == 0
    assert b"".join(text_log.blocks(str(log))) == whole


def test_a_full_place_is_compressed_before_anything_is_cut(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = log.read_bytes()
    room = [10]
    monkeypatch.setattr("fsprobe.capture.directories.scratch.free_bytes", lambda _: room[0])
    bound = text_log.Bound(str(log), str(log.parent), 1 << 30, 50)
    bound.check(77)
    assert (bound.why, bound.packer is not None) == ("", True)
    bound.check(77)
    assert bound.why == text_log.LOW_SPACE, "there is nothing more to compress"
    kept = b"".join(text_log.blocks(str(log)))
    assert kept == whole
    with open(log, "ab") as tracer:
        tracer.write(b"77 1.0 (+ 0.0) +++ exited with 5 +++\n" * 2)
    bound.check(77)
    assert bound.ending == 5
    assert b"".join(text_log.blocks(str(log))) == whole
