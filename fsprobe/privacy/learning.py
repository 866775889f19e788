"""The first pass over what shall be shown: names and secrets are found, nothing is changed."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Sequence

from fsprobe.privacy import path_owners
from fsprobe.privacy.concealment import CACHE_SIZE, Unchanged
from fsprobe.privacy.identities import IDENTIFIER, KINDS, SCHEDULER, Names
from fsprobe.privacy.path_owners import STRUCTURE
from fsprobe.privacy.path_parts import (
    AT_HOST,
    ENCODED_SLASH,
    FILE,
    NO_HOSTS,
    ODD_TEXT,
    PATH_IN_TEXT,
    URL,
    Walker,
    components,
    is_ours,
    stack_of,
)
from fsprobe.privacy.secrets import credentials, program_options
from fsprobe.privacy.secrets.secret_names import is_secret_name, is_secret_value

MAX_LEARNED = 100
"""Components of a path, from the top: what lies deeper says nothing of whose it is."""
MAX_WITHIN = 3
"""How often a path that is encoded within another's name may hold one itself."""


class Learning(Unchanged):
    """Looks on while a recording is taken apart, and finds the names and secrets in it."""

    sees_names = True

    def __init__(self, names: Names) -> None:
        self.names = names
        self._seen: set[bytes] = set()
        self._walker = Walker(names)
        self._n_within = 0

    def path(self, path: bytes, directory: bytes | None = None) -> bytes:
        whole = path if directory is None or path.startswith(b"/") else directory + b"/" + path
        if credentials.may_stand_in(path):
            self._secrets(path, credentials.in_path(path))
        if not whole.startswith(b"/"):
            return path
        # siblings have the same zone; only what is in an area's top, the system or a package says something new
        if whole in self._seen:
            return path
        pieces = whole.split(b"/")
        found = components(whole, ())[:MAX_LEARNED]
        if found[1:] and whole.rpartition(b"/")[0] in self._seen:
            del found[:-1]
        for index, before, name in found:
            one = b"/".join(pieces[: index + 1])
            if one in self._seen:
                continue
            if len(self._seen) >= CACHE_SIZE:
                self._seen.clear()
            self._seen.add(one)
            if ENCODED_SLASH.search(name) and self._n_within < MAX_WITHIN:
                inner = urllib.parse.unquote_to_bytes(name)
                self._n_within += 1
                self.path(inner[inner.find(b"/") :])
                self._n_within -= 1
            self._learn(before, name)
        self._seen.add(whole)
        return path

    def _learn(self, before: tuple[bytes, ...], name: bytes) -> None:
        names, zone = self.names, self._walker.zone(before)
        self._note_taken(name)
        if zone.kind in ("system", "package"):
            names.ordinary.add(name.lower())
            names.ordinary.add(name.partition(b".")[0].lower())
            names.installed.add(name.partition(b".")[0])
        elif path_owners.is_area(zone) and zone.depth == 0 and not path_owners.is_link_of_area(zone, name):
            if name in STRUCTURE or FILE.fullmatch(name) or is_ours((name,)):
                return
            if zone.kind == "home":
                names.add("user", name)
            elif zone.kind == "shared" and not is_ours(before):
                names.add("owner", name)
            elif IDENTIFIER.fullmatch(name):
                names.add("project", name)
        elif path_owners.is_member(zone, name) and (IDENTIFIER.fullmatch(name) or not name.isascii()):
            if not FILE.fullmatch(name) and not is_ours(before):
                names.add("owner", name)
        elif path_owners.may_be_name(zone, name) and not FILE.fullmatch(name):
            names.candidates.add(name)

    def _secrets(self, value: bytes, spans: Sequence[program_options.Span]) -> None:
        self.names.secrets.update(value[start:end] for start, end in spans)

    def conceal(self, value: bytes) -> bytes:
        self._secrets(value, credentials.in_text(value))
        return value

    def argv(self, words: Sequence[bytes]) -> list[bytes]:
        for word, spans in zip(words, credentials.in_words(words), strict=True):
            self._secrets(word, spans)
        return super().argv(words)

    def assigned(self, name: bytes, value: bytes) -> bytes:
        if is_secret_name(name) and is_secret_value(name, value):
            self.names.secrets.add(value)
        elif name.decode("latin-1") in SCHEDULER:
            self.names.add_if_certain(SCHEDULER[name.decode("latin-1")], value)
        else:
            self.text(value)
        return value

    def mount_point(self, path: bytes) -> bytes:
        stack = stack_of(path)
        for length in range(1, len(stack) + 1):
            before = stack[: length - 1]
            if self._walker.zone(before).kind == "open" and not is_ours(stack[:length]):
                self.names.mounted.add(stack[:length])
        return self.path(path)

    def _note_taken(self, value: bytes) -> None:
        for word in re.findall(rb"(?:%s)\d+" % "|".join(KINDS).encode(), value):
            self.names.taken.add(word)

    def text(self, value: bytes) -> bytes:
        if value.startswith(b"/") and not ODD_TEXT.search(value):
            self.path(value)
        else:
            self._note_taken(value)
            self.conceal(value)
            for url in URL.finditer(value):
                if url.group(3) and url.group(3) not in NO_HOSTS:
                    self.names.add_host(url.group(3).strip(b"[]"), "server")
            for user, host in AT_HOST.findall(value):
                if host not in NO_HOSTS:
                    self.names.add("user", user)
                    self.names.add_host(host)
            for match in PATH_IN_TEXT.finditer(value):
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
