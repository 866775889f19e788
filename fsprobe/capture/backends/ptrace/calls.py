"""Which system calls are traced, and how each is printed: `SYSCALLS`.

What can be printed at entry, what only at exit, and how the result reads. Runs beside the target on Python 3.6 and
later: standard library, few imports.

Source: the argument layouts are those of strace 6.1, which the tests compare with; the calls are its class `%file`
(with those that later kernels added), the listing of directories, and what starts and ends processes.
"""

import struct

from fsprobe.capture.backends.ptrace import abi
from fsprobe.capture.backends.ptrace.decode import (
    address,
    arguments,
    at,
    at_flags,
    environment,
    fd,
    filled,
    filled_path,
    flag_names,
    flags,
    given_value,
    listing,
    name_list,
    node,
    octal,
    open_how,
    opening,
    path,
    signed32,
    stat_buffer,
    statfs_buffer,
    statx_buffer,
    statx_flags,
    string,
    times,
    unsigned,
    unsigned32,
    user,
    value,
)
from fsprobe.capture.backends.ptrace.memory import descriptor, path_text, pointer, read_memory, string_text
from fsprobe.capture.backends.ptrace.tracee import Syscall

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Sequence

    from fsprobe.capture.backends.ptrace.tracee import Args, Show, Tracee


def _number(tid: int, at_address: int) -> str:
    data = read_memory(tid, at_address, 4) if at_address else b""
    return f"[{struct.unpack('i', data)[0]}]" if len(data) == 4 else pointer(at_address)


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


def _trace(t: "Tracee", a: "Args") -> str:
    name = abi.PTRACE_REQUESTS.get(a[0], hex(a[0]))
    return (
        name if a[0] == 0 else f"{name}, {signed32(a[1])}" + (f", {pointer(a[2])}, {hex(a[3])}" if a[0] != 16 else "")
    )


def _mount(t: "Tracee", a: "Args") -> str:
    wanted = a[3]
    magic = wanted & 0xFFFF0000 == 0xC0ED0000
    if magic:
        wanted &= ~0xFFFF0000
    moved = bool(wanted & 0x1E3000) and not wanted & 0x20
    kind = pointer(a[2]) if wanted & 0x20 or moved else string_text(t.tid, a[2])
    names = (["MS_MGC_VAL"] if magic else []) + (
        [flag_names(wanted, abi.MOUNT_FLAGS, "MS_???")] if wanted or not magic else []
    )
    data = pointer(a[4]) if moved else string_text(t.tid, a[4])
    return f"{path_text(t.tid, a[0])}, {path_text(t.tid, a[1])}, {kind}, {'|'.join(names)}, {data}"


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
_add(217, "getdents64", fd(0), late=(listing(1, 19, 16), unsigned32(2)))
_add(21, "access", path(0), _access)
_add(439, "faccessat2", at(0), path(1), _access_at, flags(3, abi.ACCESS_AT_FLAGS, "AT_???"))
_add(269, "faccessat", at(0), path(1), _access_at)
_add(332, "statx", at(0), path(1), statx_flags, flags(3, abi.STATX_MASK, "STATX_???"), late=(statx_buffer(4),))
_add(6, "lstat", path(0), late=(stat_buffer(1),))
_add(89, "readlink", path(0), late=(filled(1), unsigned(2)))
_add(267, "readlinkat", at(0), path(1), late=(filled(2), unsigned(3)))
_add(59, "execve", path(0), arguments(1), environment(2))
_add(322, "execveat", at(0), path(1), arguments(2), environment(3), at_flags(4))
_add(231, "exit_group", lambda t, a: str(signed32(a[0])))
SYSCALLS[56] = Syscall("clone", 56, _clone_enter, _clone_leave, False, False, False)
SYSCALLS[435] = Syscall("clone3", 435, _clone3_enter, _clone3_leave, False, False, False)
_add(57, "fork")
_add(58, "vfork")
_add(437, "openat2", at(0), path(1), open_how(2), unsigned(3), returns_fd=True)
_add(85, "creat", path(0), octal(1), returns_fd=True)
_add(78, "getdents", fd(0), late=(listing(1, 18, 16), unsigned32(2)))
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
_add(235, "utimes", path(0), times(1, "tv_usec"))
_add(261, "futimesat", at(0), path(1), times(2, "tv_usec"))
_add(280, "utimensat", at(0), path(1), times(2, "tv_nsec"), at_flags(3))
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
_add(101, "ptrace", _trace)
_add(157, "prctl", hidden=True)
_add(317, "seccomp", hidden=True)
