"""Reads the memory and the descriptors of a stopped thread, and spells what is found as strace does.

Whatever can't be read is printed as the bare pointer or number; nothing is raised for a bad address. Runs beside the
target on Python 3.6 and later: standard library, few imports.

Source: the spellings are those of strace 6.1 with `-y -s 256`, which the tests compare with.
"""

import os
import struct

from fsprobe.capture.backends.ptrace import abi

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fsprobe.capture.backends.ptrace.tracee import Tracee

STRING_LIMIT = 256
"""What `-s 256` cuts: readlink targets, argv, attribute values; never paths."""

_MAX_MEMORY_FILES = 256


# ---- the target's memory ------------------------------------------------------------------------------------------

_memory: "dict[int, int]" = {}
_pread: "Callable[[int, int, int], bytes]" = os.pread
_stat: "Callable[..., Any]" = os.stat
_readlink = os.readlink
_read_by_call: "list[Callable[[int, int, int], bytes]]" = []


def set_fallback_reader(read: "Callable[[int, int, int], bytes]") -> None:
    """Name what reads (pid, address, length) where /proc/PID/mem can't be opened."""
    _read_by_call[:] = [read]


def read_with(call: "Callable[..., Any]") -> None:
    """Have `call` do whatever may wait for a page or for a file server: it is given a function and its arguments."""
    global _pread, _stat
    _pread, _stat = _through(call, os.pread), _through(call, os.stat)
    _read_by_call[:] = [_through(call, one) for one in _read_by_call]


def _through(call: "Callable[..., Any]", function: "Callable[..., Any]") -> "Callable[..., Any]":
    return lambda *arguments: call(function, *arguments)


def forget_memory(tid: int) -> None:
    """Drop the open memory of a thread that ended or was replaced by execve."""
    fd = _memory.pop(tid, None)
    if fd is not None:
        os.close(fd)


def read_memory(tid: int, address: int, length: int) -> bytes:
    """Read up to `length` bytes of a stopped thread; shorter or empty where the memory ends.

    Addresses are those of the target; nothing is raised for a bad one.
    """
    fd = _memory.get(tid)
    if fd is None:
        if len(_memory) >= _MAX_MEMORY_FILES:
            for other in list(_memory):
                forget_memory(other)
        try:
            fd = _memory[tid] = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return _read_by_call[0](tid, address, length) if _read_by_call else b""
    try:
        return _pread(fd, length, address)
    except (OSError, OverflowError):
        return b""


def read_string(tid: int, address: int, limit: int) -> "tuple[bytes, bool] | None":
    """Read a C string of at most `limit` bytes: (bytes, the NUL was seen), or None where memory ends before either."""
    data = read_memory(tid, address, 4096 - (address & 4095))
    end = data.find(b"\0", 0, limit)
    while end < 0 and len(data) < limit:
        more = read_memory(tid, address + len(data), 4096)
        if not more:
            return None
        data += more
        end = data.find(b"\0", 0, limit)
    return (data[:limit], False) if end < 0 else (data[:end], True)


# ---- text ---------------------------------------------------------------------------------------------------------
_PRINTABLE = bytes(range(0x20, 0x7F))
_PLAIN_IN_STRING = _PRINTABLE.translate(None, b'"\\')
_PLAIN_IN_ANNOTATION = _PRINTABLE.translate(None, b'"\\<>')
_ESCAPES = dict(zip(map(ord, '"\\\f\n\r\t\v'), ("\\" + e for e in '"\\fnrtv')))  # noqa: B905 (3.6)


def _escape(data: bytes, also: bytes = b"") -> str:
    out = []
    for at, byte in enumerate(data):
        if byte in _ESCAPES:
            out.append(_ESCAPES[byte])
        elif 0x20 <= byte < 0x7F and byte not in also:
            out.append(chr(byte))
        else:
            # An octal escape is as short as the next character allows.
            digit_follows = at + 1 < len(data) and 0x30 <= data[at + 1] <= 0x37
            out.append(f"\\{byte:03o}" if digit_follows else f"\\{byte:o}")
    return "".join(out)


def quote(data: bytes) -> str:
    """Escape bytes as the inside of a quoted string: pure ASCII, `"` and `\\` by a backslash, the rest in octal."""
    return data.decode("ascii") if not data.translate(None, _PLAIN_IN_STRING) else _escape(data)


def annotate(path: bytes) -> str:
    """Escape bytes as the inside of a `<...>` annotation: as `quote`, and `<` and `>` in octal."""
    return path.decode("ascii") if not path.translate(None, _PLAIN_IN_ANNOTATION) else _escape(path, b"<>")


def pointer(address: int) -> str:
    return hex(address) if address else "NULL"


# ---- descriptors and the working directory -----------------------------------------------------------------------

cwd_age = [0]
"""Grows when a call of the target may have changed what some working directory is called.

A directory that somebody outside the target renames meanwhile keeps its former name in the log.
"""


def descriptor(tid: int, fd: int) -> str:
    """Print a descriptor with the path behind it: `3</usr/lib>`, `8</p/f>(deleted)`, or the bare number."""
    link = f"/proc/{tid}/fd/{fd}"
    try:
        path = _readlink(link.encode())
    except OSError:
        return str(fd)
    if path.endswith(b" (deleted)"):
        # The kernel appends that; a file may also be called so.
        try:
            behind = _stat(link)
        except OSError:
            return f"{fd}<{annotate(path)}>"
        try:
            named = _stat(path)
            deleted = (named.st_ino, named.st_dev) != (behind.st_ino, behind.st_dev)
        except OSError:
            deleted = True
        if deleted:
            return f"{fd}<{annotate(path[:-10])}>(deleted)"
    return f"{fd}<{annotate(path)}>"


def directory(t: "Tracee", value: int) -> str:
    fd = value & 0xFFFFFFFF
    if fd >= 0x80000000:
        fd -= 0x100000000
    if fd != abi.AT_FDCWD:
        return descriptor(t.tid, fd) if fd >= 0 else str(fd)
    if t.cwd_age != cwd_age[0]:
        try:
            t.cwd = f"AT_FDCWD<{annotate(_readlink(b'/proc/%d/cwd' % t.tid))}>"
        except OSError:
            return "AT_FDCWD"
        t.cwd_age = cwd_age[0]
    return t.cwd


def path_text(tid: int, address: int) -> str:
    data = read_memory(tid, address, 4096 - (address & 4095))
    end = data.find(b"\0")
    if end >= 0:
        data = data[:end]
        return f'"{data.decode("ascii")}"' if not data.translate(None, _PLAIN_IN_STRING) else f'"{_escape(data)}"'
    if not address:
        return "NULL"
    found = read_string(tid, address, abi.PATH_MAX)
    if found is None:
        return hex(address)
    data, whole = found
    return f'"{quote(data)}"' if whole else f'"{quote(data[:-1])}"...'


def string_text(tid: int, address: int) -> str:
    if not address:
        return "NULL"
    found = read_string(tid, address, STRING_LIMIT + 1)
    if found is None:
        return hex(address)
    data, whole = found
    return f'"{quote(data)}"' if whole else f'"{quote(data[:STRING_LIMIT])}"...'


def buffer_text(tid: int, address: int, length: int, omit_trailing_nul: bool = False) -> str:
    """Print `length` bytes, cut at the string limit."""
    if not address:
        return "NULL"
    if length < 0:
        return hex(address)
    data = read_memory(tid, address, min(length, STRING_LIMIT + 1))
    if len(data) < min(length, STRING_LIMIT):
        return hex(address)
    cut = "..." if length > STRING_LIMIT else ""
    data = data[:STRING_LIMIT]
    if omit_trailing_nul and not cut and data.endswith(b"\0"):
        data = data[:-1]
    return f'"{quote(data)}"{cut}'


# ---- signals ------------------------------------------------------------------------------------------------------


def signal_info(data: bytes) -> str:
    """Spell a siginfo_t of 128 bytes: `{si_signo=SIGCHLD, si_code=CLD_EXITED, ...}`."""
    signo, error, code = struct.unpack_from("3i", data)
    pid, uid = struct.unpack_from("iI", data, 16)
    (where,) = struct.unpack_from("Q", data, 16)
    (sent,), (sent_pointer,) = struct.unpack_from("i", data, 24), struct.unpack_from("Q", data, 24)
    text = f"{{si_signo={abi.signal_name(signo)}, si_code={abi.si_code_name(signo, code)}"
    if error:
        text += f", si_errno={error}"
    source = f", si_pid={pid}, si_uid={uid}"
    carried = f", si_int={sent}, si_ptr={pointer(sent_pointer)}"
    if code <= 0:  # sent by a process
        if code == -2:
            timer, overrun = struct.unpack_from("2i", data, 16)
            text += f", si_timerid={timer & 0xFFFFFFFF:#x}, si_overrun={overrun}{carried}"
        else:
            text += source + (carried if code not in (0, -6) and sent_pointer else "")
    elif signo == 17:
        status, utime, stime = struct.unpack_from("i4x2q", data, 24)
        text += f"{source}, si_status={status if code == 1 else abi.signal_name(status)}"
        text += f", si_utime={_ticks(utime)}, si_stime={_ticks(stime)}"
    elif signo in (4, 5, 7, 8, 11):
        text += f", si_addr={pointer(where)}"
    elif signo == 29:
        band, descriptor_number = struct.unpack_from("qi", data, 16)
        text += f", si_band={band}, si_fd={descriptor_number}"
    elif signo == 31:
        number, arch = struct.unpack_from("iI", data, 24)
        text += f", si_call_addr={pointer(where)}, si_syscall={number}, si_arch={arch:#x}"
    else:
        text += (source if pid or uid else "") + (carried if sent_pointer else "")
    return text + "}"


def _ticks(n_ticks: int) -> str:
    """strace shows clock ticks with the seconds in a comment."""
    return f"{n_ticks} /* {n_ticks / 100:.2f} s */" if n_ticks else "0"
