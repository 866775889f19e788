"""A copy of the environment on another filesystem."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fsprobe.errors import BadInput, MachineCannot
from fsprobe.layouts.plain import Made
from fsprobe.layouts.scan.walk import copy_tree, walk
from fsprobe.layouts.temporary import new_directory


@contextmanager
def copy_of(
    venv: str | Path,
    to: str | Path,
    *,
    keep: bool = False,
    progress: Callable[[int, int], None] | None = None,
    made: Made | None = None,
) -> Iterator[Path]:
    """Copy the environment below `to`, without mounting it anywhere; the copy is removed at the end.

    Args:
        venv: the environment.
        to: an existing directory; the copy gets a new name in it.
        keep: a copy that is complete stays, whatever comes after.
        progress: called with the number of names copied and of all.
        made: is told of the directory (see `Made`).

    Raises:
        BadInput: no such directory, or parts of the environment can't be read.
        MachineCannot: no room.
    """
    source = os.path.realpath(venv)
    if not os.path.isdir(source):
        raise BadInput(f"{venv}: no such directory")
    if not os.path.isdir(to):
        raise BadInput(f"{to}: no such directory", f"make it: mkdir -p {to}")
    parent = os.path.realpath(to)
    if parent == source or parent.startswith(source + "/"):
        raise BadInput(f"{to} lies inside the environment", "choose another place for the copy")
    tree = walk(source)
    if tree.unreadable:
        raise BadInput(f"{len(tree.unreadable)} names below {venv} can't be read, so a copy would miss them")
    with ExitStack() as stack:
        try:
            directory, stay = stack.enter_context(new_directory(parent, f"{os.path.basename(source)}-fsprobe-", made))
            copy = directory / "copy"
            copy_tree(tree, os.fsencode(copy), progress)
        except OSError as error:
            raise MachineCannot(f"copying {source} to {parent} failed: {error.strerror or error}") from error
        if keep:
            stay()
        yield copy
