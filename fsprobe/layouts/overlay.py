"""A SquashFS image with a writable layer on top: what `pip install` needs, without giving up the image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fsprobe.layouts.mount.spec import Spec
from fsprobe.layouts.pack.build import Progress
from fsprobe.layouts.plain import Layout
from fsprobe.layouts.squashfs import image_for, mounted


@contextmanager
def overlay(
    venv: str | Path,
    *,
    image: str | Path | None = None,
    image_dir: str | Path | None = None,
    upper: str | Path | None = None,
    compile_missing: bool = False,
    label: str = "",
    keep: bool = False,
    progress: Progress | None = None,
) -> Iterator[Layout]:
    """As `squashfs`, but every command sees a writable environment.

    Args:
        venv: the environment, whose path is mounted over.
        image: an image of it that exists already.
        image_dir: where a new image goes.
        upper: keeps the changes of all commands; with None each command starts from the image, and its changes go
            with it.
        compile_missing: as in `pack`.
        label: how reports call it.
        keep: leave the new image where it is.
        progress: as in `pack`.

    Raises:
        BadInput, MachineCannot: from `pack` and `namespace`.
    """
    with image_for(venv, image, image_dir, compile_missing, keep, progress) as where:
        spec = Spec(kind="overlay", source=str(where), at=str(venv), upper=str(upper) if upper else "")
        yield mounted(spec, label)
