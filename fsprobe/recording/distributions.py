"""Which installed distribution owns a top-level name, where names alone don't tell (`sklearn` is scikit-learn's).

The recorder writes down which names are open and which distributions may own them, and reads none of their files: that would be
calls of every rank, as many as distributions are installed. They are read here, when a recording is, from the environment where
it is still there. A distribution is known by the name of its directory, version included: what another machine has under that
name says the same. Where it is not there a name stays as it is imported.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from typing import Any

from fsprobe import files

MAX_METADATA_FILES = 400
"""Of a site directory. A judgement: a large environment; a file is read in less than a millisecond, once a process."""
MAX_FILE_BYTES = 1 << 20
_INFO = re.compile(r"[^/\0]+\.(?:dist|egg)-info")


def decided(lookups: dict[str, Any]) -> dict[str, Any]:
    """The look-ups of a recording with what they leave open told by the environment, as far as it is there.

    Args:
        lookups: the section of that name; "undecided" is {site directory: {"names": top-level names, "among": names of the
            metadata directories of those that may own them}}. It is not changed.

    Returns:
        The same without "undecided", and with more in "distributions".
    """
    undecided = lookups.get("undecided")
    if not undecided:
        return lookups
    new = {name: part for name, part in lookups.items() if name != "undecided"}
    new["distributions"] = dict(lookups.get("distributions") or {})
    for site, left in undecided.items():
        told = owners(site, left.get("names") or (), left.get("among") or ())
        new["distributions"][site] = {**new["distributions"].get(site, {}), **told}
    return new


def owners(site: str, names: Iterable[str], among: Iterable[str]) -> dict[str, str]:
    """The distributions that say of themselves that they install these names.

    Args:
        site: their directory.
        names: the top-level names.
        among: the names of metadata directories that are looked at, in this order.
    """
    found: dict[str, str] = {}
    left = set(names)
    n_files = 0
    for entry in among:
        if not left or n_files >= MAX_METADATA_FILES:
            break
        if not _INFO.fullmatch(entry):  # a recording is a file like any other: it names nothing elsewhere
            continue
        n_files += 1
        told = _installed(os.path.join(site, entry)) & left
        found.update(dict.fromkeys(told, entry.rpartition(".")[0].split("-")[0]))
        left -= told
    return found


@functools.lru_cache(maxsize=4096)
def _installed(metadata: str) -> frozenset[str]:
    """The names that a distribution says it installs, from top_level.txt or RECORD."""
    for file in ("top_level.txt", "RECORD"):
        try:
            with files.open_regular(os.path.join(metadata, file)) as source:
                text = source.read(MAX_FILE_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):
            continue
        if file == "top_level.txt":
            return frozenset(text.split())
        return frozenset({re.split(r"[/.]", line.split(",")[0])[0] for line in text.splitlines()} - {"", "__pycache__"})
    return frozenset()
