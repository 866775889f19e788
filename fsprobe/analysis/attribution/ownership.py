"""Where a path lies: which mount, and which package owns it. Computed once per distinct path."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from fsprobe.model.events import Mount

STDLIB = "(standard library)"
LIBRARIES = "(shared libraries)"
SYSTEM = "(system)"
SITE_DIRECTORY = "(site-packages itself)"
PROGRAM = "(program)"
WORKING_DIRECTORY = "(working directory)"
ENVIRONMENT = "(environment)"
"""An environment's own directories, and those above it: what is asked on the way to it."""
OTHER = "(other)"

_IN_SITE = re.compile(r"^(.*/(?:site|dist)-packages)(?:/(.*))?$", re.DOTALL)
_IN_STDLIB = re.compile(r"/lib(?:64)?/python(?:3(?:\.\d+)?|3\d+\.zip)(?:/|$)|/python3\d+\.zip$")
_PREFIX = re.compile(rb"^(.*)/lib(?:64)?/python3(?:\.\d+)?t?(?:/|$)", re.DOTALL)
_LIBRARY = re.compile(r"\.so(?:\.[0-9.]+)?$|/glibc-hwcaps/|/etc/ld[.-]")
MAX_PATHS = 16_384
"""Paths whose mount is remembered: more than a rank has."""
MAX_DIRECTORIES = 65_536
"""... and directories."""
_SYSTEM = ("/etc/", "/proc/", "/sys/", "/dev/", "/usr/share/", "/run/", "/var/")


@functools.lru_cache(maxsize=4096)
def canonical(name: str) -> str:
    """A distribution's name as indexes show it: lower case, runs of `-`, `_` and `.` as one `-` (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _normal(path: bytes) -> bytes:
    """A path without doubled slashes and dots; two slashes at its start are one, on Linux at least (POSIX leaves them open)."""
    return b"/" + os.path.normpath(path).lstrip(b"/") if path.startswith(b"/") else os.path.normpath(path)


class Mounts:
    """Answers which mount an absolute path lies on, following what the run showed of symlinked directories."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        self._by_path: dict[bytes, Mount] = {}
        for mount in mounts:  # the last one mounted on a place hides the others
            self._by_path[mount.path] = mount
        self._moved: dict[bytes, bytes] = {}
        self._known: dict[bytes, Mount | None] = {}
        self._of_path: dict[bytes, Mount | None] = {}

    def learn(self, asked: bytes, resolved: bytes) -> None:
        """An open of `asked` led to `resolved`: their differing heads name one place."""
        if asked == resolved or not resolved.startswith(b"/") or not asked.startswith(b"/"):
            return
        left, right = _normal(asked).split(b"/"), resolved.split(b"/")
        while len(left) > 1 and len(right) > 1 and left[-1] == right[-1]:
            left.pop()
            right.pop()
        self._moved.setdefault(b"/".join(left) or b"/", b"/".join(right) or b"/")
        self._known.clear()
        self._of_path.clear()

    def or_equal(self) -> Mounts:
        """The one that was asked last, where it gives the same answers, else this one: ranks of a job look at the same places."""
        global _last
        if _last is None or _last._by_path != self._by_path or _last._moved != self._moved:
            _last = self
        return _last

    def real(self, path: bytes) -> bytes:
        """The path with the symlinks resolved that are known; at most a few steps, loops end."""
        path = _normal(path) if b"//" in path or b"/." in path else path
        for _ in range(8):
            head = path
            while len(head) > 1 and head not in self._moved:
                head = head.rpartition(b"/")[0]
            moved = self._moved.get(head) if len(head) > 1 else None
            if moved is None:
                return path
            step = moved + path[len(head) :]
            if step == path:
                return path
            path = step
        return path

    def of(self, path: bytes) -> Mount | None:
        """The mount of a path; None for a path whose beginning is not known, where there are several mounts, and without any."""
        try:
            return self._of_path[path]
        except KeyError:
            found = self._of(path)
        if len(self._of_path) >= MAX_PATHS:
            self._of_path.clear()
            if len(self._known) >= MAX_DIRECTORIES:
                self._known.clear()
        self._of_path[path] = found
        return found

    def _of(self, path: bytes) -> Mount | None:
        if not path.startswith(b"/"):
            # relative to nobody knows what, or an empty one: where the root is the only mount, there is no other to be on
            return self._by_path.get(b"/") if len(self._by_path) == 1 else None
        directory = path.rpartition(b"/")[0] or b"/"
        if path in self._by_path:
            return self._by_path[path]
        if directory in self._known and path not in self._moved:
            return self._known[directory]
        found = self._lookup(self.real(path))
        if path not in self._moved:
            self._known[directory] = found
        return found

    def _lookup(self, path: bytes) -> Mount | None:
        while True:
            mount = self._by_path.get(path or b"/")
            if mount is not None or path in (b"/", b""):
                return mount
            path = path.rpartition(b"/")[0]


_last: Mounts | None = None


class Owners:
    """Answers which package a path belongs to: the installed distribution, else the top-level name."""

    def __init__(
        self,
        facts: Iterable[Mapping[str, Any]],
        distributions: Mapping[str, Mapping[str, str]],
        cwd: bytes | None = None,
        seen: Iterable[bytes] = (),
    ) -> None:
        """Take what is known of a run.

        Args:
            facts: what its interpreters said of themselves.
            distributions: site directory -> {top-level name: distribution}.
            cwd: its working directory.
            seen: its paths; they tell where its environments lie.
        """
        self._distributions = distributions
        self._cwd = cwd
        self._environment = _environment(facts, seen)
        entries: set[str] = set()
        for fact in facts:
            for entry in fact.get("path") or ():
                text = str(entry)
                if text.startswith("/") and not _IN_SITE.match(text) and not _IN_STDLIB.search(text):
                    entries.add(text)
        self._entries = sorted(entries, key=len, reverse=True)
        self._of_all_in: dict[bytes, str | None] = {}

    def of(self, path: bytes) -> str:
        """The owner of a path, by its name alone."""
        if path == self._cwd:
            return WORKING_DIRECTORY
        directory, _, name = path.rpartition(b"/")
        try:
            owner = self._of_all_in[directory]
        except KeyError:
            if len(self._of_all_in) >= MAX_DIRECTORIES:
                self._of_all_in.clear()
            owner = self._of_all_in[directory] = self._of_all(directory)
        return owner if owner is not None and b"-packages" not in name else self._of(path)

    def _of_all(self, directory: bytes) -> str | None:
        """The owner of all that lies in a directory but for directories of packages; None where it depends on the name."""
        text = directory.decode("utf-8", "surrogateescape")
        found = _IN_SITE.match(text)
        if found is None:
            return STDLIB if _IN_STDLIB.search(text + "/") else None
        site, rest = found.groups()
        return self._in_site(site, rest + "/") if rest and not rest.startswith("__pycache__") else None

    def _of(self, path: bytes) -> str:
        text = path.decode("utf-8", "surrogateescape")
        found = _IN_SITE.match(text)
        if found:
            site, rest = found.groups()
            return self._in_site(site, rest) if rest else SITE_DIRECTORY
        if _IN_STDLIB.search(text):
            return STDLIB
        if _LIBRARY.search(text):
            return LIBRARIES
        if path in self._environment:
            return ENVIRONMENT
        if text.startswith(_SYSTEM) or text in ("/etc", "/proc"):
            return SYSTEM
        for entry in self._entries:
            if text.startswith(entry + "/"):
                return (
                    _top_level(text[len(entry) + 1 :])
                    .encode("utf-8", "surrogateescape")
                    .decode("utf-8", "backslashreplace")
                )
        if "/bin/" in text or text.endswith("/pyvenv.cfg"):
            return PROGRAM
        return OTHER

    def _in_site(self, site: str, rest: str) -> str:
        head, slash, _ = rest.partition("/")
        if head.endswith((".dist-info", ".egg-info")):
            return canonical(head.rpartition(".")[0].split("-")[0])
        if not slash and head.endswith((".pth", ".egg-link")):
            return SITE_DIRECTORY
        name = _top_level(rest)
        if name.endswith(".libs"):
            name = name[: -len(".libs")]
        owner = self._distributions.get(site, {}).get(name)
        return (
            canonical(owner) if owner else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        )


def _environment(facts: Iterable[Mapping[str, Any]], seen: Iterable[bytes]) -> frozenset[bytes]:
    """The directories of environments and all above them, up to the root."""
    prefixes = {os.fsencode(str(fact[name])) for fact in facts for name in ("prefix", "base_prefix") if fact.get(name)}
    heads: set[bytes] = set()
    for path in seen:
        head = path[: path.rfind(b"/lib")] if b"/python3" in path else b""
        if head and head not in heads:
            found = _PREFIX.match(path)
            if found is not None:
                heads.add(found.group(1))
    places: set[bytes] = set()
    for prefix in prefixes | heads:
        places.update((prefix + b"/lib", prefix + b"/lib64"))
        while prefix not in places and len(prefix) > 1:
            places.add(prefix)
            prefix = prefix.rpartition(b"/")[0]
    return frozenset(places)


def _top_level(rest: str) -> str:
    head, slash, tail = rest.partition("/")
    if head == "__pycache__" and tail:
        head = tail.partition("/")[0]
        slash = ""
    if slash:
        return head
    stem = head.partition(".")[0]
    return stem or head
