"""A tracer that stands still because it waits for its own tracee: seen from outside, and ended.

A tracer that reads a page of a file which a FUSE server among its tracees keeps waits for a server that waits for the tracer:
for ever, past SIGKILL. Only the end of the connection ends it: by the kernel's own control file, or by a forced unmounting in
the server's namespaces. The tracer is never killed: every traced call of its target would fail from then on.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.

Source: the kernel's Documentation/filesystems/fuse.rst; proc(5), /proc/PID/syscall; umount(2), MNT_FORCE.
"""

import ctypes
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_EVERY_S = 1.0
STILL_S = 3.0
"""A tracer that has been in one read of its target's memory for so long waits for a server. A judgement."""
READING = {"x86_64": ("310", "17", "101"), "aarch64": ("270", "67", "117")}
"""process_vm_readv, pread64, ptrace. Source: asm/unistd_64.h, asm-generic/unistd.h."""
CONTROL = "/sys/fs/fuse/connections"
DEVICE = "/fuse"
"""How the path of the device ends; a container may have it elsewhere."""
_CLONE_NEWNS, _CLONE_NEWUSER, _MS_PRIVATE_ALL, _MNT_FORCE, _UMOUNT_NOFOLLOW = 0x20000, 0x10000000, 0x44000, 1, 8


class Stall:
    """Watches one tracer."""

    def __init__(self, at_start: "str") -> "None":
        """`at_start`: the mounts as they were before the command began, in a file; without it, as they are."""
        self.why = ""
        """What was found and done, in words; "" as long as all goes well."""
        self.is_stuck = False
        """It stands still, and nothing that may be done here ends that."""
        table = at_start if os.path.exists(at_start) else "/proc/self/mountinfo"
        self._before = frozenset(number for number, _, _ in fuse_mounts(table))
        self._looked_at = self._still_since = 0.0
        self._last = ""

    def look(self, tracer: "int") -> "None":
        """Look at it once a second, and end its standing still."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        doing = doing_now(tracer)
        if doing != self._last or doing.split(" ")[0] not in READING.get(os.uname().machine, ()):
            self._last, self._still_since = doing, now
            return
        if now - self._still_since < STILL_S:
            return
        self._still_since = now
        servers = [pid for pid in tracees(tracer) if serves(pid)]
        if not servers:
            return
        names = ", ".join(sorted({name_of(pid) for pid in servers}))
        self.is_stuck = not self._end(servers)
        self.why = (
            "the tracer stood still, for it waited for %s, which serves a filesystem (FUSE) and is traced itself; %s"
            % (
                names,
                "nobody may end that here: the site's root can, by `umount -f`"
                if self.is_stuck
                else "the connection was aborted, and what came after on that filesystem failed (--backend ptrace does not wait)",
            )
        )

    def _end(self, servers: "list[int]") -> "bool":
        """Abort what they serve; False where none of it may be."""
        is_done = False
        for pid in servers:
            known = connections(pid)
            for number, place, _ in fuse_mounts("/proc/%d/mountinfo" % pid):
                if (number in known) if known else (number not in self._before):
                    is_done = abort(number) or unmount(pid, place) or is_done
        return is_done


def doing_now(pid: "int") -> "str":
    """The system call that a process waits in, with its arguments; "" where that can't be told."""
    try:
        with open("/proc/%d/syscall" % pid, "rb", buffering=0) as source:
            return source.read(256).decode("ascii", "replace").strip()
    except OSError:
        return ""


def tracees(tracer: "int") -> "Iterator[int]":
    """The processes that one traces."""
    wanted = b"\nTracerPid:\t%d\n" % tracer
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/status" % name, "rb", buffering=0) as source:
                    if wanted in source.read(4096):
                        yield int(name)
            except OSError:
                continue


def serves(pid: "int") -> "bool":
    """Whether a process has /dev/fuse open."""
    place = "/proc/%d/fd" % pid
    try:
        return any(os.readlink(os.path.join(place, fd)).endswith(DEVICE) for fd in os.listdir(place))
    except OSError:
        return False


def connections(pid: "int") -> "set[int]":
    """The numbers of the FUSE connections that a process serves; none where the kernel does not say (before 6.14)."""
    found = set()
    place = "/proc/%d/fdinfo" % pid
    try:
        for fd in os.listdir(place):
            with open(os.path.join(place, fd), "rb", buffering=0) as source:
                for line in source.read(4096).split(b"\n"):
                    if line.startswith(b"fuse_connection:"):
                        found.add(int(line.split()[1]))
    except (OSError, ValueError, IndexError):
        pass
    return found


def name_of(pid: "int") -> "str":
    """What a process calls itself."""
    try:
        with open("/proc/%d/comm" % pid, "rb", buffering=0) as source:
            name = source.read(64).decode("utf-8", "replace").strip()
    except OSError:
        return str(pid)
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def fuse_mounts(table: "str") -> "list[tuple[int, str, str]]":
    """The FUSE mounts of a file as /proc/PID/mountinfo: number of the connection, place, type."""
    from fsprobe.capture.machine import mounts

    found = []
    try:
        with open(table, "rb") as source:
            for line in source.read().split(b"\n"):
                before, _, after = line.partition(b" - ")
                fields, kind = before.split(), after.split(b" ")[0].decode("utf-8", "replace")
                if len(fields) >= 5 and (kind == "fuse" or kind.startswith("fuse.")):
                    found.append((int(fields[2].partition(b":")[2]), os.fsdecode(mounts.unescape(fields[4])), kind))
    except (OSError, ValueError):
        pass
    return found


def abort(number: "int") -> "bool":
    """Abort a connection by its control file, which belongs to who mounted it; root mounts the files where they are not there."""
    path = "%s/%d/abort" % (CONTROL, number)
    if _write(path):
        return True
    return os.geteuid() == 0 and not os.path.exists(path) and _in_child(lambda libc: _abort_beside(libc, path))


def _abort_beside(libc: "ctypes.CDLL", path: "str") -> "bool":
    is_mounted = (
        libc.unshare(_CLONE_NEWNS) == 0
        and libc.mount(None, b"/", None, _MS_PRIVATE_ALL, None) == 0
        and libc.mount(b"fusectl", CONTROL.encode(), b"fusectl", 0, None) == 0
    )
    return is_mounted and _write(path)


def unmount(pid: "int", place: "str") -> "bool":
    """Unmount by force what a process sees at `place`, in its own namespaces: that too aborts the connection."""
    return _in_child(lambda libc: _unmount_inside(libc, pid, place))


def _unmount_inside(libc: "ctypes.CDLL", pid: "int", place: "str") -> "bool":
    spaces = [os.open("/proc/%d/ns/%s" % (pid, kind), os.O_RDONLY) for kind in ("user", "mnt")]
    is_elsewhere = os.readlink("/proc/%d/ns/user" % pid) != os.readlink("/proc/self/ns/user")
    if is_elsewhere and libc.setns(spaces[0], _CLONE_NEWUSER):
        return False
    if libc.setns(spaces[1], _CLONE_NEWNS):
        return False
    done = libc.umount2(os.fsencode(place), _MNT_FORCE | _UMOUNT_NOFOLLOW)
    # what is in use stays mounted, but its connection has been aborted
    return done == 0 or ctypes.get_errno() == 16


def _in_child(work: "Callable[[ctypes.CDLL], bool]") -> "bool":
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if work(ctypes.CDLL(None, use_errno=True)) else 1
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def _write(path: "str") -> "bool":
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        os.write(fd, b"1")
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
