"""What a call's result shows of the names on its path: whether they were there, and as what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fsprobe.analysis.requests.dentries import DIRECTORY, FILE, LINK, MISSING, SOME, UNKNOWN, Place

if TYPE_CHECKING:
    from fsprobe.analysis.requests.name_tree import Tree

LINKS, LEARN, COUNT = range(3)
"""What a pass over the run is for: only links; what exists and what it is; the requests."""


def decide_last(tree: Tree, child: Place, error: str, is_open: bool, is_exec: bool, creates: bool) -> Place | None:
    """What the last name of a path is, from how the call ended; None: not even asked for."""
    if tree.mode == LINKS:
        return child
    if not error:
        if creates:
            child.kind = MISSING
        elif child.kind == MISSING:
            # it came to be without a call that was seen; who had it cached as missing would not see it yet
            return tree.bind(child, SOME, role=3, is_cached=child.cached_in == tree.pass_number)
        else:
            child.kind = SOME
    elif error in ("ENOENT", "ELOOP") and is_exec and tree.mode == LEARN:
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
    elif error == "EEXIST" or tree.mode == COUNT:
        child.kind = SOME
    return child


def decide_on_the_way(tree: Tree, child: Place, error: str, is_last: bool) -> Place | None:
    """What a name on the way is; None: the walk is not followed further in this pass."""
    kind = child.kind
    if tree.mode == LINKS:
        return child
    if not error:
        if kind == MISSING:
            return tree.bind(child, DIRECTORY, role=3, is_cached=child.cached_in == tree.pass_number)
        child.kind = DIRECTORY
    elif kind == UNKNOWN:
        if is_last and error in ("ENOENT", "ENOTDIR"):
            child.kind = MISSING if error == "ENOENT" else FILE
        elif tree.mode == LEARN or error in ("EACCES", "EPERM"):
            return None
        elif error == "ENOENT":
            child.kind = MISSING  # nothing was ever found in it, and nobody looked after the run
        elif error == "ENOTDIR":
            child.kind = FILE
        else:
            child.kind = DIRECTORY
    elif kind == SOME and error == "ENOTDIR":
        if tree.mode == LEARN:
            return None
        child.kind = FILE
    return child
