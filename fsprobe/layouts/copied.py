"""A copy of the environment on another filesystem, seen at the environment's own path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from fsprobe.errors import BadInput, MachineCannot
from fsprobe.layouts.mount.namespace import choose_way, enter_argv
from fsprobe.layouts.mount.spec import Spec
from fsprobe.layouts.plain import Layout, Made, fstype_of
from fsprobe.layouts.scan.walk import copy_tree, walk
from fsprobe.layouts.temporary import new_directory


@contextmanager
def copied(
    venv: str | Path,
    to: str | Path,
    *,
    label: str = "",
    keep: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Layout]:
    """Copy the environment below `to` and mount the copy over its own path; the copy is removed at the end.

    Args:
        venv: the environment.
        to: an existing directory; the copy gets a new name in it.
        label: how reports call it; "copy on TYPE" if empty.
        keep: leave the copy where it is.
        progress: called with the number of names copied and of all.

    Raises:
        BadInput: no such directory, or parts of the environment can't be read.
        MachineCannot: no room, or no way to mount.
    """
    source = os.path.realpath(venv)
    with copy_of(venv, to, keep=keep, progress=progress) as copy:
        spec = Spec(kind="bind", source=str(copy), at=source)
        entered = choose_way(spec)
        fstype = fstype_of(copy)
        yield Layout(
            label=label or f"copy on {fstype}",
            kind="copy",
            where=copy,
            fstype=fstype,
            mount_how=entered.mount_how,
            enter=enter_argv(replace(spec, way=entered.way)),
        )


@contextmanager
def copy_of(
    venv: str | Path,
    to: str | Path,
    *,
    keep: bool = False,
    progress: Callable[[int, int], None] | None = None,
    made: Made | None = None,
) -> Iterator[Path]:
    """Copy the environment below `to` without mounting it anywhere; arguments and errors as `copied`.

    With `keep` a copy that is complete stays, whatever comes after. `made` is told of the directory (see `Made`).
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
