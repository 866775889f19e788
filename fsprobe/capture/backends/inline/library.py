"""The recorder's .so: where it was built, and where it may be named in an environment that outlives the run.

LD_AUDIT is inherited by daemons, submitted jobs and containers. So the file it names must last, and nobody else may ever be
able to make one of that name: it lies below directories in which only the user or root can write. The installed file is taken
where that holds. Else, and where fsprobe is one archive, a copy goes into the user's cache, once for each of its contents.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import itertools
import os
import stat
import zlib

from fsprobe.capture import shipped
from fsprobe.capture.directories import hook_place, private
from fsprobe.capture.directories import scratch as scratch_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "fsprobe-inline.so"
DATA_FILE = "../" + NAME
"""At the top of the package: each directory above it is looked at before a run."""
NOT_BUILT = "it was not built for this installation (no compiler when fsprobe was installed, or not x86_64)"
SYSTEM = "/var/cache"
"""Of root alone: what root starts may go on as another user, and a loader that can't read the file says so on stderr."""
_LASTING = (SYSTEM, "XDG_CACHE_HOME", "HOME", "the home directory")
"""Of the hook's places those that are there after a logout and in another job."""


def find(environment: "Mapping[str, str]") -> "tuple[str, str]":
    """The path to name in LD_AUDIT and "", or "" and why there is none."""
    real, modes = "", []  # type: str, list[int]
    # what lies in /tmp anybody may have made on the next node: no look is needed
    if not shipped.archive() and not hook_place.why_not_common(os.path.abspath(shipped.path(DATA_FILE))):
        real = os.path.abspath(shipped.path(DATA_FILE))
        try:
            _look_at(real, modes)
        except private.Unsafe:
            real = ""
        except OSError as error:
            # there may be a link on the way
            del modes[:]
            real = os.path.realpath(real) if error.errno in (errno.ENOTDIR, errno.ELOOP) else ""
            real = "" if not real or why_not_at(real, modes) else real
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
    try:
        _look_at(path, modes)
    except private.Unsafe as error:
        return str(error)
    except OSError as error:
        return "%s: %s" % (path, error.strerror)
    return ""


def _look_at(path: "str", modes: "list[int]") -> "None":
    """See that a file can be named in an environment that others inherit; see `why_not_at`.

    Raises:
        private.Unsafe: it can't.
        OSError: it is not there, or there is a link on the way (ENOTDIR, ELOOP).
    """
    _check_name(path)
    place = private.open_private(os.path.dirname(path), modes=modes)
    try:
        opened = os.open(os.path.basename(path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    finally:
        os.close(place)
    try:
        found = os.fstat(opened)
        if stat.S_ISLNK(found.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        _check_file(path, found, os.statvfs(opened))
    finally:
        os.close(opened)
    modes.append(found.st_mode)


def _check_name(path: "str") -> "None":
    if set(path) & set(": \t\n"):
        raise private.Unsafe("its path has a character that LD_AUDIT can't hold")


def _check_file(path: "str", found: "os.stat_result", system: "os.statvfs_result") -> "None":
    """The file itself, and the filesystem that it lies on."""
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
        raise private.Unsafe("%s can be changed by others" % path)
    if system.f_flag & os.ST_NOEXEC:
        raise private.Unsafe("%s lies on a filesystem mounted noexec" % path)


def keep(data: "bytes", environment: "Mapping[str, str]") -> "tuple[str, str, list[int]]":
    """Put a copy into the user's cache, unless it is there: its path, "" and the modes on the way; or "", and why there is none.

    It stays. Taken away, or put below a directory that is emptied between jobs, each program that inherited the variable would
    complain on stderr.
    """
    name = "%sinline-%08x%05x" % (scratch_dir.PREFIX, zlib.crc32(data) & 0xFFFFFFFF, len(data) & 0xFFFFF)
    reasons = {}  # type: dict[str, str]
    first = [(SYSTEM, SYSTEM, "")] if hook_place.SYSTEM and os.geteuid() == 0 else []
    for label, path, why_not in itertools.chain(first, hook_place.candidates(environment)):
        if label not in _LASTING:
            continue
        kept = os.path.join(path, hook_place.FOLDER, name, NAME)
        modes = []  # type: list[int]
        try:
            if why_not:
                raise private.Unsafe(why_not)
            _write(kept, data, label == SYSTEM, modes)
        except OSError as error:
            reasons[label] = "%s: %s" % (label, error.strerror)
        except private.Unsafe as error:
            reasons[label] = "%s %s" % (label, error)
        else:
            return kept, "", modes
    return (
        "",
        "no lasting place for it that nobody else can write to: " + ("; ".join(reasons.values()) or "HOME is not set"),
        [],
    )


def _write(path: "str", data: "bytes", for_all: "bool", modes: "list[int]") -> "None":
    """Write it in one step, unless it is there: programs may have the old one mapped. Then see that it can be named.

    Raises:
        private.Unsafe: it can't; see `why_not_at`.
        OSError: it can't be written.
    """
    _check_name(path)
    place = private.open_private(os.path.dirname(path), 2, for_all, modes)
    try:
        found = private.holds(place, NAME, data)
        if found is None:
            private.put(place, NAME, data, 0o755 if for_all else 0o700)
            found = private.holds(place, NAME, data)
        if found is None:
            raise private.Unsafe("does not keep what is written there")
        _check_file(path, found, os.statvfs(place))
        modes.append(found.st_mode)
    finally:
        os.close(place)
