"""Names of people, projects and hosts out of paths and text: by component, consistently, and never inside a word.

Two passes over the same material: `Learning` looks on and finds the names, `Redaction` replaces them. Both have the
methods of `Unchanged`, so that whoever takes a recording apart need not know which pass it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from fsprobe.privacy import path_owners
from fsprobe.privacy.concealment import CACHE_SIZE, Concealment
from fsprobe.privacy.identities import ADDRESS, KINDS, MIN_LETTERS_ELSE, ORDINARY, SCHEDULER, Names
from fsprobe.privacy.path_owners import STRUCTURE
from fsprobe.privacy.path_parts import (
    AT_HOST,
    ENCODED_SLASH,
    NO_HOSTS,
    ODD_TEXT,
    PATH_IN_TEXT,
    URL,
    Walker,
    components,
    is_ours,
    split_suffix,
    stack_of,
)
from fsprobe.privacy.secrets.secret_names import is_secret_name, is_secret_value
from fsprobe.privacy.spelling import WORD, Finder, canonical

_LOCKS = re.compile(rb"(?i)(?:.*[._-])?(?:lock|lck|lockfile|singletoncookie|singletonlock|pid)|\.#.*|lock[._-].*")
_LOCK_TEXT = re.compile(rb"[^/]*(?:@|:\+)[^/]*|[^/]*[A-Za-z][^/]*-\d+")
_VALUE = re.compile(rb"(?i)[-+]?\d+(?:\.\d+)?[kmgt]?|true|false|yes|no|on|off|auto|none|")
_VALUE_SPLIT = re.compile(rb"([\s:;,=|]+)")
_LIBRARY = re.compile(rb"lib[a-z0-9_+-]+\.so[0-9.]*")
_IDS = re.compile(rb"\b((?:st|si|e|s|fs|r)?_?[ug]id)=\d+")
_SECRET = re.compile(rb"secret\d+")
_ALIAS = re.compile(rb"(?:%s)\d+" % "|".join(KINDS).encode())
_W_WORDS = frozenset(b"default error always module once ignore all importtime multiprocessing".split())
_STANDARD = frozenset(name.encode() for name in sys.stdlib_module_names) | {
    b"__main__",
    b"sitecustomize",
    b"usercustomize",
}


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
        self._walker = Walker(names)
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
        for index, before, name in components(path, stack_of(directory or b"")):
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
            stem, suffix = split_suffix(name)
            if name in STRUCTURE or stem.lower() in names.ordinary or name.startswith(b"fsprobe"):
                return self.words(name)
            return self.alias("user" if zone.kind == "home" else "owner", stem) + suffix
        if (*before, name) in names.mounted and name not in STRUCTURE:
            return self.alias("name", name)
        if not is_known and path_owners.is_member(zone, name) and not is_ours(before):
            stem, suffix = split_suffix(name)
            if not suffix and name.lower() not in names.ordinary and name.lower() not in ORDINARY:
                return self.alias("owner", name)
        if is_known and zone.kind not in ("system", "package"):
            # `lib` again, deeper: /scratch/lib/env/lib is a person's environment, and its libraries
            may_be = (path_owners.is_area(zone) and zone.depth <= 1) or (zone.kind == "open" and zone.depth == 0)
            if name not in STRUCTURE or (may_be and not zone.has_user):
                return self.alias("user", name)
        shown = self._inner_path(name) if ENCODED_SLASH.search(name) else self.words(name)
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
        pieces = ENCODED_SLASH.split(name)
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
            if host in NO_HOSTS or _SECRET.fullmatch(user):
                return match.group()
            return (
                (user if _ALIAS.fullmatch(user) else self.alias("user", user))
                + b"@"
                + (host if _ALIAS.fullmatch(host) else self.alias("host", host))
            )

        return AT_HOST.sub(one, value)

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
        if value.startswith(b"/") and not ODD_TEXT.search(value):
            return self.path(value)
        return self._names_in(self.conceal(value))

    def argv(self, words: Sequence[bytes]) -> list[bytes]:
        return [
            self.path(word) if word.startswith(b"/") and not ODD_TEXT.search(word) else self._names_in(word)
            for word in self.conceal_argv(words)
        ]

    def script(self, word: bytes) -> None:
        if b"/" in word or word in _W_WORDS or word.lower() in self.names.ordinary or word.startswith(b"python"):
            return
        if re.search(rb"[A-Za-z\x80-\xff]{3}", word):
            self.keep("scripts and modules that were run", self.words(word))

    def _names_in(self, value: bytes) -> bytes:
        pieces, at = [], 0
        if b"://" in value:
            for match in URL.finditer(value):
                pieces += [self._names_in(value[at : match.start()]), self._url(match)]
                at = match.end()
            if pieces:
                return b"".join([*pieces, self._names_in(value[at:])])
        if b"@" in value:
            value = self._accounts(value)
        for match in PATH_IN_TEXT.finditer(value):
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
            shown += host if host in NO_HOSTS or _ALIAS.fullmatch(host) else self.alias("server", host.strip(b"[]"))
        # whose a path on a server is nobody can know
        pieces = re.split(rb"([/?#&=:,;]+)", rest)
        for at in range(0, len(pieces), 2):
            piece = pieces[at]
            if piece and not piece.isdigit() and piece not in STRUCTURE and not _ALIAS.fullmatch(piece):
                stem, suffix = split_suffix(piece)
                pieces[at] = self.alias("name", stem) + suffix
        return shown + b"".join(pieces)

    def words(self, value: bytes) -> bytes:
        value = super().words(value)
        return self._everywhere.pattern(value).sub(lambda match: self.alias("name", match.group()), value)

    def assigned(self, name: bytes, value: bytes) -> bytes:
        if is_secret_name(name) and is_secret_value(name, value):
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
