"""Make the mounts of one way; runs in the supervisor, which may move into namespaces.

Every failure is an OSError or NotReady with the reason; the next way is then tried in a new supervisor, so nothing needs to
be rolled back by hand: what was mounted in a private namespace goes with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence

from fsprobe.capture.machine.mounts import mount_of, parse_mountinfo
from fsprobe.layouts.mount import linux
from fsprobe.layouts.mount.methods import Way
from fsprobe.layouts.mount.own_program import start_argv
from fsprobe.layouts.mount.spec import Spec
from fsprobe.layouts.mount.supervision import NotReady, Ready

_OPTIONS = "ro,nosuid,nodev"
_FLAGS = linux.MS_NOSUID | linux.MS_NODEV
_WAIT_S = 15.0
"""For a FUSE server to answer; on a busy parallel filesystem reading the superblock takes a while."""


def prepare(spec: Spec, way: Way, meeting: str) -> Ready:
    """Mount `spec` by `way`.

    Args:
        spec: with checked paths.
        way: the one to take.
        meeting: a free name where bubblewrap can be handed a mount; whoever calls this calls `leave` for it at the end.

    Raises:
        NotReady: with the reason, for the user.
        OSError: likewise.
    """
    if way.namespace == "bwrap":
        return _prepare_bwrap(spec, way, meeting)
    at = os.fsencode(spec.at)
    _enter_namespace(way.namespace)
    here = _working_directory(at)  # after: a descriptor from before would lead back to the caller's mounts
    daemons: list[int] = []
    if spec.kind == "bind":
        linux.mount(os.fsencode(spec.source), at, None, linux.MS_BIND | linux.MS_REC)
        how = "bind"
    elif spec.kind == "squashfs":
        how = _mount_image(way, spec.source, at, daemons)
    else:
        how = _mount_overlay(spec, way, at, daemons)
    fstype = _fstype_at(at)
    os.chdir(here)
    kept = [at + b"/kept"] if spec.upper else []
    made = [at, at + b"/lower", *kept, at] if spec.kind == "overlay" else [at]
    return Ready(
        told={"mount_how": how, "fstype": fstype},
        daemons=frozenset(daemons),
        undo=lambda: _unmount_all(made),
    )


def _enter_namespace(namespace: str) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if namespace == "user":
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
        # the ids stay what they are: an MPI that refuses uid 0 must not see one
        for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(line)
    else:
        linux.unshare(linux.CLONE_NEWNS)
    # slave, not private: mounts that an automounter makes later still arrive, ours never leave
    linux.mount(b"none", b"/", None, linux.MS_REC | linux.MS_SLAVE)


def _working_directory(at: bytes) -> bytes | int:
    """Where the command starts: by name when that lies below the mount (the image's directory is meant), else as it is."""
    try:
        name = os.getcwdb()
    except OSError:  # it was removed
        name = b""
    if name == at or name.startswith(at + b"/"):
        return name
    return os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _mount_image(way: Way, image: str, at: bytes, daemons: list[int]) -> str:
    """Mount `image` at `at`; a server that this starts is added to `daemons`. Returns the filesystem's type."""
    if way.name == "root+kernel":
        done = subprocess.run(
            [way.mounter, "-n", "-t", "squashfs", "-o", f"loop,{_OPTIONS}", image, at],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            raise NotReady(_one_line(done.stdout) or f"mount ended with {done.returncode}")
        return "squashfs"
    return _start_squashfuse(way, image, at, daemons)


def _start_squashfuse(way: Way, image: str, at: bytes, daemons: list[int]) -> str:
    options = _OPTIONS + (",allow_other" if way.namespace == "mount" else "")
    said = os.memfd_create("squashfuse")
    n_before = len(_mounts_at(at))
    daemon = os.fork()
    if daemon == 0:
        try:
            nothing = os.open("/dev/null", os.O_RDWR)
            for source, target in ((nothing, 0), (said, 1), (said, 2)):
                os.dup2(source, target)
            os.closerange(3, 65536)
            os.setpgid(0, 0)  # a terminal's Ctrl-C is for the command, which may still need its files
            os.chdir("/")
            if way.namespace == "user":
                linux.keep_capability_over_exec(linux.CAP_SYS_ADMIN)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            linux.die_with_parent(signal.SIGKILL)
            # in the foreground: a daemonised one would outlive us and keep its namespace, and so the mount
            os.execv(way.mounter, [way.mounter, "-f", "-o", options, image, os.fsdecode(at)])
        finally:
            os._exit(127)
    daemons.append(daemon)
    deadline = time.monotonic() + _WAIT_S
    while len(mounts := _mounts_at(at)) == n_before:
        ended = os.waitpid(daemon, os.WNOHANG)[0]
        if ended or time.monotonic() > deadline:
            os.lseek(said, 0, os.SEEK_SET)
            words = _one_line(os.read(said, 4096))
            name = os.path.basename(way.mounter)
            raise NotReady(f"{name}: {words or ('it ended' if ended else f'no mount after {_WAIT_S:.0f} s')}")
        time.sleep(0.002)
    os.close(said)
    return mounts[-1]


def _mount_overlay(spec: Spec, way: Way, at: bytes, daemons: list[int]) -> str:
    """A writable view of the image at `at`. Its parts live on a tmpfs that the overlay itself then covers, so no
    directory has to be made anywhere, nor removed."""
    flags = _FLAGS
    linux.mount(b"fsprobe", at, b"tmpfs", flags, b"mode=0755")
    os.chdir(at)
    os.mkdir("lower")
    if spec.upper:
        os.mkdir("kept")
        linux.mount(os.fsencode(spec.upper), b"kept", None, linux.MS_BIND)
    top = "kept/" if spec.upper else ""
    for name in ("upper", "work"):
        os.makedirs(top + name, exist_ok=True)
    how = _mount_image(way, spec.source, at + b"/lower", daemons)
    root = os.stat("lower")
    if not spec.upper:
        os.chmod("upper", root.st_mode & 0o7777)
    options = f"lowerdir=lower,upperdir={top}upper,workdir={top}work"
    if way.namespace == "user":
        options += ",userxattr"
    try:
        linux.mount(b"overlay", at, b"overlay", flags, options.encode())
    except OSError as error:
        more = f"; {spec.upper} must be on a local filesystem, not on a network or overlay one" if spec.upper else ""
        raise NotReady(f"{error.strerror}{more}") from error
    return f"overlay on {how}"


def _prepare_bwrap(spec: Spec, way: Way, meeting: str) -> Ready:
    wrapper = [shutil.which("bwrap") or "bwrap", "--dev-bind", "/", "/", "--die-with-parent"]
    daemons: list[int] = []
    if spec.kind == "bind":
        wrapper += ["--bind", spec.source, spec.at]
        fstype, how = _fstype_at(os.fsencode(spec.source)), "bind"
    else:
        os.mkdir(meeting, 0o700)
        how = fstype = _start_squashfuse(way, spec.source, os.fsencode(meeting), daemons)
        wrapper += ["--ro-bind", meeting, spec.at]
    trial = subprocess.run([*wrapper, "--", "/bin/sh", "-c", ":"], stdin=subprocess.DEVNULL, capture_output=True)
    if trial.returncode:
        raise NotReady(_one_line(trial.stderr) or f"bwrap ended with {trial.returncode}")
    return Ready(
        told={"mount_how": how, "fstype": fstype},
        wrapper=[*wrapper, "--", *start_argv()],
        daemons=frozenset(daemons),
        after_start=lambda: leave(meeting),  # the sandbox holds the mount now
        undo=lambda: leave(meeting),
    )


def leave(meeting: str) -> None:
    """Take what may be mounted at a meeting place out of this namespace, and remove the place; may be called again."""
    # asked of the mount table: once its server is dead, the place itself can't be looked at
    if _mounts_at(os.fsencode(meeting)):
        tool = shutil.which("fusermount3") or shutil.which("fusermount")
        line = [tool, "-u", "-z", meeting] if tool else ["umount", "-l", meeting]
        subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True)
    try:
        os.rmdir(meeting)
    except OSError:
        pass  # it was never made


def _mounts_at(point: bytes) -> list[str]:
    """Types of the filesystems that are mounted at exactly this path, the visible one last."""
    with open("/proc/self/mountinfo", "rb") as file:
        return [row[1] for row in parse_mountinfo(file.read()) if row[0] == point]


def _fstype_at(path: bytes) -> str:
    with open("/proc/self/mountinfo", "rb") as file:
        row = mount_of(path, parse_mountinfo(file.read()))
    return row[1] if row else ""


def _unmount_all(made: Sequence[bytes]) -> None:
    """Unmount what this supervisor mounted, the uppermost first; whatever refuses is detached and goes with the namespace."""
    os.chdir("/")
    for point in made:
        try:
            linux.umount(point)
        except OSError:
            try:
                linux.umount(point, linux.MNT_DETACH)
            except OSError:
                pass  # the command may have unmounted it itself


def _one_line(said: bytes | Sequence[bytes]) -> str:
    text = said if isinstance(said, bytes) else b" ".join(said)
    return " ".join(os.fsdecode(text).split())
