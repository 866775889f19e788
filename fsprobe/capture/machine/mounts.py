"""Mounts: read /proc/self/mountinfo and say what kind of filesystem each one is.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
Source of the format: proc(5), /proc/pid/mountinfo.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    MountRow = tuple[bytes, str, bytes, str]

MAX_BYTES = 1 << 26
"""Of a mount table."""
_held = {}  # type: dict[int, int]  # process -> descriptor of its own mountinfo

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
    that program usually asks another machine. An overlay counts as local here: `classify_all` looks below it.
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


_OVERLAYS = frozenset(["overlay", "fuse.fuse-overlayfs"])
_CONTAINER_ROOT = "/mnt/session/rootfs"
"""How Apptainer and Singularity call the layer that is the container's own image, below the session's directory."""
_IMAGE_FILES = (".sif", ".sqsh", ".sqfs", ".squashfs", ".simg", ".img")


def classify_all(rows: "list[MountRow]", container: "str" = "") -> "list[str]":
    """Say of each mount where it keeps its data, of an overlay by the layers below it, where what is read lies.

    Args:
        rows: a whole mount table.
        container: the container's image or directory (APPTAINER_CONTAINER), "" where that is not known. A container's root is an
            overlay over layers that its own mount table does not have: over an image, unless the container is a directory.
    """
    found = [classify(row[1]) for row in rows]
    return [
        _below(row, rows, container) or found[at] if row[1] in _OVERLAYS else found[at] for at, row in enumerate(rows)
    ]


def _below(overlay: "MountRow", rows: "list[MountRow]", container: "str") -> "str":
    is_image = not container or container.endswith(_IMAGE_FILES)
    layers = _lower_layers(overlay[3])
    if overlay[0] == b"/" and (any(layer.endswith(_CONTAINER_ROOT) for layer in layers) or (not layers and container)):
        return "image" if is_image else ""
    others = [row for row in rows if row is not overlay]
    mounts = [mount_of(layer.encode("utf-8", "surrogateescape"), others) for layer in layers if layer.startswith("/")]
    below = {classify(row[1]) for row in mounts if row is not None}
    return next((fs_class for fs_class in ("network", "image", "local", "memory") if fs_class in below), "")


def _lower_layers(options: "str") -> "list[str]":
    """The directories that an overlay's options name as below it; a colon or comma in a name is escaped there."""
    layers = []
    for word in options.split(","):
        if word.startswith(("lowerdir=", "lowerdir+=", "datadir+=")):
            layers += [layer.replace("\\054", ",") for layer in word.partition("=")[2].split(":") if layer]
    return layers


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


def read_own(holds: "bool" = False) -> "bytes":
    """The mountinfo of this very process; empty where /proc is not there.

    Args:
        holds: keep the descriptor, for a process that stays in its namespace and asks again.
    """
    process = os.getpid()
    fd, data = _held.get(process, -1), b""
    try:
        if fd < 0:
            fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        while len(data) < MAX_BYTES:  # the kernel gives a page at a time, whatever is asked for
            block = os.pread(fd, 1 << 16, len(data))
            data += block
            if not block:
                break
    except OSError:
        data = b""
    if fd >= 0 and holds:
        _held[process] = fd
    elif fd >= 0 and process not in _held:
        os.close(fd)
    return data
