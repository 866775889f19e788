"""Files that the user named: opened without waiting for anybody, replaced without following another user's link.

An output may go to a directory in which others write too. There a link of theirs leads wherever they like, so it is not
followed, as the kernel does it with `fs.protected_symlinks` (which is not on everywhere, and never sees a name that was
resolved before). An input may be a pipe that nobody writes to, on which open(2) would wait for ever.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.

Source: proc_sys_fs(5), protected_symlinks; may_follow_link() in the kernel's fs/namei.c.
"""

import errno
import os
import re
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

BLOCK_BYTES = 1 << 20
MAX_LINKS = 40
"""As the kernel's MAXSYMLINKS."""
MAX_NAME_BYTES = 255
"""Of a name in a directory (NAME_MAX)."""
_ROOM_FOR_ENDINGS = len(".4194304.part") + len(".0123456789ab")
"""Of the name of a file that is not whole yet: the process, and what makes it unlike one that was left."""
UNKNOWN_OWNER = 65534
"""Whom a user namespace shows for everybody whom it does not know: two of them need not be the same one."""
_STREAM = re.compile(r"/dev/(?:null|tty|stdin|stdout|stderr)|(?:/dev|/proc/self)/fd/[0-9]+")
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a link",
}
_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def is_stream(path: "str") -> "bool":
    """Whether a name means a descriptor of this process, its terminal or /dev/null: what users name on purpose."""
    return _STREAM.fullmatch(path) is not None


def no_file(mode: "int") -> "OSError":
    """The error of a thing that is there and is no regular file."""
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    return OSError(number, "it is %s and no file" % _KINDS.get(stat.S_IFMT(mode), "something else"))


# ---- inputs -------------------------------------------------------------------------------------------------------


def _without_nul(path: "str | bytes") -> "None":
    """Refuse a name that the kernel can't be given, as it would be refused there: foreign text may hold one.

    Raises:
        OSError: there is a NUL byte in it.
    """
    if b"\0" in os.fsencode(path):
        raise OSError(errno.EINVAL, "there is a NUL byte in its name")


def open_to_read(path: "str | bytes", streams: "bool" = False, buffering: "int" = -1) -> "BinaryIO":
    """Open a regular file; links are followed.

    Args:
        path: the file.
        streams: take /dev/null, and pipes and terminals that are descriptors of this process (`/dev/stdin`, `<(...)`), too.
        buffering: as of `open`.

    Raises:
        OSError: it can't be opened, or is no regular file: nothing is waited for.
    """
    _without_nul(path)
    streams = streams and is_stream(os.fsdecode(path))
    mode = os.stat(path).st_mode  # to open a device may do something already
    if not stat.S_ISREG(mode) and not (streams and not stat.S_ISDIR(mode)):
        raise no_file(mode)
    return open_regular(path, streams, buffering)


def open_regular(path: "str | bytes", streams: "bool" = False, buffering: "int" = -1) -> "BinaryIO":
    """As `open_to_read`, with a metadata call less: for names that are hardly ever a device."""
    fd = descriptor_of(path, streams)
    try:
        return os.fdopen(fd, "rb", buffering)
    except BaseException:
        os.close(fd)
        raise


def descriptor_of(path: "str | bytes", streams: "bool" = False) -> "int":
    """As `open_regular`; gives a descriptor."""
    _without_nul(path)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            if not streams or stat.S_ISDIR(mode):
                raise no_file(mode)
            os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def take(fd: "int", max_bytes: "int") -> "bytes":
    """What a descriptor gives from where it stands, at most `max_bytes`: without the two fstat of a file object.

    Raises:
        OSError: it can't be read.
    """
    blocks = []
    while max_bytes > 0:
        block = os.read(fd, min(max_bytes, BLOCK_BYTES))
        if not block:
            break
        blocks.append(block)
        max_bytes -= len(block)
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def told(path: "str", max_bytes: "int" = BLOCK_BYTES) -> "bytes":
    """What the kernel tells in a file of /proc or /sys.

    Raises:
        OSError: it can't be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return take(fd, max_bytes)
    finally:
        os.close(fd)


def read(path: "str | bytes", max_bytes: "int", streams: "bool" = False) -> "bytes":
    """The content of a file of at most `max_bytes`; else as `open_to_read`.

    Raises:
        OSError: also when it is larger.
    """
    with open_to_read(path, streams) as source:
        data = source.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, "it is larger than %d MiB" % (max_bytes >> 20))
    return data


# ---- outputs ------------------------------------------------------------------------------------------------------


class Place:
    """A directory, held open, and a name in it: where a path ends when no link of another user is followed.

    A context manager; `directory` is a descriptor, `name` is no link, `status` is its lstat, None where there is nothing.

    Raises:
        OSError: the path leads nowhere, or through a link that another user put into a shared directory.
    """

    def __init__(self, path: "str", follow_last: "bool" = True) -> "None":
        self.status = None  # type: os.stat_result | None
        self.name = ""
        _without_nul(path)
        self.directory = _plain_directory(os.path.dirname(path))
        if self.directory >= 0:
            path = os.path.basename(path)
        else:
            self.directory = os.open("/" if path.startswith("/") else ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not path or path.endswith("/"):
                raise no_file(stat.S_IFDIR) if path else FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._walk(path, follow_last)
        except BaseException:
            os.close(self.directory)
            raise

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: "object") -> "None":
        os.close(self.directory)

    def _walk(self, path: "str", follow_last: "bool") -> "None":
        left = _components(path)
        n_links = 0
        while left:
            name = left.pop()
            if left and self._enter(name):
                continue
            if not left and name != "..":
                self.name, self.status = name, self._look(name)
                if self.status is None or not (follow_last and stat.S_ISLNK(self.status.st_mode)):
                    return
            elif not left:
                break
            n_links += 1
            if n_links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = self._target(name, not left)
            if target.startswith("/"):
                self._become(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            left.extend(_components(target))
        raise no_file(stat.S_IFDIR)

    def _enter(self, name: "str") -> "bool":
        """Go into a directory; False where the name is a link."""
        try:
            self._become(os.open(name, _PATH_ONLY | os.O_DIRECTORY, dir_fd=self.directory))
            return True
        except OSError as error:
            status = self._look(name)
            if status is None or not stat.S_ISLNK(status.st_mode):
                raise error
            return False

    def _become(self, directory: "int") -> "None":
        os.close(self.directory)
        self.directory = directory

    def _look(self, name: "str") -> "os.stat_result | None":
        try:
            return os.stat(name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _target(self, name: "str", is_last: "bool") -> "str":
        # held open: what was looked at is what is read
        link = os.open(name, _PATH_ONLY, dir_fd=self.directory)
        try:
            status = os.fstat(link)
            if not may_follow(status, os.fstat(self.directory), is_last):
                raise OSError(
                    errno.EACCES, "%s is a link of another user (id %d), not followed" % (name, status.st_uid)
                )
            return os.readlink("", dir_fd=link)
        finally:
            os.close(link)


def _plain_directory(path: "str") -> "int":
    """A descriptor of a directory whose absolute name leads through no link, in two steps however deep it is; else -1.

    The kernel names the real path of what was opened, and a link on the way is not in it.
    """
    if path.count("/") < 2 or path[0] != "/":
        return -1
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        if os.readlink("/proc/self/fd/%d" % fd) == path:
            return fd
    except OSError:
        pass  # no /proc
    os.close(fd)
    return -1


def may_follow(link: "os.stat_result", directory: "os.stat_result", is_last: "bool") -> "bool":
    """Whether a link in this directory may be followed on the way to an output.

    The caller's own may, and the directory's owner's, who could do worse. Another user's may not where anybody can put
    one; as the last component not where a group can either.
    """
    if link.st_uid == os.geteuid():
        return True
    if not directory.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if is_last else 0)):
        return True
    return link.st_uid == directory.st_uid and link.st_uid != UNKNOWN_OWNER


def _components(path: "str") -> "list[str]":
    return [name for name in path.split("/") if name not in ("", ".")][::-1]


class Replacing:
    """A new file that takes the place of `path` when the block ends without an exception: whole, or not at all.

    Into a temporary name beside it, synced, then renamed over it. What is there and is no regular file is never replaced.

    Args:
        path: where the file shall be.
        mode: its permissions, before the umask; None: those of the file of the caller's that it replaces, else 0666.

    Raises:
        OSError: from `Place`; no regular file is there; the directory or the disk does not take it.
    """

    def __init__(self, path: "str", mode: "int | None" = None) -> "None":
        self._path = path
        self._mode = mode
        self._part = ""

    def __enter__(self) -> "BinaryIO":
        self._place = place = Place(self._path)
        try:
            if place.status is not None and not stat.S_ISREG(place.status.st_mode):
                raise no_file(place.status.st_mode)  # a rename would put a file in the place of /dev/null
            self._part = part_name(place.name, os.getpid())
            fd = self._create()
            try:
                if self._mode is None and place.status is not None and place.status.st_uid == os.geteuid():
                    os.fchmod(fd, stat.S_IMODE(place.status.st_mode) & 0o777)
                self.file = os.fdopen(fd, "w+b")
            except BaseException:
                _forget(self._part, place.directory)
                raise
        except BaseException as error:
            if not isinstance(error, OSError) and self._part:  # interrupted: it may have been made just then
                _forget(self._part, place.directory)
            os.close(place.directory)
            raise
        return self.file

    def _create(self) -> "int":
        mode = 0o666 if self._mode is None else self._mode
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._part, flags, mode, dir_fd=self._place.directory)
        except FileExistsError:  # left by another process of that number, or put there by somebody
            self._part = "%s.%s" % (self._part[: -len(".part")], os.urandom(6).hex() + ".part")
            return os.open(self._part, flags, mode, dir_fd=self._place.directory)

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> "None":
        directory = self._place.directory
        done = False
        try:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
                os.rename(self._part, self._place.name, src_dir_fd=directory, dst_dir_fd=directory)
                done = True
        finally:
            try:
                self.file.close()
            except OSError:
                if done:
                    raise
            finally:
                if not done:
                    _forget(self._part, directory)
                os.close(directory)


def check(path: "str") -> "None":
    """Refuse what `Replacing` would, before the work is done.

    Raises:
        OSError: from `Place`, or no regular file is there.
    """
    with Place(path) as place:
        if place.status is not None and not stat.S_ISREG(place.status.st_mode):
            raise no_file(place.status.st_mode)


def make_directories(path: "str") -> "None":
    """Make a directory for outputs and those above it, where they are not there; through no link that `Place` refuses.

    Raises:
        OSError: it can't be made.
    """
    above = path.rstrip("/")
    while above:
        try:
            with Place(above):
                break
        except FileNotFoundError:
            above = os.path.dirname(above).rstrip("/")
    os.makedirs(path, exist_ok=True)


def write(path: "str", data: "bytes") -> "None":
    """Write an output: a file is replaced as by `Replacing`, a stream (see `is_stream`) written to.

    Raises:
        OSError: it can't be.
    """
    if is_stream(path):
        with open(path, "wb") as stream:
            stream.write(data)
        return
    with Replacing(path) as out:
        out.write(data)


def part_name(path: "str", pid: "int") -> "str":
    """Where process `pid` keeps a file meanwhile that it writes as `path`: beside it, its name cut where nothing more fits."""
    directory, slash, name = path.rpartition("/")
    return "%s%s%s.%d.part" % (directory, slash, cut_name(name, _ROOM_FOR_ENDINGS), pid)


def cut_name(name: "str", n_more: "int") -> "str":
    """The name, or as much of it as leaves room for `n_more` bytes."""
    data = os.fsencode(name)
    most = MAX_NAME_BYTES - n_more
    # no half letter: some filesystems refuse it
    return name if len(data) <= most else data[:most].decode("utf-8", "ignore")


def _forget(name: "str", directory: "int") -> "None":
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        pass
