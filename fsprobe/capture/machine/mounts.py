"""Mounts: read /proc/self/mountinfo and say what kind of filesystem each one is.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
Source of the format: proc(5), /proc/pid/mountinfo.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    MountRow = tuple[bytes, str, bytes, str]

NETWORK = frozenset(
    "lustre gpfs nfs nfs4 cifs smb3 smbfs beegfs ceph afs 9p orangefs pvfs2 panfs wekafs dvs glusterfs ocfs2 gfs2 acfs coda "
    "cvmfs2 daos quobyte virtiofs".split()
)
IMAGE = frozenset(
    ["squashfs", "erofs", "iso9660", "cramfs", "romfs", "fuse.squashfuse", "fuse.squashfuse_ll", "fuse.dwarfs"]
)
MEMORY = frozenset(["tmpfs", "ramfs", "hugetlbfs", "rootfs"])
PSEUDO = frozenset(
    "proc sysfs devtmpfs devpts cgroup cgroup2 mqueue debugfs tracefs securityfs pstore bpf configfs fusectl autofs "
    "binfmt_misc nsfs efivarfs rpc_pipefs selinuxfs".split()
)
LOCAL_FUSE = frozenset(
    ["fuse.fuse-overlayfs", "fuse.gocryptfs", "fuse.bindfs", "fuse.ntfs-3g", "fuse.unionfs", "fuse.lxcfs", "fuseblk"]
)


def classify(fstype: "str") -> "str":
    """Say where a filesystem type keeps its data: local | network | image | memory | pseudo.

    A FUSE filesystem that is not known to be local counts as network: its server is another program, and on a cluster
    that program usually asks another machine. An overlay counts as local, since mountinfo does not say what is under it.
    """
    if fstype in IMAGE:
        return "image"
    if fstype in MEMORY:
        return "memory"
    if fstype in PSEUDO:
        return "pseudo"
    if fstype in NETWORK:
        return "network"
    if fstype.startswith("fuse") and fstype not in LOCAL_FUSE:
        return "network"
    return "local"


def unescape(field: "bytes") -> "bytes":
    """Undo the octal escapes of mountinfo (space, tab, newline, backslash)."""
    first, *rest = field.split(b"\\")
    pieces = [first]
    for piece in rest:
        if len(piece) >= 3 and all(digit in b"01234567" for digit in piece[:3]):
            pieces.append(bytes([int(piece[:3], 8) & 0xFF]) + piece[3:])
        else:
            pieces.append(b"\\" + piece)
    return b"".join(pieces)


def parse_mountinfo(data: "bytes") -> "list[MountRow]":
    """Parse mountinfo into (path, fstype, source, options) rows, in the file's order; lines that are none are left out."""
    rows = []
    for line in data.split(b"\n"):
        left, separator, right = line.partition(b" - ")
        before, after = left.split(b" "), right.split(b" ")
        if not separator or len(before) < 6 or len(after) < 2:
            continue
        options = before[5].decode("ascii", "replace")
        if len(after) > 2:
            options += "," + after[2].decode("ascii", "replace")
        rows.append((unescape(before[4]), after[0].decode("ascii", "replace"), unescape(after[1]), options))
    return rows


def mount_of(path: "bytes", rows: "list[MountRow]") -> "MountRow | None":
    """The mount that an absolute, symlink-free path lies on: the last one mounted on its longest prefix."""
    best = None
    for row in rows:
        point = row[0]
        if (path == point or point == b"/" or path.startswith(point + b"/")) and (
            best is None or len(point) >= len(best[0])
        ):
            best = row
    return best


def read_own() -> "bytes":
    """The mountinfo of this very process; empty where /proc is not there."""
    try:
        with open("/proc/self/mountinfo", "rb", buffering=0) as source:
            return source.read(1 << 26)
    except OSError:
        return b""
