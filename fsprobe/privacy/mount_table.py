"""A mount table without the names in it: what is mounted may be anybody's, on any server, in the words of many filesystems.

So nothing of a source or an option is kept but what is known to be structure: types, devices, numbers, switches.
"""

from __future__ import annotations

import re

from fsprobe.privacy.concealment import Unchanged
from fsprobe.privacy.path_owners import COMMON, ELSEWHERE, HOMES, PROJECTS, STRUCTURE, SYSTEM
from fsprobe.privacy.secrets.secret_names import is_secret_name

LOCAL = frozenset(
    b"ext2 ext3 ext4 xfs btrfs zfs f2fs jfs reiserfs bcachefs ntfs ntfs3 vfat exfat msdos hfsplus ubifs jffs2 udf fuseblk overlay "
    b"aufs ecryptfs tmpfs ramfs rootfs hugetlbfs devtmpfs squashfs erofs iso9660 cramfs romfs proc sysfs devpts cgroup cgroup2 "
    b"mqueue debugfs tracefs securityfs pstore bpf configfs fusectl binfmt_misc nsfs efivarfs rpc_pipefs selinuxfs cvmfs2 "
    b"fuse.squashfuse fuse.squashfuse_ll fuse.dwarfs fuse.fuse-overlayfs fuse.gocryptfs fuse.encfs fuse.bindfs fuse.ntfs-3g "
    b"fuse.unionfs fuse.lxcfs fuse.gvfsd-fuse fuse.portal fuse.cvmfs fuse.snapfuse".split()
)
"""Any other type may be shared by people: what lies at its top is taken for theirs."""
_SOFTWARE = frozenset(
    b"software sw apps app appl modules easybuild spack conda opt cvmfs nix usr lib lib64 bin".split()
)
_NO_SOURCE = frozenset(
    b"none udev shm run cgroup cgroup2 devpts mqueue hugetlbfs debugfs tracefs securityfs pstore bpf configfs fusectl binfmt_misc "
    b"systemd-1 sunrpc gvfsd-fuse portal nsfs efivarfs overlay tmpfs proc sysfs rootfs squashfuse squashfuse_ll fuse-overlayfs "
    b"beegfs_nodev beegfs_ondemand s3fs encfs gocryptfs sshfs rclone goofys cvmfs2 lxcfs".split()
)
_DEVICE = re.compile(
    rb"/dev/(?:(?:sd|vd|xvd|hd)[a-z]+\d*|nvme\d+n\d+(?:p\d+)?|mmcblk\d+(?:p\d+)?|(?:loop|dm-|md|sr|ram|zram|nbd|pmem)\d+(?:p\d+)?|root|fuse|shm)"
)
_BRACKETED = re.compile(rb"\[([0-9A-Fa-f:.%][^\]]*)\]")
_SPLIT = re.compile(rb"([:/,@=?&#;|\s\\]+)")
_NETWORKS = re.compile(rb"(?:tcp|o2ib|gni|kfi|ptlf|lo)\d*")
_SCHEMES = frozenset(
    b"http https dav davs s3 s3a gs sftp ssh ftp ftps ldap ldaps nis yp file docker oras smb cifs hdfs webdav".split()
)
_GENERIC = frozenset(
    b"fs vol volume volumes pool tank disk x c remote.php dav webdav files ou dc cn auto fsid mds mgs".split()
)
_KEPT_VALUE = re.compile(
    rb"(?i)\d+(?:\.\d+)?[kmgtp%]?|0x[0-9a-f]+|[0-7]{3,5}|yes|no|on|off|true|false|none|all|default|auto|<hidden>"
)
_KEPT_OPTIONS = frozenset(
    b"vers proto sec mode data errors xino index redirect_dir metacopy volatile cache trans local_lock lookupcache nfsvers "
    b"mountproto xattr acl dax jqfmt block_validity compress discard gid_map shared master propagate_from order usrjquota "
    b"grpjquota iocharset nls seclabel reservations lazystatfs flock version access posix uuid inode64 logbufs logbsize swidth "
    b"sunit allocsize timeo retrans rsize wsize namlen acregmin acregmax acdirmin acdirmax port mountvers mountport nconnect "
    b"max_connect fd pgrp timeout minproto maxproto pipe_ino read_ahead_kb max_read blksize size nr_inodes nr_blocks huge".split()
)
"""Options whose values are words of the filesystem's own."""
_HOST_OPTIONS = frozenset(
    b"addr clientaddr mountaddr mgsnode ip mon_addr source servername syssmgmtdhost sysmgmtdhost host server hostname unc "
    b"netbiosname srcaddr url endpoint".split()
)
_USER_OPTIONS = frozenset(b"username user uname name cruser login account".split())
_ID_OPTIONS = frozenset(b"user_id group_id uid gid cruid forceuid fsuid dfltuid dfltgid backupuid backupgid".split())
_CONCEALED = re.compile(rb"secret\d+")
_OCTAL = re.compile(rb"\\([0-7]{3})")


def mount_table(data: bytes, hide: Unchanged) -> bytes:
    """A mountinfo with secrets, and names where those are to be hidden, replaced in roots, mount points, sources and options."""
    lines = []
    for line in data.split(b"\n"):
        left, separator, right = line.partition(b" - ")
        before, after = left.split(b" "), right.split(b" ")
        if separator and len(before) >= 6 and len(after) >= 2:
            before[3] = _escaped(remote_path(_unescaped(before[3]), hide))
            before[4] = _escaped(hide.mount_point(_unescaped(before[4])))
            after[1] = _escaped(source(_unescaped(after[1]), after[0], hide))
            after[2:] = [b",".join(_option(option, hide) for option in _options(field)) for field in after[2:]]
            line = b" ".join(before) + separator + b" ".join(after)
        elif line:
            line = b"?"
        lines.append(line)
    return b"\n".join(lines)


def shared_roots(data: bytes) -> list[tuple[bytes, ...]]:
    """The components of each mount point of a mountinfo at whose top people's directories may lie."""
    found = []
    for line in data.split(b"\n"):
        left, separator, right = line.partition(b" - ")
        before, after = left.split(b" "), right.split(b" ")
        if not separator or len(before) < 6 or len(after) < 2 or after[0] in LOCAL:
            continue
        point = tuple(part for part in _unescaped(before[4]).split(b"/") if part)
        if point and point[0] not in SYSTEM | ELSEWHERE and point[-1] not in _SOFTWARE and point[0] not in _SOFTWARE:
            found.append(point)
    return found


def source(value: bytes, fstype: bytes, hide: Unchanged) -> bytes:
    """What is mounted: a device, a directory of a server, a bucket, in the filesystem's own words."""
    if not hide.sees_names:
        return hide.text(value)
    if value in _NO_SOURCE or value == fstype or _DEVICE.fullmatch(value):
        return value
    value = hide.conceal(value)
    if value.startswith(b"/") and not value.startswith(b"//"):
        head = b"/dev/" if value.startswith(b"/dev/") else b""
        return head + _unknown_words(value[len(head) :], hide) if head or fstype not in LOCAL else hide.path(value)
    return _unknown_words(value, hide)


def remote_path(path: bytes, hide: Unchanged) -> bytes:
    """A path on a server, or inside of a filesystem: any of its components may be a name."""
    if not hide.sees_names:
        return hide.path(path)
    return path if path == b"/" else _unknown_words(path, hide)


def _unknown_words(value: bytes, hide: Unchanged) -> bytes:
    """Each word that is not known to be structure replaced; what stands between them stays."""
    value = _BRACKETED.sub(lambda match: b"[" + hide.named("server", match.group(1)) + b"]", value)
    pieces = _SPLIT.split(value)
    is_path = value.startswith(b"/") and not value.startswith(b"//")
    n_at = value.count(b"@")
    for at in range(0, len(pieces), 2):
        piece = pieces[at]
        before = pieces[at - 1] if at else b""
        after = pieces[at + 1] if at + 1 < len(pieces) else b""
        if not piece or piece.startswith(b"[") or piece in (b".", b"..") or _CONCEALED.fullmatch(piece):
            continue
        if piece.lower() in _SCHEMES and after.startswith(b":"):
            continue
        if before.endswith((b":", b"=")) and piece.isdigit() and len(piece) < 6:
            continue  # a port
        if before.endswith(b"@") and _NETWORKS.fullmatch(piece):
            is_path = True
            continue
        small = piece.lower()
        if hide.knows(piece):
            pass
        elif small in STRUCTURE or small in HOMES or small in PROJECTS or small in COMMON or small in _GENERIC:
            continue
        kind = "source" if is_path else "server"
        if not is_path and after.startswith(b"@") and n_at == 1 and not _NETWORKS.fullmatch(pieces[at + 2]):
            kind = "user"
        elif not is_path and not after.startswith((b"@", b",")):
            is_path = True  # what follows the server is a path of its own
        pieces[at] = hide.named(kind, piece)
    return b"".join(pieces)


def _options(field: bytes) -> list[bytes]:
    return field.split(b",")


def _option(option: bytes, hide: Unchanged) -> bytes:
    name, found, value = option.partition(b"=")
    if not found:
        return hide.text(option)
    small = name.lower()
    if not hide.sees_names:
        return name + found + _escaped(hide.assigned(name, _unescaped(value)))
    concealed = hide.assigned(name, _unescaped(value)) if is_secret_name(name) else b""
    if concealed and concealed != _unescaped(value):
        return name + found + _escaped(concealed)
    if small in _ID_OPTIONS:
        return name + found + (b"0" if hide.is_redacting else value)
    if small in _HOST_OPTIONS:
        return name + found + _escaped(_unknown_words(b"//" + _unescaped(value), hide)[2:])
    if small in _USER_OPTIONS:
        return name + found + hide.named("user", value)
    if small in _KEPT_OPTIONS or _KEPT_VALUE.fullmatch(value) or not value:
        return option
    value = _unescaped(value)
    if value.startswith(b"/") and small in (b"lowerdir", b"upperdir", b"workdir", b"cfgfile"):
        return name + found + _escaped(hide.text(value))
    return (
        name + found + _escaped(_unknown_words(value, hide) if value.startswith(b"/") else hide.named("source", value))
    )


def _unescaped(field: bytes) -> bytes:
    return _OCTAL.sub(lambda match: bytes((int(match.group(1), 8) & 0xFF,)), field)


def _escaped(field: bytes) -> bytes:
    return re.sub(rb"[ \t\n\\]", lambda match: b"\\%03o" % match.group()[0], field)
