"""Rules on data and images: many small data files, an image served by a slow program."""

from __future__ import annotations

import os
import re

from fsprobe.analysis.counting.tally import PathTally
from fsprobe.analysis.findings.evidence import (
    Evidence,
    Seen,
    is_file,
    n_calls,
    n_requests_below,
    on_network,
    plural,
    prefixes,
    quote,
    under,
    weigh,
)
from fsprobe.analysis.findings.images import choose_a_line, image_commands
from fsprobe.model.events import Mount, is_under, plain
from fsprobe.model.formats import text

_NEARLY_ALL = 0.99
"""Of the files: what lies elsewhere does not make the directory above a data set."""
_CODE = re.compile(
    rb"/(?:site|dist)-packages/|/lib/python3\.\d+/|/share/|/__pycache__/|\.(?:py|pyc|pyd|pth|so(?:\.[0-9.]+)?)$"
)


def small_files(evidence: Evidence) -> Seen | None:
    """A data set of many small files on a network filesystem.

    Seen: many files that the run read, and did not write, on a network filesystem: neither code nor a part of the
    environment, whatever they are called.

    Costs: each is a LOOKUP and an OPEN at the metadata server before the first byte comes. Tiny-ImageNet, 100,000 files, 7
    workers (LUMI AI Guide): HDF5 36.5 s, LMDB 35.3 s, SquashFS 48.6 s.

    Do: pack them: SquashFS (no change in the program), or HDF5, LMDB, WebDataset.

    Saving: the requests below the common directory of these files, less the two for the image.
    """
    written = evidence.watch.written if evidence.watch is not None else {}
    rows = [
        (path, counted)
        for path, counted in evidence.tally.by_path.items()
        if is_file(counted) and path not in written and is_data(evidence, path) and on_network(evidence, path)
    ]
    severity = weigh(evidence, "data_files", len(rows))
    if severity is None:
        return None
    root = data_root(evidence, [path for path, _ in rows])
    inside = [(path, counted) for path, counted in rows if is_under(path, root)]
    requests = n_requests_below(evidence, root)
    more = f", and {plural(len(rows) - len(inside), 'more', 'more')} elsewhere" if len(inside) < len(rows) else ""
    return Seen(
        severity=severity,
        evidence=f"{plural(len(inside), 'data file')} were opened below {text(root)}: {plural(n_calls(inside), 'call')}{more}.",
        advice="Pack the data set into one file: SquashFS needs no change in the program; HDF5, LMDB or WebDataset shuffle better."
        + choose_a_line(evidence),
        commands=image_commands(evidence, root),
        saves={"requests": requests - 2} if requests and requests > 2 else {},
    )


def is_data(evidence: Evidence, path: bytes) -> bool:
    """Whether a path is no code, nothing of an environment, and no name of the kernel's."""
    homes = tuple(prefix + b"/" for prefix in prefixes(evidence))
    return not _CODE.search(path) and not path.startswith((*homes, b"/proc/", b"/sys/", b"/dev/", b"/etc/"))


def data_root(evidence: Evidence, paths: list[bytes]) -> bytes:
    """The directory to pack: what the files have in common, or of that the part with most of them.

    A whole filesystem, or a directory that holds the interpreter or the working directory too, is no data set.
    """
    # a path that could not be resolved says nothing about where the data lie
    paths = [plain(path) for path in paths if path.startswith(b"/")] or [b"/"]
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    cwd = os.fsencode(evidence.profile.manifest.cwd)
    others = [*prefixes(evidence), *([cwd] if cwd else [])]
    while True:
        mount = evidence.mounts_of(root + b"/x")
        is_whole = root == b"/" or (mount is not None and mount.path == root)
        is_too_much = is_whole or any(is_under(other, root) and other != root for other in others)
        parts: dict[bytes, list[bytes]] = {}
        for path in paths:
            head, slash, _ = path[len(root.rstrip(b"/")) + 1 :].partition(b"/")
            if slash:
                parts.setdefault(os.path.join(root, head), []).append(path)
        if not parts:
            return root
        most, inside = max(parts.items(), key=lambda entry: (len(entry[1]), entry[0]))
        if not is_too_much and len(inside) < _NEARLY_ALL * len(paths):
            return root
        root, paths = most, inside


def slow_image(evidence: Evidence) -> Seen | None:
    """An image served by single-threaded squashfuse.

    Seen: many calls, of several processes, on a mount of type fuse.squashfuse.

    Costs: the program serves one request after the other. apptainer#665: the kernel's mount 18:00, squashfuse_ll with
    threads 17:57, squashfuse 27:37 (min:s) for the same work.

    Do: a kernel mount where the site's container runtime may do it, or squashfuse_ll in a build that has threads (0.2 or
    later; Apptainer brings its own). The squashfuse_ll of 0.1 has none.

    Saving: none in calls or requests: these stay the same and wait less.
    """
    table: dict[bytes, tuple[Mount, list[tuple[bytes, PathTally]]]] = {}
    for path, counted in evidence.tally.by_path.items():
        mount = evidence.mounts_of(path)
        if mount is not None and mount.fstype == "fuse.squashfuse":
            table.setdefault(mount.path, (mount, []))[1].append((path, counted))
    if not table or len(evidence.facts) < 2:
        return None
    mount, rows = max(table.values(), key=lambda entry: n_calls(entry[1]))
    severity = weigh(evidence, "fuse_image_calls", n_calls(rows))
    if severity is None:
        return None
    n = n_calls(under(evidence, [mount.path]))
    return Seen(
        severity=severity,
        evidence=f"{plural(len(evidence.facts), 'interpreter')} made {plural(n, 'call')} on {text(mount.path)}, which squashfuse "
        "serves with one thread.",
        advice="Let the container runtime mount with the kernel, or use a squashfuse_ll that has threads (0.2 or later). The "
        "first line shows which image it is: set IMAGE to it.",
        commands=[
            "pgrep -a squashfuse",
            f'fusermount3 -u {quote(mount.path)} && squashfuse_ll "$IMAGE" {quote(mount.path)}',
        ],
    )
