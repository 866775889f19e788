"""Look at an environment as it lies on disk, without running anything: how many files, whose, and what is wrong with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fsprobe import files
from fsprobe.errors import BadInput
from fsprobe.layouts.scan import venv as environments
from fsprobe.layouts.scan.compilation import compile_sources
from fsprobe.layouts.scan.packages import Distribution, Pth, list_distributions, owners, read_pth_files
from fsprobe.layouts.scan.walk import Tree, check_links, walk
from fsprobe.model.formats import FORMAT, JsonObject, text

SMALL_BYTES = 64 * 1024
"""A file below this is called small: it is read in one or two requests, so its cost is metadata, not data."""

MAX_TRIED = 1000
"""So many sources without a .pyc are compiled to see whether they can be; of an environment that has none at all nobody asks."""

LUMI_QUOTAS = {"home": 100_000, "project": 100_000, "scratch": 2_000_000, "flash": 1_000_000}
"""Files allowed per file system. Source: lumi-userguide docs/storage/index.md (6c3a26c)."""

_NO_DISTRIBUTION = "(in no distribution)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRow:
    """What one distribution holds here. Rows add up to the totals of the scan."""

    name: str
    version: str
    n_files: int
    n_bytes: int
    editable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A distribution that the base interpreter has too."""

    name: str
    version: str
    base_version: str
    n_files: int
    n_bytes: int

    @property
    def same(self) -> bool:
        return self.version == self.base_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Everything that `fsprobe scan` tells."""

    path: bytes
    is_venv: bool
    python: str
    """Version that pyvenv.cfg names; "" if none."""
    home: str
    n_files: int
    n_directories: int
    n_symlinks: int
    n_other: int
    n_inodes: int
    """What a quota counts: a file with several names once."""
    n_bytes: int
    n_disk_bytes: int
    n_small: int
    unreadable: tuple[bytes, ...]
    packages: tuple[PackageRow, ...]
    pths: tuple[Pth, ...]
    pycs: environments.Pycs | None
    """None: the interpreter's magic number is not known, or this is no venv."""
    duplicates: tuple[Duplicate, ...]
    system_site: bool
    dead_paths: tuple[tuple[str, bytes], ...]
    """(where it stands, the directory that does not exist)"""
    outward_links: tuple[bytes, ...]
    dangling_links: tuple[bytes, ...]
    misfits: tuple[str, ...]
    """Why this environment does not fit the interpreter or container here; empty when it does."""

    @property
    def share_small(self) -> float | None:
        return self.n_small / self.n_files if self.n_files else None


def scan_environment(path: str, environment: Mapping[str, str], progress: Callable[[int], None] | None = None) -> Scan:
    """Scan a directory, normally a virtual environment.

    Args:
        path: the directory.
        environment: the variables of the shell that asks: PYTHONPATH and the container's name are read.
        progress: called with the number of names seen so far.

    Raises:
        BadInput: no such directory, or it can't be read at all.
    """
    if not os.path.isdir(path):
        wrong = "not a directory" if os.path.lexists(path) else "no such directory"
        raise BadInput(f"{path}: {wrong}", "name the environment: the directory that `python -m venv` made")
    root = os.path.abspath(path)
    tree = walk(root, progress)
    if tree.unreadable == (b"",):
        raise BadInput(f"{path}: permission denied")
    venv = environments.read_venv(root)
    site_dirs = venv.site_dirs if venv else ()
    links = check_links(tree)
    distributions = {site: list_distributions(tree.full(site)) for site in site_dirs}
    owner: dict[bytes, str] = {}
    for site, found in distributions.items():
        owner.update(owners(tree, site, found))
    rows = _package_rows(tree, owner, [one for found in distributions.values() for one in found])
    pths = tuple(pth for site in site_dirs for pth in read_pth_files(tree, site))
    base = environments.find_base(venv) if venv else None
    magic = venv.magic if venv else None
    files = [node for node in tree.nodes.values() if node.kind == "f"]
    inodes = {node.inode for node in files if node.inode}
    n_files_once = sum(node.inode is None for node in files) + len(inodes)
    return Scan(
        path=os.fsencode(root),
        is_venv=venv is not None,
        python=venv.version if venv else "",
        home=venv.home if venv else "",
        n_files=len(files),
        n_directories=tree.count("d"),
        n_symlinks=tree.count("l"),
        n_other=tree.count("o"),
        n_inodes=len(tree.nodes) - len(files) + n_files_once,
        n_bytes=sum(node.size_bytes for node in files),
        n_disk_bytes=sum(node.disk_bytes for node in tree.nodes.values()),
        n_small=sum(node.size_bytes < SMALL_BYTES for node in files),
        unreadable=tree.unreadable,
        packages=rows,
        pths=pths,
        pycs=_check_pycs(tree, venv, magic) if venv and magic else None,
        duplicates=_duplicates(rows, venv, base) if venv and base else (),
        system_site=venv.system_site if venv else False,
        dead_paths=_dead_paths(pths, environment),
        outward_links=links.outward,
        dangling_links=links.dangling,
        misfits=_misfits(venv, base, tree) if venv and base else (),
    )


def _check_pycs(tree: Tree, venv: environments.Venv, magic: int) -> environments.Pycs:
    """As `environments.check_pycs`; sources without a .pyc that no interpreter of that version takes are told apart.

    They are compiled by this interpreter, so only where it is of the same version: the environment's own is not run.
    """
    found = environments.check_pycs(tree, venv, magic)
    if venv.minor != sys.version_info[:2] or not 0 < len(found.missing) <= MAX_TRIED:
        return found
    pairs = [(tree.full(path), tree.full(path)) for path in found.missing]
    try:
        refused = set(compile_sources(sys.executable, pairs, write=False))
    except BadInput:  # not readable, or too much for a compiler
        return found
    return replace(found, not_python=tuple(path for path in found.missing if tree.full(path) in refused))


def _package_rows(tree: Tree, owner: Mapping[bytes, str], found: list[Distribution]) -> tuple[PackageRow, ...]:
    known = {one.name: one for one in found}
    totals: dict[str, list[int]] = {name: [0, 0] for name in known}
    for path, node in tree.nodes.items():
        if node.kind == "f":
            total = totals.setdefault(owner.get(path, _NO_DISTRIBUTION), [0, 0])
            total[0] += 1
            total[1] += node.size_bytes
    rows = [
        PackageRow(
            name=name,
            version=known[name].version if name in known else "",
            n_files=n_files,
            n_bytes=n_bytes,
            editable=name in known and known[name].editable,
        )
        for name, (n_files, n_bytes) in totals.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.n_files, row.name)))


def _duplicates(
    rows: tuple[PackageRow, ...], venv: environments.Venv, base: environments.Base
) -> tuple[Duplicate, ...]:
    in_base: dict[str, str] = {}
    for directory in _base_site_dirs(venv, base):
        for distribution in list_distributions(os.fsencode(directory)):
            in_base.setdefault(distribution.name, distribution.version)
    return tuple(
        Duplicate(
            name=row.name,
            version=row.version,
            base_version=in_base[row.name],
            n_files=row.n_files,
            n_bytes=row.n_bytes,
        )
        for row in rows
        if row.name in in_base
    )


def _base_site_dirs(venv: environments.Venv, base: environments.Base) -> list[str]:
    if not (venv.minor and base.prefix):
        return []
    dotted = "{}.{}".format(*venv.minor)
    names = [f"lib/python{dotted}/site-packages", f"lib64/python{dotted}/site-packages"]
    if base.prefix == "/usr":  # Debian keeps its own apart
        names += ["lib/python3/dist-packages", f"local/lib/python{dotted}/dist-packages"]
    directories: dict[str, None] = {}
    for name in names:
        directory = os.path.realpath(os.path.join(base.prefix, name))
        if os.path.isdir(directory):
            directories[directory] = None
    return list(directories)


def _dead_paths(pths: tuple[Pth, ...], environment: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
    dead = [(text(pth.path), entry) for pth in pths for entry in pth.dead]
    for entry in environment.get("PYTHONPATH", "").split(":"):
        if entry and not os.path.exists(entry):
            dead.append(("PYTHONPATH of this shell", os.fsencode(entry)))
    return tuple(dead)


def _misfits(venv: environments.Venv, base: environments.Base, tree: Tree) -> tuple[str, ...]:
    reasons = []
    if not base.program:
        reasons.append("bin/python leads to no interpreter here: another machine or container made this environment")
    if not venv.home:
        reasons.append("pyvenv.cfg does not name its base interpreter (home)")
    elif not os.path.isdir(venv.home):
        reasons.append(f"the base interpreter's directory {venv.home} does not exist here")
    elif venv.minor and not base.stdlib:
        reasons.append(f"below {base.prefix} is no standard library of Python {venv.minor[0]}.{venv.minor[1]}")
    made_by = ".".join(venv.version.split(".")[:3])
    if base.version and made_by.count(".") == 2 and base.version != made_by:
        reasons.append(f"made with Python {made_by}; the interpreter there is {base.version} now")
    made_at = _path_in_scripts(tree)
    if made_at and os.path.realpath(made_at) != os.path.realpath(tree.root):
        reasons.append(f"its scripts call the interpreter of {text(made_at)}: it was moved, or mounted elsewhere")
    return tuple(reasons)


def _path_in_scripts(tree: Tree) -> bytes:
    """The environment's path as its own console scripts have it; b"" when there is none."""
    for path, node in sorted(tree.nodes.items()):
        if node.kind == "f" and path.startswith(b"bin/"):
            try:
                with files.open_to_read(tree.full(path)) as file:
                    head = file.readline(4096)
            except OSError:
                continue
            program = head[2:].split(b" ")[0].strip()
            if head.startswith(b"#!/") and b"/bin/python" in program and b"\0" not in program:
                return program.rpartition(b"/bin/python")[0]
    return b""


def quota_shares(scan: Scan, n_allowed: int | None = None) -> dict[str, float]:
    """Share of a file quota that the environment takes: of `n_allowed`, or of each of LUMI's."""
    quotas = {"quota": n_allowed} if n_allowed else LUMI_QUOTAS
    return {name: scan.n_inodes / allowed for name, allowed in quotas.items()}


def as_json(scan: Scan, n_allowed: int | None = None) -> JsonObject:
    """The scan as scripts read it: names as in `Scan`, paths as text."""
    row = _textual(asdict(scan))
    assert isinstance(row, dict)
    row["share_small"] = scan.share_small
    row["small_bytes"] = SMALL_BYTES
    row["quota_shares"] = quota_shares(scan, n_allowed)
    for duplicate, value in zip(row["duplicates"], scan.duplicates, strict=True):
        duplicate["same"] = value.same
    row["dead_paths"] = [{"where": where, "path": text(path)} for where, path in scan.dead_paths]
    return {"format": FORMAT, "kind": "scan", **row}


def _textual(value: Any) -> Any:
    if isinstance(value, bytes):
        return text(value)
    if isinstance(value, dict):
        return {key: _textual(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_textual(entry) for entry in value]
    return value
