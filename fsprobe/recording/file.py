"""The file that holds what happened: a header, then named sections, each with its size and checksum.

Layout (everything but the section bodies is ASCII, so `head -2 FILE` shows what it is)::

    fsprobe <format> <kind>\\n
    <name:32> <raw|zlib> <bytes in the file:20> <bytes unpacked:20> <crc32 of the stored bytes:8>\\n<body>\\n
    ... (one such pair per section)
    end <number of sections> <crc32 of the first line and of all section headers:8>\\n

A recording has the sections `manifest` (JSON), `log` (what the tracer wrote) or `ring` (what the inline recorder did) or
`tally` (JSON; what a streamed run was folded into), `marks` (what the hooks wrote), `mounts` (the mount table), `lookups`
(JSON; what had to be looked up after the run), and `cpu` where our own tracer read it. A ZIP archive would have done, but `import zipfile` costs 340
metadata calls, and this module runs beside the target on the filesystem that is under suspicion.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import os
import zlib

from fsprobe import files
from fsprobe.errors import EXIT_BAD_INPUT, BadInput, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

FORMAT = 2
MAGIC = b"fsprobe "
KINDS = ("recording", "comparison", "job")
_HEAD = "%-32s %-4s %020d %020d %08x\n"
_HEAD_BYTES = 32 + 1 + 4 + 1 + 20 + 1 + 20 + 1 + 8 + 1
_CHUNK_BYTES = 1 << 20
MAX_SECTIONS = 10000
MAX_WHOLE_BYTES = 256 << 20
"""Of a section that is read in one piece: a manifest, marks, mounts, lookups, a tally. A tally of 50,000 paths has some 20 MB,
the marks of 1000 interpreters that import 1000 modules each some 100 MB."""
MAX_MOUNTS_BYTES = 16 << 20
"""Of a mount table: 100,000 mounts."""
MAX_RING_BYTES = 64 << 30
"""Of the inline recorder's slots, which are read from a file without a name: a thousand million calls."""
MAX_LINE_BYTES = 4 << 20
"""Of a line of a log: the kernel gives no path longer than 4096 bytes, and a command line of 2 MiB may be printed with 4 bytes a byte at most."""
MAX_RATIO = 1100
"""How much zlib can pack away: 1032 to 1 at the most. Source: zlib's technical details (zlib.net/zlib_tech.html)."""


class Unreadable(FsprobeError):
    """What a section is made of can't be read; the file's own place is not at fault."""

    def __init__(self, section: "str", error: "OSError") -> "None":
        self.section = section
        self.why = error.strerror or str(error)
        super().__init__("cannot read what section %s is made of: %s" % (section, self.why), "", EXIT_BAD_INPUT)


def write(
    path: "str", kind: "str", sections: "Iterable[tuple[str, bytes | Iterable[bytes]]]", version: "int" = FORMAT
) -> "None":
    """Write a whole file or nothing, for its owner alone: it tells what somebody ran, and where.

    Args:
        path: where the file shall be; see `files.Replacing`.
        kind: one of `KINDS`.
        sections: (name, body) in the order of the file; a body is bytes or an iterable of blocks. `manifest` is
            stored as it is, so that it can be read with `head`; every other section is compressed.
        version: the format that the sections have: an older one where they were taken out of an older file.

    Raises:
        FsprobeError: the directory or the disk does not take it; nothing is left behind.
        Unreadable: a section's blocks raised an OSError; nothing is left behind.
    """
    try:
        with files.Replacing(path, 0o600) as out:
            first = b"%s%d %s\n" % (MAGIC, version, kind.encode("ascii"))
            out.write(first)
            n_sections, crc = 0, zlib.crc32(first)
            for name, body in sections:
                crc = zlib.crc32(
                    _write_section(out, name, (body,) if isinstance(body, bytes) else _read(name, body)), crc
                )
                n_sections += 1
            out.write(b"end %d %08x\n" % (n_sections, crc & 0xFFFFFFFF))
    except OSError as error:
        hint = (
            "free some space or name another place with -o"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "name another place with -o"
        )
        raise FsprobeError("cannot write %s: %s" % (path, error.strerror), hint, EXIT_BAD_INPUT)


def _read(name: "str", blocks: "Iterable[bytes]") -> "Iterator[bytes]":
    source = iter(blocks)
    while True:
        try:
            block = next(source, None)
        except OSError as error:
            raise Unreadable(name, error)
        if block is None:
            return
        yield block


def _write_section(out: "BinaryIO", name: "str", blocks: "Iterable[bytes]") -> "bytes":
    squeeze = None if name == "manifest" else zlib.compressobj(1)
    at = out.tell()
    out.write((_HEAD % (name, "", 0, 0, 0)).encode("ascii"))
    n_raw = n_stored = crc = 0
    for block in _squeezed(blocks, squeeze):
        raw_bytes, stored = block
        n_raw += raw_bytes
        n_stored += len(stored)
        crc = zlib.crc32(stored, crc)
        out.write(stored)
    out.write(b"\n")
    end = out.tell()
    out.seek(at)
    how = "raw" if squeeze is None else "zlib"
    head = (_HEAD % (name, how, n_stored, n_raw, crc & 0xFFFFFFFF)).encode("ascii")
    out.write(head)
    out.seek(end)
    return head


def _squeezed(blocks: "Iterable[bytes]", squeeze: "Any") -> "Iterator[tuple[int, bytes]]":
    for block in blocks:
        yield len(block), block if squeeze is None else squeeze.compress(block)
    if squeeze is not None:
        yield 0, squeeze.flush()


def read_file(path: "str", block_bytes: "int" = _CHUNK_BYTES) -> "Iterator[bytes]":
    """Yield a file's content in blocks, for a section's body."""
    with files.open_to_read(path) as source:
        while True:
            block = source.read(block_bytes)
            if not block:
                return
            yield block


def _hint_for(path: "str", error: "OSError") -> "str":
    """What to do about a file that can't be opened."""
    if isinstance(error, FileNotFoundError):
        meant = path + ".fsprobe"
        return (
            "did you mean %s?" % meant if os.path.isfile(meant) else "check the name; recordings are named NAME.fsprobe"
        )
    return "check its permissions" if isinstance(error, PermissionError) else "check the name and its permissions"


class Recording:
    """An opened file: its format, its kind, its manifest, and where each section stands. Nothing is unpacked until asked for."""

    def __init__(self, path: "str") -> "None":
        """Open a file and check its structure and every byte of it, without unpacking anything.

        Raises:
            BadInput: not readable, not ours, of a newer format, cut short or damaged.
        """
        self.path = path
        self.format = FORMAT
        self.is_own = False
        """Whether the file is the caller's"""
        self._places: "dict[str, tuple[str, int, int, int, int]]" = {}
        try:
            with files.open_to_read(path) as source:
                self.is_own = os.fstat(source.fileno()).st_uid == os.geteuid()
                self.kind = self._read_header(source)
                self._read_index(source)
        except OSError as error:
            raise BadInput("cannot read %s: %s" % (path, error.strerror or error), _hint_for(path, error))
        self.manifest = self._read_manifest()

    def _read_header(self, source: "BinaryIO") -> "str":
        line = self._first = source.readline(80)
        words = line.split()
        if not line.startswith(MAGIC) or len(words) != 3:
            from fsprobe.recording import others

            what, hint = others.described(line, self.path)
            raise BadInput("%s is not an fsprobe file%s" % (self.path, what and ": " + what), hint)
        if not words[1].isdigit() or not 1 <= int(words[1]) <= FORMAT:
            raise BadInput(
                "%s has format %s, this fsprobe reads up to %d"
                % (self.path, words[1].decode("ascii", "replace"), FORMAT),
                "upgrade fsprobe",
            )
        self.format = int(words[1])
        kind = words[2].decode("ascii", "replace")
        if kind not in KINDS:
            raise BadInput("%s is of the unknown kind %s" % (self.path, kind), "upgrade fsprobe")
        return kind

    def _read_index(self, source: "BinaryIO") -> "None":
        size = os.fstat(source.fileno()).st_size
        crc_of_heads = zlib.crc32(self._first)
        for _ in range(MAX_SECTIONS):
            head = source.read(4)
            if head == b"end ":
                if source.readline(40) != b"%d %08x\n" % (len(self._places), crc_of_heads & 0xFFFFFFFF):
                    raise self._damaged("its closing line does not match its sections")
                return
            head += source.read(_HEAD_BYTES - 4)
            if len(head) < _HEAD_BYTES:
                raise self._damaged("it is cut short")
            crc_of_heads = zlib.crc32(head, crc_of_heads)
            words = head.split()
            try:
                name, how = words[0].decode("ascii"), words[1].decode("ascii")
                n_stored, n_raw, crc = int(words[2]), int(words[3]), int(words[4], 16)
            except (IndexError, ValueError):
                raise self._damaged("a section's header is unreadable")
            at = source.tell()
            if how not in ("raw", "zlib") or n_stored < 0 or n_raw < 0 or at + n_stored + 1 > size:
                raise self._damaged(
                    "it is cut short" if at + max(n_stored, 0) + 1 > size else "a section's header is wrong"
                )
            if n_raw > (n_stored + 1024) * MAX_RATIO:
                raise self._damaged("section %s states a size that it can't have" % name)
            self._places[name] = (how, at, n_stored, n_raw, crc)
            if _crc_of(source, n_stored) != crc:
                raise self._damaged("section %s does not match its checksum" % name)
            if source.read(1) != b"\n":
                raise self._damaged("section %s has no end" % name)
        raise self._damaged("it has too many sections")

    def _read_manifest(self) -> "dict[str, Any]":
        from fsprobe import foreign_json  # whoever only writes does without it

        try:
            manifest = foreign_json.loads(self.whole("manifest").decode("utf-8"))
        except ValueError:
            raise self._damaged("its manifest is not JSON")
        if not isinstance(manifest, dict):
            raise self._damaged("its manifest is no object")
        return manifest

    def _damaged(self, why: "str") -> "BadInput":
        return BadInput(
            "%s is damaged: %s" % (self.path, why),
            "record again; if the run was interrupted, try `fsprobe salvage` on its scratch directory",
        )

    def names(self) -> "list[str]":
        """Names of the sections, in the file's order."""
        return list(self._places)

    def size_bytes(self, name: "str") -> "int":
        """Unpacked size of a section in bytes, 0 where there is none."""
        return self._places[name][3] if name in self._places else 0

    def section(self, name: "str") -> "Iterator[bytes]":
        """Yield a section's unpacked bytes in blocks; nothing for a section that is not there.

        Raises:
            BadInput: the stored bytes do not match their checksum or do not unpack to the stated size.
        """
        if name not in self._places:
            return
        how, at, n_stored, n_raw, crc = self._places[name]
        unpack = zlib.decompressobj() if how == "zlib" else None
        seen_crc = seen_raw = 0
        try:
            with files.open_to_read(self.path) as source:
                source.seek(at)
                left = n_stored
                while left:
                    block = source.read(min(left, _CHUNK_BYTES))
                    if not block:
                        raise self._damaged("it is cut short")
                    left -= len(block)
                    seen_crc = zlib.crc32(block, seen_crc)
                    # a bounded step: a damaged or hostile file can't unpack to more than it states
                    while block:
                        raw = block if unpack is None else unpack.decompress(block, _CHUNK_BYTES)
                        block = b"" if unpack is None else unpack.unconsumed_tail
                        seen_raw += len(raw)
                        if seen_raw > n_raw:
                            raise self._damaged("section %s is larger than it states" % name)
                        if raw:
                            yield raw
        except zlib.error:
            raise self._damaged("section %s does not unpack" % name)
        except OSError as error:
            raise BadInput("cannot read %s: %s" % (self.path, error.strerror or error))
        if seen_crc & 0xFFFFFFFF != crc or seen_raw != n_raw:
            raise self._damaged("section %s does not match its checksum" % name)

    def lines(self, name: "str") -> "Iterator[bytes]":
        """Yield a section's lines, each with its newline (the last one may lack it).

        Of a line longer than `MAX_LINE_BYTES` only so much is given: no tracer writes such a line.
        """
        rest = []  # type: list[bytes]  # of a line whose end has not come: joined once, however many blocks it has
        n_rest = 0
        for block in self.section(name):
            lines = block.splitlines(True) if b"\r" not in block else _split_lines(block)
            if rest and lines:
                first = lines[0]
                if n_rest < MAX_LINE_BYTES:
                    rest.append(first[: MAX_LINE_BYTES - n_rest])
                    n_rest += len(rest[-1])
                if not first.endswith(b"\n"):
                    continue
                lines[0] = b"".join(rest)
                if not lines[0].endswith(b"\n"):
                    lines[0] += b"\n"
                rest, n_rest = [], 0
            if lines and not lines[-1].endswith(b"\n"):
                rest = [lines.pop()[:MAX_LINE_BYTES]]
                n_rest = len(rest[0])
            yield from lines
        if rest:
            yield b"".join(rest)

    def whole(self, name: "str", most: "int" = MAX_WHOLE_BYTES) -> "bytes":
        """A section's unpacked bytes in one piece.

        Raises:
            BadInput: as `section`; it states to unpack to more than `most`.
        """
        self.check_size(name, most)
        return b"".join(self.section(name))

    def check_size(self, name: "str", most: "int") -> "None":
        """Refuse a section that is larger than what can be made of it here.

        Raises:
            BadInput: it states to unpack to more than `most`.
        """
        if self.size_bytes(name) > most:
            raise self._damaged(
                "section %s unpacks to %d MiB, more than %d MiB of it are not read"
                % (name, self.size_bytes(name) >> 20, most >> 20)
            )

    def verify(self) -> "None":
        """Unpack everything once and compare all checksums.

        Raises:
            BadInput: as `section`.
        """
        for name in self._places:
            for _ in self.section(name):
                pass


def _crc_of(source: "BinaryIO", n_bytes: "int") -> "int":
    crc = 0
    while n_bytes:
        block = source.read(min(n_bytes, _CHUNK_BYTES))
        if not block:
            break
        crc = zlib.crc32(block, crc)
        n_bytes -= len(block)
    return crc & 0xFFFFFFFF


def _split_lines(block: "bytes") -> "list[bytes]":
    # bytes.splitlines also splits at \r, which is an ordinary byte in a foreign log
    pieces = block.split(b"\n")
    lines = [piece + b"\n" for piece in pieces[:-1]]
    if pieces[-1]:
        lines.append(pieces[-1])
    return lines
