"""What is read through the simulated file server is what is in the source: bytes, modes, times, links, names."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from benchmarks.fileserver import serve

HOSTILE_NAMES = [
    b"new\nline",
    b"quote\"and'",
    b"back\\slash",
    b" blanks ",
    b"tab\tbell\x07escape\x1b[31m",
    b"not utf-8 \xff\xfe\x80",
    "Übergröße ☃".encode(),
    b"lookup and a blank",
    b"-rf",
    b"...",
    b'<angle>, "comma", 0) = 3',
    b"n" * 255,
]


def walk(top: bytes) -> dict[bytes, tuple[object, ...]]:
    """Describe every entry below `top`: what lstat says, a symlink's target, a file's bytes."""
    found: dict[bytes, tuple[object, ...]] = {}
    for directory, names, files in os.walk(top):
        for path in (os.path.join(directory, name) for name in names + files):
            status = os.lstat(path)
            content: bytes | None = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode) and status.st_size < 1 << 30:
                content = Path(os.fsdecode(path)).read_bytes()
            found[path[len(top) :]] = (
                stat.filemode(status.st_mode),
                status.st_ino,
                status.st_nlink,
                status.st_uid,
                status.st_gid,
                status.st_size if not stat.S_ISDIR(status.st_mode) else None,
                status.st_blocks,
                status.st_mtime_ns,
                status.st_ctime_ns,
                content,
            )
    return found


def assert_same_tree(src: Path, mnt: Path) -> int:
    """Compare and return the number of entries."""
    expected = walk(os.fsencode(src))
    assert walk(os.fsencode(mnt)) == expected
    return len(expected)


def test_three_thousand_files_are_byte_equal(src: Path, mnt: Path) -> None:
    chance = random.Random(4)
    for number in range(30):
        (src / f"d{number}").mkdir()
        for inner in range(100):
            size = chance.choice([0, 1, 100, 4095, 4096, 4097, 20_000])
            (src / f"d{number}" / f"f{inner}.py").write_bytes(chance.randbytes(size))
    with serve(src, mnt, meta_ms=0, read_ms=0):
        assert assert_same_tree(src, mnt) == 3030


def test_modes_owners_times_and_kinds(src: Path, mnt: Path) -> None:
    (src / "program").write_bytes(b"#!/bin/sh\n")
    (src / "program").chmod(0o4751)
    os.chown(src / "program", 1234, 4321)
    (src / "old").write_bytes(b"x")
    os.utime(src / "old", ns=(-123_456_789, -86_400 * 10**9 - 1))
    (src / "exact").write_bytes(b"x")
    os.utime(src / "exact", ns=(1, 1_700_000_000_123_456_789))
    os.mkfifo(src / "pipe", 0o600)
    os.symlink("no/such/target", src / "dangling")
    os.symlink(b"\xff\n", os.fsencode(src) + b"/odd target")
    os.symlink("loop", src / "loop")
    (src / "sticky").mkdir()
    (src / "sticky").chmod(0o1777)
    with serve(src, mnt, meta_ms=0, read_ms=0):
        assert_same_tree(src, mnt)
        assert stat.S_ISFIFO((mnt / "pipe").lstat().st_mode)
        with pytest.raises(OSError, match="symbolic links"):
            (mnt / "loop").stat()


def test_hostile_names_and_their_log(src: Path, mnt: Path) -> None:
    top = os.fsencode(src)
    for name in HOSTILE_NAMES:
        os.mkdir(os.path.join(top, name))
        for inner in HOSTILE_NAMES:
            Path(os.fsdecode(os.path.join(top, name, inner))).write_bytes(inner)
    with serve(src, mnt, meta_ms=0, read_ms=0, log_paths=True) as server:
        assert sorted(os.listdir(os.fsencode(mnt))) == sorted(HOSTILE_NAMES)
        assert_same_tree(src, mnt)
        looked_up = sorted(path for op, path in server.paths() if op == "lookup")
    below = os.fsencode(mnt)
    expected = [below + b"/" + name for name in HOSTILE_NAMES]
    expected += [below + b"/" + name + b"/" + inner for name in HOSTILE_NAMES for inner in HOSTILE_NAMES]
    assert looked_up == sorted(expected)


def test_a_listing_of_many_entries(src: Path, mnt: Path) -> None:
    names = {f"{'long name ' * 10}{number}" for number in range(3000)}
    for name in names:
        (src / name).touch()
    with serve(src, mnt, meta_ms=0, read_ms=0) as server:
        listed = os.listdir(mnt)
        assert server.counters().readdir > 2
    assert len(listed) == 3000
    assert set(listed) == names


def test_large_and_sparse_files(src: Path, mnt: Path) -> None:
    content = random.Random(1).randbytes(3_000_001)
    (src / "large").write_bytes(content)
    with (src / "sparse").open("wb") as sparse:
        sparse.truncate(5 << 30)
        sparse.seek((5 << 30) - 3)
        sparse.write(b"end")
    with serve(src, mnt, meta_ms=0, read_ms=0) as server:
        assert (mnt / "large").read_bytes() == content
        assert server.counters().read_bytes == len(content)
        assert (mnt / "sparse").stat().st_size == 5 << 30
        with (mnt / "sparse").open("rb") as sparse:
            sparse.seek((5 << 30) - 5)
            assert sparse.read() == b"\0\0end"


def test_hard_links_are_one_file(src: Path, mnt: Path) -> None:
    (src / "a").write_bytes(b"content")
    os.link(src / "a", src / "b")
    with serve(src, mnt, meta_ms=0, read_ms=0) as server:
        assert os.path.samefile(mnt / "a", mnt / "b")
        assert (mnt / "a").read_bytes() == (mnt / "b").read_bytes() == b"content"
        assert server.counters().read == 1, "the second name finds the pages of the first"


def test_nothing_can_be_changed(src: Path, mnt: Path) -> None:
    (src / "file").write_bytes(b"x")
    with serve(src, mnt, meta_ms=0, read_ms=0):
        for change in (
            lambda: (mnt / "new").touch(),
            lambda: (mnt / "file").write_bytes(b"y"),
            lambda: (mnt / "file").unlink(),
            lambda: (mnt / "dir").mkdir(),
            lambda: (mnt / "file").chmod(0),
        ):
            with pytest.raises(OSError, match="Read-only file system"):
                change()
    assert os.listdir(src) == ["file"]
    assert (src / "file").read_bytes() == b"x"


def test_the_tree_can_be_served_over_itself(src: Path, fuse: None) -> None:
    (src / "dir").mkdir()
    (src / "dir" / "file").write_bytes(b"content")
    with serve(src, src, meta_ms=0, read_ms=0) as server:
        assert (src / "dir" / "file").read_bytes() == b"content"
        counted = server.counters()
    assert (counted.lookup, counted.open, counted.getattr) == (2, 1, 0), "the server is not its own client"
    assert (src / "dir" / "file").read_bytes() == b"content"
