"""Virtual environments as they lie on disk: pyvenv.cfg, the interpreter behind it, and whether each .py has a valid .pyc.

Nothing of the environment is run here. Sources: PEP 405 (pyvenv.cfg), PEP 552 and importlib's
_bootstrap_external (the header of a .pyc), PEP 3147 (where it lies).
"""

from __future__ import annotations

import _imp
import importlib.util
import os
import re
import stat
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fsprobe import files
from fsprobe.layouts.scan.walk import Tree

MAX_CONFIG_BYTES = 1 << 20
"""Of a pyvenv.cfg or patchlevel.h, which have some lines each."""

MAX_SOURCE_BYTES = 64 << 20
"""Of a source that is read to compare its hash."""

_MAGIC = {
    (3, 6): 3379, (3, 7): 3394, (3, 8): 3413, (3, 9): 3425, (3, 10): 3439, (3, 11): 3495, (3, 12): 3531, (3, 13): 3571,
}  # fmt: skip
"""Magic number of each released CPython; fixed from its last release candidate on. Read from those interpreters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Venv:
    """What pyvenv.cfg and the directory names say."""

    root: str
    config: Mapping[str, str]
    home: str
    """Directory of the base interpreter; "" if the file does not say."""
    version: str
    """As pyvenv.cfg has it: 3.11.7; "" if it has none."""
    minor: tuple[int, int] | None
    """From the directory that holds the packages, which is what decides."""
    system_site: bool
    site_dirs: tuple[bytes, ...]
    """Relative to the root."""

    @property
    def cache_tag(self) -> str:
        return f"cpython-{self.minor[0]}{self.minor[1]}" if self.minor else ""

    @property
    def magic(self) -> int | None:
        """What the .pyc files of this environment must begin with; None when that is not known."""
        if not self.minor or "pypy" in self.config.get("implementation", "").lower():
            return None
        if self.minor == sys.version_info[:2]:
            return struct.unpack("<H", importlib.util.MAGIC_NUMBER[:2])[0]  # type: ignore[no-any-return]
        return _MAGIC.get(self.minor)


def read_venv(root: str) -> Venv | None:
    """Read `root` as a virtual environment; None when it has no pyvenv.cfg."""
    try:
        data = files.read(os.path.join(root, "pyvenv.cfg"), MAX_CONFIG_BYTES)
    except OSError:
        return None
    lines = data.decode("utf-8", "surrogateescape").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    # a path or a version with a NUL byte is none
    config = {key.strip().lower(): value.strip() for key, _, value in pairs if "\0" not in value}
    site_dirs = _find_site_dirs(root)
    version = config.get("version") or config.get("version_info", "")
    match = re.match(r"([0-9]{1,3})\.([0-9]{1,3})(?![0-9])", version)
    minors = [minor for minor in map(_minor_of, site_dirs) if minor]
    cfg_minor = (int(match[1]), int(match[2])) if match else None
    return Venv(
        root=root,
        config=config,
        home=config.get("home", ""),
        version=version,
        minor=cfg_minor if cfg_minor in minors or not minors else minors[-1],
        system_site=config.get("include-system-site-packages", "").lower() == "true",
        site_dirs=site_dirs,
    )


def _find_site_dirs(root: str) -> tuple[bytes, ...]:
    """lib/pythonX.Y/site-packages and the like; lib64 only where it is no link to lib."""
    found = []
    for lib in (b"lib", b"lib64"):
        top = os.path.join(os.fsencode(root), lib)
        if os.path.islink(top):
            continue
        try:
            names = sorted(os.listdir(top))
        except OSError:
            continue
        for name in names:
            if name.startswith((b"python", b"pypy")) and os.path.isdir(os.path.join(top, name, b"site-packages")):
                found.append(b"/".join((lib, name, b"site-packages")))
    return tuple(found)


def _minor_of(site_dir: bytes) -> tuple[int, int] | None:
    match = re.search(rb"/python([0-9]{1,3})\.([0-9]{1,3})t?/", site_dir)
    return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The installation that a venv was made from, looked at from outside."""

    program: str
    """What bin/python finally is; "" when it leads nowhere here."""
    identity: tuple[int, int] | None
    """(size in bytes, mtime in ns) of that file: equal means the same interpreter, without running it."""
    prefix: str
    stdlib: str
    """"" when it has no standard library of the venv's minor version."""
    version: str
    """Full version from its headers; "" where they are not installed."""


def find_base(venv: Venv) -> Base:
    """Look for the interpreter behind `venv` on this machine, in this container."""
    link = os.path.join(venv.root, "bin", "python")
    program = os.path.realpath(link) if os.path.exists(link) else ""
    prefix = os.path.dirname(venv.home.rstrip("/"))
    dotted = "{}.{}".format(*venv.minor) if venv.minor else ""
    stdlib, version = "", ""
    if dotted and prefix:
        # `home` may hold no more than a link to the interpreter, which then finds its library from where it lies
        real = os.path.dirname(os.path.dirname(program))
        if (
            program
            and not any(os.path.isdir(place) for place in _libraries(prefix, dotted))
            and _stdlib_below(real, dotted)
        ):
            prefix = real
        stdlib = _stdlib_below(prefix, dotted)
        version = version_in_headers(prefix, dotted)
    return Base(program=program, identity=identify(program), prefix=prefix, stdlib=stdlib, version=version)


def _libraries(prefix: str, dotted: str) -> list[str]:
    return [os.path.join(prefix, lib, f"python{dotted}") for lib in ("lib", "lib64")]


def _stdlib_below(prefix: str, dotted: str) -> str:
    return next((place for place in _libraries(prefix, dotted) if os.path.exists(os.path.join(place, "os.py"))), "")


def version_in_headers(prefix: str, dotted: str) -> str:
    """The full version of an installation's Python `dotted` (3.11) by its headers; "" where they are not installed."""
    for name in (f"python{dotted}", f"python{dotted}m"):  # m: up to 3.7
        try:
            text = files.read(os.path.join(prefix, "include", name, "patchlevel.h"), MAX_CONFIG_BYTES)
        except OSError:
            continue
        match = re.search(rb'#define PY_VERSION\s+"([^"]+)"', text)
        return match[1].decode("ascii", "replace") if match else ""
    return ""


def identify(program: str) -> tuple[int, int] | None:
    """(size, mtime in ns) of a program; None when it is not there."""
    try:
        info = os.stat(program) if program else None
    except OSError:
        info = None
    return (info.st_size, info.st_mtime_ns) if info else None


def container(environment: Mapping[str, str]) -> str:
    """The container that this process runs in, as Apptainer or Singularity names it; "" outside of one."""
    return environment.get("APPTAINER_CONTAINER") or environment.get("SINGULARITY_CONTAINER") or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pycs:
    """The compiled files of a tree; paths are those of the sources."""

    n_sources: int
    missing: tuple[bytes, ...]
    stale: tuple[bytes, ...]
    """There is one, but the interpreter will not take it: another magic number, or the source has changed since."""
    not_python: tuple[bytes, ...] = ()
    """Those of `missing` that were tried and are no valid Python for that interpreter: nobody imports them."""


def iter_sources(tree: Tree, site_dirs: tuple[bytes, ...]) -> Iterator[bytes]:
    """Every .py that could be imported: those below the site-packages directories."""
    tops = tuple(site + b"/" for site in site_dirs)
    for path, node in tree.nodes.items():
        if path.endswith(b".py") and path.startswith(tops) and node.kind in "fl":
            yield path


def pyc_path(source: bytes, cache_tag: str) -> bytes:
    """Where the interpreter looks for the .pyc of a source."""
    directory, _, name = source.rpartition(b"/")
    return b"/".join((directory, b"__pycache__", name[:-2] + cache_tag.encode() + b".pyc"))


def check_pycs(tree: Tree, venv: Venv, magic: int) -> Pycs:
    """Compare each source with its .pyc, as the interpreter will.

    A .pyc that is never checked (PEP 552) is valid whatever the source; a hash-checked one is compared by hash.
    """
    missing, stale, n_sources = [], [], 0
    for source in iter_sources(tree, venv.site_dirs):
        try:
            info = os.stat(tree.full(source))
        except OSError:  # a dangling link
            continue
        if not stat.S_ISREG(info.st_mode):  # a link to a pipe or a device
            continue
        n_sources += 1
        compiled = pyc_path(source, venv.cache_tag)
        if compiled not in tree.nodes:
            missing.append(source)
        elif not is_valid_pyc(tree.full(compiled), tree.full(source), int(info.st_mtime), info.st_size, magic):
            stale.append(source)
    return Pycs(n_sources=n_sources, missing=tuple(sorted(missing)), stale=tuple(sorted(stale)))


def is_valid_pyc(compiled: bytes, source: bytes, mtime_s: int, size_bytes: int, magic: int) -> bool:
    """Whether an interpreter with `magic` takes `compiled` for a source with this mtime and size."""
    try:
        with files.open_to_read(compiled) as file:
            head = file.read(16)
        if len(head) < 16 or head[:4] != struct.pack("<H", magic) + b"\r\n":
            return False
        if magic < 3390:  # before 3.7: no flags
            return struct.unpack_from("<II", head, 4) == (mtime_s & 0xFFFFFFFF, size_bytes & 0xFFFFFFFF)
        flags = struct.unpack_from("<I", head, 4)[0]
        if flags & ~0b11:
            return False
        if flags & 1:
            if not flags & 2:
                return True
            with files.open_to_read(source) as file:
                return _imp.source_hash(int.from_bytes(head[:4], "little"), file.read(MAX_SOURCE_BYTES)) == head[8:16]
        return struct.unpack_from("<II", head, 8) == (mtime_s & 0xFFFFFFFF, size_bytes & 0xFFFFFFFF)
    except OSError:
        return False
