"""Images: the superblock, and a listing that survives odd names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fsprobe.errors import BadInput
from fsprobe.layouts import image as images
from tests.layouts.environments import need


@pytest.fixture
def odd(tmp_path: Path) -> tuple[Path, Path]:
    """A tree of odd names, and its image."""
    need("mksquashfs", "unsquashfs")
    tree = tmp_path / "tree"
    (tree / "empty dir").mkdir(parents=True)
    for name in (
        b"plain",
        b"two  blanks",
        b"new\nline",
        b"back\\slash",
        b"\\ both",
        b"\xff\xfe",
        b"-rw-r--r-- x",
        b" lead",
    ):
        path = os.path.join(os.fsencode(tree), name)
        with open(path, "wb") as file:
            file.write(name * 3)
        os.utime(path, ns=(10**18, 1_600_000_000_999_999_999))
    os.symlink("nowhere at all", tree / "link")
    os.symlink("/etc/passwd", tree / "out")
    os.link(tree / "plain", tree / "plain again")
    target = tmp_path / "odd.sqsh"
    subprocess.run(["mksquashfs", tree, target, "-quiet", "-no-progress"], check=True, capture_output=True)
    return tree, target


def test_the_listing_equals_the_tree(odd: tuple[Path, Path]) -> None:
    tree, target = odd
    listing = images.read_listing(str(target))
    top = os.fsencode(tree)
    names = {b""}
    for directory, directories, files in os.walk(top):
        names |= {os.path.relpath(os.path.join(directory, name), top) for name in directories + files}
    assert set(listing.entries) == names
    assert listing.entries[b"new\nline"].size_bytes == len(b"new\nline") * 3
    assert listing.entries[b"link"].target == b"nowhere at all"
    assert listing.entries[b"plain again"] == listing.entries[b"plain"]
    assert listing.resolution_s in (1, 60)
    assert listing.entries[b"plain"].mtime_s // listing.resolution_s == 1_600_000_000 // listing.resolution_s


def test_the_coarse_listing_says_the_same(odd: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, target = odd
    exact = images.read_listing(str(target))
    monkeypatch.setattr(images, "_run_pseudo", lambda *_: b"")
    coarse = images.read_listing(str(target))
    assert coarse.resolution_s == 60
    # a name that looks like the start of a line of the listing can't be told apart in it
    odd_one = {b"-rw-r--r-- x"}
    assert set(exact.entries) - odd_one <= set(coarse.entries)
    for path in set(exact.entries) - odd_one:
        one, other = exact.entries[path], coarse.entries[path]
        assert (one.kind, one.size_bytes, one.target) == (other.kind, other.size_bytes, other.target), path
        assert one.mtime_s // 60 == other.mtime_s // 60


def test_a_pseudo_file_that_is_not_understood_is_not_used() -> None:
    assert images._parse_pseudo(b"/ D 1 755 0 0\nx R 5 644 0 0 3 0\n") != {}
    assert images._parse_pseudo(b"/ D 1 755 0 0\nx Q whatever\n") == {}


def test_whole_images_only(odd: tuple[Path, Path], tmp_path: Path) -> None:
    _, target = odd
    images.read_superblock(str(target))
    cut = tmp_path / "cut"
    cut.write_bytes(target.read_bytes()[:200])
    with pytest.raises(BadInput, match="cut short"):
        images.read_superblock(str(cut))
    text = tmp_path / "text"
    text.write_text("hello")
    with pytest.raises(BadInput, match="not a SquashFS image"):
        images.read_superblock(str(text))
    with pytest.raises(BadInput, match="No such file"):
        images.read_superblock(str(tmp_path / "none"))
    with pytest.raises(BadInput, match="directory"):
        images.read_superblock(str(tmp_path))
