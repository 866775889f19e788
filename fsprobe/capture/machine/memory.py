"""How much memory the cgroups of this process still give: what is written to a tmpfs is charged to them.

Of what a cgroup holds of files, only what was not used for long counts as free (`inactive_file`), not all of the cache without
what lies in a tmpfs: the kernel would give up the rest too before it ends a program, but those are the libraries and data
that the program works with, and it would read them again and again.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe import files
from fsprobe.capture.machine import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsprobe.capture.machine.mounts import MountRow

MAX_RESERVE_BYTES = 256 << 20
"""Of a larger limit than four times this, no more is left alone. A judgement: a program may take as much between two looks."""
_V1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
_V2 = "memory.max", "memory.current", "inactive_file"


_own_limits = []  # type: list[list["Limit"]]  # of this process, once they were looked up: the files do not move


class Limit:
    """One cgroup with a limit of its memory."""

    def __init__(self, directory: "str", names: "tuple[str, str, str]", max_bytes: "int") -> "None":
        self.directory = directory
        self.names = names
        self.max_bytes = max_bytes

    def free_bytes(self) -> "int":
        """What it still gives: up to its limit, and what it holds of files on disks and can give up at once.

        Raises:
            OSError: it can't be asked.
            ValueError: its answer is no number.
        """
        used = int(_read(os.path.join(self.directory, self.names[1])))
        on_disk = 0
        for line in _read(os.path.join(self.directory, "memory.stat")).split("\n"):
            words = line.split()
            if len(words) == 2 and words[0] == self.names[2]:
                on_disk = int(words[1])
        return self.max_bytes - max(0, used - on_disk)


def _read(path: "str") -> "str":
    return files.told(path, 1 << 16).decode("ascii", "replace").strip()


def limits(
    rows: "list[MountRow]", own: "bytes | None" = None, root: "str" = "", ram_bytes: "int | None" = None
) -> "list[Limit]":
    """The limits of memory that count for this process: of its own cgroups and of those above them, as far as they are seen.

    Args:
        rows: this process's mounts.
        own: what /proc/self/cgroup says; None reads it.
        root: what the paths of mounts lie under, for tests.
        ram_bytes: of the machine; a limit that is not below it is none. None asks.

    Source: cgroups(7); Linux's admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst.
    """
    is_own = own is None and not root and ram_bytes is None
    if is_own and _own_limits:
        return _own_limits[0]
    if own is None:
        try:
            own = files.told("/proc/self/cgroup", 1 << 16)
        except OSError:
            return []
    if ram_bytes is None:
        ram_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = []  # type: list[Limit]
    lines = [words for words in (line.split(b":", 2) for line in own.split(b"\n")) if len(words) == 3]
    has_v1 = any(b"memory" in words[1].split(b",") for words in lines)
    for words in lines:
        is_v2 = not words[1]
        # a controller is in one hierarchy alone
        if has_v1 if is_v2 else b"memory" not in words[1].split(b","):
            continue
        for mount in rows:
            if mount[1] != ("cgroup2" if is_v2 else "cgroup") or not (is_v2 or "memory" in mount[3].split(",")):
                continue
            names = _V2 if is_v2 else _V1
            for directory in _upwards(root + os.fsdecode(mount[0]), os.fsdecode(words[2])):
                if not is_v2 and not _has_limit_above(directory, ram_bytes):
                    break
                try:
                    max_bytes = int(_read(os.path.join(directory, names[0])))
                except (OSError, ValueError):
                    continue  # "max", the root, or a cgroup of outside this container
                if max_bytes < ram_bytes and directory not in [one.directory for one in found]:
                    found.append(Limit(directory, names, max_bytes))
    if is_own:
        _own_limits.append(found)
    return found


def _has_limit_above(directory: "str", ram_bytes: "int") -> "bool":
    """Whether a cgroup of the first version, or one above it that counts for it, may have a limit; it tells of all of them at once."""
    try:
        _, told, rest = _read(os.path.join(directory, "memory.stat")).partition("hierarchical_memory_limit ")
        return not told or int(rest.split()[0]) < ram_bytes
    except (OSError, ValueError, IndexError):
        return True


def _upwards(mount: "str", path: "str") -> "Iterator[str]":
    """A cgroup and those above it; in a container its path may be the host's, and its own cgroup is the mount itself."""
    path = path.strip("/")
    while path:
        yield os.path.join(mount, path)
        path = path.rpartition("/")[0]
    yield mount


def free_bytes() -> "int | None":
    """The least that the limits leave to this process; None where there is none."""
    found = []
    for one in _own_limits[0] if _own_limits else limits(mounts.parse_mountinfo(mounts.read_own())):
        try:
            found.append(max(0, one.free_bytes()))
        except (OSError, ValueError):
            continue
    return min(found) if found else None


class Charge:
    """What a scratch directory may still take of the memory that this process is given."""

    def __init__(self, directory: "str", rows: "list[MountRow] | None" = None) -> "None":
        rows = mounts.parse_mountinfo(mounts.read_own()) if rows is None else rows
        row = mounts.mount_of(os.fsencode(os.path.realpath(directory)), rows)
        is_charged = row is not None and mounts.classify(row[1]) == "memory"
        self.limits = limits(rows) if is_charged else []  # type: list[Limit]

    def is_low(self, more_bytes: "int" = 0) -> "bool":
        """Whether so little is left that the log must not take more of it: a quarter of the limit, or `MAX_RESERVE_BYTES`.

        Args:
            more_bytes: what will be taken at the end in any case.
        """
        spare = self.spare_bytes()
        return spare is not None and spare < more_bytes

    def spare_bytes(self) -> "int | None":
        """What is left beside that reserve, below 0 where it is touched; None where nothing is charged, or nobody tells."""
        found = []
        for one in self.limits:
            try:
                found.append(one.free_bytes() - min(one.max_bytes // 4, MAX_RESERVE_BYTES))
            except (OSError, ValueError):
                continue
        return min(found) if found else None
