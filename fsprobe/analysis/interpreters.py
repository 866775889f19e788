"""What interpreters say of themselves, told from their paths where none of them was asked: a log made elsewhere, `python -I`.

Only what the paths show: prefix, base prefix, version, the directories of sys.path that were asked for and are there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from fsprobe.analysis.counting.tally import PathTally, Tally

_STDLIB = re.compile(
    rb"^((.*)/lib(?:64)?/python(\d+\.\d+)t?)/(?:__pycache__/)?(?:encodings|os|codecs|site)[./]", re.DOTALL
)
_SITE = re.compile(rb"^(.*)/lib(?:64)?/python\d+(?:\.\d+)?t?/(?:site|dist)-packages$", re.DOTALL)
_USER_SITE = re.compile(rb"/\.local/lib/python[^/]*/site-packages$")
_INTERPRETER = re.compile(rb"/python[0-9.]*t?$")
_MAX = 10_000


def told_by_paths(tally: Tally, variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """One fact for each interpreter of a run, as its hook would have given it; all alike, since a path is no process's alone.

    Args:
        tally: the run.
        variables: the command's environment, as far as it is known.

    Returns:
        An empty list where no standard library was read.
    """
    n_pythons = sum(process.kind == "python" for process in tally.by_process.values())
    base, version, libraries = _standard_library(tally)
    if not n_pythons or not libraries:
        return []
    prefix = _venv(tally) or base
    sites = [path for path, counted in tally.by_path.items() if _SITE.match(path) and _is_there(counted)]
    # those of the prefix that is used come first; a site directory that was only passed on the way has no list
    sites = [site for site in sites if tally.by_path[site].counts.n_list or any(_below(tally, site))]
    entries = [os.fsencode(entry) for entry in variables.get("PYTHONPATH", "").split(":") if entry]
    user_sites = [site for site in sites if _USER_SITE.search(site)]
    programs = [path for path, counted in tally.by_path.items() if _INTERPRETER.search(path) and _has_run(counted)]
    program = next((path for path in programs if path.startswith(prefix + b"/")), next(iter(programs), b""))
    path = [*entries, *libraries, *user_sites, *(site for site in sites if site not in user_sites)]
    fact: dict[str, Any] = {
        "prefix": os.fsdecode(prefix),
        "base_prefix": os.fsdecode(base),
        "version": version,
        "executable": os.fsdecode(program) if program else None,
        "path": [os.fsdecode(entry) for entry in dict.fromkeys(path)],
        "enable_user_site": bool(user_sites),
        "user_site": os.fsdecode(user_sites[0]) if user_sites else None,
    }
    return [dict(fact) for _ in range(min(n_pythons, _MAX))]


def _standard_library(tally: Tally) -> tuple[bytes, str, list[bytes]]:
    """(base prefix, version, directories) of the standard library that most was read from."""
    n_read: dict[tuple[bytes, bytes, bytes], int] = {}
    for path, counted in tally.by_path.items():
        if b"/python" not in path or counted.resolved is None and not _is_opened(counted):
            continue
        found = _STDLIB.match(path)
        if found is not None:
            key = (found.group(2), found.group(3), found.group(1))
            n_read[key] = n_read.get(key, 0) + counted.counts.n_open
    if not n_read:
        return b"", "", []
    base, version, place = max(n_read, key=lambda key: (n_read[key], key))
    dynamic = place + b"/lib-dynload"
    asked = tally.by_path.get(dynamic)
    return base, version.decode("ascii"), [place, *([dynamic] if asked is not None and _is_there(asked) else [])]


def _venv(tally: Tally) -> bytes:
    """The directory whose pyvenv.cfg was read most."""
    found = {
        path.removesuffix(b"/pyvenv.cfg"): counted.counts.n_open
        for path, counted in tally.by_path.items()
        if path.endswith(b"/pyvenv.cfg") and _is_opened(counted)
    }
    return max(found, key=lambda place: (found[place], place)) if found else b""


def _is_there(counted: PathTally) -> bool:
    return counted.counts.n_metadata > counted.counts.n_not_found


def _is_opened(counted: PathTally) -> bool:
    return counted.counts.n_open > 0 and _is_there(counted)


def _has_run(counted: PathTally) -> bool:
    return counted.counts.n_exec > 0 and _is_there(counted)


def _below(tally: Tally, site: bytes) -> Iterable[bytes]:
    start = site + b"/"
    return (path for path, counted in tally.by_path.items() if path.startswith(start) and _is_opened(counted))
