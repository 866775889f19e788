"""The scratch directory of a run: node-local, private, and never on the filesystem under test.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import stat

from fsprobe.capture.directories import own_files
from fsprobe.capture.machine import memory, mounts
from fsprobe.errors import FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from fsprobe.capture.machine.mounts import MountRow

MIN_FREE_BYTES = 64 << 20
"""Less room than this is not worth starting with: about 400,000 calls. A judgement."""
MIN_FREE_FILES = 16
"""The scratch itself, its log, its state, and what a few processes of the command leave. A judgement."""
PREFIX = "fsprobe-"
STATE = "state.json"
LOG = "log"
MARKS = "marks"
MOUNTS = "mounts"
"""The mounts as they were before the command began."""
ROOM = "room."
"""How the names begin, in the directory of marks, of files that hooks share memory with."""
HOOK = "hook"
"""Where the hook was before it had a place of its own (see `hook_place`), and the name of its directory there."""


def free_bytes(directory: "str") -> "int":
    """Bytes an unprivileged user may still write there.

    Raises:
        OSError: the directory can't be asked.
    """
    room = os.statvfs(directory)
    return room.f_bavail * room.f_frsize


def free_files(directory: "str") -> "int | None":
    """Files an unprivileged user may still make there; None where the filesystem has no such number.

    Raises:
        OSError: the directory can't be asked.
    """
    room = os.statvfs(directory)
    return room.f_favail if room.f_files else None


def candidates(environment: "Mapping[str, str]") -> "list[str]":
    """Where to look, in order: memory first, then what the batch system set, then /tmp."""
    return [place for place in ("/dev/shm", environment.get("TMPDIR"), "/tmp") if place]


def ordered(places: "list[str]", rows: "list[MountRow]") -> "list[str]":
    """The candidates with disks first where a limit of memory counts: a log in memory is charged to the job, and could end it."""
    if not memory.limits(rows):
        return places

    def is_in_memory(place: "str") -> "bool":
        row = mounts.mount_of(os.fsencode(os.path.realpath(place)), rows)
        return row is not None and mounts.classify(row[1]) == "memory"

    return sorted(places, key=is_in_memory)


def why_not(directory: "str", rows: "list[MountRow]") -> "str":
    """Say why a directory can't hold the scratch ("" when it can): missing, not writable, on a network filesystem, full."""
    return _why_not(os.path.realpath(directory), rows)


def _why_not(real: "str", rows: "list[MountRow]") -> "str":
    if not os.access(real + "/", os.W_OK | os.X_OK):  # with a slash only a directory is found
        return "is not writable" if os.path.isdir(real) else "is no directory"
    row = mounts.mount_of(os.fsencode(real), rows)
    if row is not None and mounts.classify(row[1]) == "network":
        return f"is on a network filesystem ({row[1]})"
    return _why_too_small(real)


def _why_too_small(real: "str") -> "str":
    try:
        free, n_free = free_bytes(real), free_files(real)
    except OSError as error:
        return f"can't be asked for its free space ({error.strerror})"
    if free < MIN_FREE_BYTES:
        return f"has only {free >> 20} MiB free"
    if n_free is not None and n_free < MIN_FREE_FILES:
        return f"has room for only {n_free} more files"
    return ""


def _real(place: "str", rows: "list[MountRow]") -> "str":
    """Its real path. A mount point is named by that, unless something was mounted above it later."""
    path = os.fsencode(place)
    above = [b"/" if row[0] == b"/" else row[0] + b"/" for row in rows]
    at = max([i for i, row in enumerate(rows) if row[0] == path], default=-1)
    if at >= 0 and not any(path.startswith(point) for point in above[at + 1 :]):
        return place
    return os.path.realpath(place)


def make(tmp_dir: "str | None", environment: "Mapping[str, str]", rows: "list[MountRow]") -> "str":
    """Make a private scratch directory (mode 0700) with its parts, and return its real path.

    Args:
        tmp_dir: the user's choice, taken even on a network filesystem when the user names it; else None.
        environment: where TMPDIR is looked up.
        rows: this process's mounts.

    Raises:
        FsprobeError: no place will do; names each and why.
    """
    reasons = []
    for place in [tmp_dir] if tmp_dir else ordered(candidates(environment), rows):
        real = _real(place, rows)
        row = mounts.mount_of(os.fsencode(real), rows)
        is_network = row is not None and mounts.classify(row[1]) == "network"
        if _why_too_small(real) or (is_network and not tmp_dir):
            reasons.append(f"{place} {_why_not(real, rows)}")
            continue
        for _ in range(100):
            path = os.path.join(real, PREFIX + os.urandom(6).hex())
            try:
                os.mkdir(path, 0o700)
                os.mkdir(os.path.join(path, MARKS), 0o700)
                return path
            except FileExistsError:
                continue
            except OSError as error:
                remove(path)
                why = "" if os.access(real + "/", os.W_OK | os.X_OK) else _why_not(real, rows)
                reasons.append(f"{place} {why or error.strerror}")
                break
    hint = "name a node-local directory with --tmp-dir"
    umask = os.umask(0o077)
    os.umask(umask)
    if umask & stat.S_IRWXU:
        hint = "the umask (%04o) takes your own permissions from what you make: umask 0077" % umask
    raise FsprobeError("no place for the log: " + "; ".join(reasons), hint)


_noted = {}  # type: dict[str, tuple[str, str]]  # file in a scratch directory -> its directory there, and its name


def note(scratch: "str", name: "str", directory: "str" = "") -> "None":
    """Remember a file in a scratch directory, or in a directory of it: it is taken away without being looked for."""
    _noted["/".join((scratch, directory, name))] = directory, name


def remove(path: "str") -> "bool":
    """Take a scratch directory away, as far as it is the caller's own; see `own_files.remove`.

    Returns:
        Whether nothing is left of it.
    """
    known = [_noted.pop(file) for file in [one for one in _noted if one.startswith(path + "/")]]
    return own_files.remove(path, known) or own_files.remove(path)  # what failed for a moment does not the next time


def left_behind(environment: "Mapping[str, str]") -> "list[str]":
    """Scratch directories of this user that hold a state file: of runs that go on, or whose fsprobe was killed."""
    found = []
    for place in candidates(environment):
        try:
            names = os.listdir(place)
        except OSError:
            continue
        for name in sorted(names):
            path = os.path.join(place, name)
            if name.startswith(PREFIX) and path not in found and own_files.is_own_file(os.path.join(path, STATE)):
                found.append(path)
    return found


def links_to_hook(hook_dir: "str") -> "dict[str, str | None]":
    """What is known of the path of a shared hook without a look at it (see `hook_place`): its links, and its directory."""
    digits = hook_dir.rpartition("/" + PREFIX)[2].split("/")[1:]
    if digits[-1:] != [HOOK] or not all(len(digit) == 1 and digit in "0123456789abcdef" for digit in digits[:-1]):
        return {}
    found = {hook_dir: None}  # type: dict[str, str | None]
    place = hook_dir
    for _ in digits[:-1]:
        place = os.path.dirname(place)
        found[place] = "."
    return found
