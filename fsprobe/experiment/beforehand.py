"""What can be told of a comparison before its command runs for the first time, which may take long."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fsprobe.errors import EXIT_USAGE, BadInput, FsprobeError, MachineCannot
from fsprobe.experiment.build import check_ways
from fsprobe.experiment.plan import BASELINE, LAYOUT_HINT, Announcement, Plan
from fsprobe.layouts.image import read_superblock
from fsprobe.layouts.pack.build import SHARE_LEFT_AT_BEST
from fsprobe.layouts.scan.walk import walk


def check(plan: Plan, *, has_empty: bool = False) -> Announcement:
    """Refuse what can't be done, and say what will be.

    Args:
        plan: what to compare.
        has_empty: the caller makes cold itself.

    Raises:
        FsprobeError: nothing to compare with; two of one name; no way to mount the only images.
        BadInput: a copy, an image or a directory that is not there or can't be used.
        MachineCannot: an image is to be packed, and mksquashfs is not here; cold runs, and nothing empties the caches; no room.
    """
    if "cold" in plan.caches and not has_empty and not can_make_cold(plan):
        raise MachineCannot(
            "no cold runs: emptying the caches takes root, or a command for it", "--make-cold CMD, or --cache warm"
        )
    labels = [BASELINE, *plan.copies, *plan.existing, *(image.label for image in plan.images)]
    if len(labels) < 2:
        raise FsprobeError("nothing to compare with", LAYOUT_HINT, EXIT_USAGE)
    for label in labels:
        if labels.count(label) > 1:
            raise FsprobeError(f"two layouts are called {label}", "give each --layout a name of its own", EXIT_USAGE)
    for label, place in plan.existing.items():
        if not (place / "bin").is_dir():
            raise BadInput(
                f"{place} is no environment: it has no bin directory",
                f"--layout {label}=DIR takes a copy of the environment; --flash DIR makes one",
            )
    for parent in plan.copies.values():
        _check_directory(parent)
        environment = os.path.realpath(plan.env)
        if f"{os.path.realpath(parent)}/".startswith(f"{environment}/"):
            raise BadInput(f"{parent} lies inside the environment", "choose another place for the copy")
    packs = _check_images(plan)
    return _announcement(plan, labels, packs=packs)


def can_make_cold(plan: Plan) -> bool:
    """Whether caches can be emptied here."""
    return bool(plan.make_cold) or os.access("/proc/sys/vm/drop_caches", os.W_OK)


def _announcement(plan: Plan, labels: list[str], *, packs: bool) -> Announcement:
    new = [("copy", Path(os.path.realpath(parent))) for parent in plan.copies.values()]
    if packs:
        new.append(("image", plan.image_dir or Path(os.path.realpath(plan.env)).parent))
    n_bytes = sum(node.size_bytes for node in walk(os.path.realpath(plan.env)).nodes.values()) if new else 0
    for kind, place in new:
        least = n_bytes if kind == "copy" else n_bytes * SHARE_LEFT_AT_BEST
        free = shutil.disk_usage(place).free
        if free < least:
            raise MachineCannot(
                f"no room in {place}: {free:,} bytes free, and the environment has {n_bytes:,}", "name another place"
            )
    n_timed = sum(2 if cache == "warm" else 1 for cache in plan.caches) * plan.n_runs
    return Announcement(
        layouts=tuple(labels),
        n_runs=plan.n_runs,
        caches=plan.caches,
        n_starts=1 + len(plan.existing) + len(labels) * (1 + n_timed),
        needs=tuple((kind, place, n_bytes) for kind, place in new),
        keeps=plan.keep,
    )


def _check_images(plan: Plan) -> bool:
    """Whether one will be packed: of what can't be mounted here, none is."""
    refused, packs = [], False
    for image in plan.images:
        if image.image is not None:
            read_superblock(str(image.image))
        try:
            check_ways(image)
            packs |= image.image is None
        except MachineCannot as error:
            refused.append(error)
    if refused and len(refused) == len(plan.images) and not plan.copies and not plan.existing:
        raise refused[0]
    # a place that was named is looked at in any case: a slip is not the machine's to excuse
    if packs or (plan.image_dir is not None and any(image.image is None for image in plan.images)):
        _check_directory(plan.image_dir or Path(os.path.realpath(plan.env)).parent)
    if packs and not shutil.which("mksquashfs"):
        raise MachineCannot("mksquashfs is not installed", "install squashfs-tools, or load a module that has it")
    return packs


def _check_directory(place: Path) -> None:
    if not place.is_dir():
        raise BadInput(f"{place}: no such directory", f"make it: mkdir -p {place}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise BadInput(f"{place}: not writable for you", "name another place")
