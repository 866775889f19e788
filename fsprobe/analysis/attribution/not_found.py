"""Why a lookup failed: told from its path, its kind and the phase it was made in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from fsprobe.analysis.attribution.attribute import Attributed
from fsprobe.model.events import Op

SUFFIX = "extension suffixes"
SYS_PATH = "sys.path entries"
LIBRARY = "library search (LD_LIBRARY_PATH, RPATH)"
PROGRAM = "PATH search"
BYTECODE = "missing bytecode"
NAMESPACE = "directories without __init__"
METADATA = "distribution metadata (entry points)"
EDITABLE = "editable installs"
START = "interpreter start (prefix, pyvenv.cfg)"
LOCALE = "locales and message catalogues"
CONFIGURATION = "configuration"
SHARED_DATA = "shared data (share directories)"
CACHE = "caches"
MACHINE = "machine description (/proc, /sys, /dev)"
SOURCE = "Python source files"
OTHER = "other"
REASONS = (
    SUFFIX,
    SYS_PATH,
    LIBRARY,
    PROGRAM,
    BYTECODE,
    NAMESPACE,
    METADATA,
    EDITABLE,
    START,
    LOCALE,
    CONFIGURATION,
    SHARED_DATA,
    CACHE,
    MACHINE,
    SOURCE,
    OTHER,
)

MAX_KNOWN = 65_536
"""Reasons that are remembered: many processes miss the same names."""
_LIBRARY_NAME = re.compile(rb"(?:^lib[^/]*\.so(?:\.[0-9.]+)?$|\.so\.[0-9.]+$)")
_OF_EXTENSION = re.compile(rb"\.(?:cpython|pypy|abi3)[^/]*\.so$")
HARDWARE = frozenset(
    b"tls x86_64 haswell avx512_1 xeon_phi i586 i686 sse2 aarch64 atomics neon vfp power8 power9 power10 ppc64le z13 z14 "
    b"z15 z16".split()
)
"""Subdirectories in which the dynamic loader looks for a library made for this processor (ld.so(8), legacy hwcaps)."""
_MODULE_FILE = re.compile(rb"\.(?:py|pyc|pyi|so|pth|egg-link|zip)$|^__init__$|^py\.typed$")
_MODULES = re.compile(rb"/(?:(?:site|dist)-packages|lib(?:64)?/python3(?:\.\d+)?t?)/")
_ZIP = re.compile(rb"/python3\d+t?\.zip$")
_METADATA = re.compile(rb"[.-](?:dist|egg)-info(?:/|$)|/EGG-INFO(?:/|$)", re.IGNORECASE)
_EDITABLE = re.compile(rb"__editable__|__path_hook__$|\.egg-link$|_editable_|/easy-install\.pth$")
_LANDMARK = re.compile(
    rb"(?:^|/)(?:pyvenv\.cfg|pybuilddir\.txt|[^/]*\._pth|Modules/Setup(?:\.local)?|lib-dynload|os\.pyc?|python3\d+t?\.zip|"
    rb"lib(?:64)?/python3(?:\.\d+)?t?(?:/lib-dynload|/site\.pyc?)?)$"
)
"""What an interpreter looks for to find its prefix. Source: CPython, Modules/getpath.py."""
_BUILD = re.compile(rb"/Modules/Setup(?:\.local)?$")
"""What sysconfig looks for, too."""
_LOCALE = re.compile(rb"\.mo$|/LC_[A-Z]+(?:/|$)|/locale(?:/|$)|/locale-langpack(?:/|$)|/locale[.-]|/gconv(?:/|-|$)")
_PROGRAM_PLACE = re.compile(rb"/(?:s?bin|shims|condabin|Scripts|games)/[^/]+$")
_PYTHON_NAME = re.compile(rb"^(?:python|pypy|pip)[0-9.]*$")
_CONFIGURATION_NAME = re.compile(
    rb"\.(?:cfg|conf|ini|toml|ya?ml|json|rc|cnf|config|properties|desktop|cache|preload|lock)$|^\.[^/]+|rc$|"
    rb"config(?:\.d|\.py)?$|^ld\.so\.preload$|^(?:setup|conftest)\.py$|^node_modules$|^(?:usage|mime)\.types$"
)
_CONFIGURATION_PLACE = re.compile(
    rb"/etc/|/\.config(?:/|$)|/conf(?:ig)?\.d(?:/|$)|/conda-meta(?:/|$)|/\.(?!local/|cache|venv)[^/]+/"
)
_CACHE = re.compile(rb"/\.?cache(?:s)?(?:/|$)|/__pycache__(?:/|$)|/\.triton(?:/|$)|/\.numba(?:/|$)")


class WhyNotFound:
    """Explains failed lookups with what the target's interpreters said of themselves (sys.path, suffixes)."""

    def __init__(self, facts: Iterable[Mapping[str, Any]]) -> None:
        suffixes = {".so", ".abi3.so"}
        entries: set[str] = set()
        for fact in facts:
            suffixes.update(str(suffix) for suffix in fact.get("extension_suffixes") or ())
            entries.update(str(entry) for entry in fact.get("path") or ())
        self.suffixes = tuple(os.fsencode(suffix) for suffix in sorted(suffixes, key=len, reverse=True))
        self.entries = tuple(os.fsencode(entry) for entry in entries if entry.startswith("/"))
        self.entry_set = frozenset(self.entries)
        self._known: dict[tuple[bytes, Op, str], str] = {}

    def __call__(self, row: Attributed) -> str:
        """The reason of one failed lookup, one of `REASONS`: of its path, its kind and its phase."""
        key = (row.call.path, row.call.op, row.phase)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            known = self._known[key] = self._reason(row)
        return known

    def _reason(self, row: Attributed) -> str:
        call = row.call
        path, base = call.path, call.path.rpartition(b"/")[2]
        if call.op is Op.EXEC:
            return PROGRAM
        if row.phase == "loader" or b"/glibc-hwcaps/" in path:
            return CONFIGURATION if path.startswith(b"/etc/") else LIBRARY
        return (
            _of_library(row, path, base)
            or self._of_start(row, path)
            or self._of_module(row, path, base)
            or _of_place(row, path, base)
        )

    def _of_start(self, row: Attributed, path: bytes) -> str:
        """What an interpreter looks for before it can import anything; "" for anything else."""
        if row.phase not in ("init", "launch", "site") and not _BUILD.search(path):
            return ""
        if path in self.entry_set or not _LANDMARK.search(path):
            return ""
        return SYS_PATH if row.call.op is Op.OPEN and _ZIP.search(path) else START

    def _of_module(self, row: Attributed, path: bytes, base: bytes) -> str:
        """A search for a module or for what was installed; "" for anything else."""
        if _METADATA.search(path):
            return METADATA
        if _EDITABLE.search(path):
            return EDITABLE
        is_in_python = row.phase in ("init", "site", "import", "run")
        if is_in_python and base.endswith(self.suffixes):
            return SUFFIX if row.call.op is Op.STAT else LIBRARY
        if b"/__pycache__" in path:
            return BYTECODE
        if base in (b"__init__.py", b"__init__.pyc"):
            return NAMESPACE
        if base.endswith(b".pyc"):
            return BYTECODE
        if path in self.entry_set or _ZIP.search(path):
            return SYS_PATH
        is_below = path.startswith(self.entries) or _MODULES.search(path) is not None
        return SYS_PATH if is_below and _MODULE_FILE.search(base) else ""


def _of_library(row: Attributed, path: bytes, base: bytes) -> str:
    """A lookup of the dynamic loader by dlopen; "" for anything else."""
    if _LIBRARY_NAME.search(base) and not _OF_EXTENSION.search(base):
        return LIBRARY
    return LIBRARY if base in HARDWARE and row.call.op is Op.STAT else ""


def _of_place(row: Attributed, path: bytes, base: bytes) -> str:
    """What the place and the name say."""
    if _LOCALE.search(path):
        return LOCALE
    if path.startswith((b"/proc/", b"/sys/", b"/dev/")) and not path.startswith(b"/dev/shm/"):
        return MACHINE
    if row.call.op is Op.STAT and _PROGRAM_PLACE.search(path) and (b"." not in base or _PYTHON_NAME.match(base)):
        return PROGRAM
    if _CACHE.search(path):
        return CACHE
    if _CONFIGURATION_NAME.search(base) or _CONFIGURATION_PLACE.search(path):
        return CONFIGURATION
    if b"/share/" in path:
        return SHARED_DATA
    return SOURCE if base.endswith((b".py", b".pyi")) else OTHER


def settled(found: Mapping[tuple[str, bytes], int]) -> dict[tuple[str, bytes], int]:
    """Reasons that only the other lookups of a run tell.

    The dynamic loader asks once for the directory in which it has missed a library; and what was searched along PATH in some
    directories was searched so in all of them, whatever they are called.

    Args:
        found: (reason, path) -> failed lookups.
    """
    libraries = {path.rpartition(b"/")[0] for reason, path in found if reason == LIBRARY}
    programs: dict[bytes, int] = {}
    for reason, path in found:
        if reason == PROGRAM:
            name = path.rpartition(b"/")[2]
            programs[name] = programs.get(name, 0) + 1
    table: dict[tuple[str, bytes], int] = {}
    for (reason, path), n in found.items():
        if reason in (OTHER, SHARED_DATA, CONFIGURATION) and path in libraries:
            reason = LIBRARY
        elif reason in (OTHER, CONFIGURATION, SHARED_DATA) and programs.get(path.rpartition(b"/")[2], 0) > 1:
            reason = PROGRAM
        table[reason, path] = table.get((reason, path), 0) + n
    return table
