"""Make a SquashFS image of a virtual environment: check, compile in a copy if asked, pack, verify, then put it in place.

The environment is only read. The image appears under its name complete or not at all.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsprobe import files
from fsprobe.capture.directories import own_files
from fsprobe.errors import EXIT_USAGE, BadInput, FsprobeError, MachineCannot
from fsprobe.layouts.image import Listing, read_listing, read_superblock
from fsprobe.layouts.pack import side_file as sidefile
from fsprobe.layouts.pack.mksquashfs import run_mksquashfs
from fsprobe.layouts.scan import venv as environments
from fsprobe.layouts.scan.compilation import compile_sources
from fsprobe.layouts.scan.walk import Links, Tree, check_links, copy_tree, remove_tree, walk
from fsprobe.model.formats import text

Progress = Callable[[str, int, int], None]
"""(what is going on, done, of all)"""

SHARE_LEFT_AT_BEST = 0.3
"""Compressed over plain size of a scientific environment; files that are compressed already shrink less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was found before anything was made."""

    venv: environments.Venv
    base: environments.Base
    tree: Tree
    links: Links
    to_compile: tuple[bytes, ...]
    """Sources without a valid .pyc, that have to be compiled first."""
    uncompilable: tuple[bytes, ...]
    """Sources that are no valid Python for this interpreter; they never have a .pyc."""
    n_bytes: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """An image that was verified and put in place."""

    image: Path
    side_file: Path
    at: str
    """Where it is to be mounted: the environment's own path."""
    n_files: int
    n_directories: int
    n_symlinks: int
    n_bytes: int
    n_image_bytes: int
    n_pycs: int
    n_compiled: int
    to_the_second: bool
    """False: this unsquashfs shows minutes only, and times were compared to the minute."""
    warnings: tuple[str, ...]


def check_environment(venv_path: str) -> None:
    """Refuse what is no directory.

    Raises:
        BadInput: it is not there, or something else.
    """
    if not os.path.isdir(venv_path):
        wrong = "not a directory" if os.path.exists(venv_path) else "no such directory"
        raise BadInput(f"{venv_path}: {wrong}", "name the environment: the directory that `python -m venv` made")


def check(venv_path: str, image: str, *, force: bool = False, progress: Progress | None = None) -> Check:
    """Everything that can be known before packing.

    Raises:
        BadInput: no virtual environment, unreadable parts, a bad place for the image, an interpreter that is not known.
        MachineCannot: no mksquashfs, no room.
    """
    check_environment(venv_path)
    root = os.path.realpath(venv_path)
    _check_place(root, image, force)
    venv = environments.read_venv(root)
    if venv is None or not venv.site_dirs:
        raise BadInput(
            f"{venv_path} is not a virtual environment: it has no "
            + ("pyvenv.cfg" if venv is None else "lib/pythonX.Y/site-packages"),
            "make one with `python -m venv`; for conda see `conda-pack --format squashfs`",
        )
    tree = walk(root, (lambda n: progress("reading the environment", n, 0)) if progress else None)
    unreadable = [
        *tree.unreadable,
        *(path for path, node in tree.nodes.items() if not _is_readable(tree, path, node.kind)),
    ]
    if unreadable:
        raise BadInput(
            f"{len(unreadable)} names below {venv_path} can't be read, the first is {text(unreadable[0])}",
            "an image would miss them: make them readable, or remove them",
        )
    magic = venv.magic
    if magic is None:
        raise BadInput(
            f"the bytecode of this environment's interpreter is not known to fsprobe ({venv.version or 'no version'})",
            "run fsprobe with that interpreter's version of Python",
        )
    base = environments.find_base(venv)
    pycs = environments.check_pycs(tree, venv, magic)
    invalid = [*pycs.missing, *pycs.stale]
    uncompilable: set[bytes] = set()
    if invalid and base.program:
        full = [(tree.full(path), tree.full(path)) for path in invalid]
        refused = set(compile_sources(os.path.join(root, "bin", "python"), full, write=False))
        uncompilable = {path for path in invalid if tree.full(path) in refused}
    n_bytes = sum(node.size_bytes for node in tree.nodes.values())
    place = os.path.dirname(os.path.abspath(image))
    free = shutil.disk_usage(place).free
    if free < n_bytes * SHARE_LEFT_AT_BEST:
        raise MachineCannot(
            f"no room in {place}: {free} bytes free, and {n_bytes} bytes of files are to be packed",
            "choose another place with -o",
        )
    links = check_links(tree)
    return Check(
        venv=venv,
        base=base,
        tree=tree,
        links=links,
        to_compile=tuple(path for path in invalid if path not in uncompilable),
        uncompilable=tuple(sorted(uncompilable)),
        n_bytes=n_bytes,
        warnings=_warnings(base, links, uncompilable, free < n_bytes),
    )


def pack(
    venv_path: str,
    image: str,
    *,
    compile_missing: bool = False,
    force: bool = False,
    comp: str = "zstd",
    staging: str | None = None,
    environment: Mapping[str, str] = os.environ,
    progress: Progress | None = None,
) -> Packed:
    """Pack an environment into `image` and write IMG.json beside it.

    Args:
        venv_path: the environment; only read.
        image: where the image goes.
        compile_missing: compile sources that have no valid .pyc, in a copy.
        force: replace an image that is there.
        comp: one of mksquashfs.COMPRESSORS.
        staging: directory for the copy, the system's temporary one when None.
        environment: the container's name is taken from it.
        progress: told about each step.

    Raises:
        BadInput: see `check`; also a .pyc is missing, the environment changed meanwhile, or the image does not verify.
        MachineCannot: mksquashfs is missing or failed; the disk is full.
    """
    found = check(venv_path, image, force=force, progress=progress)
    if found.to_compile and not compile_missing:
        raise BadInput(
            f"{len(found.to_compile)} sources have no valid .pyc, the first is {text(found.to_compile[0])}",
            "in a read-only image they would be compiled again at every start: add --compile (it works on a copy)",
        )
    target = Path(os.path.abspath(image))
    with ExitStack() as stack:
        tree = found.tree
        if found.to_compile:
            tree = stack.enter_context(_compiled_copy(found, staging, progress))
        part = stack.enter_context(_part_of(target))
        run_mksquashfs(tree, part, comp, (lambda n, total: progress("packing", n, total)) if progress else None)
        listing = read_listing(str(part))
        n_pycs = verify(listing, walk(tree.root), found, progress)
        description = sidefile.describe(part, found.venv, found.base, environment)
        part.chmod(0o666 & ~_umask())
        sidefile.write(description, sidefile.side_file_of(target), part, target)
    return Packed(
        image=target,
        side_file=sidefile.side_file_of(target),
        at=found.venv.root,
        n_files=tree.count("f"),
        n_directories=tree.count("d"),
        n_symlinks=tree.count("l"),
        n_bytes=found.n_bytes,
        n_image_bytes=target.stat().st_size,
        n_pycs=n_pycs,
        n_compiled=len(found.to_compile),
        to_the_second=listing.resolution_s == 1,
        warnings=found.warnings,
    )


def verify(listing: Listing, tree: Tree, found: Check, progress: Progress | None = None) -> int:
    """Compare an image's listing with the tree it was made from; returns the number of .pyc files that are valid in it.

    Raises:
        BadInput: a name, kind, size, time or link differs, or a .pyc is not valid by the image's own times.
    """
    differences = []
    unit = listing.resolution_s
    for path in sorted(listing.entries.keys() | tree.nodes.keys()):
        there, here = listing.entries.get(path), tree.nodes.get(path)
        if there is None or here is None:
            differences.append((path, "is missing in the image" if there is None else "is only in the image"))
        elif there.kind != here.kind or there.target != here.target:
            differences.append((path, "is something else in the image"))
        elif here.kind == "f" and there.size_bytes != here.size_bytes:
            differences.append((path, f"has {there.size_bytes} bytes in the image, {here.size_bytes} outside"))
        elif here.kind == "f" and there.mtime_s // unit != here.mtime_ns // 10**9 // unit:
            differences.append((path, "has another time in the image"))
    magic = found.venv.magic
    assert magic is not None
    n_valid = n_stale = 0
    for n_done, source in enumerate(environments.iter_sources(tree, found.venv.site_dirs)):
        compiled = environments.pyc_path(source, found.venv.cache_tag)
        if compiled in tree.nodes and source in listing.entries and tree.nodes[source].kind == "f":
            entry = listing.entries[source]
            mtime = entry.mtime_s
            if unit > 1 and mtime // unit == tree.nodes[source].mtime_ns // 10**9 // unit:
                mtime = tree.nodes[source].mtime_ns // 10**9
            valid = environments.is_valid_pyc(tree.full(compiled), tree.full(source), mtime, entry.size_bytes, magic)
            n_valid += valid
            n_stale += not valid and source not in found.uncompilable
        if progress:
            progress("verifying", n_done + 1, 0)
    if n_stale:
        raise BadInput(
            f"{n_stale} of {n_valid + n_stale} .pyc files would be stale in the image: it does not keep the files' times",
            "every import would compile again; look for a mksquashfs wrapper or SOURCE_DATE_EPOCH that sets times",
        )
    if differences:
        path, what = differences[0]
        raise BadInput(
            f"the image differs from the environment in {len(differences)} names, the first: {text(path) or '/'} {what}",
            "something changed the environment while it was packed: stop that and pack again",
        )
    return n_valid


def _check_place(root: str, image: str, force: bool) -> None:
    if not shutil.which("mksquashfs"):
        raise MachineCannot("mksquashfs is not installed", "install squashfs-tools, or load a module that has it")
    target = os.path.realpath(image)
    if target == root or target.startswith(root + "/"):
        raise BadInput(f"{image} lies inside the environment", "put the image beside it, not in it")
    place = os.path.dirname(target)
    if not os.path.isdir(place):
        raise BadInput(f"{place}: no such directory", f"make it: mkdir -p {place}")
    if os.path.isdir(target):
        raise BadInput(f"{image} is a directory", "give the image's file name too")
    for output in (image, f"{image}.json"):
        try:
            files.check(os.path.abspath(output))
        except OSError as error:
            raise BadInput(f"cannot write {output}: {error.strerror}", "choose another place with -o") from error
    if os.path.lexists(target):
        if not force:
            raise FsprobeError(f"{image} is there already", "--force replaces it; or name another with -o", EXIT_USAGE)
        read_superblock(target)  # never replace what is no image
    if not os.access(place, os.W_OK | os.X_OK):
        raise BadInput(f"{place} is not writable for you", "choose another place with -o")


def _is_readable(tree: Tree, path: bytes, kind: str) -> bool:
    return kind != "f" or os.access(tree.full(path), os.R_OK)


def _warnings(base: environments.Base, links: Links, uncompilable: set[bytes], tight: bool) -> tuple[str, ...]:
    warnings = []
    interpreters = [path for path in links.dangling if path.startswith(b"bin/python")]
    others = [path for path in links.dangling if path not in interpreters]
    outward = [path for path in links.outward if not path.startswith(b"bin/python")]
    if not base.program or interpreters:
        warnings.append("bin/python leads nowhere here; the image works only where its interpreter exists")
    if others:
        warnings.append(f"{len(others)} dangling symlinks, the first: {text(others[0])}")
    if outward:
        warnings.append(
            f"{len(outward)} symlinks lead out of the environment; what they point to is not in the image: {text(outward[0])}"
        )
    if uncompilable:
        first = text(sorted(uncompilable)[0])
        warnings.append(f"{len(uncompilable)} sources are no valid Python for this interpreter, the first: {first}")
    if tight:
        warnings.append("the files are larger than the room that is left; the image fits only if they compress")
    return tuple(warnings)


@contextmanager
def _compiled_copy(found: Check, staging: str | None, progress: Progress | None) -> Iterator[Tree]:
    """A copy of the environment with every .pyc in it; removed at the end."""
    place = staging or tempfile.gettempdir()
    if shutil.disk_usage(place).free < found.n_bytes * 1.2:
        raise MachineCannot(
            f"no room in {place} for a copy of {found.n_bytes} bytes", "choose another place with --staging DIR"
        )
    directory = tempfile.mkdtemp(prefix="fsprobe-pack-", dir=place)
    try:
        try:
            copy = _copy_and_compile(found, os.fsencode(directory) + b"/copy", progress)
        except OSError as error:
            raise MachineCannot(
                f"copying to {directory} failed: {error}", "choose another place with --staging DIR"
            ) from error
        yield walk(copy)
    finally:
        remove_tree(directory)


def _copy_and_compile(found: Check, copy: bytes, progress: Progress | None) -> bytes:
    copy_tree(found.tree, copy, (lambda n, total: progress("copying", n, total)) if progress else None)
    pairs = [(os.path.join(copy, path), found.tree.full(path)) for path in found.to_compile]
    for directory in {os.path.dirname(source) for source, _ in pairs}:
        os.makedirs(directory + b"/__pycache__", exist_ok=True)
    refused = compile_sources(
        os.path.join(found.venv.root, "bin", "python"),
        pairs,
        write=True,
        progress=(lambda n, total: progress("compiling", n, total)) if progress else None,
    )
    if refused:
        raise BadInput(f"{text(refused[0])} could not be compiled though it was fine before", "pack again")
    return copy


@contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """An unfinished file beside the image, gone at the end whatever happens; also those of packs that were killed."""
    name = files.cut_name(target.name, len("..12345678.part"))
    for old in target.parent.glob(f".{_escape_glob(name)}.*.part"):
        try:
            with own_files.reader(str(old)) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its maker is gone
                old.unlink()
        except OSError:
            pass  # among others: somebody else's, or no file
    try:
        handle, path = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise MachineCannot(f"can't write in {target.parent}: {error.strerror}") from error
    part = Path(path)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            pass  # a filesystem without locks: a killed pack then leaves its part
        yield part
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def _umask() -> int:
    """The process's mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _escape_glob(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
