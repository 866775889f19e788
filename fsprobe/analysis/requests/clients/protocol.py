"""Which client serves a mount, and how: its protocol and what the mount's options say of its caches.

The type and the options come from the run's own mountinfo. What the kernel leaves out there has its default (Linux:
fs/nfs/super.c, nfs_show_mount_options; nfs(5)).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fsprobe.foreign_numbers import count
from fsprobe.model.events import Mount


class Family(str, Enum):
    """Whose rules are followed."""

    FUSE = "FUSE"
    NFS = "NFS"
    LUSTRE = "Lustre"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How the client of one mount asks its server."""

    family: Family
    version: str = ""
    """NFS: "3", "4.0", "4.1", "4.2"."""
    is_standing_in: bool = False
    """The rows are those of a FUSE client, but the mount's own client has other rules, which are not known here."""
    close_to_open: bool = True
    """NFS: an open asks whether what is cached is still so; not with `nocto`."""
    lookup_cache: str = "all"
    """NFS: which names are believed without asking: all | positive | none."""
    readdirplus: bool = True
    """NFS: a directory is read with the attributes of its files; not with `nordirplus`."""
    file_ages_s: tuple[float, float] = (3.0, 60.0)
    """NFS: how long a file's attributes are believed, at first and at most (acregmin, acregmax)."""
    directory_ages_s: tuple[float, float] = (30.0, 60.0)
    """NFS: the same for directories (acdirmin, acdirmax)."""
    delegations: bool = True
    """NFS 4: the server lends files, which are then opened without asking. No mount option tells: nfsd lends them, other
    servers may not."""
    file_access_times: bool = True
    """The mount keeps access times (no `noatime`)."""
    directory_access_times: bool = True
    read_bytes: int = 1 << 20
    """NFS: the most that one answer holds (rsize)."""
    open_cache_opens: int = 5
    """Lustre: from which open on a file is kept open (llite.*.opencache_threshold_count); 0: never."""
    walks_programs_twice: bool = False
    """The client's kernel looks an executed program's path up twice: it is built with TOMOYO, as Debian's is (Linux:
    security/tomoyo/domain.c, tomoyo_find_next_domain: tomoyo_realpath_nofollow)."""

    @property
    def name(self) -> str:
        """As users name it: `NFS v4.2`."""
        if self.family is Family.NFS:
            return f"NFS v{self.version}"
        return str(self.family.value)

    @property
    def is_v4(self) -> bool:
        """NFS of major version 4."""
        return self.version.startswith("4")


def of_mount(mount: Mount, kernel: str = "") -> Protocol:
    """The protocol of a mount.

    Args:
        mount: with the options of mountinfo, those of the mount and those of the superblock.
        kernel: the client's release, as `uname -r` says it; "" where it is not known.
    """
    return of_options(mount.fstype, mount.options, kernel)


def of_options(fstype: str, options: str, kernel: str = "") -> Protocol:
    """The protocol of a filesystem type with such options; see `of_mount`."""
    found: dict[str, str] = {}
    for word in options.split(","):
        name, _, value = word.partition("=")
        found[name] = value
    file_times, directory_times = "noatime" not in found, "noatime" not in found and "nodiratime" not in found
    twice = _is_debian(kernel)
    if fstype in ("nfs", "nfs4"):
        return _nfs(fstype, found, file_times, directory_times, twice)
    if fstype == "lustre":
        return Protocol(family=Family.LUSTRE, walks_programs_twice=twice)
    return Protocol(family=Family.FUSE, is_standing_in=not fstype.startswith("fuse") or fstype == "fuse.cvmfs2")


def _nfs(fstype: str, found: dict[str, str], file_times: bool, directory_times: bool, twice: bool) -> Protocol:
    version = found.get("vers") or found.get("nfsvers") or ("4" if fstype == "nfs4" else "3")
    if version == "4":
        version = f"4.{found.get('minorversion') or '0'}"
    files, directories = [3.0, 60.0], [30.0, 60.0]
    if "actimeo" in found:
        files = [_seconds(found, "actimeo", 3.0)] * 2
        directories = list(files)
    for index, name in enumerate(("acregmin", "acregmax")):
        files[index] = _seconds(found, name, files[index])
    for index, name in enumerate(("acdirmin", "acdirmax")):
        directories[index] = _seconds(found, name, directories[index])
    if "noac" in found:
        files, directories = [0.0, 0.0], [0.0, 0.0]
    cache = {"none": "none", "pos": "positive", "positive": "positive"}.get(found.get("lookupcache", ""), "all")
    return Protocol(
        family=Family.NFS,
        version=version,
        close_to_open="nocto" not in found,
        lookup_cache=cache,
        readdirplus="nordirplus" not in found,
        file_ages_s=(files[0], files[1]),
        directory_ages_s=(directories[0], directories[1]),
        file_access_times=file_times,
        directory_access_times=directory_times,
        read_bytes=count(found.get("rsize", "")) or 1 << 20,
        walks_programs_twice=twice,
    )


def _seconds(found: dict[str, str], name: str, default: float) -> float:
    value = count(found.get(name, ""))
    return default if value is None else float(value)


def _is_debian(kernel: str) -> bool:
    """Whether it is a kernel of Debian's own packages: `6.1.0-56-amd64`, `6.12.43+deb13-cloud-amd64`."""
    return kernel.endswith(("-amd64", "-arm64")) or "+deb" in kernel
