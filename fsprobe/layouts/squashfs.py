"""The environment as a SquashFS image, mounted over its own path; `overlay` puts a writable layer on top."""

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
def squashfs(
    venv: str | Path,
    *,
    image: str | Path | None = None,
    image_dir: str | Path | None = None,
    compile_missing: bool = False,
    label: str = "",
    keep: bool = False,
    progress: Progress | None = None,
) -> Iterator[Layout]:
    """Use `image`, or pack the environment into a new one that is removed at the end.

    Args:
        venv: the environment, whose path is mounted over.
        image: an image of it that exists already; never removed.
        image_dir: where a new image goes, so that it lies on the filesystem that is to be measured; the
            environment's parent when None.
        compile_missing: as in `pack`.
        label: how reports call it; "squashfs on TYPE" if empty.
        keep: leave the new image where it is.
        progress: as in `pack`.

    Raises:
        BadInput, MachineCannot: from `pack` and `namespace`.
    """
    with image_for(venv, image, image_dir, compile_missing, keep, progress) as where:
        yield mounted(Spec(kind="squashfs", source=str(where), at=str(venv)), label)


@contextmanager
def image_for(
    venv: str | Path,
    image: str | Path | None,
    image_dir: str | Path | None,
    compile_missing: bool,
    keep: bool,
    progress: Progress | None,
    *,
    staging: str | None = None,
    made: Made | None = None,
) -> Iterator[Path]:
    """The image to mount: the one given, or a new one for as long as the context lasts (longer with `keep`).

    `staging` as in `pack`; `made` is told of the directory (see `Made`).
    """
    if image is not None:
        yield Path(os.path.realpath(image))
        return
    root = Path(os.path.realpath(venv))
    parent = image_dir or root.parent
    if not os.path.isdir(parent):
        raise BadInput(f"{parent}: no such directory", f"make it: mkdir -p {parent}")
    with new_directory(parent, f"{root.name}-fsprobe-", made) as (directory, stay):
        packed = pack(
            str(root),
            str(directory / f"{root.name}.sqsh"),
            compile_missing=compile_missing,
            staging=staging,
            progress=progress,
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
    fstype = fstype_of(where)
    return Layout(
        label=label or f"{spec.kind} on {fstype}",
        kind=spec.kind,
        where=where,
        fstype=fstype,
        mount_how=entered.mount_how,
        enter=enter_argv(replace(spec, way=entered.way)),
    )
