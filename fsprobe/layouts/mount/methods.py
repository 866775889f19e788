"""Which ways this machine has to mount something for one command: facts, and pure planning over them.

The order is the measured one: the kernel's own SquashFS first, then squashfuse in a namespace that needs no privilege,
then bubblewrap with the setuid helper of FUSE.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass

from fsprobe.layouts.mount import linux

KINDS = ("squashfs", "bind", "overlay")
_TOOLS = ("mount", "squashfuse_ll", "squashfuse", "bwrap", "fusermount3", "fusermount")
_MORE_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What decides which ways exist; read once, without trying anything."""

    may_mount: bool
    """This process has CAP_SYS_ADMIN."""
    user_namespaces: bool
    """The kernel's switches allow a user to make one; a security module may still forbid it."""
    no_new_privileges: bool
    """Setuid programs don't get their rights here (a container, or under a tracer)."""
    dev_fuse: str
    """"" when /dev/fuse may be opened for reading and writing, else why not."""
    loop_devices: bool
    tools: dict[str, str]
    """Tool name -> path, for those that are installed."""
    setuid_tools: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to mount, possible unless `why_not` says otherwise."""

    name: str
    """root+kernel | root+fuse | user+fuse | bwrap+fuse, or root | user | bwrap for a bind mount."""
    namespace: str
    """mount | user | bwrap: what separates the command's mounts from everybody else's."""
    mounter: str
    """Path of the program that mounts the image; "" for a bind mount."""
    why_not: str = ""


def read_host_facts() -> HostFacts:
    """Look at this process and this machine; nothing is tried."""
    status = _read("/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    tools = {}
    for name in _TOOLS:
        path = shutil.which(name) or shutil.which(name, path=_MORE_PATH)
        if path:
            tools[name] = path
    return HostFacts(
        may_mount=bool(int(fields.get("CapEff", "0"), 16) >> linux.CAP_SYS_ADMIN & 1),
        user_namespaces=_read("/proc/sys/user/max_user_namespaces").strip() not in ("", "0")
        and _read("/proc/sys/kernel/unprivileged_userns_clone").strip() != "0",
        no_new_privileges=fields.get("NoNewPrivs", "0").strip() == "1",
        dev_fuse=_why_no_fuse(),
        loop_devices=os.path.exists("/dev/loop-control") or os.path.exists("/dev/loop0"),
        tools=tools,
        setuid_tools=frozenset(name for name, path in tools.items() if os.stat(path).st_mode & stat.S_ISUID),
    )


def plan_ways(facts: HostFacts, kind: str) -> list[Way]:
    """Every way for `kind` (squashfs, bind, overlay) in the order to try them, with why some can't work here."""
    privileged = "" if facts.may_mount else "needs root (CAP_SYS_ADMIN)"
    user = "" if facts.user_namespaces else "user namespaces are switched off (user.max_user_namespaces is 0)"
    bwrap = "" if "bwrap" in facts.tools else "bwrap (bubblewrap) is not installed"
    if kind == "bind":
        return [
            Way(name="root", namespace="mount", mounter="", why_not=privileged),
            Way(name="user", namespace="user", mounter="", why_not=user),
            Way(name="bwrap", namespace="bwrap", mounter="", why_not=bwrap),
        ]
    fuse_tool = facts.tools.get("squashfuse_ll") or facts.tools.get("squashfuse") or ""
    fuse = facts.dev_fuse or ("" if fuse_tool else "squashfuse is not installed")
    kernel = "" if "mount" in facts.tools else "mount (util-linux) is not installed"
    loop = "" if facts.loop_devices else "there are no loop devices"
    return [
        Way(
            name="root+kernel",
            namespace="mount",
            mounter=facts.tools.get("mount", ""),
            why_not=privileged or kernel or loop,
        ),
        Way(name="root+fuse", namespace="mount", mounter=fuse_tool, why_not=privileged or fuse),
        Way(name="user+fuse", namespace="user", mounter=fuse_tool, why_not=user or fuse),
        Way(
            name="bwrap+fuse",
            namespace="bwrap",
            mounter=fuse_tool,
            why_not=bwrap
            or fuse
            or _why_no_fusermount(facts)
            or ("bubblewrap has no overlay that keeps its rights" if kind == "overlay" else ""),
        ),
    ]


def hint_for(ways: list[Way], kind: str) -> str:
    """What a user can do when none of `ways` worked."""
    missing = [way.why_not for way in ways]
    steps = []
    if any("not installed" in reason for reason in missing):
        steps.append("install squashfuse (and bubblewrap), or load a module that has them")
    if kind == "squashfs":
        steps.append("in a container let it mount the image: singularity exec -B IMG:PATH:image-src=/ ...")
    steps.append("ask the site to allow user namespaces and /dev/fuse on compute nodes")
    return "; or ".join(steps)


def _why_no_fusermount(facts: HostFacts) -> str:
    name = next((name for name in ("fusermount3", "fusermount") if name in facts.tools), "")
    if not name:
        return "fusermount3 (fuse3) is not installed"
    if facts.may_mount:
        return ""
    if name not in facts.setuid_tools:
        return f"{name} is not setuid root"
    return "setuid programs have no rights here (no_new_privs)" if facts.no_new_privileges else ""


def _why_no_fuse() -> str:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/fuse: {error.strerror}"
    return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
