"""Turns the registers and memory of a stopped call into the text that strace writes between the parentheses.

`SYSCALLS` holds one `Syscall` per traced call: what can be printed at entry, what only at exit, and how the result
reads. Whatever can't be read from the target's memory is printed as the bare pointer. Runs beside the target on
Python 3.6 and later: standard library, few imports.

Source: the argument layouts and spellings are those of strace 6.1 with `-y -s 256`, which the tests compare with.
"""

import os
import re
import struct

from fsprobe.capture import ptrace_abi as abi

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Args = Sequence[int]
    Show = Callable[["Tracee", Args], str]
    ShowAt = Callable[["Tracee", Args], str]

STRING_LIMIT = 256
"""What `-s 256` cuts: readlink targets, argv, attribute values; never paths."""

_MAX_MEMORY_FILES = 256
_INT_MAX = 0x7FFFFFFF
_M32 = 0xFFFFFFFF


class Tracee:
    """A thread of the target: its place in the log and what is cached of it."""

    __slots__ = ("tid", "call", "args", "text", "entered_ns", "reprint", "cwd", "cwd_age", "kept")

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.call: "Syscall | None" = None
        """The call it is inside of."""
        self.args: "Args" = ()
        self.text = ""
        """The written or pending half line of that call."""
        self.entered_ns = 0
        self.reprint = False
        """Its half line is lost to an execve that changed its tid."""
        self.cwd = ""
        self.cwd_age = -1
        self.kept = 0
        """A value that a decoder keeps from entry to exit."""


class Syscall:
    """How one system call is printed."""

    __slots__ = ("name", "number", "enter", "leave", "returns_fd", "moves", "hidden")

    def __init__(
        self, name: str, number: int, enter: "Show", leave: "Show | None", returns_fd: bool, moves: bool, hidden: bool
    ) -> None:
        self.name = name
        self.number = number
        self.enter = enter
        self.leave = leave
        self.returns_fd = returns_fd
        self.moves = moves
        """Its success can change what a working directory is called."""
        self.hidden = hidden
        """Stopped at for its effect on us only, not printed."""


# ---- the target's memory ------------------------------------------------------------------------------------------

_memory: "dict[int, int]" = {}
_pread = os.pread
_readlink = os.readlink
_read_by_call: "list[Callable[[int, int, int], bytes]]" = []


def set_fallback_reader(read: "Callable[[int, int, int], bytes]") -> None:
    """Name what reads (pid, address, length) where /proc/PID/mem can't be opened."""
    _read_by_call[:] = [read]


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


def _read_string(tid: int, address: int, limit: int) -> "tuple[bytes, bool] | None":
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

_odd_in_string = re.compile(rb'[^ !#-\[\]-~]').search
_odd_in_annotation = re.compile(rb'[^ !#-;=?-\[\]-~]').search
_ESCAPES = {ord(c): "\\" + e for c, e in zip('"\\\f\n\r\t\v', '"\\fnrtv')}


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
    return data.decode("ascii") if _odd_in_string(data) is None else _escape(data)


def annotate(path: bytes) -> str:
    """Escape bytes as the inside of a `<...>` annotation: as `quote`, and `<` and `>` in octal."""
    return path.decode("ascii") if _odd_in_annotation(path) is None else _escape(path, b"<>")


def pointer(address: int) -> str:
    return hex(address) if address else "NULL"


def _signed32(value: int) -> int:
    value &= _M32
    return value - 0x100000000 if value > _INT_MAX else value


def flag_names(value: int, names: "abi.Flags", otherwise: "str | None") -> str:
    """Spell a set of flags: names joined by `|`, the unknown rest in hex, all unknown with the comment `otherwise`."""
    found = []
    for bits, name in names:
        if (value or not found) and (value == bits or (bits and value & bits == bits)):
            found.append(name)
            value &= ~bits
        if not value and found:
            break
    if found:
        return "|".join(found + [hex(value)] if value else found)
    if value:
        return f"{value:#x} /* {otherwise} */" if otherwise else hex(value)
    return "0" if otherwise else ""


_open_flags: "dict[int, str]" = {}


def open_flags(value: int) -> str:
    """Spell the flags of open(2): access mode first."""
    text = _open_flags.get(value)
    if text is None:
        text = abi.OPEN_ACCESS[value & 3]
        if value & ~3:
            text += "|" + flag_names(value & ~3, abi.OPEN_FLAGS, None)
        _open_flags[value] = text
    return text


def _octal(mode: int) -> str:
    return f"0{mode:o}".rjust(3, "0") if mode else "000"


_modes: "dict[int, str]" = {}


def mode_name(mode: int) -> str:
    """Spell an st_mode: `S_IFREG|0644`."""
    text = _modes.get(mode)
    if text is None:
        kind = abi.FILE_TYPES.get(mode & 0o170000)
        if kind is None and mode & 0o170000:
            text = _octal(mode)
        else:
            bits = [name for bit, name in ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX")) if mode & bit]
            text = "|".join(([kind] if kind else []) + bits + [_octal(mode & 0o777)])
        _modes[mode] = text
    return text


def _device(dev: int) -> str:
    major = (dev >> 8) & 0xFFF | (dev >> 32) & ~0xFFF
    minor = dev & 0xFF | (dev >> 12) & 0xFFFFFF00
    return f"makedev({major:#x}, {minor:#x})"


# ---- descriptors and the working directory -----------------------------------------------------------------------

cwd_age = [0]
"""Grows when a call may have changed what some working directory is called."""


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
            behind = os.stat(link)
        except OSError:
            return f"{fd}<{annotate(path)}>"
        try:
            named = os.stat(path)
            deleted = (named.st_ino, named.st_dev) != (behind.st_ino, behind.st_dev)
        except OSError:
            deleted = True
        if deleted:
            return f"{fd}<{annotate(path[:-10])}>(deleted)"
    return f"{fd}<{annotate(path)}>"


def _directory(t: "Tracee", value: int) -> str:
    fd = _signed32(value)
    if fd != abi.AT_FDCWD:
        return descriptor(t.tid, fd) if fd >= 0 else str(fd)
    if t.cwd_age != cwd_age[0]:
        try:
            t.cwd = f"AT_FDCWD<{annotate(_readlink(b'/proc/%d/cwd' % t.tid))}>"
        except OSError:
            return "AT_FDCWD"
        t.cwd_age = cwd_age[0]
    return t.cwd


def _path(tid: int, address: int) -> str:
    data = read_memory(tid, address, 4096 - (address & 4095))
    end = data.find(b"\0")
    if end >= 0:
        data = data[:end]
        return f'"{data.decode("ascii")}"' if _odd_in_string(data) is None else f'"{_escape(data)}"'
    if not address:
        return "NULL"
    found = _read_string(tid, address, abi.PATH_MAX)
    if found is None:
        return hex(address)
    data, whole = found
    return f'"{quote(data)}"' if whole else f'"{quote(data[:-1])}"...'


def _string(tid: int, address: int) -> str:
    if not address:
        return "NULL"
    found = _read_string(tid, address, STRING_LIMIT + 1)
    if found is None:
        return hex(address)
    data, whole = found
    return f'"{quote(data)}"' if whole else f'"{quote(data[:STRING_LIMIT])}"...'


def _buffer(tid: int, address: int, length: int, omit_trailing_nul: bool = False) -> str:
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


# ---- one function per kind of argument: index -> (thread, arguments) -> text ---------------------------------------


def at(i: int) -> "Show":
    return lambda t, a: _directory(t, a[i])


def path(i: int) -> "Show":
    return lambda t, a: _path(t.tid, a[i])


def fd(i: int) -> "Show":
    return lambda t, a: descriptor(t.tid, _signed32(a[i]))


def string(i: int) -> "Show":
    return lambda t, a: _string(t.tid, a[i])


def unsigned(i: int) -> "Show":
    return lambda t, a: str(a[i])


def user(i: int) -> "Show":
    return lambda t, a: "-1" if a[i] & _M32 == _M32 else str(a[i] & _M32)


def octal(i: int) -> "Show":
    return lambda t, a: _octal(a[i] & 0xFFFF)


def address(i: int) -> "Show":
    return lambda t, a: pointer(a[i])


def flags(i: int, names: "abi.Flags", otherwise: "str | None") -> "Show":
    known: "dict[int, str]" = {}

    def show(t: "Tracee", a: "Args") -> str:
        value = a[i] & _M32
        text = known.get(value)
        if text is None:
            text = known[value] = flag_names(value, names, otherwise)
        return text

    return show


def at_flags(i: int) -> "Show":
    return flags(i, abi.AT_FLAGS, "AT_???")


def opening(i: int) -> "Show":
    """The flags of open, and the mode where they need one."""

    def show(t: "Tracee", a: "Args") -> str:
        value = a[i] & _M32
        if value & (abi.O_CREAT | abi.O_TMPFILE_BIT):
            return f"{open_flags(value)}, {_octal(a[i + 1] & 0xFFFF)}"
        return open_flags(value)

    return show


def open_how(i: int) -> "Show":
    def show(t: "Tracee", a: "Args") -> str:
        data = read_memory(t.tid, a[i], 24) if a[i + 1] >= 24 else b""
        if len(data) < 24:
            return pointer(a[i])
        how, mode, resolve = struct.unpack("3Q", data)
        text = "{flags=" + open_flags(how)
        if how & (abi.O_CREAT | abi.O_TMPFILE_BIT) or mode:
            text += ", mode=" + _octal(mode)
        return f"{text}, resolve={flag_names(resolve, abi.RESOLVE_FLAGS, 'RESOLVE_???')}}}"

    return show


def node(i: int) -> "Show":
    """The mode of mknod, and the device where it makes one."""

    def show(t: "Tracee", a: "Args") -> str:
        mode = a[i] & 0xFFFF
        device = f", {_device(a[i + 1] & _M32)}" if mode & 0o170000 in (0o020000, 0o060000) else ""
        return mode_name(mode) + device

    return show


def arguments(i: int) -> "Show":
    """argv: at most 256 strings of at most 256 bytes."""

    def show(t: "Tracee", a: "Args") -> str:
        start = a[i]
        if not start:
            return "NULL"
        words, whole = _pointers(t.tid, start, STRING_LIMIT + 1)
        if not words and not whole:
            return hex(start)
        items = [_string(t.tid, word) for word in words[:STRING_LIMIT]]
        if len(words) > STRING_LIMIT:
            items.append("...")
        elif not whole:
            items.append(f"... /* {start + 8 * len(words):#x} */")
        return "[" + ", ".join(items) + "]"

    return show


def environment(i: int) -> "Show":
    def show(t: "Tracee", a: "Args") -> str:
        if not a[i]:
            return "NULL"
        words, whole = _pointers(t.tid, a[i], 1 << 20)
        if not words and not whole:
            return hex(a[i])
        many = "" if len(words) == 1 else "s"
        return f"{a[i]:#x} /* {len(words)} var{many}{'' if whole else ', unterminated'} */"

    return show


def _pointers(tid: int, start: int, limit: int) -> "tuple[list[int], bool]":
    """Read a NULL-terminated array of pointers: (pointers, the NULL was seen)."""
    words: "list[int]" = []
    while len(words) < limit:
        at = start + 8 * len(words)
        data = read_memory(tid, at, 4096 - (at & 4095) if at & 7 == 0 else 8)
        if len(data) < 8:
            return words, False
        more = struct.unpack_from(f"{len(data) // 8}Q", data)
        if 0 in more:
            words += more[: more.index(0)]
            return words[:limit], len(words) < limit
        words += more
    return words[:limit], False


# ---- what can be read only at exit: the result is the last item of the arguments ---------------------------------


def stat_buffer(i: int) -> "Show":
    unpack = abi.STAT.unpack
    size = abi.STAT.size

    def show(t: "Tracee", a: "Args") -> str:
        data = read_memory(t.tid, a[i], size) if not a[-1] else b""
        if len(data) < size:
            return pointer(a[i])
        mode, device, length = unpack(data)
        if mode & 0o170000 in (0o020000, 0o060000):
            return f"{{st_mode={mode_name(mode)}, st_rdev={_device(device)}, ...}}"
        return f"{{st_mode={_modes.get(mode) or mode_name(mode)}, st_size={length}, ...}}"

    return show


def statx_buffer(i: int) -> "Show":
    def show(t: "Tracee", a: "Args") -> str:
        data = read_memory(t.tid, a[i], abi.STATX.size) if not a[-1] else b""
        if len(data) < abi.STATX.size:
            return pointer(a[i])
        mask, _, attributes, _, _, _, mode, _, length = abi.STATX.unpack(data)
        text = f"{{stx_mask={flag_names(mask, abi.STATX_MASK, 'STATX_???')}"
        text += f", stx_attributes={flag_names(attributes, abi.STATX_ATTR, 'STATX_ATTR_???')}"
        if mask & 3:
            text += ", stx_mode=" + mode_name(mode)
        if mask & 0x200:
            text += f", stx_size={length}"
        return text + ", ...}"

    return show


def statfs_buffer(i: int) -> "Show":
    def show(t: "Tracee", a: "Args") -> str:
        data = read_memory(t.tid, a[i], abi.STATFS.size) if not a[-1] else b""
        if len(data) < abi.STATFS.size:
            return pointer(a[i])
        kind, bsize, blocks, bfree, bavail, files, ffree, id0, id1, namelen, frsize, mounted = abi.STATFS.unpack(data)
        text = (
            f"{{f_type={abi.FS_MAGIC.get(kind, hex(kind))}, f_bsize={bsize}, f_blocks={blocks}, f_bfree={bfree}, "
            f"f_bavail={bavail}, f_files={files}, f_ffree={ffree}, f_fsid={{val=[{id0 & _M32:#x}, {id1 & _M32:#x}]}}, "
            f"f_namelen={namelen}, f_frsize={frsize}"
        )
        if mounted & 0x20:
            text += ", f_flags=" + flag_names(mounted, abi.STATFS_FLAGS, "ST_???")
        return text + "}"

    return show


def filled(i: int, omit_trailing_nul: bool = False) -> "Show":
    """A buffer that the call filled with as many bytes as it returned."""

    def show(t: "Tracee", a: "Args") -> str:
        return pointer(a[i]) if a[-1] < 0 else _buffer(t.tid, a[i], a[-1], omit_trailing_nul)

    return show


def filled_path(i: int) -> "Show":
    return lambda t, a: pointer(a[i]) if a[-1] < 0 else _path(t.tid, a[i])


def listing(i: int, header: int, length_at: int) -> "Show":
    """The buffer of getdents: how many entries it holds."""
    unpack = struct.Struct("H").unpack_from

    def show(t: "Tracee", a: "Args") -> str:
        n_bytes = a[-1]
        if n_bytes < 0 or n_bytes > a[i + 1]:
            return pointer(a[i])
        data = read_memory(t.tid, a[i], n_bytes) if n_bytes else b""
        n_entries = at = 0
        while at + header <= len(data):
            n_entries += 1
            at += max(unpack(data, at + length_at)[0], header)
        return f"{pointer(a[i])} /* {n_entries}{'+' if at < n_bytes else ''} entries */"

    return show


def value(i: int) -> "Show":
    """An extended attribute's value and the size of its buffer."""

    def show(t: "Tracee", a: "Args") -> str:
        return f"{filled(i, omit_trailing_nul=True)(t, a)}, {a[i + 1]}"

    return show


def given_value(i: int) -> "Show":
    def show(t: "Tracee", a: "Args") -> str:
        text = pointer(a[i]) if a[i + 1] > 65536 else _buffer(t.tid, a[i], a[i + 1], omit_trailing_nul=True)
        return f"{text}, {a[i + 1]}"

    return show


def name_list(i: int) -> "Show":
    def show(t: "Tracee", a: "Args") -> str:
        return pointer(a[i]) if a[-1] < 0 or not a[i + 1] else _buffer(t.tid, a[i], a[-1])

    return show


def _number(tid: int, at_address: int) -> str:
    data = read_memory(tid, at_address, 4) if at_address else b""
    return f"[{struct.unpack('i', data)[0]}]" if len(data) == 4 else pointer(at_address)


_CLONE_ENDS = 0x100000 | 0x1000 | 0x1000000 | 0x200000 | 0x80000  # PARENT_SETTID PIDFD CHILD_SETTID CHILD_CLEARTID SETTLS


def _clone_enter(t: "Tracee", a: "Args") -> str:
    wanted, end = a[0] & ~0xFF, a[0] & 0xFF
    names = [flag_names(wanted, abi.CLONE_FLAGS, "CLONE_???")] if wanted else []
    if end or not wanted:
        names.append(abi.signal_name(end))
    return f"child_stack={pointer(a[1])}, flags={'|'.join(names)}"


def _clone_leave(t: "Tracee", a: "Args") -> str:
    text = ""
    if a[0] & 0x101000:
        text += ", parent_tid=" + _number(t.tid, a[2])
    if a[0] & 0x80000:
        text += ", tls=" + pointer(a[4])
    if a[0] & 0x1200000:
        text += ", child_tidptr=" + pointer(a[3])
    return text


def _clone3_enter(t: "Tracee", a: "Args") -> str:
    data = read_memory(t.tid, a[0], 64) if a[1] >= 64 else b""
    t.kept = 0
    if len(data) < 64:
        return f"{pointer(a[0])}, {a[1]}"
    wanted, pidfd, child_tid, parent_tid, end, stack, stack_size, tls = abi.CLONE_ARGS.unpack(data)
    text = "{flags=" + flag_names(wanted, abi.CLONE3_FLAGS, "CLONE_???")
    if wanted & 0x1000:
        text += f", pidfd={hex(pidfd) if pidfd else 'NULL'}"
    if wanted & 0x1200000:
        text += ", child_tid=" + pointer(child_tid)
    if wanted & 0x100000:
        text += ", parent_tid=" + pointer(parent_tid)
    text += f", exit_signal={abi.signal_name(end)}, stack={pointer(stack)}, stack_size={hex(stack_size) if stack_size else 0}"
    if wanted & 0x80000:
        text += ", tls=" + pointer(tls)
    text += "}"
    t.kept = wanted & 0x101000
    return text if t.kept else f"{text}, {a[1]}"


def _clone3_leave(t: "Tracee", a: "Args") -> str:
    if not t.kept:
        return ""
    data = read_memory(t.tid, a[0], 64)
    if a[-1] < 0 or len(data) < 64:
        return f", {a[1]}"
    _, pidfd, _, parent_tid, _, _, _, _ = abi.CLONE_ARGS.unpack(data)
    fields = []
    if t.kept & 0x1000:
        number = read_memory(t.tid, pidfd, 4)
        shown = f"[{descriptor(t.tid, struct.unpack('i', number)[0])}]" if len(number) == 4 else pointer(pidfd)
        fields.append("pidfd=" + shown)
    if t.kept & 0x100000:
        fields.append("parent_tid=" + _number(t.tid, parent_tid))
    return f" => {{{', '.join(fields)}}}, {a[1]}"


def _statx_flags(t: "Tracee", a: "Args") -> str:
    text = flag_names(a[2] & 0x6000, abi.STATX_SYNC, None)
    rest = a[2] & _M32 & ~0x6000
    return text + "|" + flag_names(rest, abi.AT_FLAGS, None) if rest else text


def _times(i: int, fraction: str) -> "Show":
    def show(t: "Tracee", a: "Args") -> str:
        if not a[i]:
            return "NULL"
        data = read_memory(t.tid, a[i], 32)
        if len(data) < 32:
            return hex(a[i])
        at_s, at_f, mod_s, mod_f = struct.unpack("4q", data)
        pairs = []
        for seconds, part in ((at_s, at_f), (mod_s, mod_f)):
            special = {0x3FFFFFFF: "UTIME_NOW", 0x3FFFFFFE: "UTIME_OMIT"}.get(part) if fraction == "tv_nsec" else None
            pairs.append(special or f"{{tv_sec={seconds}, {fraction}={part}}}")
        return "[" + ", ".join(pairs) + "]"

    return show


def _mount(t: "Tracee", a: "Args") -> str:
    wanted = a[3]
    magic = wanted & 0xFFFF0000 == 0xC0ED0000
    if magic:
        wanted &= ~0xFFFF0000
    moved = bool(wanted & 0x1E3000) and not wanted & 0x20
    kind = pointer(a[2]) if wanted & 0x20 or moved else _string(t.tid, a[2])
    names = (["MS_MGC_VAL"] if magic else []) + (
        [flag_names(wanted, abi.MOUNT_FLAGS, "MS_???")] if wanted or not magic else []
    )
    data = pointer(a[4]) if moved else _string(t.tid, a[4])
    return f"{_path(t.tid, a[0])}, {_path(t.tid, a[1])}, {kind}, {'|'.join(names)}, {data}"


def _join(shows: "Sequence[Show]") -> "Show":
    if not shows:
        return lambda t, a: ""
    if len(shows) == 1:
        return shows[0]
    if len(shows) == 2:
        first, second = shows
        return lambda t, a: f"{first(t, a)}, {second(t, a)}"
    if len(shows) == 3:
        one, two, three = shows
        return lambda t, a: f"{one(t, a)}, {two(t, a)}, {three(t, a)}"
    return lambda t, a: ", ".join([show(t, a) for show in shows])


SYSCALLS: "dict[int, Syscall]" = {}
"""x86_64 number -> how the call is printed; in the order of their frequency, which is that of the filter."""


def _add(
    number: int,
    name: str,
    *enter: "Show",
    late: "Sequence[Show]" = (),
    returns_fd: bool = False,
    moves: bool = False,
    hidden: bool = False,
) -> None:
    early = _join(enter)
    if late and enter:  # as strace does, the comma is already there when the call is cut in two
        before = early
        early = lambda t, a: before(t, a) + ", "  # noqa: E731
    SYSCALLS[number] = Syscall(name, number, early, _join(late) if late else None, returns_fd, moves, hidden)


_access = flags(1, abi.ACCESS_MODES, "?_OK")
_access_at = flags(2, abi.ACCESS_MODES, "?_OK")

_add(262, "newfstatat", at(0), path(1), late=(stat_buffer(2), at_flags(3)))
_add(257, "openat", at(0), path(1), opening(2), returns_fd=True)
_add(4, "stat", path(0), late=(stat_buffer(1),))
_add(2, "open", path(0), opening(1), returns_fd=True)
_add(217, "getdents64", fd(0), late=(listing(1, 19, 16), lambda t, a: str(a[2] & _M32)))
_add(21, "access", path(0), _access)
_add(439, "faccessat2", at(0), path(1), _access_at, flags(3, abi.ACCESS_AT_FLAGS, "AT_???"))
_add(269, "faccessat", at(0), path(1), _access_at)
_add(332, "statx", at(0), path(1), _statx_flags, flags(3, abi.STATX_MASK, "STATX_???"), late=(statx_buffer(4),))
_add(6, "lstat", path(0), late=(stat_buffer(1),))
_add(89, "readlink", path(0), late=(filled(1), lambda t, a: str(a[2] & _M32)))
_add(267, "readlinkat", at(0), path(1), late=(filled(2), lambda t, a: str(a[3] & _M32)))
_add(59, "execve", path(0), arguments(1), environment(2))
_add(322, "execveat", at(0), path(1), arguments(2), environment(3), at_flags(4))
_add(231, "exit_group", lambda t, a: str(_signed32(a[0])))
SYSCALLS[56] = Syscall("clone", 56, _clone_enter, _clone_leave, False, False, False)
SYSCALLS[435] = Syscall("clone3", 435, _clone3_enter, _clone3_leave, False, False, False)
_add(57, "fork")
_add(58, "vfork")
_add(437, "openat2", at(0), path(1), open_how(2), unsigned(3), returns_fd=True)
_add(85, "creat", path(0), octal(1), returns_fd=True)
_add(78, "getdents", fd(0), late=(listing(1, 18, 16), lambda t, a: str(a[2] & _M32)))
_add(79, "getcwd", late=(filled_path(0), unsigned(1)))
_add(80, "chdir", path(0), moves=True)
_add(81, "fchdir", fd(0), moves=True)
_add(161, "chroot", path(0), moves=True)
_add(87, "unlink", path(0))
_add(263, "unlinkat", at(0), path(1), at_flags(2), moves=True)
_add(83, "mkdir", path(0), octal(1))
_add(258, "mkdirat", at(0), path(1), octal(2))
_add(84, "rmdir", path(0), moves=True)
_add(82, "rename", path(0), path(1), moves=True)
_add(264, "renameat", at(0), path(1), at(2), path(3), moves=True)
_add(316, "renameat2", at(0), path(1), at(2), path(3), flags(4, abi.RENAME_FLAGS, "RENAME_??"), moves=True)
_add(86, "link", path(0), path(1))
_add(265, "linkat", at(0), path(1), at(2), path(3), at_flags(4))
_add(88, "symlink", path(0), path(1))
_add(266, "symlinkat", path(0), at(1), path(2))
_add(90, "chmod", path(0), octal(1))
_add(268, "fchmodat", at(0), path(1), octal(2))
_add(452, "fchmodat2", at(0), path(1), octal(2), at_flags(3))
_add(92, "chown", path(0), user(1), user(2))
_add(94, "lchown", path(0), user(1), user(2))
_add(260, "fchownat", at(0), path(1), user(2), user(3), at_flags(4))
_add(76, "truncate", path(0), unsigned(1))
_add(132, "utime", path(0), address(1))
_add(235, "utimes", path(0), _times(1, "tv_usec"))
_add(261, "futimesat", at(0), path(1), _times(2, "tv_usec"))
_add(280, "utimensat", at(0), path(1), _times(2, "tv_nsec"), at_flags(3))
_add(133, "mknod", path(0), node(1))
_add(259, "mknodat", at(0), path(1), node(2))
_add(137, "statfs", path(0), late=(statfs_buffer(1),))
_add(188, "setxattr", path(0), string(1), given_value(2), flags(4, abi.XATTR_FLAGS, "XATTR_???"))
_add(189, "lsetxattr", path(0), string(1), given_value(2), flags(4, abi.XATTR_FLAGS, "XATTR_???"))
_add(191, "getxattr", path(0), string(1), late=(value(2),))
_add(192, "lgetxattr", path(0), string(1), late=(value(2),))
_add(194, "listxattr", path(0), late=(name_list(1), unsigned(2)))
_add(195, "llistxattr", path(0), late=(name_list(1), unsigned(2)))
_add(197, "removexattr", path(0), string(1))
_add(198, "lremovexattr", path(0), string(1))
_add(463, "setxattrat", at(0), path(1), at_flags(2), string(3), address(4), unsigned(5))
_add(464, "getxattrat", at(0), path(1), at_flags(2), string(3), address(4), unsigned(5))
_add(465, "listxattrat", at(0), path(1), at_flags(2), address(3), unsigned(4))
_add(466, "removexattrat", at(0), path(1), at_flags(2), string(3))
_add(254, "inotify_add_watch", fd(0), path(1), flags(2, abi.INOTIFY_FLAGS, "IN_???"))
_add(301, "fanotify_mark", fd(0), address(1), address(2), at(3), path(4))
_add(303, "name_to_handle_at", at(0), path(1), address(2), address(3), flags(4, abi.HANDLE_AT_FLAGS, "AT_???"))
SYSCALLS[165] = Syscall("mount", 165, _mount, None, False, True, False)
_add(166, "umount2", path(0), flags(1, abi.UMOUNT_FLAGS, "MNT_???"), moves=True)
_add(155, "pivot_root", path(0), path(1), moves=True)
_add(428, "open_tree", at(0), path(1), address(2), returns_fd=True)
_add(429, "move_mount", at(0), path(1), at(2), path(3), address(4), moves=True)
_add(431, "fsconfig", fd(0), unsigned(1), string(2), address(3), unsigned(4))
_add(433, "fspick", at(0), path(1), address(2), returns_fd=True)
_add(442, "mount_setattr", at(0), path(1), at_flags(2), address(3), unsigned(4))
_add(134, "uselib", path(0))
_add(163, "acct", path(0))
_add(167, "swapon", path(0), unsigned(1))
_add(168, "swapoff", path(0))
_add(179, "quotactl", address(0), path(1), unsigned(2), address(3))
_add(308, "setns", moves=True, hidden=True)


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
            text += f", si_timerid={timer & _M32:#x}, si_overrun={overrun}{carried}"
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
