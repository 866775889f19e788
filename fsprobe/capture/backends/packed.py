"""The head of a log, compressed beside it while it grows: where a log's place is nearly full, or is memory that a job is charged for.

What has been compressed is given back to the filesystem by punching a hole into the log, whose offsets stay as they are: the
tracer goes on writing at its own. Whoever reads the log reads the file beside it first, and the log from behind that on. It is
made of frames, each complete in itself, so that a run whose fsprobe is killed in the midst loses nothing.

The first bytes of the log stay, as they tell who the target is, and so do the last ones, which are looked at while it runs.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import struct

from fsprobe.capture.directories import own_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

SUFFIX = ".z"
FRAME = struct.Struct("<4sII")
MAGIC = b"fspz"
BLOCK_BYTES = 1 << 20
HEAD_BYTES = 1 << 18
TAIL_BYTES = 1 << 20
MAX_AT_ONCE_BYTES = 32 << 20
"""Some 0.5 s of compressing: meanwhile signals to the command wait. A judgement."""
LEVEL = 1


class Packer:
    """Compresses the log of one run."""

    def __init__(self, log: "str") -> "None":
        self.log = log
        self.n_bytes = 0
        """So much of the log has been compressed."""
        self._n_packed = 0
        self._is_able = True

    def pack(self, size: "int") -> "int":
        """Compress what there is up to a tail; gives how many bytes of the log that were. 0 where it can't be done any more.

        Args:
            size: of the log.
        """
        end = min(size - TAIL_BYTES, self.n_bytes + MAX_AT_ONCE_BYTES)
        if not self._is_able or end - self.n_bytes < BLOCK_BYTES:
            return 0
        before = self.n_bytes
        try:
            self._pack_up_to(end)
        except OSError:
            self._is_able = False
        return self.n_bytes - before

    def _pack_up_to(self, end: "int") -> "None":
        import zlib

        source = own_files.open_file(self.log, os.O_RDWR)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            target = os.open(self.log + SUFFIX, flags, 0o600)
            try:
                while end - self.n_bytes >= BLOCK_BYTES:
                    data = os.pread(source, BLOCK_BYTES, self.n_bytes)
                    packed = zlib.compress(data, LEVEL)
                    frame = FRAME.pack(MAGIC, len(data), len(packed)) + packed
                    done = 0
                    while done < len(frame):
                        done += os.pwrite(target, frame[done:], self._n_packed + done)
                    wrong = own_files.punch(source, max(HEAD_BYTES, self.n_bytes), self.n_bytes + len(data))
                    if wrong:
                        os.ftruncate(target, self._n_packed)  # it is all in the log still
                        raise OSError(wrong, os.strerror(wrong))
                    self._n_packed += len(frame)
                    self.n_bytes += len(data)
            finally:
                os.close(target)
        finally:
            os.close(source)


def remove(log: "str") -> "None":
    """Take away what was compressed of a log."""
    try:
        os.unlink(log + SUFFIX)
    except OSError:
        pass


def read(log: "str") -> "Iterator[bytes]":
    """The head of a log that was compressed, a block for each frame; nothing where none was."""
    try:
        source = own_files.reader(log + SUFFIX, buffering=0)
    except FileNotFoundError:
        return
    import zlib

    try:
        for n_raw, packed in _frames(source, True):
            data = zlib.decompressobj().decompress(packed, n_raw + 1)
            if len(data) != n_raw:
                return
            yield data
    except zlib.error:
        return
    finally:
        source.close()


def n_bytes(log: "str") -> "int":
    """How much of a log was compressed."""
    try:
        with own_files.reader(log + SUFFIX, buffering=0) as source:
            return sum(n_raw for n_raw, _ in _frames(source, False))
    except OSError:
        return 0


def _frames(source: "BinaryIO", with_data: "bool") -> "Iterator[tuple[int, bytes]]":
    """What each complete frame holds: a frame that was being written when its writer was killed is none."""
    size = os.fstat(source.fileno()).st_size
    at = 0
    while at + FRAME.size <= size:
        source.seek(at)
        magic, n_raw, n_packed = FRAME.unpack(source.read(FRAME.size))
        at += FRAME.size + n_packed
        if magic != MAGIC or n_raw > BLOCK_BYTES or at > size:
            return
        yield n_raw, source.read(n_packed) if with_data else b""
