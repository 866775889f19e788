"""The served tree as the server knows it: numbered nodes, their paths, open listings.

A node is one inode of the source (device and inode number), so hard links share attributes and cached pages as on a
real filesystem. A node keeps every name it was looked up by; the latest stands for it in the log. Paths are relative to
the source and are only ever resolved from its descriptor, opened before the mount: a mount over the source itself does
not make the server its own client.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.fileserver.kernel.protocol import ROOT_NODE

Listing = list[tuple[bytes, int, int]]
"""Name, inode number and DT_ type of each entry of a directory."""


@dataclass(slots=True, kw_only=True)
class Tree:
    """State of one mounted tree; lives as long as the mount, so that a node number is never used twice."""

    root: int
    """Descriptor of the source directory."""
    ttl_ns: int
    """How long a client may keep names and attributes."""
    paths: list[list[bytes]] = field(default_factory=lambda: [[], [b"."]])
    """Node number -> its known paths; empty once the last of them was removed."""
    nodes: dict[tuple[int, int], int] = field(default_factory=dict)
    """(device, inode) -> node number."""
    listings: dict[int, Listing] = field(default_factory=dict)
    """Handle of an open directory -> what it held when its reading began."""
    handles: Iterator[int] = field(default_factory=itertools.count)
    lock: threading.Lock = field(default_factory=threading.Lock)


def open_tree(root: int, ttl_ns: int) -> Tree:
    """Begin with the source directory alone."""
    tree = Tree(root=root, ttl_ns=ttl_ns)
    tree.nodes[_key(os.stat(root))] = ROOT_NODE
    return tree


def path_of(tree: Tree, node: int) -> bytes:
    """Return a path of the node, relative to the source.

    Raises:
        FileNotFoundError: all names of the node that the server knew are gone.
    """
    try:
        return tree.paths[node][-1]
    except IndexError:
        raise FileNotFoundError(node) from None


def child_of(tree: Tree, node: int, name: bytes) -> bytes:
    """Return the path of a name in a directory."""
    return name if node == ROOT_NODE else path_of(tree, node) + b"/" + name


def status_of(tree: Tree, path: bytes) -> os.stat_result:
    """lstat a path of the tree."""
    return os.stat(path, dir_fd=tree.root, follow_symlinks=False)


def node_for(tree: Tree, path: bytes, status: os.stat_result) -> int:
    """Return the number of the node that was found at `path`; a new one the first time."""
    key = _key(status)
    with tree.lock:
        node = tree.nodes.get(key)
        if node is None:
            node = tree.nodes[key] = len(tree.paths)
            tree.paths.append([path])
        elif tree.paths[node][-1:] != [path]:
            known = tree.paths[node]
            if path in known:
                known.remove(path)
            known.append(path)
        return node


def forget_path(tree: Tree, path: bytes, status: os.stat_result) -> None:
    """Note that `path` was removed; `status` is what it was before."""
    key = _key(status)
    with tree.lock:
        node = tree.nodes.get(key)
        if node is None:
            return
        if path in tree.paths[node]:
            tree.paths[node].remove(path)
        if not tree.paths[node]:
            # The source filesystem may give the inode number to the next file, which is another node.
            del tree.nodes[key]


def move_paths(tree: Tree, old: bytes, new: bytes) -> None:
    """Note that `old`, and with it all that lies below, is now called `new`."""
    with tree.lock:
        for known in tree.paths:
            known[:] = [
                new + path[len(old) :] if path == old or path.startswith(old + b"/") else path for path in known
            ]


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
