"""What a call's result shows of the names on its path: whether they were there, and as what."""

from __future__ import annotations

from typing import Protocol

from fsprobe.analysis.requests.dentries import DIRECTORY, FILE, LINK, MISSING, SOME, UNKNOWN, Place

LINKS, LEARN, COUNT = range(3)
"""What a pass over the run is for: only links; what exists and what it is; the requests."""


class Names(Protocol):
    """What is needed of the tree of names to decide."""

    mode: int
    pass_number: int

    def bind(self, old: Place, kind: int, *, role: int = 0, is_cached: bool = True) -> Place:
        """From this step on the name of `old` means another place."""


def decide_last(names: Names, child: Place, error: str, is_open: bool, is_exec: bool, creates: bool) -> Place | None:
    """What the last name of a path is, from how the call ended; None: not even asked for."""
    if names.mode == LINKS:
        return child
    if not error:
        if creates:
            child.kind = MISSING
        elif child.kind == MISSING:
            # it came to be without a call that was seen; who had it cached as missing would not see it yet
            return names.bind(child, SOME, role=3, is_cached=child.cached_in == names.pass_number)
        else:
            child.kind = SOME
    elif error in ("ENOENT", "ELOOP") and is_exec and names.mode == LEARN:
        return None  # is the program missing, or its interpreter?
    elif error == "ENOENT" or (creates and error in ("EROFS", "EACCES", "EPERM")):
        child.kind = MISSING
    elif error == "ENOTDIR":
        child.kind = FILE
    elif error == "EISDIR":
        child.kind = DIRECTORY
    elif error in ("EACCES", "EPERM"):
        if not is_open:
            return None  # it was the directory that may not be searched
        child.kind = SOME
    elif error == "ELOOP":
        child.kind = LINK
    elif error == "EEXIST" or names.mode == COUNT:
        child.kind = SOME
    return child


def decide_on_the_way(names: Names, child: Place, error: str, is_last: bool) -> Place | None:
    """What a name on the way is; None: the walk is not followed further in this pass."""
    kind = child.kind
    if names.mode == LINKS:
        return child
    if not error:
        if kind == MISSING:
            return names.bind(child, DIRECTORY, role=3, is_cached=child.cached_in == names.pass_number)
        child.kind = DIRECTORY
    elif kind == UNKNOWN:
        if is_last and error in ("ENOENT", "ENOTDIR"):
            child.kind = MISSING if error == "ENOENT" else FILE
        elif names.mode == LEARN or error in ("EACCES", "EPERM"):
            return None
        elif error == "ENOENT":
            child.kind = MISSING  # nothing was ever found in it, and nobody looked after the run
        elif error == "ENOTDIR":
            child.kind = FILE
        else:
            child.kind = DIRECTORY
    elif kind == SOME and error == "ENOTDIR":
        if names.mode == LEARN:
            return None
        child.kind = FILE
    return child
