"""What the node's clients of NFS and Lustre count while a command runs.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe.capture.machine import counters, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Meter:
    """What the clients of all NFS and Lustre mounts count, from when it was made on."""

    def __init__(self) -> "None":
        self._sources = {}  # type: dict[str, tuple[counters.Source, dict[str, int]]]
        self._why_not = {}  # type: dict[str, str]
        for path, fstype, _, _ in mounts.parse_mountinfo(mounts.read_own()):
            if fstype in ("nfs", "nfs4", "lustre"):
                source, why_not = counters.find(path)
                if source is None:
                    self._why_not[os.fsdecode(path)] = why_not
                else:
                    self._sources[os.fsdecode(path)] = source, source.read()

    def read(self) -> "dict[str, dict[str, Any]]":
        """Mount point -> {"source", "operations": operation -> how often, "before": the same since the mount, "why_not"}.

        What is 0 is left out. `before` is what lets several runs of one node, which all see its one client, be counted once.
        """
        found = {
            path: {"source": "", "operations": {}, "before": {}, "why_not": why} for path, why in self._why_not.items()
        }  # type: dict[str, dict[str, Any]]
        for path, (source, before) in self._sources.items():
            operations, why_not = {}, ""
            try:
                after = source.read()
                if any(after.get(name, 0) < n for name, n in before.items()):
                    why_not = "its counters began anew meanwhile: it was unmounted, or mounted again"
                else:
                    operations = {name: n - before.get(name, 0) for name, n in after.items() if n > before.get(name, 0)}
            except OSError as error:
                why_not = str(error.strerror)
            since_mount = {name: n for name, n in before.items() if n}
            found[path] = {"source": source.name, "operations": operations, "before": since_mount, "why_not": why_not}
        return found
