"""A guess at the state of the caches: where a path's slowest call took no longer than the run's cheap ones, it was in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fsprobe.analysis.time.observed import FAST_CALL_NS
from fsprobe.analysis.time.paths import PathTimes
from fsprobe.model.rows import OURS, MountRow
from fsprobe.model.time.account import COLD, PARTLY, WARM

_FEWEST_PATHS = 50
_MOST_WARM, _LEAST_COLD = 0.05, 0.5
"""Shares of the paths whose slowest call was slow: judgements."""


def guess(paths: PathTimes, cheapest_ns: float | None, mounts: Sequence[MountRow]) -> str:
    """Say "warm", "partly warm" or "cold"; "" where too little was timed.

    Args:
        paths: how long the calls on them took.
        cheapest_ns: what the run's cheap calls took, tracing included; None where none was timed.
        mounts: where the paths lie; calls that no server or disk answers say nothing.
    """
    if cheapest_ns is None or not any(row.fs_class not in OURS for row in mounts):
        return ""
    # a server's mount may lie below one in memory: the longest that holds a path is its own
    class_of: dict[str, str] = {}
    for row in mounts:
        class_of.setdefault(row.key.rstrip("/"), row.fs_class or "")
    directories: dict[str, str] = {}

    def is_counted(path: bytes) -> bool:
        shown = path.decode("utf-8", "backslashreplace")
        kind = class_of.get(shown)
        if kind is None and shown.startswith("/"):
            above = shown.rpartition("/")[0]
            kind = directories.get(above)
            if kind is None:
                kind = directories[above] = _class_above(above, class_of, directories)
        return kind not in OURS

    n_paths, n_slow = paths.slow(is_counted, cheapest_ns + FAST_CALL_NS)
    if n_paths < _FEWEST_PATHS:
        return ""
    share = n_slow / n_paths
    return WARM if share <= _MOST_WARM else COLD if share >= _LEAST_COLD else PARTLY


def _class_above(directory: str, class_of: Mapping[str, str], known: dict[str, str]) -> str:
    """The class of the mount that a directory lies on; "" where none holds it."""
    passed = []
    kind: str | None = None
    while kind is None:
        kind = class_of.get(directory)
        if kind is None:
            kind = known.get(directory) if directory else ""
        if kind is None:
            passed.append(directory)
            directory = directory.rpartition("/")[0]
    known.update(dict.fromkeys(passed, kind))
    return kind
