"""A ZIP archive that is the same whenever it is made, with the checksums of what it holds."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsprobe import files
from fsprobe.errors import EXIT_BAD_INPUT, FsprobeError

SUMS = "SHA256SUMS"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest date that a ZIP archive can hold: the same input makes the same archive, whenever that is done."""
LEVEL = 6
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file in the archive."""

    name: str
    body: bytes | Path
    is_program: bool = False


def write(path: str, entries: Iterable[Entry]) -> None:
    """Write the archive, whole or not at all: the same entries give the same bytes. `SHA256SUMS` is added.

    Args:
        path: where it shall be.
        entries: in the order of the archive.

    Raises:
        FsprobeError: the directory or the disk does not take it.
    """
    try:
        with (
            files.Replacing(path) as out,
            zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive,
        ):
            sums = [f"{_add(archive, entry)}  {entry.name}\n" for entry in entries]
            _add(archive, Entry(name=SUMS, body="".join(sums).encode()))
    except OSError as error:
        raise FsprobeError(
            f"cannot write {path}: {error.strerror}", "name another place with -o", EXIT_BAD_INPUT
        ) from error


def _add(archive: zipfile.ZipFile, entry: Entry) -> str:
    info = zipfile.ZipInfo(entry.name, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, wherever it was made
    info.external_attr = (0o100755 if entry.is_program else 0o100644) << 16
    digest = hashlib.sha256()
    with archive.open(info, "w", force_zip64=True) as target:
        for block in _blocks(entry.body):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()


def _blocks(body: bytes | Path) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield body
        return
    with body.open("rb") as source:
        while block := source.read(_BLOCK_BYTES):
            yield block
