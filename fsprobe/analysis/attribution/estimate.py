"""Imports without markers: an estimate from the order of the paths.

What Python looks up before it opens a module's file, it looks up for that module: so the calls since the last load
belong to the next one. Wrong for what a module does after its own imports have ended, such as reading a data file: that
counts for the import that follows. Compared event by event with marked runs it misattributes some 3 to 5 % of opens and
stats (`tests/e2e/test_estimate.py` states its own figures).
"""

from __future__ import annotations

import re

_LOAD = re.compile(rb"^(.*?)(?:/__pycache__)?/([^/.]+)\.(?:[^/]*\.)?(pyc|py|so)$")
_ROOT = re.compile(
    rb"^(.*/(?:(?:site|dist)-packages|python3(?:\.\d+)?/lib-dynload|lib(?:64)?/python3(?:\.\d+)?))(?:/(.*))?$"
)
_LIBRARY = re.compile(
    rb"/lib[^/]*\.so(?:\.[0-9.]+)?$|\.so\.[0-9.]+$|/glibc-hwcaps/|^/etc/ld\.so\.|/(?:tls|haswell|x86_64)$"
)
_BYTECODE_BEING_WRITTEN = re.compile(rb"/__pycache__(?:/[^/]*\.pyc(?:\.\d+)?)?$")


class ModuleNames:
    """Turns the path of a loaded file into a module name, learning which directories are packages on the way."""

    def __init__(self) -> None:
        self._packages: set[bytes] = set()

    def of(self, path: bytes) -> str | None:
        """The module that a successful open of `path` loads; None where it loads none.

        `/x/site-packages/pandas/core/__pycache__/api.cpython-311.pyc` is pandas.core.api, a package's `__init__` the
        package. A file outside the usual places is a top-level module unless its directory is known as a package.
        """
        found = _LOAD.match(path)
        if found is None:
            return None
        directory, stem, kind = found.groups()
        if kind == b"so" and _LIBRARY.search(path):
            return None
        if stem == b"__init__":
            self._packages.add(directory)
        parts = self._package_of(directory)
        if stem != b"__init__":
            parts.append(stem)
        if not parts or not all(parts):
            return None
        return b".".join(parts).decode("utf-8", "backslashreplace")

    def _package_of(self, directory: bytes) -> list[bytes]:
        root = _ROOT.match(directory)
        if root is not None:
            return root.group(2).split(b"/") if root.group(2) else []
        parts: list[bytes] = []
        while directory in self._packages:
            directory, _, last = directory.rpartition(b"/")
            parts.insert(0, last)
        return parts


def belongs_to_last(path: bytes) -> bool:
    """Whether a call still belongs to the module that was loaded last: its libraries, its byte code being written."""
    return _LIBRARY.search(path) is not None or _BYTECODE_BEING_WRITTEN.search(path) is not None


def chain(module: str) -> list[str]:
    """A module's packages, outermost first, and itself: `pandas`, `pandas.core`, `pandas.core.api`."""
    parts = module.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]
