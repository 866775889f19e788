"""Names of people, projects and hosts out of paths and text: by component, consistently, and never inside a word.

Two passes over the same material: `Learning` looks on and finds the names, `Redaction` replaces them. Both have the
methods of `Unchanged`, so that whoever takes a recording apart need not know which pass it is.

A name that could not be anything else is replaced wherever it stands as a word. One that is also an ordinary word
(a user called `lib`, a project called `test`) is replaced only in its place, see `places`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fsprobe.model import text as shown
from fsprobe.parse import places
from fsprobe.parse.places import START, STRUCTURE, Zone

KINDS = ("user", "project", "host", "server", "owner", "job", "name", "address")
MIN_LETTERS = {"host": 2, "server": 2}
MIN_LETTERS_ELSE = 3
"""A shorter name stands in too many words' company to be replaced outside of its place. A judgement."""
CACHE_SIZE = 200_000
NOT_NAMES = frozenset(b"root localhost nobody user users none unknown default".split())
ORDINARY = frozenset(
    b"python python3 fsprobe strace ptrace audit program launcher process main init site import run loader launch stat "
    b"open list exec change other sh bash dash env pip numpy pandas scipy torch time text json path name true false null".split()
)
_ID = re.compile(rb"(?=.*\d)[A-Za-z][A-Za-z0-9_.-]{4,}")
_FILE = re.compile(
    rb"(.+?)((?:\.cpython-[^/]*|\.abi3)?\.(?:py[cdwi]?|so[0-9.]*|sif|simg|sqsh|squashfs|sqfs|img|sh|zip|whl|egg|pth|cfg|toml|"
    rb"json|yaml|txt|log|fsprobe))"
)
_PATH_IN_TEXT = re.compile(rb"/[^\s:;,|\"'`<>()\[\]{}=\\]*")
_ODD_TEXT = re.compile(rb"[\s:;,|\"'`<>()\[\]{}=\\]")
_WORD = rb"A-Za-z0-9\x80-\xff"
_IDS = re.compile(rb"\b((?:st|si|e|s|fs|r)?_?[ug]id)=\d+")
_ADDRESS = re.compile(rb"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")


class Unchanged:
    """Leaves everything as it is."""

    is_redacting = False

    def path(self, path: bytes, directory: bytes | None = None) -> bytes:
        """A path, whole; a relative one starts from `directory` where that is known."""
        return path

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
class Names:
    """What is to be hidden, and what must not be taken for it."""

    known: dict[bytes, str] = field(default_factory=dict)
    """Name -> kind: people, projects, hosts."""
    forced: set[bytes] = field(default_factory=set)
    """Names that somebody asked for by name: ordinary or not."""
    roots: dict[tuple[bytes, ...], str] = field(default_factory=dict)
    """Directories in which people's directories lie, whatever they are called."""
    homes: set[tuple[bytes, ...]] = field(default_factory=set)
    ordinary: set[bytes] = field(default_factory=set)
    """Names of system directories, modules and packages, in small letters."""
    taken: set[bytes] = field(default_factory=set)
    """Words that look like a replacement already."""

    def add(self, kind: str, name: bytes) -> None:
        """Take a name in; what names nobody is left out."""
        name = name.strip()
        if (
            name
            and name.lower() not in NOT_NAMES
            and name.strip(b".")
            and b"/" not in name
            and not name.startswith(b"(")
        ):
            self.known.setdefault(name, kind)

    def add_host(self, name: bytes, kind: str = "host") -> None:
        """A host's or server's name, with and without its domain."""
        short, _, domain = name.strip().partition(b".")
        if _ADDRESS.fullmatch(name.strip()):
            self.add("address", name)
            return
        self.add(kind, name)
        self.add(kind, short)
        if domain.count(b"."):
            self.add(kind, domain)

    def add_home(self, path: bytes) -> None:
        """A home directory: its last component is a user, and so is what lies beside it."""
        parts = tuple(part for part in path.split(b"/") if part)
        if not path.startswith(b"/") or len(parts) < 2 or parts[-1] in NOT_NAMES:
            return
        self.add("user", parts[-1])
        self.homes.add(parts)
        parent = parts[:-1]
        if (
            parent not in places.ROOTS
            and parent[-1] not in STRUCTURE
            and parent[0] not in places.SYSTEM | places.ELSEWHERE
        ):
            self.roots.setdefault(parent, "home")

    def add_forced(self, name: bytes) -> None:
        """A name that was asked for; with its spelling in JSON and in reports where that differs."""
        self.known[name] = self.known.get(name, "name")
        self.forced.add(name)

    def is_everywhere(self, name: bytes) -> bool:
        """Whether a name is replaced wherever it stands as a word, not only in its place."""
        if name in self.forced:
            return name not in STRUCTURE
        small = name.lower()
        return (
            len(name) >= MIN_LETTERS.get(self.known.get(name, ""), MIN_LETTERS_ELSE)
            and small not in STRUCTURE
            and small not in ORDINARY
            # letters with digits are hardly ever a word, even where a directory of the system is called so
            and (small not in self.ordinary or _ID.fullmatch(name) is not None)
        )

    def only_in_place(self) -> list[bytes]:
        """The names that are ordinary words too."""
        return sorted(name for name in self.known if not self.is_everywhere(name))


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
            found = places.step(above, before[:-1], before[-1], self.names.roots, self.names.known)
            if len(self.zones) >= CACHE_SIZE:
                self.zones.clear()
            self.zones[before] = found
        return found


def _components(path: bytes, start: tuple[bytes, ...]) -> list[tuple[int, tuple[bytes, ...], bytes]]:
    """(index in the split path, components before, component) of each that is a name."""
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
    for _, before, part in _components(directory, ()):
        stack = (*before, part)
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
        elif places.is_area(zone) and zone.depth == 0 and not places.is_link_of_area(zone, name):
            if name in STRUCTURE or _FILE.fullmatch(name):
                return
            if zone.kind == "home":
                names.add("user", name)
            elif _ID.fullmatch(name):
                names.add("project", name)

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
        if places.is_area(zone) and zone.depth == 0:
            if is_known:
                return self.alias(zone.kind, name)
            if places.is_link_of_area(zone, name):
                return name
            stem, suffix = _split(name)
            if name in STRUCTURE or stem.lower() in names.ordinary or name.startswith(b"fsprobe"):
                return self.words(name)
            return self.alias("user" if zone.kind == "home" else "owner", stem) + suffix
        if is_known and zone.kind not in ("system", "package"):
            # `lib` again, deeper: /scratch/lib/env/lib is a person's environment, and its libraries
            may_be = (places.is_area(zone) and zone.depth <= 1) or (zone.kind == "open" and zone.depth == 0)
            if name not in STRUCTURE or (may_be and not zone.has_user):
                return self.alias("user", name)
        return self.words(name)

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
        return _IDS.sub(rb"\1=0", _ADDRESS.sub(lambda match: self.alias("address", match.group()), raw))

    def left_in(self, data: bytes) -> dict[bytes, set[bytes]]:
        """Which names that should be nowhere still stand in `data`, and the longer words that they are a part of."""
        small = data.lower()
        found = {}
        for name in self.names.known:
            if len(name) >= MIN_LETTERS_ELSE and self.names.is_everywhere(name) and name.lower() in small:
                words = re.findall(rb"[%s]*%s[%s]*" % (_WORD, re.escape(name.lower()), _WORD), small)
                found[name] = set(words)
        return found


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


def from_environment(names: Names, environment: Mapping[str, str]) -> None:
    """Take in what the variables of a shell say of its user, projects and host."""
    for name in ("USER", "LOGNAME", "SLURM_JOB_USER", "SUDO_USER", "PBS_O_LOGNAME"):
        names.add("user", environment.get(name, "").encode("utf-8", "surrogateescape"))
    for name in ("SLURM_JOB_ACCOUNT", "SBATCH_ACCOUNT", "SALLOC_ACCOUNT", "SLURM_ACCOUNT", "PBS_ACCOUNT", "PROJECT"):
        value = environment.get(name, "").encode("utf-8", "surrogateescape")
        names.add("project", value.rpartition(b"/")[2])
    for name in ("HOSTNAME", "SLURMD_NODENAME", "SLURM_SUBMIT_HOST", "PBS_O_HOST"):
        names.add_host(environment.get(name, "").encode("utf-8", "surrogateescape"))
    names.add_home(environment.get("HOME", "").encode("utf-8", "surrogateescape"))
