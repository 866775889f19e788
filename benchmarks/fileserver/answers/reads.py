"""Answers to the requests of a client that only reads. Each takes the tree and a request, returns the reply's payload.

An OSError that leaves one of these is the reply. What has no function here (extended attributes, locks, seeks for
holes ...) is answered "not implemented": the kernel then does without and does not ask again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping

from benchmarks.fileserver.answers.tree import Listing, Tree, child_of, node_for, path_of, status_of
from benchmarks.fileserver.kernel import protocol
from benchmarks.fileserver.kernel.protocol import Opcode, Request

Answer = Callable[[Tree, Request], bytes]

KEEP_FILE = protocol.FOPEN_KEEP_CACHE | protocol.FOPEN_NOFLUSH
KEEP_LISTING = protocol.FOPEN_KEEP_CACHE | protocol.FOPEN_CACHE_DIR


def look_up(tree: Tree, request: Request) -> bytes:
    path = child_of(tree, request.node, protocol.name_at(request.body))
    return entry(tree, path)


def entry(tree: Tree, path: bytes) -> bytes:
    """The reply that tells a client of the node at `path`."""
    status = status_of(tree, path)
    return protocol.pack_entry(node_for(tree, path, status), status, tree.ttl_ns)


def get_attributes(tree: Tree, request: Request) -> bytes:
    flags, _, handle = protocol.GETATTR_IN.unpack_from(request.body)
    if flags & protocol.GETATTR_FH:
        status = os.fstat(handle)
    else:
        status = status_of(tree, path_of(tree, request.node))
    return protocol.pack_attributes_reply(status, tree.ttl_ns)


def read_link(tree: Tree, request: Request) -> bytes:
    return os.readlink(path_of(tree, request.node), dir_fd=tree.root)


def open_file(tree: Tree, request: Request) -> bytes:
    flags, _ = protocol.FLAGS.unpack_from(request.body)
    access = flags & os.O_ACCMODE  # the kernel has dealt with creation, truncation and appending
    handle = os.open(path_of(tree, request.node), access | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=tree.root)
    return protocol.pack_open(handle, KEEP_FILE)


def read_file(_tree: Tree, request: Request) -> bytes:
    handle, offset, n_bytes, *_ = protocol.READ_IN.unpack_from(request.body)
    return os.pread(handle, n_bytes, offset)


def release_file(_tree: Tree, request: Request) -> bytes:
    os.close(protocol.HANDLE_IN.unpack_from(request.body)[0])
    return b""


def open_directory(tree: Tree, request: Request) -> bytes:
    path_of(tree, request.node)
    with tree.lock:
        handle = next(tree.handles)
    return protocol.pack_open(handle, KEEP_LISTING)


def read_directory(tree: Tree, request: Request) -> bytes:
    handle, offset, n_bytes, *_ = protocol.READ_IN.unpack_from(request.body)
    if offset == 0 or handle not in tree.listings:  # also after rewinddir, which must see what changed
        tree.listings[handle] = _list(tree, path_of(tree, request.node))
    records: list[bytes] = []
    room = n_bytes
    listing = tree.listings[handle]
    for position in range(offset, len(listing)):
        name, inode, file_type = listing[position]
        record = protocol.pack_dirent(inode, position + 1, file_type, name)
        room -= len(record)
        if room < 0:
            break
        records.append(record)
    return b"".join(records)


def _list(tree: Tree, path: bytes) -> Listing:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree.root)
    try:
        inode = os.fstat(descriptor).st_ino
        listing = [(b".", inode, stat.S_IFDIR >> 12), (b"..", inode, stat.S_IFDIR >> 12)]
        with os.scandir(descriptor) as entries:
            for found in entries:
                # fsencode undoes scandir's decoding of names for any byte.
                listing.append((os.fsencode(found.name), found.inode(), _type_of(found)))
        return listing
    finally:
        os.close(descriptor)


def _type_of(found: os.DirEntry[str]) -> int:
    if found.is_symlink():
        return stat.S_IFLNK >> 12
    if found.is_dir(follow_symlinks=False):
        return stat.S_IFDIR >> 12
    if found.is_file(follow_symlinks=False):
        return stat.S_IFREG >> 12
    return 0  # DT_UNKNOWN: a client that cares will look it up


def release_directory(tree: Tree, request: Request) -> bytes:
    tree.listings.pop(protocol.HANDLE_IN.unpack_from(request.body)[0], None)
    return b""


def file_system_status(tree: Tree, _request: Request) -> bytes:
    return protocol.pack_statfs(os.statvfs(tree.root))


def refuse_ioctl(_tree: Tree, _request: Request) -> bytes:
    raise OSError(errno.ENOTTY, "not a terminal")


def acknowledge(_tree: Tree, _request: Request) -> bytes:
    return b""


READING: Mapping[int, Answer] = {
    Opcode.LOOKUP: look_up,
    Opcode.GETATTR: get_attributes,
    Opcode.READLINK: read_link,
    Opcode.OPEN: open_file,
    Opcode.READ: read_file,
    Opcode.RELEASE: release_file,
    Opcode.OPENDIR: open_directory,
    Opcode.READDIR: read_directory,
    Opcode.RELEASEDIR: release_directory,
    Opcode.STATFS: file_system_status,
    Opcode.IOCTL: refuse_ioctl,
    Opcode.DESTROY: acknowledge,
}
