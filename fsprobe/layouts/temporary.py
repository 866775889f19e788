"""A directory for what is being made: it goes, whatever happens, unless it is to stay."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fsprobe.layouts.plain import Made
from fsprobe.layouts.scan.walk import remove_tree


@contextmanager
def new_directory(
    parent: str | Path, prefix: str, made: Made | None = None
) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Make a directory; gives its path, and what to call when it shall stay.

    `made` is told before it is there: an interruption or a kill at any moment finds somebody who knows of it.

    Raises:
        OSError: it can't be made.
    """
    path = os.path.join(os.path.realpath(parent), f"{prefix}{secrets.token_hex(8)}")
    is_ours = True

    def stay() -> None:
        nonlocal is_ours
        is_ours = False
        if made is not None:
            made(path, True)

    try:
        if made is not None:
            made(path, False)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            stay()
            raise
        yield Path(path), stay
    finally:
        if is_ours and os.path.lexists(path):
            remove_tree(path)
