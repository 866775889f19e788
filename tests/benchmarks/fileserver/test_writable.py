"""A writable server: what the client changes arrives in the source, and what it asks meanwhile."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.fileserver import Counters, serve


def asked(counters: Counters) -> dict[str, int]:
    """Return what was asked about names; attributes left out, which the client loses with each change."""
    left_out = ("getattr", "setattr", "getxattr", "release", "releasedir", "flush", "ioctl", "metadata", "forget")
    return {
        name: value
        for name, value in counters.as_json().items()
        if value and name not in left_out and not name.endswith(("_bytes", "_ns", "forget"))
    }


def test_created_then_opened(src: Path, mnt: Path) -> None:
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True, log_paths=True) as server:
        descriptor = os.open(mnt / "new", os.O_WRONLY | os.O_CREAT, 0o640)
        os.write(descriptor, b"content")
        os.close(descriptor)
        assert asked(server.counters()) == {"lookup": 1, "negative": 1, "create": 1, "write": 1}
        descriptor = os.open(mnt / "new", os.O_RDONLY)
        os.close(descriptor)
        assert asked(server.counters()) == {"lookup": 1, "negative": 1, "create": 1, "write": 1, "open": 1}
        assert ("create", os.fsencode(mnt) + b"/new") in server.paths()
    assert (src / "new").read_bytes() == b"content"


def test_rename_over_a_negative_entry(src: Path, mnt: Path) -> None:
    """The kernel does not trust its cache for the target of a rename: it looks the name up again."""
    (src / "old").write_bytes(b"content")
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True) as server:
        assert not (mnt / "new").exists()
        os.rename(mnt / "old", mnt / "new")
        assert asked(server.counters()) == {"lookup": 3, "negative": 2, "rename": 1}
        assert (mnt / "new").stat().st_size == 7
        assert asked(server.counters()) == {"lookup": 3, "negative": 2, "rename": 1}
        assert not (mnt / "old").exists()
        assert asked(server.counters()) == {"lookup": 4, "negative": 3, "rename": 1}
        assert (mnt / "new").read_bytes() == b"content"
    assert os.listdir(src) == ["new"]


def test_made_over_a_negative_entry(src: Path, mnt: Path) -> None:
    """The same where a name must be new (mkdir, symlink, O_EXCL); a plain O_CREAT trusts the cache."""
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True) as server:
        for name in ("dir", "exclusive", "plain"):
            assert not (mnt / name).exists()
        server.reset()
        (mnt / "dir").mkdir()
        assert asked(server.counters()) == {"lookup": 1, "negative": 1, "mkdir": 1}
        server.reset()
        os.close(os.open(mnt / "exclusive", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        assert asked(server.counters()) == {"lookup": 1, "negative": 1, "create": 1}
        server.reset()
        os.close(os.open(mnt / "plain", os.O_WRONLY | os.O_CREAT))
        assert asked(server.counters()) == {"create": 1}


def test_a_changed_directory_is_listed_anew(src: Path, mnt: Path) -> None:
    (src / "dir").mkdir()
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True) as server:
        assert os.listdir(mnt / "dir") == []
        (mnt / "dir" / "new").touch()
        server.reset()
        assert os.listdir(mnt / "dir") == ["new"]
        assert asked(server.counters()) == {"opendir": 1, "readdir": 2}


def test_rename_of_a_directory_moves_what_is_known_below_it(src: Path, mnt: Path) -> None:
    (src / "a" / "b").mkdir(parents=True)
    (src / "a" / "b" / "file").write_bytes(b"content")
    (src / "ab").mkdir()
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True, log_paths=True) as server:
        assert (mnt / "a" / "b" / "file").stat().st_size == 7
        (mnt / "ab").stat()
        os.rename(mnt / "a", mnt / "c")
        assert (mnt / "c" / "b" / "file").read_bytes() == b"content"
        assert os.listdir(mnt / "ab") == []
        assert ("open", os.fsencode(mnt) + b"/c/b/file") in server.paths()


def test_replaced_by_rename(src: Path, mnt: Path) -> None:
    (src / "a").write_bytes(b"new content")
    (src / "b").write_bytes(b"old")
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True):
        with (mnt / "b").open("rb") as old:
            os.replace(mnt / "a", mnt / "b")
            assert (mnt / "b").read_bytes() == b"new content"
            assert old.read() == b"old"
        (mnt / "c").write_bytes(b"third")
        assert (mnt / "b").read_bytes() == b"new content"
        assert (mnt / "c").read_bytes() == b"third"
    assert sorted(os.listdir(src)) == ["b", "c"]


def test_removed_and_made_again(src: Path, mnt: Path) -> None:
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True):
        for number in range(20):  # the source's inode number comes back; the node must not
            (mnt / "file").write_bytes(b"x" * number)
            assert (mnt / "file").read_bytes() == b"x" * number
            (mnt / "file").unlink()
            assert not (mnt / "file").exists()
            (mnt / "file").mkdir()
            assert os.listdir(mnt / "file") == []
            (mnt / "file").rmdir()
    assert os.listdir(src) == []


def test_links(src: Path, mnt: Path) -> None:
    (src / "file").write_bytes(b"x")
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True):
        os.symlink(b"any\xff target", os.fsencode(mnt) + b"/link")
        assert os.readlink(os.fsencode(mnt) + b"/link") == b"any\xff target"
        os.link(mnt / "file", mnt / "second")
        assert (mnt / "file").stat().st_nlink == 2
        (mnt / "file").unlink()
        assert (mnt / "second").read_bytes() == b"x"
    assert os.readlink(os.fsencode(src) + b"/link") == b"any\xff target"


def test_attributes(src: Path, mnt: Path) -> None:
    (src / "file").write_bytes(b"x" * 100)
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True):
        (mnt / "file").chmod(0o600)
        os.chown(mnt / "file", 12, 34)
        os.truncate(mnt / "file", 10)
        os.utime(mnt / "file", ns=(5, -7))
        status = (mnt / "file").stat()
        assert status.st_size == 10
        with (mnt / "file").open("r+b") as file:
            file.truncate(4)
        assert (mnt / "file").read_bytes() == b"xxxx"
        os.utime(mnt / "file", ns=(5, -7))
    status = (src / "file").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_size) == (0o600, 12, 34, 4)
    assert (status.st_atime_ns, status.st_mtime_ns) == (5, -7)


def test_a_new_file_belongs_to_who_made_it(src: Path, mnt: Path, tmp_path: Path) -> None:
    src.chmod(0o777)
    for directory in (tmp_path, *list(tmp_path.parents)[:-2]):
        if directory.stat().st_mode & 0o001 == 0:
            directory.chmod(directory.stat().st_mode | 0o011)
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True):
        subprocess.run(
            ["sh", "-c", "umask 027; echo x > file; mkdir dir"], cwd=mnt, user=12345, group=54321, check=True
        )
    for name, mode in (("file", 0o640), ("dir", 0o750)):
        status = (src / name).stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 54321, mode)


@pytest.mark.parametrize("mode", ["wb", "r+b", "ab"])
def test_writing_modes(src: Path, mnt: Path, mode: str) -> None:
    (src / "file").write_bytes(b"0123456789")
    (src / "same").write_bytes(b"0123456789")
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True) as server:
        for path in (mnt / "file", src / "same"):
            with path.open(mode) as file:
                file.write(b"abc" * 100_000)
        assert server.counters().write_bytes == 300_000
        assert (mnt / "file").read_bytes() == (src / "same").read_bytes()
    assert (src / "file").read_bytes() == (src / "same").read_bytes()
