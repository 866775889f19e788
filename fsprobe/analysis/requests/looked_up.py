"""What the recorder looked up right after the run, as the tree of names learns it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fsprobe.analysis.requests.dentries import DIRECTORY, FILE, MISSING, SOME, UNKNOWN
from fsprobe.analysis.requests.name_tree import Tree
from fsprobe.analysis.requests.observed import LEARN, LINKS


def apply(tree: Tree, lookups: Mapping[str, Any]) -> None:
    """Let a tree learn what the recorder found after the run: it holds for the names as the run left them."""
    files = set(lookups.get("files", ()))
    for path, target in sorted(lookups.get("links", {}).items()):
        place = tree.walk(os.fsencode(path), "", follow=False)
        if place is None:
            continue
        if target is not None:
            tree.learn_link(place, os.fsencode(target))
        elif tree.mode == LEARN and place.kind in (UNKNOWN, SOME):
            place.kind = FILE if path in files else DIRECTORY
    if tree.mode == LINKS:
        return
    for path in sorted(lookups.get("missing", ())):
        place = tree.walk(os.fsencode(path), "?", follow=False)
        if place is not None and place.kind == UNKNOWN:
            place.kind = MISSING
    for path, size in lookups.get("sizes", {}).items():
        place = tree.walk(os.fsencode(path), "?", follow=True)
        if place is not None and place.size is None:
            place.size = int(size)
