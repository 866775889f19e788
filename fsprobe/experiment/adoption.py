"""Whether an image is better than the environment that it was made of, and its move to where it is to stay."""

from __future__ import annotations

import os
from pathlib import Path

from fsprobe.capture.machine.mounts import classify
from fsprobe.errors import BadInput
from fsprobe.experiment.plan import BASELINE
from fsprobe.layouts.pack.side_file import side_file_of
from fsprobe.model.comparison import Comparison, LayoutRow
from fsprobe.model.rows import OURS

KEPT_SHARE = 0.1
"""Up to this share of the requests an image is kept that is no slower: the file server is everybody's. A judgement."""


def judge(comparison: Comparison, label: str) -> tuple[bool, str]:
    """Whether the image of this label is better than the environment as it is, and the reason in words."""
    rows = [row for row in comparison.rows if row.layout == label]
    if not rows:
        return False, next(iter(comparison.notes), "the image could not be tried")
    if any(row.is_failed for row in rows):
        return False, "the command fails in the image"
    if any(_is_clear(row) > 0 for row in rows):
        return False, "the image is slower"
    fewer = next((row.ratio_requests for row in rows if row.ratio_requests is not None), None)
    if any(_is_clear(row) < 0 for row in rows):
        return True, "it starts faster"
    fstype = next((row.fstype for row in comparison.rows if row.layout == BASELINE), None)
    if fstype and classify(fstype) in (*OURS, "local"):
        return False, f"the image is not faster, and the environment lies on no file server ({fstype})"
    if fewer is not None and fewer <= KEPT_SHARE:
        return True, "no clear difference in time, and the file server is asked for less"
    return False, "the image is neither faster nor clearly easier on the file server"


def _is_clear(row: LayoutRow) -> int:
    """-1: clearly faster than the baseline, 1: clearly slower, 0: neither."""
    if not row.clear or row.ratio_wall is None:
        return 0
    return -1 if row.ratio_wall < 1 else 1


def put_in_place(image: Path, target: Path, *, replace: bool = False) -> None:
    """Move a finished image and its side file; a file that came there meanwhile is not overwritten, unless it is to be replaced.

    Raises:
        BadInput: a file is there.
    """
    pairs = ((side_file_of(image), side_file_of(target)), (image, target))
    if replace:
        for source, place in pairs:
            os.replace(source, place)
        return
    placed: list[Path] = []
    try:
        for source, place in pairs:
            try:
                os.link(source, place)
            except FileExistsError:
                raise BadInput(f"{place} is there by now", "name another place for the image") from None
            except OSError:  # a filesystem without hard links
                if os.path.lexists(place):
                    raise BadInput(f"{place} is there by now", "name another place for the image") from None
                os.replace(source, place)
            placed.append(place)
    except (BadInput, OSError):
        for place in placed:
            place.unlink(missing_ok=True)
        raise
