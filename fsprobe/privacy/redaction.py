"""Names of people, projects and hosts out of paths and text: by component, consistently, and never inside a word.

Two passes over the same material: `Learning` looks on and finds the names, `Redaction` replaces them. Both have the
methods of `Unchanged`, so that whoever takes a recording apart need not know which pass it is.
"""

from __future__ import annotations

import re
import sys
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field

from fsprobe.privacy import credentials, path_owners
from fsprobe.privacy.concealment import CACHE_SIZE, Concealment, Unchanged
from fsprobe.privacy.identities import ADDRESS, IDENTIFIER, MIN_LETTERS_ELSE, ORDINARY, SCHEDULER, Names
from fsprobe.privacy.path_owners import START, STRUCTURE, Zone
from fsprobe.privacy.spelling import WORD, Finder, canonical

KINDS = "user project host server owner job name address secret lock label source value partition cluster reservation qos".split()
_FILE = re.compile(
    rb"(.+?)((?:\.cpython-[^/]*|\.abi3)?\.(?:py[cdwi]?|so[0-9.]*|sif|simg|sqsh|squashfs|sqfs|img|sh|zip|whl|egg|pth|cfg|toml|"
    rb"json|yaml|txt|log|fsprobe))"
)
_PATH_IN_TEXT = re.compile(rb"/[^\s:;,|\"'`<>()\[\]{}=\\]*")
_ODD_TEXT = re.compile(rb"[\s:;,|\"'`<>()\[\]{}=\\]")
_ENCODED_SLASH = re.compile(rb"(%2[Ff])")
_URL = re.compile(
    rb"(?i)(?<![a-z0-9])([a-z][a-z0-9+.-]{1,20}://)(?:([^\s/?#\"'<>@]+)@)?(\[[0-9a-f:.%]+\]|[^\s/?#\"'<>:,;@\[\](){}]+)?([^\s\"'<>]*)"
)
_AT_HOST = re.compile(rb"(?<![%s.+-])([A-Za-z_][A-Za-z0-9_.+-]*)@([A-Za-z][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*)" % WORD)
_NO_HOSTS = frozenset((b"tcp", b"o2ib", b"gni", b"kfi", b"lo", b"localhost", b"git"))
_LOCKS = re.compile(rb"(?i)(?:.*[._-])?(?:lock|lck|lockfile|singletoncookie|singletonlock|pid)|\.#.*|lock[._-].*")
_LOCK_TEXT = re.compile(rb"[^/]*(?:@|:\+)[^/]*|[^/]*[A-Za-z][^/]*-\d+")
_VALUE = re.compile(rb"(?i)[-+]?\d+(?:\.\d+)?[kmgt]?|true|false|yes|no|on|off|auto|none|")
_VALUE_SPLIT = re.compile(rb"([\s:;,=|]+)")
_LIBRARY = re.compile(rb"lib[a-z0-9_+-]+\.so[0-9.]*")
_IDS = re.compile(rb"\b((?:st|si|e|s|fs|r)?_?[ug]id)=\d+")


_SECRET = re.compile(rb"secret\d+")
_ALIAS = re.compile(rb"(?:%s)\d+" % "|".join(KINDS).encode())
_STANDARD = frozenset(name.encode() for name in sys.stdlib_module_names) | {
    b"__main__",
    b"sitecustomize",
    b"usercustomize",
}


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
    """Looks on while a recording is taken apart, and finds the names and secrets in it."""

    sees_names = True

    def __init__(self, names: Names) -> None:
        self.names = names
        self._seen: set[bytes] = set()
        self._walker = _Walker(names)

    def path(self, path: bytes, directory: bytes | None = None) -> bytes:
        whole = path if directory is None or path.startswith(b"/") else directory + b"/" + path
        if credentials.may_stand_in(path):
            self._secrets(path, credentials.in_path(path))
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
        if _ENCODED_SLASH.search(whole, len(head)):
            inner = urllib.parse.unquote_to_bytes(whole[len(head) + 1 :])
            self.path(inner[inner.find(b"/") :])
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
            names.installed.add(name.partition(b".")[0])
        elif path_owners.is_area(zone) and zone.depth == 0 and not path_owners.is_link_of_area(zone, name):
            if name in STRUCTURE or _FILE.fullmatch(name) or _is_ours((name,)):
                return
            if zone.kind == "home":
                names.add("user", name)
            elif zone.kind == "shared" and not _is_ours(before):
                names.add("owner", name)
            elif IDENTIFIER.fullmatch(name):
                names.add("project", name)
        elif path_owners.is_member(zone, name) and (IDENTIFIER.fullmatch(name) or not name.isascii()):
            if not _FILE.fullmatch(name) and not _is_ours(before):
                names.add("owner", name)
        elif path_owners.may_be_name(zone, name) and not _FILE.fullmatch(name):
            names.candidates.add(name)

    def _secrets(self, value: bytes, spans: Sequence[credentials.Span]) -> None:
        self.names.secrets.update(value[start:end] for start, end in spans)

    def conceal(self, value: bytes) -> bytes:
        self._secrets(value, credentials.in_text(value))
        return value

    def argv(self, words: Sequence[bytes]) -> list[bytes]:
        for word, spans in zip(words, credentials.in_words(words), strict=True):
            self._secrets(word, spans)
        return super().argv(words)

    def assigned(self, name: bytes, value: bytes) -> bytes:
        if credentials.is_secret_name(name) and credentials.is_secret_value(name, value):
            self.names.secrets.add(value)
        elif name.decode("latin-1") in SCHEDULER:
            self.names.add_if_certain(SCHEDULER[name.decode("latin-1")], value)
        else:
            self.text(value)
        return value

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
            self.conceal(value)
            for url in _URL.finditer(value):
                if url.group(3) and url.group(3) not in _NO_HOSTS:
                    self.names.add_host(url.group(3).strip(b"[]"), "server")
            for user, host in _AT_HOST.findall(value):
                if host not in _NO_HOSTS:
                    self.names.add("user", user)
                    self.names.add_host(host)
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
        elif kind == "user" and not value.isdigit():
            self.names.add(kind, value)
        elif kind in ("source", "label", "cluster"):
            self.names.add_if_certain(kind, value)
        self._note_taken(value)
        return value


class Redaction(Concealment):
    """Replaces the names. The same name has the same replacement in everything that one instance is given."""

    is_redacting = True
    sees_names = True

    def __init__(self, names: Names) -> None:
        super().__init__(names)
        self.left: dict[str, set[bytes]] = {}
        """Place -> what was kept there and may be a name."""
        self._aliases: dict[bytes, bytes] = {}
        self._numbers: dict[str, int] = {}
        self._walker = _Walker(names)
        self._paths: dict[tuple[bytes, bytes | None], bytes] = {}
        self._everywhere = Finder(name for name in names.known if names.is_everywhere(name))
        self._kinds = {canonical(name): kind for name, kind in names.known.items()}
        uids = b"|".join(sorted(names.uids)) or rb"(?!)"
        self._uids = re.compile(rb"(?<![A-Za-z0-9])(?:%s)(?![A-Za-z0-9])" % uids)

    def alias(self, kind: str, name: bytes) -> bytes:
        """The replacement of a name, made when it is first met."""
        found = self._aliases.get(name)
        if found is None:
            kind = self._kinds.get(canonical(name), kind)
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
        path = self.conceal_path(path)
        if not path.startswith(b"/") and directory is None:
            return self.words(path)
        parts = path.split(b"/")
        for index, before, name in _components(path, _stack_of(directory or b"")):
            parts[index] = self._component(before, name)
        return b"/".join(parts)

    def _component(self, before: tuple[bytes, ...], name: bytes) -> bytes:
        names, zone = self.names, self._walker.zone(before)
        if _SECRET.fullmatch(name):
            return name
        is_known = name in names.known or (not name.isascii() and canonical(name) in self._kinds)
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
        shown = self._inner_path(name) if _ENCODED_SLASH.search(name) else self.words(name)
        if zone.kind in ("system", "package"):
            return shown
        whole = shown
        shown = self._uids.sub(lambda match: self.alias("user", match.group()), shown)
        if b"@" in shown:
            shown = self._accounts(shown)
        if (
            whole == name
            and name in names.candidates
            and name not in names.ordinary
            and path_owners.may_be_name(zone, name)
        ):
            self.keep("/" + "/".join(self._path_of(before)), shown)
        return shown

    def _path_of(self, before: tuple[bytes, ...]) -> list[str]:
        shown = self.path(b"/" + b"/".join(before)) if before else b"/"
        return [part.decode("utf-8", "backslashreplace") for part in shown.split(b"/") if part]

    def _inner_path(self, name: bytes) -> bytes:
        """A whole path within one component, its slashes as `%2F`: each of its own components in its place."""
        pieces = _ENCODED_SLASH.split(name)
        stack: tuple[bytes, ...] = ()
        for at in range(0, len(pieces), 2):
            piece = pieces[at]
            if not piece or (at == 0 and len(pieces) > 1):
                pieces[at] = self.words(piece)
                continue
            pieces[at] = self._component(stack, piece)
            stack = (*stack, piece)
        return b"".join(pieces)

    def _accounts(self, value: bytes) -> bytes:
        """`user@host` within other text."""

        def one(match: re.Match[bytes]) -> bytes:
            user, host = match.groups()
            if host in _NO_HOSTS or _SECRET.fullmatch(user):
                return match.group()
            return (
                (user if _ALIAS.fullmatch(user) else self.alias("user", user))
                + b"@"
                + (host if _ALIAS.fullmatch(host) else self.alias("host", host))
            )

        return _AT_HOST.sub(one, value)

    def knows(self, word: bytes) -> bool:
        return word in self.names.known

    def keep(self, place: str, value: bytes) -> bytes:
        self.left.setdefault(place, set()).add(value)
        return value

    def link_text(self, link: bytes, text: bytes) -> bytes:
        if text.startswith((b"/", b"pipe:[", b"socket:[", b"anon_inode:")):
            return self.path(text)
        is_lock = b"/" not in text and (
            _LOCK_TEXT.fullmatch(text) is not None or _LOCKS.fullmatch(link.rpartition(b"/")[2]) is not None
        )
        # who holds a lock: host, process, user
        return self.alias("lock", text) if is_lock else super(Concealment, self).link_text(link, text)

    def text(self, value: bytes) -> bytes:
        if value.startswith(b"/") and not _ODD_TEXT.search(value):
            return self.path(value)
        return self._names_in(self.conceal(value))

    def argv(self, words: Sequence[bytes]) -> list[bytes]:
        return [
            self.path(word) if word.startswith(b"/") and not _ODD_TEXT.search(word) else self._names_in(word)
            for word in self.conceal_argv(words)
        ]

    def script(self, word: bytes) -> None:
        path_like = b"/" in word
        if not path_like and word not in self.names.ordinary and re.search(rb"[A-Za-z\x80-\xff]{3}", word):
            self.keep("programs and scripts", self.words(word))

    def _names_in(self, value: bytes) -> bytes:
        pieces, at = [], 0
        if b"://" in value:
            for match in _URL.finditer(value):
                pieces += [self._names_in(value[at : match.start()]), self._url(match)]
                at = match.end()
            if pieces:
                return b"".join([*pieces, self._names_in(value[at:])])
        if b"@" in value:
            value = self._accounts(value)
        for match in _PATH_IN_TEXT.finditer(value):
            pieces += [self.words(value[at : match.start()]), self.path(match.group())]
            at = match.end()
        # a name may touch a slash from outside of the path (`alice@/x`): the words between are whole, so they can go alone
        return b"".join([*pieces, self.words(value[at:])])

    def _url(self, match: re.Match[bytes]) -> bytes:
        scheme, user, host, rest = match.groups()
        if scheme.lower() == b"file://":
            return scheme + self._names_in((host or b"") + rest)
        shown = scheme
        if user:
            shown += (user if _SECRET.search(user) else self.alias("user", user)) + b"@"
        if host:
            shown += host if host in _NO_HOSTS or _ALIAS.fullmatch(host) else self.alias("server", host.strip(b"[]"))
        # whose a path on a server is nobody can know
        pieces = re.split(rb"([/?#&=:,;]+)", rest)
        for at in range(0, len(pieces), 2):
            piece = pieces[at]
            if piece and not piece.isdigit() and piece not in STRUCTURE and not _ALIAS.fullmatch(piece):
                stem, suffix = _split(piece)
                pieces[at] = self.alias("name", stem) + suffix
        return shown + b"".join(pieces)

    def words(self, value: bytes) -> bytes:
        value = super().words(value)
        return self._everywhere.pattern(value).sub(lambda match: self.alias("name", match.group()), value)

    def assigned(self, name: bytes, value: bytes) -> bytes:
        if credentials.is_secret_name(name) and credentials.is_secret_value(name, value):
            return self.secret(value)
        kind = SCHEDULER.get(name.decode("latin-1"))
        if kind is not None:
            return self.named(kind, value)
        if b"://" in value:
            return self.text(value)
        pieces = _VALUE_SPLIT.split(value)
        for at in range(0, len(pieces), 2):
            piece = pieces[at]
            if b"/" in piece:
                pieces[at] = self.text(piece)
            elif not _VALUE.fullmatch(piece) and not _LIBRARY.fullmatch(piece):
                pieces[at] = self.alias("value", piece)
        return b"".join(pieces)

    def module(self, value: bytes) -> bytes:
        shown = self.words(value)
        top = value.partition(b".")[0]
        if top not in self.names.installed and top not in _STANDARD and shown.partition(b".")[0] == top:
            self.keep("modules", top)
        return shown

    def named(self, kind: str, value: bytes) -> bytes:
        if not value.strip() or _ALIAS.fullmatch(value):
            return value
        return self.alias(kind, value)

    def ids(self, raw: bytes) -> bytes:
        return _IDS.sub(rb"\1=0", ADDRESS.sub(lambda match: self.alias("address", match.group()), raw))

    def left_in(self, data: bytes) -> dict[bytes, set[bytes]]:
        """Which names that should be nowhere still stand in `data`, and the longer words that they are a part of."""
        small = data.lower()
        found = {}
        for name in self.names.known:
            if len(name) >= MIN_LETTERS_ELSE and self.names.is_everywhere(name) and name.lower() in small:
                words = re.findall(rb"[%s]*%s[%s]*" % (WORD, re.escape(name.lower()), WORD), small)
                found[name] = set(words)
        return found


def _is_ours(before: tuple[bytes, ...]) -> bool:
    """Whether a scratch directory of fsprobe is among the components: it says nothing of anybody, and is known by its names."""
    return any(part.startswith(b"fsprobe-") for part in before)


def _split(name: bytes) -> tuple[bytes, bytes]:
    match = _FILE.fullmatch(name)
    return (match.group(1), match.group(2)) if match is not None else (name, b"")
