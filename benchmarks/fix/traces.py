"""What a fix must leave as it was: an environment byte for byte, mounts, processes."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

Seen = dict[str, tuple[str, int, int, str]]
"""Name -> (kind, mode, mtime in ns, digest of the content or a link's target)."""


def snapshot(root: Path) -> Seen:
    """All names of a tree."""
    found: Seen = {}
    for directory, names, files in os.walk(root):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            kind, content = "d", ""
            if stat.S_ISLNK(status.st_mode):
                kind, content = "l", os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    kind, content = "f", hashlib.file_digest(file, "sha256").hexdigest()
            found[os.path.relpath(path, root)] = (kind, status.st_mode, status.st_mtime_ns, content)
    return found


def mounts_below(place: Path) -> set[str]:
    """Mount points at or below a directory."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return {point for point in points if f"{point}/".startswith(f"{place}/")}


def processes_of(word: str) -> set[int]:
    """Processes that have a word in their command line, zombies and this one left out."""
    found = set()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            line = Path("/proc", name, "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(word) in line:
            found.add(int(name))
    return found


def scratch() -> set[str]:
    """Temporary directories of a fix."""
    return {
        str(path)
        for top in ("/tmp", "/dev/shm")
        for word in ("fix", "compare", "pack")
        for path in Path(top).glob(f"fsprobe-{word}-*")
    }
