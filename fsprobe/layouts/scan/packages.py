"""Installed distributions, .pth files and editable installs, read from the directories that hold them."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fsprobe import files, foreign_json
from fsprobe.layouts.scan.walk import Tree

MAX_URL_BYTES = 1 << 16
"""Of a direct_url.json (PEP 610), which holds a URL and a hash or two."""
MAX_RECORD_BYTES = 64 << 20
"""Of a RECORD: that of a package with 100,000 files has some 15 MB."""
MAX_PTH_BYTES = 4 << 20
"""Of a .pth file, which has some lines, one of them of code at times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One *.dist-info (or *.egg-info) directory."""

    name: str
    """Normalised: lower case, runs of `-_.` as one `-` (PEP 503)."""
    version: str
    info_dir: bytes
    """Relative to the site directory."""
    editable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pth:
    """One .pth file: what it adds to sys.path, and what it runs at every start of the interpreter."""

    path: bytes
    directories: tuple[bytes, ...]
    dead: tuple[bytes, ...]
    """Those of `directories` that do not exist: each is looked up again and again."""
    n_code_lines: int
    editable: bool


def list_distributions(site_dir: bytes) -> list[Distribution]:
    """The distributions in one directory; empty when that can't be read."""
    found = []
    try:
        names = sorted(os.listdir(site_dir))
    except OSError:
        return []
    for name in names:
        stem, extension = os.path.splitext(name)
        if extension not in (b".dist-info", b".egg-info"):
            continue
        project, _, rest = os.fsdecode(stem).partition("-")
        version = re.sub(r"-py\d+(\.\d+)?(-.*)?$", "", rest) if extension == b".egg-info" else rest
        found.append(
            Distribution(
                name=normalise(project), version=version, info_dir=name, editable=_is_editable(site_dir + b"/" + name)
            )
        )
    return found


def normalise(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_editable(info_dir: bytes) -> bool:
    try:
        data = files.read(info_dir + b"/direct_url.json", MAX_URL_BYTES)
        return bool(foreign_json.loads(data).get("dir_info", {}).get("editable"))
    except (OSError, ValueError, AttributeError):
        return False


def owners(tree: Tree, site_dir: bytes, distributions: list[Distribution]) -> Mapping[bytes, str]:
    """Path (relative to the tree's root) -> name of the distribution whose RECORD lists it.

    A .pyc belongs to its source's distribution, whether RECORD lists it or not.
    """
    owner: dict[bytes, str] = {}
    names = {site_dir + b"/" + distribution.info_dir: distribution.name for distribution in distributions}
    n_parts = site_dir.count(b"/") + 2
    for path in tree.nodes:
        top = b"/".join(path.split(b"/", n_parts)[:n_parts])
        if top in names:
            owner[path] = names[top]
    for distribution in distributions:
        info_dir = site_dir + b"/" + distribution.info_dir
        try:
            record = files.read(tree.full(info_dir) + b"/RECORD", MAX_RECORD_BYTES)
            rows = list(csv.reader(io.StringIO(record.decode("utf-8", "surrogateescape"), newline="")))
        except (OSError, csv.Error):
            continue
        for row in rows:
            if row:
                owner[os.path.normpath(os.path.join(site_dir, os.fsencode(row[0])))] = distribution.name
    for path in tree.nodes:
        if path.endswith(b".pyc") and path not in owner:
            directory, _, name = path.rpartition(b"/__pycache__/")
            source = directory + b"/" + name.partition(b".")[0] + b".py"
            if source in owner:
                owner[path] = owner[source]
    return owner


def read_pth_files(tree: Tree, site_dir: bytes) -> list[Pth]:
    """The .pth files that `site` reads in one directory, as it reads them: hidden ones are skipped."""
    found = []
    for path in sorted(tree.nodes):
        directory, _, name = path.rpartition(b"/")
        if directory != site_dir or not name.endswith(b".pth") or name.startswith(b"."):
            continue
        try:
            lines = [line.strip() for line in files.read(tree.full(path), MAX_PTH_BYTES).splitlines()]
        except OSError:
            continue
        lines = [line for line in lines if line and not line.startswith(b"#")]
        code = [line for line in lines if line.startswith((b"import ", b"import\t"))]
        directories = tuple(os.path.join(tree.full(site_dir), line) for line in lines if line not in code)
        found.append(
            Pth(
                path=path,
                directories=directories,
                dead=tuple(entry for entry in directories if not os.path.exists(entry)),
                n_code_lines=len(code),
                editable=b"_editable_" in name or name == b"easy-install.pth",
            )
        )
    return found
