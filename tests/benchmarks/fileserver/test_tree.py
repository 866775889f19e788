"""Nodes and their paths, without a kernel: above all inode numbers that come back, which not every filesystem shows."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fileserver.answers.tree import Tree, child_of, forget_path, move_paths, node_for, open_tree, path_of
from benchmarks.fileserver.kernel.protocol import ROOT_NODE


def status(inode: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG, inode, 1, 1, 0, 0, 0, 0, 0, 0))


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    root = os.open(tmp_path, os.O_RDONLY)
    yield open_tree(root, ttl_ns=0)
    os.close(root)


def test_the_root_is_node_one(tree: Tree, tmp_path: Path) -> None:
    assert node_for(tree, b".", tmp_path.stat()) == ROOT_NODE
    assert child_of(tree, ROOT_NODE, b"name") == b"name"


def test_an_inode_keeps_its_node(tree: Tree) -> None:
    node = node_for(tree, b"dir", status(7))
    assert node_for(tree, b"dir", status(7)) == node
    assert child_of(tree, node, b"name") == b"dir/name"
    assert node_for(tree, b"dir/name", status(8)) != node


def test_an_inode_number_that_comes_back_is_another_node(tree: Tree) -> None:
    node = node_for(tree, b"file", status(7))
    forget_path(tree, b"file", status(7))
    with pytest.raises(FileNotFoundError):
        path_of(tree, node)
    assert node_for(tree, b"file", status(7)) != node


def test_a_removed_hard_link_leaves_the_other(tree: Tree) -> None:
    node = node_for(tree, b"one", status(7))
    assert node_for(tree, b"two", status(7)) == node
    assert path_of(tree, node) == b"two"
    forget_path(tree, b"two", status(7))
    assert path_of(tree, node) == b"one"
    assert node_for(tree, b"one", status(7)) == node


def test_a_rename_moves_what_lies_below_and_nothing_else(tree: Tree) -> None:
    nodes = {
        path: node_for(tree, path, status(100 + n)) for n, path in enumerate((b"a", b"a/x", b"a/x/y", b"ab", b"b/a"))
    }
    move_paths(tree, b"a", b"c\n")
    assert [path_of(tree, node) for node in nodes.values()] == [b"c\n", b"c\n/x", b"c\n/x/y", b"ab", b"b/a"]
