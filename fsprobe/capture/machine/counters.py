"""What the kernel's own clients of NFS and Lustre have counted: requests to the file server, where the mount has them.

    source, why_not = find(b"/scratch/me/venv")
    before = source.read(); ...; after = source.read()

Standard library only. Sources of the formats: NFS: /proc/self/mountstats, written by fs/nfs/super.c (nfs_show_stats) and
net/sunrpc/stats.c (`OP: ops trans timeouts sent recv queue rtt execute [errors]`), statvers 1.0 and 1.1. Lustre:
the Operations Manual, chapter "Lustre Parameters" (`NAME N samples [unit] min max sum sumsq`), as `lctl get_param` prints
it. NFS's are compared with what a real client sent (tests/e2e/test_servers.py), Lustre's are tested with documented samples.
"""

import errno
import glob
import os
import shutil
import subprocess

from fsprobe.capture.machine import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CAVEAT = "they are of the whole node, so that what other programs asked meanwhile is in them"
MOUNTSTATS = "/proc/self/mountstats"
LUSTRE_ROOTS = ("/proc/fs/lustre", "/sys/kernel/debug/lustre")
_LCTL_LIMIT_S = 10
_NFS_DATA = frozenset(["null", "read", "write", "commit", "read_plus"])
"""Operations of NFS that are no metadata requests."""


class Source:
    """Counters that can be read again and again; they only grow."""

    def __init__(self, name: "str", read: "Callable[[], dict[str, int]]") -> "None":
        self.name = name
        """What is read, for the user."""
        self.read = read
        """Operation -> how often since the mount. `metadata` is the sum of the metadata requests, where they are counted."""


def find(path: "bytes") -> "tuple[Source | None, str]":
    """The counters of the client that serves `path`.

    Args:
        path: an absolute path without symlinks.

    Returns:
        The source, or None and why there is none; "" for a filesystem that has no such counters.
    """
    row = mounts.mount_of(path, mounts.parse_mountinfo(mounts.read_own()))
    if row is None:
        return None, ""
    if row[1] in ("nfs", "nfs4"):
        return find_nfs(row[0])
    if row[1] == "lustre":
        return find_lustre(row[2])
    return None, ""


# -- NFS --------------------------------------------------------------------------------------------------------------


def find_nfs(mount: "bytes", file: "str" = MOUNTSTATS) -> "tuple[Source | None, str]":
    """The NFS client's counters for one mount point."""
    try:
        counted = parse_mountstats(_read(file), mount)
    except OSError as error:
        return None, "%s: %s" % (file, error.strerror)
    if counted is None:
        return None, "%s does not list %s" % (file, os.fsdecode(mount))
    return Source("the NFS client (%s)" % file, lambda: parse_mountstats(_read(file), mount) or {}), ""


def parse_mountstats(data: "bytes", mount: "bytes") -> "dict[str, int] | None":
    """Operations of the mount at `mount`, in lower case, and `metadata`; None where it is not listed as an NFS mount."""
    counted = None  # type: dict[str, int] | None
    is_here = is_table = False
    for line in data.split(b"\n"):
        if line.startswith(b"device "):
            head, _, fstype = line[7:].rpartition(b" with fstype ")
            point = head.partition(b" mounted on ")[2]
            is_here = mounts.unescape(point) == mount and fstype.split(b" ")[0] in (b"nfs", b"nfs4")
            is_table = False
            if is_here:
                counted = {}  # of several mounts at one place the last one is seen
        elif is_here and line.strip() == b"per-op statistics":
            is_table = True
        elif is_here and is_table and counted is not None:
            name, colon, numbers = line.strip().partition(b":")
            words = numbers.split()
            if colon and words and words[0].isdigit():
                counted[name.decode("ascii", "replace").lower()] = int(words[0])
    if counted is not None:
        counted["metadata"] = sum(n for name, n in counted.items() if name not in _NFS_DATA)
    return counted


# -- Lustre -----------------------------------------------------------------------------------------------------------


def find_lustre(
    device: "bytes", lctl: "str | None" = None, roots: "tuple[str, ...]" = LUSTRE_ROOTS
) -> "tuple[Source | None, str]":
    """The Lustre client's counters for one filesystem.

    The requests themselves (mdc.*.stats) usually take root; what the client was asked for (mdc.*.md_stats) may be readable
    for everybody, but a part of that its locks answer; what programs called (llite.*.stats) are no requests at all.

    Args:
        device: as mountinfo has it: `MGS@net:/FSNAME`, or with a directory after it.
        lctl: the program; None looks for it.
        roots: where the same files lie.
    """
    name = os.fsdecode(device.rpartition(b":/")[2].split(b"/")[0])
    program = (
        lctl if lctl is not None else shutil.which("lctl", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    )
    reasons = []  # type: list[str]
    readers = []  # type: list[Callable[[], dict[str, dict[str, int]]]]
    if program:
        readers.append(lambda: _ask_lctl(str(program), name))
    else:
        reasons.append("lctl is not on PATH")
    for root in roots:
        readers.append(lambda root=root: _read_tree(root, name))  # type: ignore[misc]
    denied = ""
    best = None  # type: tuple[Callable[[], dict[str, dict[str, int]]], str] | None
    for read in readers:
        try:
            found = read()
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                denied = denied or "%s: %s" % (error.filename, error.strerror)
            else:
                reasons.append("%s: %s" % (error.filename, error.strerror))
            continue
        for kind in _KINDS:
            if kind in found and (best is None or _KINDS.index(kind) < _KINDS.index(best[1])):
                best = (read, kind)
    if best is None:
        return None, "; ".join([denied] if denied else reasons) + (
            " (ask for `lctl get_param mdc.*.stats` to be readable, or run as root)" if denied else ""
        )
    read, kind = best
    label = "the Lustre client (%s)" % _KIND_LABELS[kind]
    if kind != _KINDS[0] and denied:
        label += ", its requests themselves can't be read here: %s" % denied
    return Source(label, lambda: _flat(read())), ""


_KINDS = ("mdc.stats", "mdc.md_stats", "llite.stats")
"""Best first."""
_KIND_LABELS = {
    "mdc.stats": "mdc.*.stats: requests to the metadata server",
    "mdc.md_stats": "mdc.*.md_stats: operations of the client, of which its locks answer most: no requests",
    "llite.stats": "llite.*.stats: calls of programs, not requests",
}
_FILES = (("mdc", "stats"), ("mdc", "md_stats"), ("llite", "stats"))


def parse_stats(data: "bytes") -> "dict[str, int]":
    """Name -> samples, of one stats file; lines of another form (snapshot_time, nothing counted) are left out."""
    counted = {}
    for line in data.split(b"\n"):
        words = line.split()
        if len(words) >= 3 and words[1].isdigit() and words[2] == b"samples":
            counted[words[0].decode("ascii", "replace")] = int(words[1])
    return counted


def parse_get_param(data: "bytes") -> "dict[str, dict[str, int]]":
    """What `lctl get_param` printed: `mdc.stats` and so on -> name -> samples, added up over the metadata targets."""
    found = {}  # type: dict[str, dict[str, int]]
    kind = ""
    for line in data.split(b"\n"):
        if line.rstrip().endswith(b"=") and b" " not in line.strip():
            words = line.strip()[:-1].split(b".")
            kind = "%s.%s" % (words[0].decode("ascii", "replace"), words[-1].decode("ascii", "replace"))
            if kind in _KINDS:
                found.setdefault(kind, {})
        elif kind in found:
            _add(found[kind], parse_stats(line))
    return found


def _ask_lctl(program: "str", name: "str") -> "dict[str, dict[str, int]]":
    patterns = ["%s.%s-*.%s" % (layer, name, file) for layer, file in _FILES]
    try:
        done = subprocess.run(
            [program, "get_param"] + patterns,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LCTL_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, "no answer", program)
    found = parse_get_param(done.stdout)
    if not found:
        said = done.stderr.lower()
        number = errno.EACCES if b"permission" in said or b"not permitted" in said else errno.ENOENT
        raise OSError(number, os.strerror(number), "%s get_param" % program)
    return found


def _read_tree(root: "str", name: "str") -> "dict[str, dict[str, int]]":
    found = {}  # type: dict[str, dict[str, int]]
    first_error = None  # type: OSError | None
    os.listdir(root)  # glob would hide that this is denied
    for layer, file in _FILES:
        for path in sorted(glob.glob(os.path.join(root, layer, glob.escape(name) + "-*", file))):
            try:
                _add(found.setdefault("%s.%s" % (layer, file), {}), parse_stats(_read(path)))
            except OSError as error:
                found.pop("%s.%s" % (layer, file), None)
                first_error = first_error or error
    if not found:
        raise first_error or OSError(errno.ENOENT, "nothing of the filesystem %s" % name, root)
    return found


def _flat(found: "dict[str, dict[str, int]]") -> "dict[str, int]":
    """One table: `mdc.stats:mds_close` and so on, and `metadata` from the best of them that counts it."""
    flat = {}
    for kind in _KINDS:
        for name, n in found.get(kind, {}).items():
            flat["%s:%s" % (kind, name)] = n
    if "mdc.stats" in found:
        # of the rest, req_waittime and req_active count the same requests again
        # ldlm_cancel gives locks back, many in a request; nothing waits for it
        flat["metadata"] = sum(
            n for name, n in found["mdc.stats"].items() if name.startswith(("mds_", "ldlm_")) and name != "ldlm_cancel"
        )
    # md_stats counts what programs had the client do, most of which its locks answer: 3.5 times the requests, measured
    return flat


def _add(total: "dict[str, int]", more: "dict[str, int]") -> "None":
    for name, n in more.items():
        total[name] = total.get(name, 0) + n


def _read(path: "str") -> "bytes":
    with open(path, "rb") as source:
        return source.read()
