"""Does the recorder work here? A program that does nothing is started under it before each run, and its ring is looked at.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import os
import signal
import struct
import sys
import time

from fsprobe.capture.backends.inline import ringfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "/bin/true"
TIMEOUT_S = 10.0
"""A start takes a millisecond. A judgement, for machines under load and cold filesystems."""
LIBC_NEEDS = {59: "execve", 217: "getdents64", 231: "exit_group"}
"""Every libc has these system calls of its own; without one of them this one is not understood."""
OPENS, STATS = {257, 2}, {262, 4}
_ANY = 0xFFFF
_SLOT = struct.Struct("<BBBBIQQq4QQHHIHHHHI")
_START, _TEXT, _OBJECT = 2, 3, 4
_HAS_LONG = 8


def why_not(library: "str", ring: "str", environ: "Mapping[str, str]") -> "str":
    """Say why the recorder can't be used on this machine ("" when it can).

    The ring may be the run's own: it is empty again afterwards, but holds the sites that were found, which the first program of
    the run then need not look for.

    Args:
        library: the recorder's .so, by its absolute path.
        ring: a ring that nobody has mapped.
        environ: the environment of the command; a preloaded library stays out of this.
    """
    why = why_not_machine() or why_not_place(library)
    if why:
        return why
    fd = os.open(ring, os.O_RDWR | os.O_CLOEXEC)
    try:
        return try_out(library, ring, fd, environ)
    finally:
        os.close(fd)


def try_out(library: "str", ring: "str", fd: "int", environ: "Mapping[str, str]") -> "str":
    """As `why_not`, with a .so that may be used from where it lies, and a ring that is open to read and write."""
    clean = {name: value for name, value in environ.items() if name not in ("LD_PRELOAD", "LD_AUDIT")}
    status, complaint = run([PROGRAM], ringfile.environment(clean, library, ring))
    if complaint:
        return "the loader refuses it: %s" % complaint
    if status != 0:
        return "%s did not end well under it (%s)" % (PROGRAM, _ended(status))
    try:
        return _judge(fd)
    finally:
        _empty(fd)


def why_not_machine() -> "str":
    """Say why it can't be used on such a machine at all."""
    if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
        return "it is written for x86_64 Linux"
    return ""


def why_not_place(library: "str") -> "str":
    """Say why the .so can't be used from where it lies."""
    try:
        found = os.stat(library)
    except OSError:
        return "it was not built for this installation (no compiler when the wheel was made)"
    if found.st_mode & 0o022:
        return "%s can be changed by others" % library
    if os.statvfs(library).f_flag & os.ST_NOEXEC:
        return "%s lies on a filesystem mounted noexec" % library
    if ":" in library or " " in library:
        return "%s has a character that LD_AUDIT can't hold" % library
    return ""


def run(words: "list[str]", environ: "dict[str, str]") -> "tuple[int, str]":
    """Run a program with nothing to read; gives its wait status and what it wrote to stderr, cut."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_RDWR)
            for fd, source in ((0, null), (1, null), (2, write_end)):
                os.dup2(source, fd)
                os.set_inheritable(fd, True)
            os.execve(words[0], words, environ)
        finally:
            os._exit(126)
    os.close(write_end)
    os.set_blocking(read_end, False)
    said, end, status = b"", time.monotonic() + TIMEOUT_S, None
    while status is None:
        said += _read(read_end)
        done, how = os.waitpid(pid, os.WNOHANG)
        if done:
            status = how
        elif time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
        else:
            time.sleep(0.0005)
    said += _read(read_end)
    os.close(read_end)
    return status, " ".join(said[:400].decode("utf-8", "backslashreplace").split())


def _read(fd: "int") -> "bytes":
    try:
        return os.read(fd, 1 << 16)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EINTR):
            return b""
        raise


def _ended(status: "int") -> "str":
    return "signal %d" % os.WTERMSIG(status) if os.WIFSIGNALED(status) else "exit status %d" % os.WEXITSTATUS(status)


def _judge(ring: "int") -> "str":
    n = min(struct.unpack("<Q", os.pread(ring, 8, ringfile.NEXT_AT))[0], 10000)
    data = os.pread(ring, n * ringfile.SLOT_BYTES, ringfile.HEADER_BYTES)
    started = False
    objects = {}  # type: dict[bool, set[int]]
    at = 0
    while at + ringfile.SLOT_BYTES <= len(data):
        fields = _SLOT.unpack_from(data, at)
        kind, has, left, is_loader, n_text, text_at = (
            fields[2],
            fields[3],
            fields[9],
            bool(fields[10]),
            fields[17],
            fields[20],
        )
        if kind == _OBJECT:
            where = text_at * ringfile.SLOT_BYTES + 16 if has & _HAS_LONG else at + 136
            if left:
                return "%d system calls of the %s are made in a way it does not know" % (
                    left,
                    "loader" if is_loader else "C library",
                )
            numbers = data[where : where + n_text]
            objects[is_loader] = set(struct.unpack("<%dH" % (len(numbers) // 2), numbers[: len(numbers) // 2 * 2]))
        started = started or kind == _START
        at += ringfile.SLOT_BYTES * (max(1, has) if kind == _TEXT else 1)
    if not started:
        return "a program that is started under it is not entered (LD_AUDIT ignored, another C library, or no executable memory)"
    if True not in objects or False not in objects:
        return "the %s is not one that it knows" % ("loader" if True not in objects else "C library")
    libc = objects[False]
    lacks = [name for number, name in sorted(LIBC_NEEDS.items()) if number not in libc]
    if not OPENS & (libc | ({257} if _ANY in libc else set())):
        lacks.append("open")
    if not STATS & libc:
        lacks.append("stat")
    if not OPENS & objects[True]:
        lacks.append("the loader's open")
    return "it does not find %s in this C library" % ", ".join(lacks) if lacks else ""


def _empty(ring: "int") -> "None":
    n, cap = (struct.unpack("<Q", os.pread(ring, 8, at))[0] for at in (ringfile.NEXT_AT, ringfile.CAP_AT))
    os.pwrite(ring, bytes(min(n, cap) * ringfile.SLOT_BYTES), ringfile.HEADER_BYTES)
    os.pwrite(ring, bytes(8), ringfile.NEXT_AT)
    os.pwrite(ring, bytes(8), ringfile.FILTERS_AT)
