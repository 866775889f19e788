"""What the trace leaves open and only the filesystem can tell, looked up right after the run: capped and counted.

Three things. Which installed distribution owns a top-level name (`sklearn` is scikit-learn's): names are matched to the
`*.dist-info` directories of the site directories that the run touched; those without a match are left to who reads the
recording (`recording.distributions`), for the metadata files of an environment are many, and ranks too. Which names are
symlinks, or missing, where no descriptor's path in the log proves them to be plain directories. And what the programs that
were started make the kernel open besides themselves: interpreters of scripts, loaders.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import re

from fsprobe.capture.lookups import unresolved
from fsprobe.capture.lookups.starts import Budget
from fsprobe.capture.machine import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MAX_SITE_DIRS = 12
MAX_CANDIDATES = 2000
"""Distributions of a site directory that are named as the possible owners of a name. A judgement: five times a large environment."""
MAX_LOG_BYTES = 256 << 20
"""Of a longer log only this much is looked at: what a program imports, it imports early."""
MEMORY_PER_LOG = 16
"""Of the memory that a limit leaves, one part in so many is the log that is looked at. A judgement: 300,000 names of 200 bytes fitted
a limit of 100 MB."""

_IN_SITE = re.compile(rb'"(/[^"\\\n]*?/(?:site|dist)-packages)/(?:__pycache__/)?([A-Za-z0-9_]+)')


def collect(text: "Iterable[bytes]", known: "dict[str, str | None] | None" = None) -> "dict[str, Any]":
    """Look up what a run's calls leave open.

    Args:
        text: the calls in strace's words, in blocks.
        known: links, and directories as None, that fsprobe made itself.

    Returns:
        {"distributions": {site directory: {top-level name: distribution}}, "undecided": {site directory: {"names": top-level
        names without a match, "among": metadata directories of those that may own them}}, "links": {path: target, or None for a
        directory or file}, "missing": [path], "files": [path that is neither a directory nor a link], "programs": {path:
        what the kernel opens after it, or None}, "sizes": {program: bytes}, "n_calls": metadata calls that this took,
        "n_left": lookups left out by the caps}. Paths are text as `os.fsdecode` makes it.
    """
    data = _beginning(text)
    used = {}  # type: dict[bytes, set[bytes]]
    for site, name in _IN_SITE.findall(data):
        used.setdefault(site, set()).add(name)
    budget = Budget()
    found = _owned({os.fsdecode(site): {os.fsdecode(name) for name in names} for site, names in used.items()}, budget)
    found.update(unresolved.look(data, budget, known))
    found.update(n_calls=budget.n_calls, n_left=budget.n_left)
    return found


def _beginning(text: "Iterable[bytes]") -> "bytes":
    blocks, n_bytes = [], 0
    # the names in it take several times as much memory as the text, which counts against the job's limit
    free = memory.free_bytes()
    max_bytes = MAX_LOG_BYTES if free is None else max(1 << 20, min(MAX_LOG_BYTES, free // MEMORY_PER_LOG))
    try:
        for block in text:
            blocks.append(block[: max_bytes - n_bytes])
            n_bytes += len(block)
            if n_bytes >= max_bytes:
                break
    except OSError:
        pass
    return b"".join(blocks)


def distributions(used: "dict[str, set[str]]") -> "dict[str, Any]":
    """As `collect`, for a run that kept no log: the distributions alone.

    Args:
        used: site directory -> the top-level names below it that the run touched.
    """
    budget = Budget()
    return dict(_owned(used, budget), n_calls=budget.n_calls, n_left=budget.n_left)


def _owned(used: "dict[str, set[str]]", budget: "Budget") -> "dict[str, Any]":
    distributions, undecided = {}, {}
    for site in sorted(used)[:MAX_SITE_DIRS]:
        distributions[site], names, among = owners(site, used[site], budget)
        if names and among:
            undecided[site] = {"names": names, "among": among}
    budget.n_left += max(0, len(used) - MAX_SITE_DIRS)
    return {"distributions": distributions, "undecided": undecided}


def normalise(name: "str") -> "str":
    """A distribution's name as PEP 503 compares them, with `_`."""
    return re.sub(r"[-_.]+", "_", name).lower()


def owners(site: "str", names: "set[str]", budget: "Budget") -> "tuple[dict[str, str], list[str], list[str]]":
    """Which distribution owns each top-level name of a site directory, as far as their names tell.

    Returns:
        {name: distribution}; the names that are there and matched none; the metadata directories of those that may own them.
    """
    budget.n_calls += 3  # open, getdents twice
    try:
        entries = os.listdir(site)
    except OSError:
        return {}, [], []
    present = set(entries)
    by_key = {}
    for entry in entries:
        stem, dot, kind = entry.rpartition(".")
        if dot and kind in ("dist-info", "egg-info"):
            by_key[normalise(stem.split("-")[0])] = (stem.split("-")[0], entry)
    found = {name: by_key[normalise(name)][0] for name in names if normalise(name) in by_key}
    left = sorted(name for name in names if name not in found and (name in present or name + ".py" in present))
    if not left:
        return found, [], []
    matched = {normalise(name) for name in found}
    # a distribution whose own name is a top-level name here owns that; it may own others, but seldom
    among = [
        entry
        for key, (title, entry) in sorted(by_key.items())
        if key not in matched and title not in present and title + ".py" not in present
    ]
    budget.n_left += max(0, len(among) - MAX_CANDIDATES)
    return found, left, among[:MAX_CANDIDATES]
