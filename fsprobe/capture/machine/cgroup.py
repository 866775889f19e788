"""How much memory the control groups of this process leave: a file in /dev/shm is charged to whoever allocates it.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.

Source: Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.current, memory.stat) and cgroup-v1/memory.rst.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "/sys/fs/cgroup"
OWN = "/proc/self/cgroup"
_V2 = ("memory.max", "memory.current", b"file ", b"shmem ")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_cache ", b"total_shmem ")
_UNLIMITED = 1 << 60
"""cgroup v1 says so many bytes, or more, for no limit."""


def room_bytes() -> "int | None":
    """What may still be allocated before a limit is met; None where there is none, or none is known.

    Cached pages of files count as room: the kernel gives them up first.
    """
    rooms = [room for place, names in _places() for room in [_room(place, names)] if room is not None]
    return min(rooms) if rooms else None


def _places() -> "Iterator[tuple[str, tuple[str, str, bytes, bytes]]]":
    """The directory of each control group that this process is in, and the names of its files."""
    try:
        with open(OWN, "rb", buffering=0) as source:
            rows = source.read(1 << 16).split(b"\n")
    except OSError:
        return
    for row in rows:
        parts = row.split(b":", 2)
        if len(parts) < 3:
            continue
        if parts[0] == b"0" and not parts[1]:
            root, names = ROOT, _V2
        elif b"memory" in parts[1].split(b","):
            root, names = ROOT + "/memory", _V1
        else:
            continue
        path = os.fsdecode(parts[2]).rstrip("/")
        while True:
            yield root + path, names
            if not path:
                break
            path = os.path.dirname(path).rstrip("/")


def _room(place: "str", names: "tuple[str, str, bytes, bytes]") -> "int | None":
    limit_name, usage_name, cache, shared = names
    try:
        limit = int(_read(os.path.join(place, limit_name)))
        used = int(_read(os.path.join(place, usage_name)))
        stat = _read(os.path.join(place, "memory.stat"))
    except (OSError, ValueError):  # v2 says `max` where there is no limit
        return None
    if limit >= _UNLIMITED:
        return None
    return max(0, limit - used + max(0, _value(stat, cache) - _value(stat, shared)))


def _read(path: "str") -> "bytes":
    with open(path, "rb", buffering=0) as source:
        return source.read(1 << 16)


def _value(stat: "bytes", name: "bytes") -> "int":
    for line in stat.split(b"\n"):
        if line.startswith(name):
            return int(line[len(name) :])
    return 0
