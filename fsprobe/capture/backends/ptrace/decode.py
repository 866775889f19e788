"""One function per kind of argument: it takes where the argument stands and returns what shows it.

Such a `Show` maps a stopped thread and the arguments of its call to the text that strace would write. What is shown
only at exit finds the result as the last of the arguments. Runs beside the target on Python 3.6 and later.

Source: the spellings are those of strace 6.1 with `-y -s 256`, which the tests compare with.
"""

import struct

from fsprobe.capture.backends.ptrace import abi
from fsprobe.capture.backends.ptrace.memory import (
    STRING_LIMIT,
    buffer_text,
    descriptor,
    directory,
    path_text,
    pointer,
    read_memory,
    string_text,
)

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from fsprobe.capture.backends.ptrace.tracee import Args, Show, Tracee

_INT_MAX = 0x7FFFFFFF
_M32 = 0xFFFFFFFF


def signed32(value: int) -> int:
    value &= _M32
    return value - 0x100000000 if value > _INT_MAX else value


def flag_names(value: int, names: "abi.Flags", otherwise: "str | None") -> str:
    """Spell a set of flags: names joined by `|`, the unknown rest in hex, all unknown with the comment `otherwise`."""
    found: "list[str]" = []
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


def octal_text(mode: int) -> str:
    return f"0{mode:o}".rjust(3, "0") if mode else "000"


_modes: "dict[int, str]" = {}


def mode_name(mode: int) -> str:
    """Spell an st_mode: `S_IFREG|0644`."""
    text = _modes.get(mode)
    if text is None:
        kind = abi.FILE_TYPES.get(mode & 0o170000)
        if kind is None and mode & 0o170000:
            text = octal_text(mode)
        else:
            bits = [name for bit, name in ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX")) if mode & bit]
            text = "|".join(([kind] if kind else []) + bits + [octal_text(mode & 0o777)])
        _modes[mode] = text
    return text


def device_text(dev: int) -> str:
    major = (dev >> 8) & 0xFFF | (dev >> 32) & ~0xFFF
    minor = dev & 0xFF | (dev >> 12) & 0xFFFFFF00
    return f"makedev({major:#x}, {minor:#x})"


def at(i: int) -> "Show":
    return lambda t, a: directory(t, a[i])


def path(i: int) -> "Show":
    return lambda t, a: path_text(t.tid, a[i])


def fd(i: int) -> "Show":
    return lambda t, a: descriptor(t.tid, signed32(a[i]))


def string(i: int) -> "Show":
    return lambda t, a: string_text(t.tid, a[i])


def unsigned(i: int) -> "Show":
    return lambda t, a: str(a[i])


def unsigned32(i: int) -> "Show":
    return lambda t, a: str(a[i] & _M32)


def user(i: int) -> "Show":
    return lambda t, a: "-1" if a[i] & _M32 == _M32 else str(a[i] & _M32)


def octal(i: int) -> "Show":
    return lambda t, a: octal_text(a[i] & 0xFFFF)


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
            return f"{open_flags(value)}, {octal_text(a[i + 1] & 0xFFFF)}"
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
            text += ", mode=" + octal_text(mode)
        return f"{text}, resolve={flag_names(resolve, abi.RESOLVE_FLAGS, 'RESOLVE_???')}}}"

    return show


def node(i: int) -> "Show":
    """The mode of mknod, and the device where it makes one."""

    def show(t: "Tracee", a: "Args") -> str:
        mode = a[i] & 0xFFFF
        device = f", {device_text(a[i + 1] & _M32)}" if mode & 0o170000 in (0o020000, 0o060000) else ""
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
        items = [string_text(t.tid, word) for word in words[:STRING_LIMIT]]
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
            return f"{{st_mode={mode_name(mode)}, st_rdev={device_text(device)}, ...}}"
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
        return pointer(a[i]) if a[-1] < 0 else buffer_text(t.tid, a[i], a[-1], omit_trailing_nul)

    return show


def filled_path(i: int) -> "Show":
    return lambda t, a: pointer(a[i]) if a[-1] < 0 else path_text(t.tid, a[i])


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
        text = pointer(a[i]) if a[i + 1] > 65536 else buffer_text(t.tid, a[i], a[i + 1], omit_trailing_nul=True)
        return f"{text}, {a[i + 1]}"

    return show


def name_list(i: int) -> "Show":
    def show(t: "Tracee", a: "Args") -> str:
        return pointer(a[i]) if a[-1] < 0 or not a[i + 1] else buffer_text(t.tid, a[i], a[-1])

    return show


def statx_flags(t: "Tracee", a: "Args") -> str:
    text = flag_names(a[2] & 0x6000, abi.STATX_SYNC, None)
    rest = a[2] & _M32 & ~0x6000
    return text + "|" + flag_names(rest, abi.AT_FLAGS, None) if rest else text


def times(i: int, fraction: str) -> "Show":
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
