"""The part of the FUSE wire protocol that the simulated file server speaks: opcodes, flags, structs. Computes nothing else.

Integers are in the machine's own byte order, every struct is padded to 8 bytes.
Source: include/uapi/linux/fuse.h, protocol 7.31.
"""

from __future__ import annotations

import os
import struct
from enum import IntEnum
from typing import NamedTuple

ROOT_NODE = 1
MAX_WRITE_BYTES = 128 * 1024
BUFFER_BYTES = MAX_WRITE_BYTES + 4096
"""The kernel refuses a read of /dev/fuse with less room than one WRITE request and its headers."""


class Opcode(IntEnum):
    """What a request asks for."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    IOCTL = 39
    BATCH_FORGET = 42
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    STATX = 52


WITHOUT_REPLY = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT})

# INIT flags. Not asked for: DO_READDIRPLUS (it would hide LOOKUPs in a listing), WRITEBACK_CACHE, ATOMIC_O_TRUNC.
ASYNC_READ = 1 << 0
PARALLEL_DIROPS = 1 << 18
MAX_PAGES = 1 << 22
CACHE_SYMLINKS = 1 << 23
WANTED_FLAGS = ASYNC_READ | PARALLEL_DIROPS | MAX_PAGES | CACHE_SYMLINKS

# Flags in the reply to OPEN, OPENDIR and CREATE.
FOPEN_KEEP_CACHE = 1 << 1
FOPEN_CACHE_DIR = 1 << 3
FOPEN_NOFLUSH = 1 << 5

GETATTR_FH = 1 << 0

FATTR_MODE = 1 << 0
FATTR_UID = 1 << 1
FATTR_GID = 1 << 2
FATTR_SIZE = 1 << 3
FATTR_ATIME = 1 << 4
FATTR_MTIME = 1 << 5
FATTR_FH = 1 << 6
FATTR_ATIME_NOW = 1 << 7
FATTR_MTIME_NOW = 1 << 8

_IN_HEADER = struct.Struct("=IIQQIIIHH")
_OUT_HEADER = struct.Struct("=IiQ")
_ATTR = struct.Struct("=QQQqqqIIIIIIIIII")  # times are signed: files older than 1970 exist
_ENTRY = struct.Struct("=QQQQII")
_ATTR_VALID = struct.Struct("=QII")
_OPEN = struct.Struct("=QII")
_DIRENT = struct.Struct("=QQII")
_STATFS = struct.Struct("=QQQQQIIII24x")
_INIT_IN = struct.Struct("=IIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
_WRITE_OUT = struct.Struct("=II")

HEADER_BYTES = _IN_HEADER.size

# The bodies of requests; a name (or two), each ended by NUL, may follow.
FLAGS = struct.Struct("=II")  # OPEN: flags; GETATTR: getattr_flags
GETATTR_IN = struct.Struct("=IIQ")
SETATTR_IN = struct.Struct("=IIQQQqqqIIIIIIII")
READ_IN = struct.Struct("=QQIIQII")
WRITE_IN = struct.Struct("=QQIIQII")
HANDLE_IN = struct.Struct("=Q")  # RELEASE, RELEASEDIR, FSYNC: the handle comes first
CREATE_IN = struct.Struct("=IIII")
MKNOD_IN = struct.Struct("=IIII")
MKDIR_IN = struct.Struct("=II")
NODE_IN = struct.Struct("=Q")  # RENAME: new directory; LINK: the node that gets a name

NAME_OFFSET = {
    Opcode.LOOKUP: 0,
    Opcode.UNLINK: 0,
    Opcode.RMDIR: 0,
    Opcode.SYMLINK: 0,
    Opcode.MKDIR: MKDIR_IN.size,
    Opcode.RENAME: NODE_IN.size,
    Opcode.LINK: NODE_IN.size,
    Opcode.CREATE: CREATE_IN.size,
    Opcode.MKNOD: MKNOD_IN.size,
}
"""Requests that name a child of their node, and where in the body its name begins."""


class Request(NamedTuple):
    """One request as the kernel sent it."""

    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    body: memoryview


def unpack_request(message: memoryview) -> Request:
    """Split what one read of /dev/fuse returned into its header and its body."""
    _, opcode, unique, node, uid, gid, _, _, _ = _IN_HEADER.unpack_from(message)
    return Request(opcode, unique, node, uid, gid, message[HEADER_BYTES:])


def name_at(body: memoryview, offset: int = 0) -> bytes:
    """Return the NUL-ended name that begins at `offset`."""
    return bytes(body[offset:]).partition(b"\0")[0]


def pack_reply_header(unique: int, error: int, payload_bytes: int) -> bytes:
    """Head of a reply; `error` is 0 or a negative errno."""
    return _OUT_HEADER.pack(_OUT_HEADER.size + payload_bytes, error, unique)


def pack_attributes(status: os.stat_result) -> bytes:
    """struct fuse_attr of what lstat returned."""
    return _ATTR.pack(
        status.st_ino,
        status.st_size,
        status.st_blocks,
        status.st_atime_ns // 10**9,
        status.st_mtime_ns // 10**9,
        status.st_ctime_ns // 10**9,
        status.st_atime_ns % 10**9,
        status.st_mtime_ns % 10**9,
        status.st_ctime_ns % 10**9,
        status.st_mode,
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        status.st_rdev & 0xFFFFFFFF,
        status.st_blksize,
        0,
    )


def pack_entry(node: int, status: os.stat_result, ttl_ns: int) -> bytes:
    """Reply to LOOKUP and to whatever makes a name: the node, and how long the client may keep name and attributes."""
    seconds, rest = divmod(ttl_ns, 10**9)
    return _ENTRY.pack(node, 0, seconds, seconds, rest, rest) + pack_attributes(status)


def pack_negative_entry(ttl_ns: int) -> bytes:
    """Reply to LOOKUP of a name that does not exist, which the client may keep as a negative entry."""
    seconds, rest = divmod(ttl_ns, 10**9)
    return _ENTRY.pack(0, 0, seconds, 0, rest, 0) + bytes(_ATTR.size)


def pack_attributes_reply(status: os.stat_result, ttl_ns: int) -> bytes:
    """Reply to GETATTR and SETATTR."""
    seconds, rest = divmod(ttl_ns, 10**9)
    return _ATTR_VALID.pack(seconds, rest, 0) + pack_attributes(status)


def pack_open(handle: int, flags: int) -> bytes:
    """Reply to OPEN and OPENDIR; `flags` are FOPEN_ bits."""
    return _OPEN.pack(handle, flags, 0)


def pack_dirent(inode: int, next_offset: int, file_type: int, name: bytes) -> bytes:
    """One entry of a listing; `file_type` is a DT_ value, `next_offset` where the next READDIR goes on."""
    record = _DIRENT.pack(inode, next_offset, len(name), file_type) + name
    return record + bytes(-len(record) % 8)


def pack_statfs(status: os.statvfs_result) -> bytes:
    """Reply to STATFS."""
    return _STATFS.pack(
        status.f_blocks,
        status.f_bfree,
        status.f_bavail,
        status.f_files,
        status.f_ffree,
        status.f_bsize,
        status.f_namemax,
        status.f_frsize,
        0,
    )


def pack_write_reply(n_bytes: int) -> bytes:
    """Reply to WRITE."""
    return _WRITE_OUT.pack(n_bytes, 0)


def pack_init_reply(body: memoryview, readahead_bytes: int) -> bytes:
    """Reply to INIT: what of `WANTED_FLAGS` this kernel offers."""
    _, _, _, offered = _INIT_IN.unpack_from(body)
    background, congestion, time_granularity_ns, max_pages = 64, 48, 1, 256
    return _INIT_OUT.pack(
        7, 31, readahead_bytes, offered & WANTED_FLAGS, background, congestion, MAX_WRITE_BYTES, time_granularity_ns,
        max_pages, 0, 0,
    )  # fmt: skip
