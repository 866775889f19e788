"""Which installed distribution owns a top-level name, where names alone don't tell (`sklearn` is scikit-learn's).

The metadata files of an environment are as many as its distributions, so not every rank of a job reads them: rank 0 does, and a
run that is no rank; the others write down which names are open and which distributions may own them. Their recordings are
completed when their owner reads them, from the environment where it is still there. Others read nothing: a recording is a
file like any other, and its paths are whatever somebody wrote into it. A name that nobody told stays as it is imported.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import re

from fsprobe import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from fsprobe.recording.file import Recording

MAX_METADATA_FILES = 100
"""Of a site directory. A judgement: distributions whose names are no top-level name of theirs are a few in ten."""
MAX_FILE_BYTES = 1 << 20
_INFO = re.compile(r"[^/\0]+\.(?:dist|egg)-info")


_read = {}  # type: dict[str, frozenset[str]]


def completed(recording: "Recording", lookups: "dict[str, Any]") -> "dict[str, Any]":
    """The lookups of a recording, with what they leave open told by the environment if the recording is the caller's own."""
    return decided(lookups) if lookups.get("undecided") and recording.is_own else lookups


def decided(lookups: "dict[str, Any]") -> "dict[str, Any]":
    """The lookups of a recording with what they leave open told by the environment, as far as it is there.

    Args:
        lookups: the section of that name; "undecided" is {site directory: {"names": top-level names, "among": names of the
            metadata directories of those that may own them}}. It is not changed.

    Returns:
        The same with more in "distributions", and with the files that were opened in "n_calls"; in "undecided" is left what no
        metadata file could be read for.
    """
    undecided = lookups.get("undecided")
    if not undecided:
        return lookups
    new = {name: part for name, part in lookups.items() if name != "undecided"}
    new["distributions"] = dict(lookups.get("distributions") or {})
    n_before = len(_read)
    still = {}  # type: dict[str, Any]
    for site, left in undecided.items():
        among = [entry for entry in left.get("among") or () if _INFO.fullmatch(entry)]
        told = owners(site, left.get("names") or (), among)
        new["distributions"][site] = {**new["distributions"].get(site, {}), **told}
        if among and not any(_installed(os.path.join(site, entry)) for entry in among[:MAX_METADATA_FILES]):
            still[site] = left
    if still:
        new["undecided"] = still
    if "n_calls" in new:
        new["n_calls"] += len(_read) - n_before
    return new


def open_names(lookups: "dict[str, Any]") -> "dict[str, list[str]]":
    """Of each site directory the names of which nobody told the distribution, although the metadata would tell."""
    told = lookups.get("distributions") or {}
    return {
        site: [name for name in left.get("names") or () if name not in told.get(site, {})]
        for site, left in (lookups.get("undecided") or {}).items()
    }


def owners(site: "str", names: "Iterable[str]", among: "Iterable[str]") -> "dict[str, str]":
    """The distributions that say of themselves that they install these names.

    Args:
        site: their directory.
        names: the top-level names.
        among: the names of metadata directories that are looked at, in this order.
    """
    found = {}  # type: dict[str, str]
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


def _installed(metadata: "str") -> "frozenset[str]":
    """The names that a distribution says it installs, from top_level.txt or RECORD; read once a process."""
    for file in ("top_level.txt", "RECORD"):
        path = os.path.join(metadata, file)
        if path not in _read:
            try:
                with files.open_regular(path) as source:
                    text = source.read(MAX_FILE_BYTES).decode("utf-8", "replace")
            except (OSError, ValueError):
                text = ""
            lines = text.split() if file == "top_level.txt" else text.splitlines()
            _read[path] = frozenset({re.split(r"[/.,]", line)[0] for line in lines} - {"", "__pycache__"})
        if _read[path]:
            return _read[path]
    return frozenset()
