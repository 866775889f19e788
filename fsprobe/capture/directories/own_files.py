"""Directories that fsprobe made and may have to read or take away later: only where they are the caller's own.

Their names can be made by anybody once they are gone, in /dev/shm or /tmp. So the owner of what was opened is looked at, no
link is followed, only regular files are read, and what is removed is reached from its open directory, never by a path.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import os
import stat

from fsprobe import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

_PUNCH_HOLE_KEEP_SIZE = 3  # linux/falloc.h: FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
MAX_DEPTH = 200
"""Directories within directories that are removed; each is held open meanwhile."""


def foreign(uid: "int") -> "OSError":
    """The error of what belongs to somebody else."""
    return OSError(errno.EPERM, "it belongs to user id %d, you are %d" % (uid, os.geteuid()))


def open_directory(path: "str", dir_fd: "int | None" = None) -> "int":
    """Open a directory that is the caller's own and that nobody else can write to; gives a descriptor.

    Raises:
        OSError: it is another user's or open to others, a link, no directory, or can't be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            raise foreign(status.st_uid)
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OSError(errno.EPERM, "others may write in it")
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_file(path: "str", flags: "int" = os.O_RDONLY, dir_fd: "int | None" = None) -> "int":
    """Open a regular file of the caller's own; gives a descriptor.

    Raises:
        OSError: it is another user's, a link, no regular file, or can't be opened.
    """
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise files.no_file(status.st_mode)
        if status.st_uid != os.geteuid():
            raise foreign(status.st_uid)
    except BaseException:
        os.close(fd)
        raise
    return fd


def reader(path: "str", dir_fd: "int | None" = None, buffering: "int" = -1) -> "BinaryIO":
    """A file to read, opened by `open_file`.

    Raises:
        OSError: as `open_file`.
    """
    return os.fdopen(open_file(path, dir_fd=dir_fd), "rb", buffering)


def contents(path: "str", max_bytes: "int", dir_fd: "int | None" = None) -> "bytes":
    """What such a file holds, at most `max_bytes` of it.

    Raises:
        OSError: as `open_file`.
    """
    fd = open_file(path, dir_fd=dir_fd)
    try:
        return files.take(fd, max_bytes)
    finally:
        os.close(fd)


def punch(fd: "int", start: "int", end: "int") -> "int":
    """Free the bytes from `start` to `end`; 0, or the errno."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "fallocate64", None) or libc.fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return ctypes.get_errno() if call(fd, _PUNCH_HOLE_KEEP_SIZE, start, end - start) else 0


def is_own_file(path: "str") -> "bool":
    """Whether this is a regular file of the caller's own, in a directory of his own."""
    try:
        directory = open_directory(os.path.dirname(path))
        try:
            os.close(open_file(os.path.basename(path), dir_fd=directory))
        finally:
            os.close(directory)
    except OSError:
        return False
    return True


def remove(path: "str | bytes", known: "Sequence[tuple[str, str]]" = ()) -> "bool":
    """Remove a directory of the caller's own with all that is in it, also directories that he made read-only.

    Another user's is left alone, whether it is this one or one in it, and so is what links lead to, or what is mounted.

    Args:
        path: the directory.
        known: files that are known to be in it, each with the directory below this one that it lies in, or "". Where they are
            all that there is, nothing is listed.

    Returns:
        Whether nothing is left of it.
    """
    try:
        fd, made = _open_to_empty(path, None)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        try:
            if known:
                _take_away(known, fd, made.st_dev)
                if _rmdir(path, made):
                    return True
            _empty(fd, made.st_dev, 0)
        finally:
            os.close(fd)
    except OSError:
        pass
    return _rmdir(path, made) or not os.path.lexists(path)


def _rmdir(path: "str | bytes", made: "os.stat_result") -> "bool":
    """Take an empty directory away, if it is still the one that was opened."""
    try:
        now = os.lstat(path)
        if (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino):
            os.rmdir(path)
            return True
    except OSError:
        pass
    return False


def _take_away(known: "Sequence[tuple[str, str]]", fd: "int", device: "int") -> "None":
    """Remove files that are known to be there, and the directories that they lie in; what fails is left for `_empty`."""
    for directory in sorted({directory for directory, _ in known}):
        names = [name for where, name in known if where == directory]
        try:
            inner, status = (fd, None) if not directory else _open_to_empty(directory, fd)
        except OSError:
            continue
        try:
            if status is None or status.st_dev == device:
                for name in names:
                    os.unlink(name, dir_fd=inner)
                if directory:
                    os.rmdir(directory, dir_fd=fd)
        except OSError:
            pass
        finally:
            if inner != fd:
                os.close(inner)


def _open_to_empty(path: "str | bytes", dir_fd: "int | None") -> "tuple[int, os.stat_result]":
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    is_readable = True
    try:
        held = os.open(path, os.O_RDONLY | flags, dir_fd=dir_fd)
    except PermissionError:
        is_readable = False
        held = os.open(path, os.O_PATH | flags, dir_fd=dir_fd)
    opened = -1
    try:
        status = os.fstat(held)
        if status.st_uid != os.geteuid():
            raise foreign(status.st_uid)
        if status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod("/proc/self/fd/%d" % held, stat.S_IRWXU)  # of what was opened, whatever its name means by now
        opened = held if is_readable else os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=held)
        return opened, status
    finally:
        if opened != held:
            os.close(held)


def _empty(fd: "int", device: "int", depth: "int") -> "None":
    for name in os.listdir(fd):
        try:
            os.unlink(name, dir_fd=fd)
            continue
        except (IsADirectoryError, PermissionError):
            pass
        except OSError:
            continue
        try:
            inner, status = _open_to_empty(name, fd)
            try:
                if status.st_dev == device and depth < MAX_DEPTH:
                    _empty(inner, device, depth + 1)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=fd)
        except OSError:
            continue
