"""SquashFS images: is this one, and what does its listing say.

Source of the superblock's layout: the format description in the kernel's Documentation/filesystems/squashfs.rst and
fs/squashfs/squashfs_fs.h. The listing is read from `unsquashfs`, so that no mount is needed.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from calendar import timegm
from collections.abc import Mapping
from dataclasses import dataclass

from fsprobe import files
from fsprobe.errors import BadInput, MachineCannot

_SUPERBLOCK = struct.Struct("<IIIIIHHHHHHQQ")
_MAGIC = 0x73717368
_COMPRESSORS = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """The first bytes of an image."""

    n_inodes: int
    made_s: int
    """Seconds since the epoch."""
    compression: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a tree or in an image."""

    kind: str
    """f(ile) | d(irectory) | l(ink) | o(ther)"""
    size_bytes: int
    """Of a file, 0 for the rest."""
    mtime_s: int
    target: bytes = b""
    """Of a symlink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Path relative to the image's root (b"" is the root itself) -> entry."""

    entries: Mapping[bytes, Entry]
    resolution_s: int
    """1, or 60 where this unsquashfs shows no seconds."""


def read_superblock(image: str) -> Superblock:
    """Check that `image` is a whole SquashFS 4 image.

    Raises:
        BadInput: it can't be read, is something else, or is cut short.
    """
    try:
        with files.open_to_read(image) as file:
            head = file.read(_SUPERBLOCK.size)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise BadInput(f"{image}: {error.strerror}", "give the path of an image made by `fsprobe pack`") from error
    if len(head) < _SUPERBLOCK.size or struct.unpack_from("<I", head)[0] != _MAGIC:
        raise BadInput(f"{image} is not a SquashFS image", "make one with `fsprobe pack VENV -o IMG`")
    fields = _SUPERBLOCK.unpack(head)
    if fields[9] != 4:
        raise BadInput(f"{image} is a SquashFS {fields[9]} image; only version 4 can be mounted")
    used = fields[12]
    if size < used:
        raise BadInput(f"{image} is cut short: {size} of {used} bytes", "copy it again, or pack it again")
    return Superblock(n_inodes=fields[1], made_s=fields[2], compression=_COMPRESSORS.get(fields[5], str(fields[5])))


def read_listing(image: str) -> Listing:
    """List an image without mounting it.

    Raises:
        MachineCannot: there is no unsquashfs.
        BadInput: unsquashfs can't read the image.
    """
    tool = shutil.which("unsquashfs")
    if not tool:
        raise MachineCannot("unsquashfs is not installed", "install squashfs-tools, or load a module that has it")
    exact = _parse_pseudo(_run_pseudo(tool, image))
    if exact:
        return Listing(entries=exact, resolution_s=1)
    # 4.4 and older: no pseudo file, and a listing that shows minutes
    done = subprocess.run([tool, "-n", "-lls", image], capture_output=True, env={**os.environ, "TZ": "UTC"})
    coarse = _parse_ls(done.stdout)
    if done.returncode or not coarse:
        raise BadInput(
            f"unsquashfs can't read {image}: {os.fsdecode(done.stderr or done.stdout).strip()}", "pack it again"
        )
    return Listing(entries=coarse, resolution_s=60)


_DATA_MARK = b"#\n# START OF DATA"


def _run_pseudo(tool: str, image: str) -> bytes:
    """The definitions that `unsquashfs -pf` writes before the files' data; the data are not waited for."""
    process = subprocess.Popen(
        [tool, "-no-progress", "-pf", "/dev/stdout", image],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    text = b""
    with process, process.stdout:
        while chunk := process.stdout.read(1 << 20):
            searched = max(0, len(text) - len(_DATA_MARK))
            text += chunk
            end = text.find(_DATA_MARK, searched)
            if end >= 0:
                text = text[:end]
                break
        else:
            text = b"" if process.wait() else text
        process.kill()
    return text


_PSEUDO = re.compile(
    rb"((?:\\.|[^\\ ])+) (?:"
    rb"(?P<dir>D) (?P<dir_time>\d+) \d+ \d+ \d+"
    rb"|(?P<file>R) (?P<file_time>\d+) \d+ \d+ \d+ (?P<size>\d+)[ \d]*"
    rb"|(?P<link>S) (?P<link_time>\d+) \d+ \d+ \d+ (?P<target>[^\n]*)"
    rb"|(?P<hard>L) (?P<same>(?:\\.|[^\\\n])+)"
    rb"|(?P<other>[BCI]) (?P<other_time>\d+) [^\n]*"
    rb")\n",
    re.DOTALL,
)


def _parse_pseudo(text: bytes) -> dict[bytes, Entry]:
    """Entries of a pseudo file; empty when a part of it was not understood."""
    entries: dict[bytes, Entry] = {}
    hard: dict[bytes, bytes] = {}
    position = 0
    while position < len(text):
        match = _PSEUDO.match(text, position)
        if not match:
            return {}
        position = match.end()
        path = _unescape(match[1])
        if match["dir"]:
            entries[path] = Entry("d", 0, int(match["dir_time"]))
        elif match["file"]:
            entries[path] = Entry("f", int(match["size"]), int(match["file_time"]))
        elif match["link"]:
            entries[path] = Entry("l", 0, int(match["link_time"]), match["target"])
        elif match["hard"]:
            hard[path] = _unescape(match["same"])
        else:
            entries[path] = Entry("o", 0, int(match["other_time"]))
    for path, same in hard.items():
        if same not in entries:
            return {}
        entries[path] = entries[same]
    return entries


def _unescape(name: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", name, flags=re.DOTALL).strip(b"/")


_LS = re.compile(
    rb"^([-dlbcps])[-rwxsStT]{9} \S+ +([\d,]+ *\d*) (\d{4}-\d\d-\d\d \d\d:\d\d) squashfs-root(.*?)"
    rb"(?=\n[-dlbcps][-rwxsStT]{9} |\n*\Z)",
    re.DOTALL | re.MULTILINE,
)


def _parse_ls(text: bytes) -> dict[bytes, Entry]:
    entries = {}
    for match in _LS.finditer(text):
        day, clock = match[3].decode().split(" ")
        parts = [*map(int, day.split("-")), *map(int, clock.split(":")), 0]
        path, _, target = match[4].partition(b" -> ") if match[1] == b"l" else (match[4], b"", b"")
        kind = {b"-": "f", b"d": "d", b"l": "l"}.get(match[1], "o")
        size = int(match[2]) if kind == "f" else 0
        entries[path.strip(b"/")] = Entry(kind, size, timegm((*parts, 0, 0, 0)), target)
    return entries
