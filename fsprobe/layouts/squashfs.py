"""A SquashFS image of the environment for as long as it is needed, and how it is mounted, with a writable layer or without."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fsprobe.errors import BadInput
from fsprobe.layouts.mount.namespace import choose_way, enter_argv
from fsprobe.layouts.mount.spec import Spec
from fsprobe.layouts.pack.build import Progress, pack
from fsprobe.layouts.plain import Layout, Made, fstype_of
from fsprobe.layouts.temporary import new_directory


@contextmanager
def image_for(
    venv: str | Path,
    image_dir: str | Path | None = None,
    *,
    keep: bool = False,
    progress: Progress | None = None,
    staging: str | None = None,
    made: Made | None = None,
) -> Iterator[Path]:
    """Pack the environment into a new image, every source with its byte code, which is removed at the end.

    Args:
        venv: the environment.
        image_dir: where the image goes, so that it lies on the filesystem that is to be measured; the environment's
            parent when None.
        keep: leave the image where it is.
        progress: as in `pack`.
        staging: as in `pack`.
        made: is told of the directory (see `Made`).

    Raises:
        BadInput, MachineCannot: there is no such directory; from `pack`.
    """
    root = Path(os.path.realpath(venv))
    parent = image_dir or root.parent
    if not os.path.isdir(parent):
        raise BadInput(f"{parent}: no such directory", f"make it: mkdir -p {parent}")
    with new_directory(parent, f"{root.name}-fsprobe-", made) as (directory, stay):
        packed = pack(
            str(root), str(directory / f"{root.name}.sqsh"), compile_missing=True, staging=staging, progress=progress
        )
        if keep:
            stay()
        yield packed.image


def mounted(spec: Spec, label: str) -> Layout:
    """Describe an image mounted by the first way that works here.

    Raises:
        BadInput, MachineCannot: from `namespace`.
    """
    entered = choose_way(spec)
    where = Path(spec.source)
    return Layout(
        label=label,
        kind=spec.kind,
        where=where,
        fstype=fstype_of(where),
        mount_how=entered.mount_how,
        enter=enter_argv(replace(spec, way=entered.way)),
    )
