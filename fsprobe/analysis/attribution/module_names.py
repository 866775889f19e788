"""Which module a path belongs to, by the names alone: what was loaded, where it is searched, what else lies there."""

from __future__ import annotations

import re
from typing import NamedTuple

from fsprobe.events.strace.arguments import result_path
from fsprobe.model.events import Call, Op

_KINDS = frozenset({b"pyc", b"py", b"so"})
_ROOT = re.compile(rb"/(?:(?:site|dist)-packages|python3(?:\.\d+)?t?/lib-dynload|lib(?:64)?/python3(?:\.\d+)?t?)$")
_IN_ROOT = re.compile(
    rb"^(.*/(?:(?:site|dist)-packages|python3(?:\.\d+)?t?/lib-dynload|lib(?:64)?/python3(?:\.\d+)?t?))/([^.]+)$",
    re.DOTALL,
)
_IN_STDLIB = re.compile(rb"/lib(?:64)?/python3(?:\.\d+)?t?/")
_ZIP = re.compile(rb"/python3\d+t?\.zip$")
_LIBRARY = re.compile(
    rb"/lib(?![^/]*\.(?:cpython|pypy|abi3)[^/]*\.so$)[^/]*\.so(?:\.[0-9.]+)?$|\.so\.[0-9.]+$|/glibc-hwcaps/|^/etc/ld\.so\.|"
    rb"/(?:tls|haswell|x86_64|avx512_1)$"
)
"""What the dynamic loader asks for; `lib.cpython-311-x86_64-linux-gnu.so` is a module."""
_BYTECODE_BEING_WRITTEN = re.compile(rb"/__pycache__(?:/[^/]*\.pyc(?:\.\d+)?)?$")
_SYSTEM = re.compile(rb"/(?:etc|proc|sys|dev|usr|lib|lib32|lib64|bin|sbin|run|var)(?:/|$)")
_HIDDEN = re.compile(rb"/\.[^/]")
_METADATA = re.compile(rb"\.(?:dist|egg)-info(?:/|$)")


MAX_SPELLINGS = 16_384
"""Paths of which it is remembered what their names say: most calls are for what other calls, or processes, have asked for."""


class Spelling(NamedTuple):
    """What a path says by its letters alone, whatever is loaded."""

    directory: bytes
    """Of a module's file, without `__pycache__`; b"" where there is none."""
    stem: bytes
    """A module's file without its suffixes; b"" where it is none."""
    package: str | None
    """What a directory below site-packages or the standard library would be as a package."""
    is_root: bool
    """A directory in which top-level modules are searched, by its name."""
    is_archive: bool
    """The archive of the standard library, which stands on each search path."""
    is_of_stdlib: bool
    is_of_library: bool
    """What the dynamic loader asks for."""
    is_metadata: bool
    """Of an installed distribution."""
    is_environment: bool
    """Part of an environment or of the system, or a hidden file."""


class _Spellings(dict[bytes, Spelling]):
    def __missing__(self, path: bytes) -> Spelling:
        if len(self) >= MAX_SPELLINGS:
            self.clear()
        found = self[path] = _spelling(path)
        return found


SPELLINGS = _Spellings()
"""Path -> what it says; the way in to `Spelling`."""


def _spelling(path: bytes) -> Spelling:
    above, _, base = path.rpartition(b"/")
    stem, dot, suffixes = base.partition(b".")
    is_library = _LIBRARY.search(path) is not None
    kind = suffixes.rpartition(b".")[2]
    is_file = bool(stem and dot) and len(base) < len(path) and kind in _KINDS and not (kind == b"so" and is_library)
    found = _IN_ROOT.match(path)
    is_archive = _ZIP.search(path) is not None
    is_root = is_archive or _ROOT.search(path) is not None
    is_of_metadata = _METADATA.search(path) is not None
    return Spelling(
        directory=above.removesuffix(b"/__pycache__") if is_file else b"",
        stem=stem if is_file else b"",
        package=found.group(2).replace(b"/", b".").decode("utf-8", "backslashreplace") if found is not None else None,
        is_root=is_root,
        is_archive=is_archive,
        is_of_stdlib=_IN_STDLIB.search(path) is not None and b"-packages/" not in path,
        is_of_library=is_library,
        is_metadata=is_of_metadata,
        is_environment=is_root
        or is_of_metadata
        or found is not None
        or path == b"/"
        or path[:1] != b"/"
        or _SYSTEM.match(path) is not None
        or _HIDDEN.search(path) is not None,
    )


class ModuleNames:
    """What is known of an interpreter's search path and its modules; learns on the way which directories are packages.

    A file outside the usual places is a top-level module unless its directory is known as a package.
    """

    def __init__(self) -> None:
        self.packages: dict[bytes, str] = {}
        """Directory of a package that was loaded -> its name."""
        self.place_of: dict[str, bytes] = {}
        """Top-level package that was loaded -> its directory."""
        self.loaded: set[str] = set()
        self.visited: set[bytes] = set()
        """Directories of the search path, and archives, that were listed or opened: the import system does that once."""
        self._roots: set[bytes] = set()
        self._trees: set[bytes] = set()
        self._noted: set[bytes] = set()
        """Directories of which `_trees` knows."""
        self._looked_at: Call | None = None
        self._n_looks = 0
        """How often in a row the directory `_place` was looked at."""
        self._place = b""

    def copy(self) -> ModuleNames:
        """The same knowledge, for a forked process."""
        other = ModuleNames()
        other.packages, other.loaded, other.visited = dict(self.packages), set(self.loaded), set(self.visited)
        other.place_of = dict(self.place_of)
        other._roots, other._trees, other._noted = set(self._roots), set(self._trees), set(self._noted)
        return other

    def loads(self, path: bytes) -> str | None:
        """The module that a successful open of `path` loads; None where it loads none.

        `/x/site-packages/pandas/core/__pycache__/api.cpython-311.pyc` is pandas.core.api, a package's `__init__` the package.
        """
        return self._name(path, or_top_level=True)

    def seeks(self, path: bytes) -> str | None:
        """The module that a lookup of `path` seeks: None where the path is in no directory that modules are known to come from."""
        return self._name(path, or_top_level=False)

    def note(self, module: str, path: bytes, led_to: bytes | None = None) -> None:
        """A module was loaded from a file; `led_to` is where that lies, if links led elsewhere."""
        self.loaded.add(module)
        directory, stem, *_ = SPELLINGS[path]
        if stem:
            if stem == b"__init__":
                self.packages[directory] = module
                if "." not in module:
                    self.place_of[module] = directory
                directory = directory.rpartition(b"/")[0]
            self._note_tree(directory)
            if led_to:
                self._note_tree(led_to.rpartition(b"/")[0])

    def _note_tree(self, directory: bytes) -> None:
        """Modules lie in this directory: what its environment is."""
        if directory not in self._noted:
            self._noted.add(directory)
            root = _IN_ROOT.match(directory + b"/x")
            if root is not None:
                self._trees.add(_tree_of(root.group(1)))

    def watch(self, call: Call) -> None:
        """Take in a call of the interpreter's own start: what it looks at several times and then lists is on its search path."""
        before = self._looked_at
        if before is None or not is_same_directory(before, call):
            self._n_looks = 0
        if call.op is Op.STAT and b"S_IFDIR" in call.args:
            self._n_looks += 1
            self._place = call.path
        elif call.op is Op.LIST and self._n_looks >= 2:
            self.add_root(self._place)
            self.visited.add(self._place)
        self._looked_at = call

    def add_root(self, directory: bytes) -> None:
        """A directory was searched for a top-level module."""
        self._roots.add(directory)

    def is_root(self, path: bytes) -> bool:
        """Whether top-level modules are searched here."""
        return path in self._roots or SPELLINGS[path].is_root

    def package_at(self, directory: bytes) -> str | None:
        """The package that a directory below site-packages or the standard library would be, loaded or not."""
        return self.packages.get(directory) or SPELLINGS[directory].package

    def directory_of(self, path: bytes) -> bytes:
        """The directory in which a module's file was sought: that of a package's `__init__` is the one above."""
        directory, stem, *_ = SPELLINGS[path]
        return directory.rpartition(b"/")[0] if stem == b"__init__" else directory

    def is_environment(self, path: bytes) -> bool:
        """Whether a path is part of an environment, above one, of the system, or a hidden file: not a program's own data."""
        if SPELLINGS[path].is_environment or path in self._roots:
            return True
        return any(path.startswith(tree + b"/") or (tree + b"/").startswith(path + b"/") for tree in self._trees)

    def _name(self, path: bytes, or_top_level: bool) -> str | None:
        directory, stem, *_ = SPELLINGS[path]
        if not stem:
            return None
        if stem == b"__init__":
            known = self.package_at(directory)
            if known is not None:
                return known
            directory, _, stem = directory.rpartition(b"/")
            or_top_level = or_top_level or self.is_root(directory)
        package = "" if self.is_root(directory) else self.package_at(directory)
        if package is None:
            if not or_top_level:
                return None
            package = ""
        name = stem.decode("utf-8", "backslashreplace")
        return f"{package}.{name}" if package else name or None


def _tree_of(root: bytes) -> bytes:
    """The prefix that a directory of modules lies in: `/x/env` of `/x/env/lib/python3.11/site-packages`."""
    for ending in (b"/lib-dynload", b"/site-packages", b"/dist-packages"):
        root = root.removesuffix(ending)
    head, _, last = root.rpartition(b"/")
    return head.rpartition(b"/")[0] if last.startswith(b"python3") else root


def is_same_directory(before: Call, call: Call) -> bool:
    """Whether a call is about the directory that the one before was about: what is listed is known by where its open led."""
    if before.path == call.path:
        return True
    return call.op is Op.LIST and before.op is Op.OPEN and result_path(before) == call.path


def is_bytecode_being_written(path: bytes) -> bool:
    """Whether a path is that of byte code, or of its directory."""
    return _BYTECODE_BEING_WRITTEN.search(path) is not None


def chain(module: str) -> list[str]:
    """A module's packages, outermost first, and itself: `pandas`, `pandas.core`, `pandas.core.api`."""
    parts = module.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]
