"""Directories that nobody else can write to, now and later, and what is put into them.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import os
import stat

from fsprobe import files

_OPEN = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", 0)


class Unsafe(Exception):
    """A directory that won't do; says why."""


def open_private(path: "str", make: "int" = 0, for_all: "bool" = False, modes: "list[int] | None" = None) -> "int":
    """Open a directory by an absolute path of which every part is the user's or root's and nobody else can write to.

    Args:
        path: without links and dots.
        make: so many of the last names are made where they are missing, mode 0700, and must then be the user's alone.
        for_all: they are made 0755 instead, and others may read them.
        modes: the mode of each directory on the way is added.

    Returns:
        A descriptor, good for calls relative to it.

    Raises:
        Unsafe: somebody else could put something of their own there.
        OSError: it can't be opened or made.
    """
    names = [name for name in path.split("/") if name]
    place = _root()
    try:
        for i, name in enumerate(names):
            is_ours = i >= len(names) - make
            try:
                below = os.open(name, _OPEN, dir_fd=place)
            except FileNotFoundError:
                # ~/.cache too may not be there yet: in a directory of the user's own
                if not is_ours and (os.fstat(place).st_uid != os.geteuid() or i < len(names) - make - 1):
                    raise
                try:
                    os.mkdir(name, 0o700, dir_fd=place)
                except FileExistsError:
                    pass  # a concurrent run has made it
                else:
                    if for_all:  # whatever the umask took away
                        _give_mode(name, place)
                below = os.open(name, _OPEN, dir_fd=place)
            _close(place)
            place = below
            mode = _check(place, "/" + "/".join(names[: i + 1]), (0o022 if for_all else 0o077) if is_ours else 0)
            if modes is not None:
                modes.append(mode)
        return os.dup(place) if place in _roots else place
    except BaseException:
        _close(place)
        raise


_roots = []  # type: list[int]  # the root directory, once it was opened and looked at


def _root() -> "int":
    if not _roots:
        fd = os.open("/", _OPEN)
        try:
            _check(fd, "/")
        except BaseException:
            os.close(fd)
            raise
        _roots.append(fd)
    return _roots[0]


def _close(place: "int") -> "None":
    if place not in _roots:
        os.close(place)


def _give_mode(name: "str", place: "int") -> "None":
    made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    try:
        os.fchmod(made, 0o755)
    finally:
        os.close(made)


def _check(place: "int", path: "str", forbidden: "int" = 0) -> "int":
    """Give the mode of a directory that will do.

    `forbidden`: what nobody else may have of a directory that must be the user's own; 0 for one that need not.
    """
    found = os.fstat(place)
    mode = found.st_mode
    if forbidden and (found.st_uid != os.geteuid() or mode & forbidden):
        raise Unsafe("will not do: %s is not this user's alone" % path)
    if found.st_uid not in (0, os.geteuid()) and not (found.st_uid == _unmapped() >= 0):
        raise Unsafe("will not do: %s belongs to another user" % path)
    if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and found.st_gid and not _is_private_group(found.st_gid)):
        raise Unsafe("will not do: others can write to %s" % path)
    if mode & stat.S_IWGRP and _has_list(place):
        raise Unsafe("will not do: others may be allowed to write to %s (its access list)" % path)
    return mode


def _has_list(place: "int") -> "bool":
    """Whether a directory has a list of users and groups: the group's bits are then what the most of these may do."""
    try:
        return bool(os.getxattr("/proc/self/fd/%d" % place, "system.posix_acl_access"))
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.EOPNOTSUPP)


def _unmapped() -> "int":
    """The user id that stands for root (and everybody else) in a user namespace such as a container's; -1 outside of one."""
    try:
        with open("/proc/self/uid_map", "rb", buffering=0) as source:
            if source.read(4096).split() == [b"0", b"0", b"4294967295"]:
                return -1
        with open("/proc/sys/kernel/overflowuid", "rb", buffering=0) as source:
            return int(source.read(64))
    except (OSError, ValueError):
        return -1


def _is_private_group(gid: "int") -> "bool":
    """Whether a group is the user's own, of the same name and without other members, as many systems give to each user."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == user and not set(group.gr_mem) - {user}


def put(place: "int", name: "str", data: "bytes", mode: "int") -> "None":
    """Write a file of a directory in one step, so that who reads or maps the old one keeps it whole."""
    part = "%s.%s.part" % (name, os.urandom(6).hex())
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=place)
    try:
        with open(fd, "wb") as target:
            os.fchmod(fd, mode)  # whatever the umask took away
            target.write(data)
        os.rename(part, name, src_dir_fd=place, dst_dir_fd=place)
    except BaseException:
        os.unlink(part, dir_fd=place)
        raise


def holds(place: "int", name: "str", data: "bytes") -> "os.stat_result | None":
    """The status of a directory's regular file of this name if it has this content; else None."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        return found if stat.S_ISREG(found.st_mode) and files.take(fd, len(data) + 1) == data else None
    finally:
        os.close(fd)
