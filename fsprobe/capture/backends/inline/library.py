"""The recorder's .so: where it was built, and where it may be named in an environment that outlives the run.

LD_AUDIT is inherited by daemons, submitted jobs and containers. So the file it names must last, and nobody else may ever be
able to make one of that name: it lies below directories in which only the user or root can write. The installed file is taken
where that holds. Else, and where fsprobe is one archive, a copy goes into the user's cache, once for each of its contents.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import binascii
import itertools
import os
import stat

from fsprobe.capture import shipped
from fsprobe.capture.directories import hook_place, private
from fsprobe.capture.directories import scratch as scratch_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "fsprobe-inline.so"
DATA_FILE = "backends/inline/" + NAME
NOT_BUILT = "it was not built for this installation (no compiler when fsprobe was installed, or not x86_64)"
SYSTEM = "/var/cache"
"""Of root alone: what root starts may go on as another user, and a loader that can't read the file says so on stderr."""
_LASTING = (SYSTEM, "XDG_CACHE_HOME", "HOME", "the home directory")
"""Of the hook's places those that are there after a logout and in another job."""


def find(environment: "Mapping[str, str]") -> "tuple[str, str]":
    """The path to name in LD_AUDIT and "", or "" and why there is none."""
    real, modes = "", []  # type: str, list[int]
    if not shipped.archive():
        real = os.path.abspath(shipped.path(DATA_FILE))
        if why_not_at(real, modes):
            if not os.path.isfile(real):
                return "", NOT_BUILT
            # there may be a link on the way
            del modes[:]
            real = os.path.realpath(real)
            real = "" if why_not_at(real, modes) else real
    is_for_all = bool(hook_place.SYSTEM) and os.geteuid() == 0
    if real and (not is_for_all or all_can_read(modes)):
        return real, ""
    try:
        data = shipped.read_bytes(DATA_FILE)
    except OSError:
        return "", NOT_BUILT
    path, why, modes = keep(data, environment)
    return (real, "") if real and (why or not all_can_read(modes)) else (path, why)


def all_can_read(modes: "list[int]") -> "bool":
    """Whether every user gets at a file, by the modes of the directories on the way and its own."""
    return all(mode & (stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH) for mode in modes)


def why_not_at(path: "str", modes: "list[int]") -> "str":
    """Why a file can't be named in an environment that others inherit ("" where it can).

    Args:
        path: the file, by an absolute path without links.
        modes: those of the directories on the way and its own are added.
    """
    if set(path) & set(": \t\n"):
        return "its path has a character that LD_AUDIT can't hold"
    try:
        place = private.open_private(os.path.dirname(path), modes=modes)
    except private.Unsafe as error:
        return str(error)
    except OSError as error:
        return "%s: %s" % (path, error.strerror)
    try:
        found = os.stat(os.path.basename(path), dir_fd=place, follow_symlinks=False)
    except OSError as error:
        return "%s: %s" % (path, error.strerror)
    finally:
        os.close(place)
    modes.append(found.st_mode)
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
        return "%s can be changed by others" % path
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        return "%s lies on a filesystem mounted noexec" % path
    return ""


def keep(data: "bytes", environment: "Mapping[str, str]") -> "tuple[str, str, list[int]]":
    """Put a copy into the user's cache, unless it is there: its path, "" and the modes on the way; or "", and why there is none.

    It stays. Taken away, or put below a directory that is emptied between jobs, each program that inherited the variable would
    complain on stderr.
    """
    name = "%sinline-%08x%05x" % (scratch_dir.PREFIX, binascii.crc32(data) & 0xFFFFFFFF, len(data) & 0xFFFFF)
    reasons = []
    first = [(SYSTEM, SYSTEM, "")] if hook_place.SYSTEM and os.geteuid() == 0 else []
    for label, path, why_not in itertools.chain(first, hook_place.candidates(environment)):
        if label not in _LASTING:
            continue
        folder = os.path.join(path, hook_place.FOLDER, name)
        try:
            if why_not:
                raise private.Unsafe(why_not)
            _write(folder, data, label == SYSTEM)
        except OSError as error:
            reasons.append("%s: %s" % (label, error.strerror))
            continue
        except private.Unsafe as error:
            reasons.append("%s %s" % (label, error))
            continue
        modes = []  # type: list[int]
        why = why_not_at(os.path.join(folder, NAME), modes)
        if not why:
            return os.path.join(folder, NAME), "", modes
        reasons.append("%s: %s" % (label, why))
    return "", "no lasting place for it that nobody else can write to: " + ("; ".join(reasons) or "HOME is not set"), []


def _write(folder: "str", data: "bytes", for_all: "bool") -> "None":
    """Write it in one step: programs may have the old one mapped."""
    place = private.open_private(folder, 2, for_all)
    try:
        if not private.holds(place, NAME, data):
            private.put(place, NAME, data, 0o755 if for_all else 0o700)
    finally:
        os.close(place)
