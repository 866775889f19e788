"""Names of people, projects and hosts out of paths and text: by component, consistently, and never inside a word.

Two passes over the same material: `Learning` looks on and finds the names, `Redaction` replaces them. Both have the
methods of `Unchanged`, so that whoever takes a recording apart need not know which pass it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from fsprobe.model.formats import text as shown
from fsprobe.privacy import path_owners
from fsprobe.privacy.identities import ADDRESS, IDENTIFIER, MIN_LETTERS_ELSE, ORDINARY, Names
from fsprobe.privacy.path_owners import START, STRUCTURE, Zone

KINDS = ("user", "project", "host", "server", "owner", "job", "name", "address")
CACHE_SIZE = 200_000
_FILE = re.compile(
    rb"(.+?)((?:\.cpython-[^/]*|\.abi3)?\.(?:py[cdwi]?|so[0-9.]*|sif|simg|sqsh|squashfs|sqfs|img|sh|zip|whl|egg|pth|cfg|toml|"
    rb"json|yaml|txt|log|fsprobe))"
)
_PATH_IN_TEXT = re.compile(rb"/[^\s:;,|\"'`<>()\[\]{}=\\]*")
_ODD_TEXT = re.compile(rb"[\s:;,|\"'`<>()\[\]{}=\\]")
_WORD = rb"A-Za-z0-9\x80-\xff"
_IDS = re.compile(rb"\b((?:st|si|e|s|fs|r)?_?[ug]id)=\d+")


class Unchanged:
    """Leaves everything as it is."""

    is_redacting = False

    def path(self, path: bytes, directory: bytes | None = None) -> bytes:
        """A path, whole; a relative one starts from `directory` where that is known."""
        return path

    def mount_point(self, path: bytes) -> bytes:
        """A path on which something is mounted."""
        return self.path(path)

    def text(self, value: bytes) -> bytes:
        """Text that may hold paths and names."""
        return value

    def words(self, value: bytes) -> bytes:
        """Text that holds no path: module names, labels."""
        return value

    def named(self, kind: str, value: bytes) -> bytes:
        """A value that is a name as a whole, of a kind of `KINDS`."""
        return value

    def module(self, value: bytes) -> bytes:
        """A module's dotted name."""
        return value

    def home(self, path: bytes) -> None:
        """Somebody's home directory is said to be here."""

    def ids(self, raw: bytes) -> bytes:
        """What a tracer prints beside strings: user and group ids in it."""
        return raw


@dataclass(slots=True)
class _Walker:
    """Splits paths into components and knows the zone of each."""

    names: Names
    zones: dict[tuple[bytes, ...], Zone] = field(default_factory=dict)

    def zone(self, before: tuple[bytes, ...]) -> Zone:
        found = self.zones.get(before)
        if found is None:
            if not before:
                return START
            above = self.zone(before[:-1])
            found = path_owners.step(above, before[:-1], before[-1], self.names.roots, self.names.known)
            if len(self.zones) >= CACHE_SIZE:
                self.zones.clear()
            self.zones[before] = found
        return found


def _components(path: bytes, start: tuple[bytes, ...]) -> list[tuple[int, tuple[bytes, ...], bytes]]:
    """(index in the split path, components before, component) of each that is a name.

    `..` leads back as it is written: whose a component is depends on where the path has led to, though its text stays.
    """
    found = []
    stack = () if path.startswith(b"/") else start
    for index, part in enumerate(path.split(b"/")):
        if part in (b"", b"."):
            continue
        if part == b"..":
            stack = stack[:-1]
            continue
        found.append((index, stack, part))
        stack = (*stack, part)
    return found


def _stack_of(directory: bytes) -> tuple[bytes, ...]:
    stack: tuple[bytes, ...] = ()
    for part in directory.split(b"/"):
        if part == b"..":
            stack = stack[:-1]
        elif part not in (b"", b"."):
            stack = (*stack, part)
    return stack


class Learning(Unchanged):
    """Looks on while a recording is taken apart, and finds the names in it."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._seen: set[bytes] = set()
        self._walker = _Walker(names)

    def path(self, path: bytes, directory: bytes | None = None) -> bytes:
        whole = path if directory is None or path.startswith(b"/") else directory + b"/" + path
        if not whole.startswith(b"/"):
            return path
        head = whole.rpartition(b"/")[0]
        # siblings have the same zone; only what is in an area's top, the system or a package says something new
        if whole in self._seen:
            return path
        if len(self._seen) >= CACHE_SIZE:
            self._seen.clear()
        self._seen.add(whole)
        if head and head not in self._seen:
            self.path(head)
        parts = _components(whole, ())
        if parts:
            _, before, name = parts[-1]
            self._learn(before, name)
        return path

    def _learn(self, before: tuple[bytes, ...], name: bytes) -> None:
        names, zone = self.names, self._walker.zone(before)
        self._note_taken(name)
        if zone.kind in ("system", "package"):
            names.ordinary.add(name.lower())
            names.ordinary.add(name.partition(b".")[0].lower())
        elif path_owners.is_area(zone) and zone.depth == 0 and not path_owners.is_link_of_area(zone, name):
            if name in STRUCTURE or _FILE.fullmatch(name) or _is_ours((name,)):
                return
            if zone.kind == "home":
                names.add("user", name)
            elif IDENTIFIER.fullmatch(name):
                names.add("project", name)
        elif path_owners.may_be_name(zone, name) and not _FILE.fullmatch(name):
            names.candidates.add(name)

    def mount_point(self, path: bytes) -> bytes:
        stack = _stack_of(path)
        for length in range(1, len(stack) + 1):
            before = stack[: length - 1]
            if self._walker.zone(before).kind == "open" and not _is_ours(stack[:length]):
                self.names.mounted.add(stack[:length])
        return self.path(path)

    def _note_taken(self, value: bytes) -> None:
        for word in re.findall(rb"(?:%s)\d+" % "|".join(KINDS).encode(), value):
            self.names.taken.add(word)

    def text(self, value: bytes) -> bytes:
        if value.startswith(b"/") and not _ODD_TEXT.search(value):
            self.path(value)
        else:
            self._note_taken(value)
            for match in _PATH_IN_TEXT.finditer(value):
                self.path(match.group())
        return value

    def words(self, value: bytes) -> bytes:
        self._note_taken(value)
        return value

    def module(self, value: bytes) -> bytes:
        # its parts are ordinary words
        self.names.ordinary.update(part.lower() for part in value.split(b"."))
        return self.words(value)

    def home(self, path: bytes) -> None:
        self.names.add_home(path)

    def named(self, kind: str, value: bytes) -> bytes:
        if kind in ("host", "server"):
            self.names.add_host(value, kind)  # a job's name is replaced where it stands, not wherever such a word does
        self._note_taken(value)
        return value


class Redaction(Unchanged):
    """Replaces the names. The same name has the same replacement in everything that one instance is given."""

    is_redacting = True

    def __init__(self, names: Names) -> None:
        self.names = names
        self.left_as_they_are: set[bytes] = set()
        """Components that were kept and stand where names often do."""
        self._aliases: dict[bytes, bytes] = {}
        self._numbers: dict[str, int] = {}
        self._walker = _Walker(names)
        self._paths: dict[tuple[bytes, bytes | None], bytes] = {}
        self._everywhere = _pattern(name for name in names.known if names.is_everywhere(name))
        self._kinds = {name.lower(): kind for name, kind in names.known.items()}

    def alias(self, kind: str, name: bytes) -> bytes:
        """The replacement of a name, made when it is first met."""
        found = self._aliases.get(name)
        if found is None:
            kind = self._kinds.get(name.lower(), kind)
            while True:
                number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
                found = b"%s%d" % (kind.encode(), number)
                if found not in self.names.taken:
                    break
            self._aliases[name] = found
        return found

    def path(self, path: bytes, directory: bytes | None = None) -> bytes:
        key = (path, None if path.startswith(b"/") else directory)
        found = self._paths.get(key)
        if found is None:
            if len(self._paths) >= CACHE_SIZE:
                self._paths.clear()
            found = self._paths[key] = self._path(*key)
        return found

    def _path(self, path: bytes, directory: bytes | None) -> bytes:
        if not path.startswith(b"/") and directory is None:
            return self.words(path)
        parts = path.split(b"/")
        for index, before, name in _components(path, _stack_of(directory or b"")):
            parts[index] = self._component(before, name)
        return b"/".join(parts)

    def _component(self, before: tuple[bytes, ...], name: bytes) -> bytes:
        names, zone = self.names, self._walker.zone(before)
        is_known = name in names.known
        if (*before, name) in names.homes:
            return self.alias("user", name)
        if path_owners.is_area(zone) and zone.depth == 0:
            if is_known:
                return self.alias(zone.kind, name)
            if path_owners.is_link_of_area(zone, name):
                return name
            stem, suffix = _split(name)
            if name in STRUCTURE or stem.lower() in names.ordinary or name.startswith(b"fsprobe"):
                return self.words(name)
            return self.alias("user" if zone.kind == "home" else "owner", stem) + suffix
        if (*before, name) in names.mounted and name not in STRUCTURE:
            return self.alias("name", name)
        if not is_known and path_owners.is_member(zone, name) and not _is_ours(before):
            stem, suffix = _split(name)
            if not suffix and name.lower() not in names.ordinary and name.lower() not in ORDINARY:
                return self.alias("owner", name)
        if is_known and zone.kind not in ("system", "package"):
            # `lib` again, deeper: /scratch/lib/env/lib is a person's environment, and its libraries
            may_be = (path_owners.is_area(zone) and zone.depth <= 1) or (zone.kind == "open" and zone.depth == 0)
            if name not in STRUCTURE or (may_be and not zone.has_user):
                return self.alias("user", name)
        shown = self.words(name)
        if (
            shown == name
            and name in names.candidates
            and name not in names.ordinary
            and path_owners.may_be_name(zone, name)
        ):
            self.left_as_they_are.add(name)
        return shown

    def text(self, value: bytes) -> bytes:
        if value.startswith(b"/") and not _ODD_TEXT.search(value):
            return self.path(value)
        pieces, at = [], 0
        for match in _PATH_IN_TEXT.finditer(value):
            pieces += [self.words(value[at : match.start()]), self.path(match.group())]
            at = match.end()
        # a name may touch a slash from outside of the path (`alice@/x`): the words between are whole, so they can go alone
        return b"".join([*pieces, self.words(value[at:])])

    def words(self, value: bytes) -> bytes:
        return self._everywhere.sub(lambda match: self.alias("name", match.group()), value)

    def module(self, value: bytes) -> bytes:
        return self.words(value)

    def named(self, kind: str, value: bytes) -> bytes:
        return self.alias(kind, value) if value.strip() else value

    def ids(self, raw: bytes) -> bytes:
        return _IDS.sub(rb"\1=0", ADDRESS.sub(lambda match: self.alias("address", match.group()), raw))

    def left_in(self, data: bytes) -> dict[bytes, set[bytes]]:
        """Which names that should be nowhere still stand in `data`, and the longer words that they are a part of."""
        small = data.lower()
        found = {}
        for name in self.names.known:
            if len(name) >= MIN_LETTERS_ELSE and self.names.is_everywhere(name) and name.lower() in small:
                words = re.findall(rb"[%s]*%s[%s]*" % (_WORD, re.escape(name.lower()), _WORD), small)
                found[name] = set(words)
        return found


def _is_ours(before: tuple[bytes, ...]) -> bool:
    """Whether a scratch directory of fsprobe is among the components: it says nothing of anybody, and is known by its names."""
    return any(part.startswith(b"fsprobe-") for part in before)


def _split(name: bytes) -> tuple[bytes, bytes]:
    match = _FILE.fullmatch(name)
    return (match.group(1), match.group(2)) if match is not None else (name, b"")


def _pattern(names: Iterable[bytes]) -> re.Pattern[bytes]:
    spelled: set[bytes] = set()
    for name in names:
        spelled.update((name, shown(name).encode("utf-8")))
    if not spelled:
        return re.compile(rb"(?!)")
    longest_first = b"|".join(re.escape(name) for name in sorted(spelled, key=lambda name: (-len(name), name)))
    # after `%2F` a name begins although a letter stands before it
    before = rb"(?:(?<![%s])|(?<=%%[0-9A-Fa-f]{2}))" % _WORD
    return re.compile(before + rb"(?:" + longest_first + rb")(?![%s])" % _WORD, re.IGNORECASE)
