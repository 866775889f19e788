"""Answers to the requests of a client that also writes (same form as in `reads`)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from benchmarks.fileserver.answers.reads import KEEP_FILE, Answer, entry
from benchmarks.fileserver.answers.tree import Tree, child_of, forget_path, move_paths, path_of, status_of
from benchmarks.fileserver.kernel import protocol
from benchmarks.fileserver.kernel.protocol import NAME_OFFSET, Opcode, Request


def create_file(tree: Tree, request: Request) -> bytes:
    flags, mode, _, _ = protocol.CREATE_IN.unpack_from(request.body)
    path = _new_path(tree, request)
    keep = os.O_ACCMODE | os.O_EXCL | os.O_TRUNC
    handle = os.open(path, flags & keep | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode & 0o7777, dir_fd=tree.root)
    return _give_to_caller(tree, request, path) + protocol.pack_open(handle, KEEP_FILE)


def make_node(tree: Tree, request: Request) -> bytes:
    mode, device, *_ = protocol.MKNOD_IN.unpack_from(request.body)
    path = _new_path(tree, request)
    os.mknod(path, mode, device, dir_fd=tree.root)
    return _give_to_caller(tree, request, path)


def make_directory(tree: Tree, request: Request) -> bytes:
    mode, _ = protocol.MKDIR_IN.unpack_from(request.body)
    path = _new_path(tree, request)
    os.mkdir(path, mode & 0o7777, dir_fd=tree.root)
    return _give_to_caller(tree, request, path)


def make_symlink(tree: Tree, request: Request) -> bytes:
    path = _new_path(tree, request)
    target = protocol.name_at(request.body, len(protocol.name_at(request.body)) + 1)
    os.symlink(target, path, dir_fd=tree.root)
    return _give_to_caller(tree, request, path)


def make_link(tree: Tree, request: Request) -> bytes:
    (existing,) = protocol.NODE_IN.unpack_from(request.body)
    path = _new_path(tree, request)
    os.link(path_of(tree, existing), path, src_dir_fd=tree.root, dst_dir_fd=tree.root, follow_symlinks=False)
    return entry(tree, path)


def remove_file(tree: Tree, request: Request) -> bytes:
    path = _new_path(tree, request)
    status = status_of(tree, path)
    os.unlink(path, dir_fd=tree.root)
    forget_path(tree, path, status)
    return b""


def remove_directory(tree: Tree, request: Request) -> bytes:
    path = _new_path(tree, request)
    status = status_of(tree, path)
    os.rmdir(path, dir_fd=tree.root)
    forget_path(tree, path, status)
    return b""


def rename(tree: Tree, request: Request) -> bytes:
    (directory,) = protocol.NODE_IN.unpack_from(request.body)
    offset = NAME_OFFSET[Opcode.RENAME]
    old_name = protocol.name_at(request.body, offset)
    old = child_of(tree, request.node, old_name)
    new = child_of(tree, directory, protocol.name_at(request.body, offset + len(old_name) + 1))
    moved = status_of(tree, old)
    try:
        replaced = status_of(tree, new)
    except FileNotFoundError:
        replaced = None
    os.rename(old, new, src_dir_fd=tree.root, dst_dir_fd=tree.root)
    if replaced is not None and os.path.samestat(moved, replaced):
        return b""  # two names of one file: rename(2) leaves both
    if replaced is not None:
        forget_path(tree, new, replaced)
    move_paths(tree, old, new)
    return b""


def set_attributes(tree: Tree, request: Request) -> bytes:
    valid, _, handle, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, uid, gid, _ = (
        protocol.SETATTR_IN.unpack_from(request.body)
    )
    path = path_of(tree, request.node)
    if valid & protocol.FATTR_SIZE and valid & protocol.FATTR_FH:
        os.ftruncate(handle, size)
    elif valid & protocol.FATTR_SIZE:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree.root)
        try:
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
    if valid & (protocol.FATTR_UID | protocol.FATTR_GID):
        new_uid = uid if valid & protocol.FATTR_UID else -1
        new_gid = gid if valid & protocol.FATTR_GID else -1
        os.chown(path, new_uid, new_gid, dir_fd=tree.root, follow_symlinks=False)
    if valid & protocol.FATTR_MODE:  # after chown, which clears setuid bits; symlinks have no mode to set
        os.chmod(path, mode & 0o7777, dir_fd=tree.root)
    if valid & (protocol.FATTR_ATIME | protocol.FATTR_MTIME):
        status = status_of(tree, path)
        times = (
            _time_ns(valid, protocol.FATTR_ATIME, protocol.FATTR_ATIME_NOW, atime, atime_ns, status.st_atime_ns),
            _time_ns(valid, protocol.FATTR_MTIME, protocol.FATTR_MTIME_NOW, mtime, mtime_ns, status.st_mtime_ns),
        )
        os.utime(path, ns=times, dir_fd=tree.root, follow_symlinks=False)
    return protocol.pack_attributes_reply(status_of(tree, path), tree.ttl_ns)


def write_file(_tree: Tree, request: Request) -> bytes:
    handle, offset, n_bytes, *_ = protocol.WRITE_IN.unpack_from(request.body)
    begin = protocol.WRITE_IN.size
    return protocol.pack_write_reply(os.pwrite(handle, request.body[begin : begin + n_bytes], offset))


def sync_file(_tree: Tree, request: Request) -> bytes:
    os.fsync(protocol.HANDLE_IN.unpack_from(request.body)[0])
    return b""


def _new_path(tree: Tree, request: Request) -> bytes:
    return child_of(tree, request.node, protocol.name_at(request.body, NAME_OFFSET[Opcode(request.opcode)]))


def _give_to_caller(tree: Tree, request: Request, path: bytes) -> bytes:
    if os.geteuid() == 0:
        os.chown(path, request.uid, request.gid, dir_fd=tree.root, follow_symlinks=False)
    return entry(tree, path)


def _time_ns(valid: int, given: int, now: int, seconds: int, nanoseconds: int, present_ns: int) -> int:
    if valid & now:
        return time.time_ns()
    return seconds * 10**9 + nanoseconds if valid & given else present_ns


WRITING: Mapping[int, Answer] = {
    Opcode.CREATE: create_file,
    Opcode.MKNOD: make_node,
    Opcode.MKDIR: make_directory,
    Opcode.SYMLINK: make_symlink,
    Opcode.LINK: make_link,
    Opcode.UNLINK: remove_file,
    Opcode.RMDIR: remove_directory,
    Opcode.RENAME: rename,
    Opcode.SETATTR: set_attributes,
    Opcode.WRITE: write_file,
    Opcode.FSYNC: sync_file,
}
