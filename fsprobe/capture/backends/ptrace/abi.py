"""The x86_64 kernel interface that the tracer needs: requests, structures, the seccomp program, names of flags.

Facts only, no decisions. Runs beside the target on Python 3.6 and later: standard library, few imports.

Source: ptrace(2), seccomp(2) and the kernel's uapi headers; the spelling of names is that of strace 6.1.
"""

import errno
import os
import struct

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Iterable

    Flags = list[tuple[int, str]]

AUDIT_ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000
AT_FDCWD = -100
PATH_MAX = 4096
WALL = 0x40000000

PTRACE_PEEKUSER = 3
PTRACE_POKEDATA = 5
PTRACE_POKEUSER = 6
PTRACE_CONT = 7
PTRACE_SYSCALL = 24
PTRACE_GETEVENTMSG = 0x4201
PTRACE_GETSIGINFO = 0x4202
PTRACE_SEIZE = 0x4206
PTRACE_LISTEN = 0x4208
PTRACE_GET_SYSCALL_INFO = 0x420E

EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_EXIT, EVENT_SECCOMP = 1, 2, 3, 4, 6, 7
EVENT_STOP = 128
# SYSGOOD | FORK | VFORK | CLONE | EXEC | EXIT | SECCOMP | EXITKILL
OPTIONS = 1 | 2 | 4 | 8 | 0x10 | 0x40 | 0x80 | 0x100000

PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

SYSCALL_INFO_SIZE = 88
SYSCALL_INFO_ENTRY = struct.Struct("B3xI16xQ6Q")  # op, arch, (ip, sp), nr, args
SYSCALL_INFO_EXIT = struct.Struct("24xq")  # return value
STAT = struct.Struct("24xI12xQQ")  # st_mode, st_rdev, st_size
STATX = struct.Struct("IIQ3I H 2x QQ")  # mask, blksize, attributes, nlink, uid, gid, mode, ino, size
STATFS = struct.Struct("qqQQQQQ2iqqq")
CLONE_ARGS = struct.Struct("8Q")  # flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls

SIG_TRAP_SYSCALL = 5 | 0x80
STOP_SIGNALS = frozenset((19, 20, 21, 22))

_SIGNALS = (
    "0 HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG "
    "XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split()

_SI_CODES = {0: "SI_USER", 0x80: "SI_KERNEL", -1: "SI_QUEUE", -2: "SI_TIMER", -3: "SI_MESGQ", -4: "SI_ASYNCIO"}
_SI_CODES.update({-5: "SI_SIGIO", -6: "SI_TKILL", -7: "SI_DETHREAD", -60: "SI_ASYNCNL"})
_SI_CODES_OF = {
    17: "CLD_EXITED CLD_KILLED CLD_DUMPED CLD_TRAPPED CLD_STOPPED CLD_CONTINUED",
    11: "SEGV_MAPERR SEGV_ACCERR SEGV_BNDERR SEGV_PKUERR",
    8: "FPE_INTDIV FPE_INTOVF FPE_FLTDIV FPE_FLTOVF FPE_FLTUND FPE_FLTRES FPE_FLTINV FPE_FLTSUB",
    4: "ILL_ILLOPC ILL_ILLOPN ILL_ILLADR ILL_ILLTRP ILL_PRVOPC ILL_PRVREG ILL_COPROC ILL_BADSTK",
    7: "BUS_ADRALN BUS_ADRERR BUS_OBJERR BUS_MCEERR_AR BUS_MCEERR_AO",
    5: "TRAP_BRKPT TRAP_TRACE TRAP_BRANCH TRAP_HWBKPT TRAP_UNK TRAP_PERF",
    29: "POLL_IN POLL_OUT POLL_MSG POLL_ERR POLL_PRI POLL_HUP",
}


def signal_name(number: int) -> str:
    """Name a signal as strace does: SIGCHLD, SIGRT_2, or the bare number."""
    if 0 < number < 32:
        return "SIG" + _SIGNALS[number]
    return f"SIGRT_{number - 32}" if 32 <= number <= 64 else str(number)


def si_code_name(signo: int, code: int) -> str:
    """Name the si_code of a siginfo_t of signal `signo`."""
    name = _SI_CODES.get(code)
    if name is None:
        names = _SI_CODES_OF.get(signo, "").split()
        name = names[code - 1] if 0 < code <= len(names) else hex(code & 0xFFFFFFFF)
    return name


ERRORS: "dict[int, str]" = {}
"""errno -> the text of a result: `-1 ENOENT (No such file or directory)`."""
for _number, _name in errno.errorcode.items():
    _name = {11: "EAGAIN", 35: "EDEADLK", 95: "EOPNOTSUPP"}.get(_number, _name)
    ERRORS[_number] = f"-1 {_name} ({os.strerror(_number)})"
ERRORS[512] = "? ERESTARTSYS (To be restarted if SA_RESTART is set)"
ERRORS[513] = "? ERESTARTNOINTR (To be restarted)"
ERRORS[514] = "? ERESTARTNOHAND (To be restarted if no handler)"
ERRORS[516] = "? ERESTART_RESTARTBLOCK (Interrupted by signal)"
ERRORS[524] = f"-1 ENOTSUPP ({os.strerror(524)})"


def _flags(text: str) -> "Flags":
    pairs = []
    for item in text.split():
        name, _, value = item.partition("=")
        pairs.append((int(value, 0), name))
    return pairs


OPEN_ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")
O_CREAT, O_TMPFILE_BIT = 0o100, 0o20000000
# Combined values stand before their parts.
OPEN_FLAGS = _flags(
    "O_CREAT=0x40 O_EXCL=0x80 O_NOCTTY=0x100 O_TRUNC=0x200 O_APPEND=0x400 O_NONBLOCK=0x800 O_SYNC=0x101000 "
    "__O_SYNC=0x100000 O_DSYNC=0x1000 O_DIRECT=0x4000 O_LARGEFILE=0x8000 O_NOFOLLOW=0x20000 O_NOATIME=0x40000 "
    "O_CLOEXEC=0x80000 O_PATH=0x200000 O_TMPFILE=0x410000 __O_TMPFILE=0x400000 O_DIRECTORY=0x10000 FASYNC=0x2000"
)
AT_FLAGS = _flags(
    "AT_SYMLINK_NOFOLLOW=0x100 AT_REMOVEDIR=0x200 AT_SYMLINK_FOLLOW=0x400 AT_NO_AUTOMOUNT=0x800 AT_EMPTY_PATH=0x1000 "
    "AT_RECURSIVE=0x8000"
)
ACCESS_AT_FLAGS = _flags("AT_SYMLINK_NOFOLLOW=0x100 AT_EACCESS=0x200 AT_EMPTY_PATH=0x1000")
HANDLE_AT_FLAGS = _flags("AT_SYMLINK_FOLLOW=0x400 AT_EMPTY_PATH=0x1000")
STATX_SYNC = _flags(
    "AT_STATX_SYNC_AS_STAT=0 AT_STATX_FORCE_SYNC=0x2000 AT_STATX_DONT_SYNC=0x4000 AT_STATX_SYNC_TYPE=0x6000"
)
STATX_MASK = _flags(
    "STATX_ALL=0xfff STATX_BASIC_STATS=0x7ff STATX_TYPE=1 STATX_MODE=2 STATX_NLINK=4 STATX_UID=8 STATX_GID=0x10 "
    "STATX_ATIME=0x20 STATX_MTIME=0x40 STATX_CTIME=0x80 STATX_INO=0x100 STATX_SIZE=0x200 STATX_BLOCKS=0x400 "
    "STATX_BTIME=0x800 STATX_MNT_ID=0x1000 STATX_DIOALIGN=0x2000"
)
STATX_ATTR = _flags(
    "STATX_ATTR_COMPRESSED=4 STATX_ATTR_IMMUTABLE=0x10 STATX_ATTR_APPEND=0x20 STATX_ATTR_NODUMP=0x40 "
    "STATX_ATTR_ENCRYPTED=0x800 STATX_ATTR_AUTOMOUNT=0x1000 STATX_ATTR_MOUNT_ROOT=0x2000 STATX_ATTR_VERITY=0x100000 "
    "STATX_ATTR_DAX=0x200000"
)
ACCESS_MODES = _flags("F_OK=0 R_OK=4 W_OK=2 X_OK=1")
RENAME_FLAGS = _flags("RENAME_NOREPLACE=1 RENAME_EXCHANGE=2 RENAME_WHITEOUT=4")
RESOLVE_FLAGS = _flags(
    "RESOLVE_NO_XDEV=1 RESOLVE_NO_MAGICLINKS=2 RESOLVE_NO_SYMLINKS=4 RESOLVE_BENEATH=8 RESOLVE_IN_ROOT=0x10 "
    "RESOLVE_CACHED=0x20"
)
XATTR_FLAGS = _flags("XATTR_CREATE=1 XATTR_REPLACE=2")
PTRACE_REQUESTS = {
    0: "PTRACE_TRACEME",
    12: "PTRACE_GETREGS",
    16: "PTRACE_ATTACH",
    17: "PTRACE_DETACH",
    0x4206: "PTRACE_SEIZE",
    0x4207: "PTRACE_INTERRUPT",
}
"""Those that say who traces whom; of the others the number is enough."""
CLONE_FLAGS = _flags(
    "CLONE_VM=0x100 CLONE_FS=0x200 CLONE_FILES=0x400 CLONE_SIGHAND=0x800 CLONE_PIDFD=0x1000 CLONE_PTRACE=0x2000 "
    "CLONE_VFORK=0x4000 CLONE_PARENT=0x8000 CLONE_THREAD=0x10000 CLONE_NEWNS=0x20000 CLONE_SYSVSEM=0x40000 "
    "CLONE_SETTLS=0x80000 CLONE_PARENT_SETTID=0x100000 CLONE_CHILD_CLEARTID=0x200000 CLONE_UNTRACED=0x800000 "
    "CLONE_CHILD_SETTID=0x1000000 CLONE_NEWCGROUP=0x2000000 CLONE_NEWUTS=0x4000000 CLONE_NEWIPC=0x8000000 "
    "CLONE_NEWUSER=0x10000000 CLONE_NEWPID=0x20000000 CLONE_NEWNET=0x40000000 CLONE_IO=0x80000000"
)
CLONE3_FLAGS = CLONE_FLAGS + _flags("CLONE_NEWTIME=0x80 CLONE_CLEAR_SIGHAND=0x100000000 CLONE_INTO_CGROUP=0x200000000")
UMOUNT_FLAGS = _flags("MNT_FORCE=1 MNT_DETACH=2 MNT_EXPIRE=4 UMOUNT_NOFOLLOW=8")
MOUNT_FLAGS = _flags(
    "MS_RDONLY=1 MS_NOSUID=2 MS_NODEV=4 MS_NOEXEC=8 MS_SYNCHRONOUS=0x10 MS_REMOUNT=0x20 MS_MANDLOCK=0x40 "
    "MS_DIRSYNC=0x80 MS_NOSYMFOLLOW=0x100 MS_NOATIME=0x400 MS_NODIRATIME=0x800 MS_BIND=0x1000 MS_MOVE=0x2000 "
    "MS_REC=0x4000 MS_SILENT=0x8000 MS_POSIXACL=0x10000 MS_UNBINDABLE=0x20000 MS_PRIVATE=0x40000 MS_SLAVE=0x80000 "
    "MS_SHARED=0x100000 MS_RELATIME=0x200000 MS_KERNMOUNT=0x400000 MS_I_VERSION=0x800000 MS_STRICTATIME=0x1000000 "
    "MS_LAZYTIME=0x2000000 MS_SUBMOUNT=0x4000000"
)
INOTIFY_FLAGS = _flags(
    "IN_ACCESS=1 IN_MODIFY=2 IN_ATTRIB=4 IN_CLOSE_WRITE=8 IN_CLOSE_NOWRITE=0x10 IN_OPEN=0x20 IN_MOVED_FROM=0x40 "
    "IN_MOVED_TO=0x80 IN_CREATE=0x100 IN_DELETE=0x200 IN_DELETE_SELF=0x400 IN_MOVE_SELF=0x800 IN_UNMOUNT=0x2000 "
    "IN_Q_OVERFLOW=0x4000 IN_IGNORED=0x8000 IN_ONLYDIR=0x1000000 IN_DONT_FOLLOW=0x2000000 IN_EXCL_UNLINK=0x4000000 "
    "IN_MASK_CREATE=0x10000000 IN_MASK_ADD=0x20000000 IN_ISDIR=0x40000000 IN_ONESHOT=0x80000000"
)
STATFS_FLAGS = _flags(
    "ST_VALID=0x20 ST_RDONLY=1 ST_NOSUID=2 ST_NODEV=4 ST_NOEXEC=8 ST_SYNCHRONOUS=0x10 ST_MANDLOCK=0x40 "
    "ST_NOATIME=0x400 ST_NODIRATIME=0x800 ST_RELATIME=0x1000 ST_NOSYMFOLLOW=0x2000"
)
FS_MAGIC = {
    0x187: "AUTOFS_SUPER_MAGIC",
    0x1CD1: "DEVPTS_SUPER_MAGIC",
    0x4D44: "MSDOS_SUPER_MAGIC",
    0x517B: "SMB_SUPER_MAGIC",
    0x6969: "NFS_SUPER_MAGIC",
    0x9660: "ISOFS_SUPER_MAGIC",
    0x9FA0: "PROC_SUPER_MAGIC",
    0xEF53: "EXT2_SUPER_MAGIC",
    0xF15F: "ECRYPTFS_SUPER_MAGIC",
    0x27E0EB: "CGROUP_SUPER_MAGIC",
    0xC36400: "CEPH_SUPER_MAGIC",
    0x1021994: "TMPFS_MAGIC",
    0x1021997: "V9FS_MAGIC",
    0x1161970: "GFS2_MAGIC",
    0x24051905: "UBIFS_SUPER_MAGIC",
    0x2FC12FC1: "ZFS_SUPER_MAGIC",
    0x3153464A: "JFS_SUPER_MAGIC",
    0x42494E4D: "BINFMTFS_MAGIC",
    0x47504653: "GPFS_SUPER_MAGIC",
    0x50495045: "PIPEFS_MAGIC",
    0x5346414F: "AFS_SUPER_MAGIC",
    0x534F434B: "SOCKFS_MAGIC",
    0x58465342: "XFS_SUPER_MAGIC",
    0x61756673: "AUFS_SUPER_MAGIC",
    0x62656572: "SYSFS_MAGIC",
    0x63677270: "CGROUP2_SUPER_MAGIC",
    0x64626720: "DEBUGFS_MAGIC",
    0x65735546: "FUSE_SUPER_MAGIC",
    0x6B414653: "AFS_FS_MAGIC",
    0x6E736673: "NSFS_MAGIC",
    0x73636673: "SECURITYFS_MAGIC",
    0x73717368: "SQUASHFS_MAGIC",
    0x73757245: "CODA_SUPER_MAGIC",
    0x7461636F: "OCFS2_SUPER_MAGIC",
    0x74726163: "TRACEFS_MAGIC",
    0x794C7630: "OVERLAYFS_SUPER_MAGIC",
    0x858458F6: "RAMFS_MAGIC",
    0x9123683E: "BTRFS_SUPER_MAGIC",
    0x958458F6: "HUGETLBFS_MAGIC",
    0xCAFE4A11: "BPF_FS_MAGIC",
    0xE0F5E1E2: "EROFS_SUPER_MAGIC_V1",
    0xF2F52010: "F2FS_SUPER_MAGIC",
    0xFE534D42: "SMB2_SUPER_MAGIC",
    0xFF534D42: "CIFS_SUPER_MAGIC",
}
FILE_TYPES = {
    0o100000: "S_IFREG",
    0o140000: "S_IFSOCK",
    0o010000: "S_IFIFO",
    0o120000: "S_IFLNK",
    0o040000: "S_IFDIR",
    0o060000: "S_IFBLK",
    0o020000: "S_IFCHR",
}

I386_FILE_CALLS = (5, 11, 33, 85, 106, 107, 195, 196, 220, 295, 300, 305, 307, 383)
"""open, execve, access, readlink, stat and the like by their i386 numbers: enough to notice that a process makes them."""

_LD, _JEQ, _JGE, _RET = 0x20, 0x15, 0x35, 0x06
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000


def seccomp_program(numbers: "Iterable[int]") -> bytes:
    """Assemble the filter that stops the target at the traced calls and at no other.

    Every other call, and each one of another architecture that names no file, costs nothing: the kernel caches that
    the answer is "allow".

    Args:
        numbers: x86_64 system call numbers, the most frequent first; at most 200.

    Returns:
        `struct sock_filter` instructions of 8 bytes each.
    """
    # A jump of -1 goes to the last instruction; it is filled in below.
    foreign = [(_LD, 0, 0, 0)] + [(_JEQ, -1, 0, number) for number in I386_FILE_CALLS] + [(_RET, 0, 0, _ALLOW)]
    native = [(_LD, 0, 0, 0), (_JGE, -1, 0, X32_BIT)] + [(_JEQ, -1, 0, number) for number in numbers]
    program = [(_LD, 0, 0, 4), (_JEQ, len(foreign), 0, AUDIT_ARCH_X86_64)] + foreign + native
    program += [(_RET, 0, 0, _ALLOW), (_RET, 0, 0, _TRACE)]
    last = len(program) - 1
    resolved = [(op, last - at - 1 if yes < 0 else yes, no, k) for at, (op, yes, no, k) in enumerate(program)]
    return b"".join(struct.pack("<HBBI", *one) for one in resolved)
