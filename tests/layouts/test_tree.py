"""Walking, copying, links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsprobe.layouts.scan.walk import check_links, copy_tree, remove_tree, walk
from tests.layouts.environments import snapshot


def test_a_walk_counts_everything_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("12345")
    os.link(tmp_path / "a" / "file", tmp_path / "again")
    os.symlink("a", tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    tree = walk(tmp_path)  # type: ignore[arg-type]
    assert {kind: tree.count(kind) for kind in "fdlo"} == {"f": 2, "d": 3, "l": 1, "o": 1}
    assert tree.nodes[b"a/file"].inode == tree.nodes[b"again"].inode is not None
    assert tree.nodes[b"link"].target == b"a"
    assert b"link/file" not in tree.nodes


def test_what_cannot_be_listed_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "shut").mkdir()
    (tmp_path / "open" / "x").touch()
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"/shut"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    tree = walk(str(tmp_path))
    assert tree.unreadable == (b"shut",)
    assert set(tree.nodes) == {b"", b"open", b"open/x", b"shut"}


def test_a_copy_keeps_times_modes_and_links(venv: Path, tmp_path: Path) -> None:
    (venv / "locked").mkdir()
    (venv / "locked" / "f").write_text("x")
    (venv / "locked").chmod(0o555)
    seen: list[tuple[int, int]] = []
    copy = tmp_path / "copy"
    tree = walk(str(venv))
    copy_tree(tree, os.fsencode(copy), lambda *step: seen.append(step))
    assert snapshot(copy) == snapshot(venv)
    assert seen[-1] == (len(tree.nodes), len(tree.nodes))
    remove_tree(str(copy))
    assert not copy.exists()


def test_links_are_sorted(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "inside").touch()
    for name, target in (
        ("relative", "inside"),
        ("absolute", str(root / "inside")),
        ("out", "/etc/passwd"),
        ("up", "../root2"),
        ("dead", "nothing"),
    ):
        os.symlink(target, root / name)
    (tmp_path / "root2").mkdir()  # its name begins like the root's
    links = check_links(walk(str(root)))
    assert links.outward == (b"out", b"up")
    assert links.dangling == (b"dead",)
