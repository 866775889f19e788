"""Make the layouts of a comparison, and see to it that they hold the same byte code."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from fsprobe.errors import EXIT_USAGE, FsprobeError, MachineCannot
from fsprobe.experiment.plan import LAYOUT_HINT, Image, Plan, Progress, Side, State
from fsprobe.layouts.copied import copy_of
from fsprobe.layouts.image import read_listing
from fsprobe.layouts.mount.methods import hint_for, plan_ways, read_host_facts
from fsprobe.layouts.mount.namespace import choose_way, enter_argv
from fsprobe.layouts.mount.spec import Spec
from fsprobe.layouts.plain import Layout, Made, fstype_of
from fsprobe.layouts.scan import venv as environments
from fsprobe.layouts.scan.walk import Tree, walk
from fsprobe.layouts.squashfs import image_for, mounted
from fsprobe.model.comparison import IMAGE_KINDS
from fsprobe.model.formats import text


def build(plan: Plan, state: State, stack: ExitStack, say: Progress, scratch: Path, made: Made) -> None:
    """Add every layout but the baseline to `state.sides`; what can't be mounted here is left out, and a note says why.

    Whatever directory this makes outside of `scratch`, `made` is told of it.

    Raises:
        FsprobeError: nothing to compare with; no room for a copy or an image; an image that is none.
    """
    refused: list[MachineCannot] = []
    for label, parent in plan.copies.items():
        copy = stack.enter_context(
            copy_of(plan.env, parent, keep=plan.keep, progress=partial(say, f"copying to {parent}"), made=made)
        )
        state.sides.append(directory(plan.env, copy, label))
    for label, place in plan.existing.items():
        state.sides.append(directory(plan.env, Path(os.path.realpath(place)), label))
    wanted = []
    for image in plan.images:
        try:
            check_ways(image)
            wanted.append(image)
        except MachineCannot as error:
            refused.append(error)
            state.notes.append(f"{image.label} is left out: {error.message}")
    new = None
    for image in wanted:
        if image.image is None and new is None:
            # compiled in a copy where something has no .pyc: whether that matters is looked at below
            new = stack.enter_context(
                image_for(plan.env, plan.image_dir, keep=plan.keep, progress=say, staging=str(scratch), made=made)
            )
            state.new_image = new
        where = image.image or new
        assert where is not None
        try:
            spec = Spec(kind=image.kind, source=str(where), at=str(plan.env), way=image.way)
            state.sides.append(Side(layout=mounted(spec, image.label)))
        except MachineCannot as error:
            refused.append(error)
            state.notes.append(f"{image.label} is left out: {error.message}")
    if len(state.sides) < 2:
        if refused:
            raise refused[0]
        raise FsprobeError("nothing to compare with", LAYOUT_HINT, EXIT_USAGE)


def check_ways(image: Image) -> None:
    """Before anything is packed: is there a way to mount it at all, by the method that was named if one was?

    Raises:
        FsprobeError: there is no such method.
        MachineCannot: none works here.
    """
    ways = plan_ways(read_host_facts(), image.kind)
    if image.way:
        names = [way.name for way in ways]
        if image.way not in names:
            raise FsprobeError(f"there is no mount method {image.way!r}", f"there are: {', '.join(names)}", EXIT_USAGE)
        ways = [way for way in ways if way.name == image.way]
    if all(way.why_not for way in ways):
        reasons = "; ".join(f"{way.name}: {way.why_not}" for way in ways)
        raise MachineCannot(f"no image can be mounted for one command here ({reasons})", hint_for(ways, image.kind))


def directory(env: Path, place: Path, label: str) -> Side:
    """A copy mounted over the environment's path; where that is not allowed, run from where it lies."""
    layout = Layout(label=label, kind="copy", where=place, fstype=fstype_of(place), mount_how="", enter=[])
    spec = Spec(kind="bind", source=str(place), at=str(env))
    try:
        entered = choose_way(spec)
    except MachineCannot as error:
        return Side(layout=layout, in_place=error.message)
    enter = enter_argv(replace(spec, way=entered.way))
    return Side(layout=replace(layout, mount_how=entered.mount_how, enter=enter))


def compare_byte_code(plan: Plan, state: State, say: Progress) -> None:
    """Note for each side which sources have a valid .pyc there only, or on the baseline only.

    A copy that was made from the baseline is not looked at: it is the same. Nothing is compared where the interpreter's
    byte code is not known; a note says so.
    """
    others = [side for side in state.sides[1:] if side.layout.label not in plan.copies]
    if not others or not plan.check_byte_code:
        return
    venv = environments.read_venv(os.path.realpath(plan.env))
    magic = venv.magic if venv is not None else None
    if venv is None or magic is None:
        state.notes.append("byte code was not compared: this environment's interpreter is not known")
        return
    say("comparing byte code", 0, 1)
    tree = walk(venv.root)
    here = _compiled(tree, venv, magic)
    for side in others:
        if side.layout.kind in IMAGE_KINDS:
            there = _compiled_in_image(side.layout.where, tree, venv, here)
        else:
            there = _compiled(walk(str(side.layout.where)), venv, magic)
        side.without_pyc, side.with_pyc = frozenset(here - there), frozenset(there - here)


def _compiled(tree: Tree, venv: environments.Venv, magic: int) -> set[bytes]:
    """Sources of the tree that have a valid .pyc."""
    found = environments.check_pycs(tree, venv, magic)
    return set(environments.iter_sources(tree, venv.site_dirs)) - {*found.missing, *found.stale}


def _compiled_in_image(image: Path, tree: Tree, venv: environments.Venv, here: set[bytes]) -> set[bytes]:
    """The same of an image, by its listing: a .pyc whose source has the time and size that the baseline's has.

    A .pyc that the baseline has too must be of the same size; what is in it is not read.
    """
    listing = read_listing(str(image))
    unit = listing.resolution_s
    found = set()
    for source, entry in listing.entries.items():
        if entry.kind != "f" or not source.endswith(b".py") or b"/" not in source:
            continue
        name = environments.pyc_path(source, venv.cache_tag)
        compiled, node = listing.entries.get(name), tree.nodes.get(source)
        if compiled is None or node is None or not source.startswith(tuple(site + b"/" for site in venv.site_dirs)):
            continue
        is_same = node.size_bytes == entry.size_bytes and node.mtime_ns // 10**9 // unit == entry.mtime_s // unit
        if is_same and (source not in here or tree.nodes[name].size_bytes == compiled.size_bytes):
            found.add(source)
    return found


def removal_notes(plan: Plan, state: State) -> list[str]:
    """What is to be said of the places of layouts that are made for the comparison alone."""
    new = {*plan.copies, *(image.label for image in plan.images if image.image is None)}
    made = [side.layout.label for side in state.sides if side.layout.label in new]
    if plan.keep or not made:
        return []
    return [f"{' and '.join(made)}: made for this comparison, and removed at its end (--keep leaves what is made)"]


def byte_code_notes(plan: Plan, state: State) -> list[str]:
    """What is to be said of byte code that one side has and the other lacks, once both were traced."""
    notes = []
    base = state.sides[0]
    for side in state.sides[1:]:
        label = side.layout.label
        for sources, lacking, who, other in (
            (side.without_pyc, side, label, "the baseline"),
            (side.with_pyc, base, "the baseline", label),
        ):
            if not sources:
                continue
            used = sorted(source for source in sources if _opens(lacking, plan, source))
            first = text((used or sorted(sources))[0])
            line = f"byte code: {who} lacks {len(sources)} valid .pyc files that {other} has"
            if used:
                line += f"; the command reads {len(used)} of these sources and compiles them, the first is {first}: not a fair comparison"
            else:
                line += f" (the first is that of {first}); the command reads none of these sources"
            notes.append(line)
    return notes


def _opens(side: Side, plan: Plan, source: bytes) -> bool:
    if side.analysis is None:
        return False
    home = side.layout.where if side.in_place else plan.env
    row = side.analysis.tally.by_path.get(os.fsencode(os.path.realpath(home)) + b"/" + source)
    return row is not None and row.counts.n_open > 0
