"""Walk a directory once and keep what scan and pack ask about: kinds, sizes, times, links.

Paths are bytes, relative to the root.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fsprobe.capture.directories import own_files
from fsprobe.model.events import is_under


@dataclass(frozen=True, slots=True)
class Node:
    """One name below the root, as lstat tells it."""

    kind: str
    """f(ile) | d(irectory) | l(ink) | o(ther)"""
    size_bytes: int
    disk_bytes: int
    """What it occupies; a compressing filesystem tells less than the size."""
    mtime_ns: int
    mode: int
    inode: tuple[int, int] | None
    """(device, inode) where it has several names, else None."""
    target: bytes = b""
    """Of a symlink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Everything below a root, and the root itself under b""."""

    root: bytes
    nodes: Mapping[bytes, Node]
    unreadable: tuple[bytes, ...]
    """Directories that could not be listed, and names that could not be looked at."""

    def count(self, kind: str) -> int:
        return sum(node.kind == kind for node in self.nodes.values())

    def full(self, path: bytes) -> bytes:
        return os.path.join(self.root, path) if path else self.root


def walk(root: str | bytes, progress: Callable[[int], None] | None = None) -> Tree:
    """Look at every name below `root` without following symlinks.

    Args:
        root: a directory.
        progress: called now and then with the number of names seen.
    """
    top = os.fsencode(root)
    nodes = {b"": _node(os.lstat(top), top)}
    unreadable: list[bytes] = []
    todo = [b""]
    while todo:
        directory = todo.pop()
        try:
            with os.scandir(os.path.join(top, directory) if directory else top) as entries:
                found = list(entries)
        except OSError:
            unreadable.append(directory)
            continue
        for entry in found:
            path = directory + b"/" + entry.name if directory else entry.name
            try:
                node = _node(entry.stat(follow_symlinks=False), entry.path)
            except OSError:
                unreadable.append(path)
                continue
            nodes[path] = node
            if node.kind == "d":
                todo.append(path)
        if progress:
            progress(len(nodes))
    return Tree(root=top, nodes=nodes, unreadable=tuple(sorted(unreadable)))


def _node(info: os.stat_result, path: bytes) -> Node:
    kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}.get(stat.S_IFMT(info.st_mode), "o")
    return Node(
        kind=kind,
        size_bytes=info.st_size if kind == "f" else 0,
        disk_bytes=info.st_blocks * 512,
        mtime_ns=info.st_mtime_ns,
        mode=info.st_mode,
        inode=(info.st_dev, info.st_ino) if info.st_nlink > 1 and kind != "d" else None,
        target=os.readlink(path) if kind == "l" else b"",
    )


def copy_tree(tree: Tree, to: bytes, progress: Callable[[int, int], None] | None = None) -> None:
    """Copy what was walked into the new directory `to`; times and modes stay, so every .pyc stays valid.

    Hard links become files of their own; sockets, pipes and devices are left out.

    Args:
        tree: what to copy.
        to: must not exist.
        progress: called with the number of names done and of all.

    Raises:
        OSError: something can't be read or written.
    """
    os.mkdir(to, 0o700)
    directories = []
    # a directory sorts before what is in it
    for n_done, (path, node) in enumerate(sorted(tree.nodes.items()), start=1):
        target = os.path.join(to, path) if path else to
        if node.kind == "d":
            if path:
                os.mkdir(target, 0o700)
            directories.append((target, node))
        elif node.kind == "l":
            os.symlink(node.target, target)
            os.utime(target, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=False)
        elif node.kind == "f":
            shutil.copyfile(tree.full(path), target)
            _restore(target, node)
        if progress:
            progress(n_done, len(tree.nodes))
    for target, node in reversed(directories):
        _restore(target, node)


def _restore(path: bytes, node: Node) -> None:
    os.chmod(path, stat.S_IMODE(node.mode))
    os.utime(path, ns=(node.mtime_ns, node.mtime_ns))


def remove_tree(path: str | bytes) -> None:
    """Remove a directory that fsprobe made, also where a read-only directory of the original was copied.

    Raises:
        OSError: something is left of it.
    """
    if not own_files.remove(path):
        raise OSError(errno.ENOTEMPTY, "it could not be removed", os.fsdecode(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The symlinks of a tree that need attention."""

    outward: tuple[bytes, ...]
    """Lead out of the tree, to something that exists."""
    dangling: tuple[bytes, ...]
    """Lead nowhere."""


def check_links(tree: Tree) -> Links:
    """Sort the symlinks of `tree`; one that leads back inside, absolute or not, needs no attention."""
    real_root = os.path.realpath(tree.root)
    outward, dangling = [], []
    for path, node in tree.nodes.items():
        if node.kind != "l":
            continue
        full = tree.full(path)
        if not os.path.exists(full):
            dangling.append(path)
        elif not is_under(os.path.realpath(full), real_root):
            outward.append(path)
    return Links(outward=tuple(sorted(outward)), dangling=tuple(sorted(dangling)))
