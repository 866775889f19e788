"""The exact lines to use an image, ready to paste."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from fsprobe.capture.shipped import typed
from fsprobe.model.comparison import IMAGE_KINDS, Comparison, LayoutRow

_OWN_DIRECTORY = re.compile("-fsprobe-[0-9a-f]{16}$")
"""Where an image or a copy lies that was made to be compared: it is removed at the end, unless it was to be kept."""


def usage_lines(
    image: Path, at: str, command: Sequence[str] = ("python", "script.py"), program: str = ""
) -> dict[str, list[str]]:
    """How to run `command` of the environment with `image` mounted over `at`.

    Args:
        image: the image.
        at: the environment's path.
        command: its first word as a container finds it on its PATH.
        program: its first word elsewhere; without it, taken from the environment's bin directory.

    Returns:
        Heading -> lines.
    """
    img, path = shlex.quote(str(image)), shlex.quote(at)
    run = shlex.join([program or f"{at}/bin/{command[0]}", *command[1:]])
    bare = shlex.join(command)
    root = f"mount -t squashfs -o loop,ro,nosuid,nodev {img} {path} && exec {run}"
    user = f"squashfuse_ll -o ro,nosuid,nodev {img} {path} && {{ {run}; rc=$?; umount {path}; exit $rc; }}"
    bind = shlex.quote(f"{image}:{at}:image-src=/")
    return {
        "with fsprobe": [f"{typed(is_whole=True)} exec --image {img} --at {path} -- {run}"],
        "by hand, as root": [f"unshare --mount --propagation slave sh -c {shlex.quote(root)}"],
        "by hand, as a user": [
            f"unshare --user --map-current-user --keep-caps --mount --propagation slave sh -c {shlex.quote(user)}"
        ],
        "with singularity": _container("singularity", "SINGULARITYENV", bind, path, bare),
        "with apptainer": _container("apptainer", "APPTAINERENV", bind, path, bare),
    }


def _container(tool: str, prefix: str, bind: str, path: str, bare: str) -> list[str]:
    return [
        # the image is read-only: what pip can't write there it puts into ~/.local, which then leaks into every container
        f"export {prefix}_PYTHONNOUSERSITE=1",
        f"export {prefix}_PREPEND_PATH={path}/bin",
        f"{tool} exec -B {bind} CONTAINER.sif {bare}",
    ]


def adoption_lines(comparison: Comparison, row: LayoutRow) -> dict[str, list[str]]:
    """How to make a layout that was compared, and to run the compared command from it.

    Returns:
        Heading -> lines; empty where the comparison does not say what was compared.
    """
    env, command = (comparison.environment or "").rstrip("/"), list(comparison.command or ())
    if not env or not command:
        return {}
    inside = command[0].removeprefix(f"{env}/bin/")
    if row.kind in IMAGE_KINDS:
        stays = bool(row.where) and not _OWN_DIRECTORY.search(os.path.dirname(row.where))
        image = Path(row.where if stays else f"{env}.sqsh")
        lines = usage_lines(image, env, [inside, *command[1:]], command[0])
        once = {"Once": [f"{typed(is_whole=True)} pack --compile {shlex.quote(env)} -o {shlex.quote(str(image))}"]}
        if stays:  # it was given, or `fix` kept it: there is nothing to pack
            once = {}
        if row.kind == "overlay":
            run = lines["with fsprobe"][0].replace(" exec ", " exec --writable ", 1)
            return {**once, "In the job script": [run]}
        return {**once, **{f"In the job script, {name}": lines[name] for name in ("with fsprobe", "with apptainer")}}
    if row.kind != "copy" or not row.where:
        return {}
    where = row.where
    if _OWN_DIRECTORY.search(os.path.dirname(where)):  # the directory above it is gone too
        where = os.path.join(os.path.dirname(os.path.dirname(where)), os.path.basename(env))
    place, path = shlex.quote(where), shlex.quote(env)
    made = {"Once, or at the start of each job where the place is empty then": [f"cp -a {path}/. {place}"]}
    if row.in_place:
        return {**made, "In the job script": [shlex.join([command[0].replace(env, where, 1), *command[1:]])]}
    script = f"mount --bind {place} {path} && exec {shlex.join(command)}"
    bound = f"unshare --mount --propagation slave sh -c {shlex.quote(script)}"
    return {**made, "In the job script, as root": [bound]}
