"""What a recording may always be shown without: passwords, tokens and keys. Names stay; see `redaction` for those."""

from __future__ import annotations

from collections.abc import Sequence

from fsprobe.privacy.identities import Names
from fsprobe.privacy.secrets import credentials
from fsprobe.privacy.secrets.secret_names import is_secret_name, is_secret_value
from fsprobe.privacy.spelling import Finder

CACHE_SIZE = 200_000


class Unchanged:
    """Leaves everything as it is."""

    is_redacting = False
    sees_names = False
    """Whether names are looked for or replaced."""

    def path(self, path: bytes, directory: bytes | None = None) -> bytes:
        """A path, whole; a relative one starts from `directory` where that is known."""
        return path

    def mount_point(self, path: bytes) -> bytes:
        """A path on which something is mounted."""
        return self.path(path)

    def link_text(self, link: bytes, text: bytes) -> bytes:
        """What a link says: mostly a path, from where the link lies."""
        return self.path(text, link.rpartition(b"/")[0] or b"/" if link.startswith(b"/") else None)

    def text(self, value: bytes) -> bytes:
        """Text that may hold paths and names."""
        return value

    def conceal(self, value: bytes) -> bytes:
        """A text in which names may stay, but no secrets."""
        return value

    def argv(self, words: Sequence[bytes]) -> list[bytes]:
        """A command line."""
        return [self.text(word) for word in words]

    def script(self, word: bytes) -> None:
        """An argument of a program that is kept since it tells what an interpreter runs."""

    def words(self, value: bytes) -> bytes:
        """Text that holds no path: module names, labels."""
        return value

    def named(self, kind: str, value: bytes) -> bytes:
        """A value that is a name as a whole, of a kind of `KINDS`."""
        return value

    def assigned(self, name: bytes, value: bytes) -> bytes:
        """The value of a variable, option or field of this name."""
        return self.text(value)

    def module(self, value: bytes) -> bytes:
        """A module's dotted name."""
        return value

    def home(self, path: bytes) -> None:
        """Somebody's home directory is said to be here."""

    def ids(self, raw: bytes) -> bytes:
        """What a tracer prints beside strings: user and group ids in it."""
        return raw

    def knows(self, word: bytes) -> bool:
        """Whether this is a name that is to be hidden, be it an ordinary word, too."""
        return False

    def keep(self, place: str, value: bytes) -> bytes:
        """A value that stays though it may be or hold a name: remember where it stands."""
        return value


class Concealment(Unchanged):
    """Replaces secrets, each by the same word everywhere: in their place, and the distinctive ones wherever they stand."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.n_concealed = 0
        """How many different secrets were replaced so far."""
        self._secrets: dict[bytes, bytes] = {}
        self._found = Finder((value for value in names.secrets if names.is_secret_everywhere(value)), is_exact=True)
        self._has_values = any(names.is_secret_everywhere(value) for value in names.secrets)
        self._clean: dict[bytes, bytes] = {}

    def secret(self, value: bytes) -> bytes:
        """The replacement of a secret."""
        found = self._secrets.get(value)
        if found is None:
            while True:
                self.n_concealed += 1
                found = b"secret%d" % self.n_concealed
                if found not in self.names.taken:
                    break
            self._secrets[value] = found
        return found

    def _values(self, value: bytes) -> bytes:
        if not self._has_values:
            return value
        return self._found.pattern(value).sub(lambda match: self.secret(match.group()), value)

    def conceal_path(self, path: bytes) -> bytes:
        """A path without secrets."""
        found = self._clean.get(path)
        if found is None:
            found = path
            if credentials.may_stand_in(path):
                found = credentials.replaced(path, credentials.in_path(path), self.secret)
            found = self._values(found)
            if len(self._clean) >= CACHE_SIZE:
                self._clean.clear()
            self._clean[path] = found
        return found

    def conceal(self, value: bytes) -> bytes:
        """A text without secrets."""
        return self._values(credentials.replaced(value, credentials.in_text(value), self.secret))

    def path(self, path: bytes, directory: bytes | None = None) -> bytes:
        return self.conceal_path(path)

    def text(self, value: bytes) -> bytes:
        return self.conceal(value)

    def conceal_argv(self, words: Sequence[bytes]) -> list[bytes]:
        """A command line without secrets."""
        spans = credentials.in_words(words)
        return [
            self._values(credentials.replaced(word, inner, self.secret))
            for word, inner in zip(words, spans, strict=True)
        ]

    def argv(self, words: Sequence[bytes]) -> list[bytes]:
        return self.conceal_argv(words)

    def words(self, value: bytes) -> bytes:
        return self._values(value)

    def named(self, kind: str, value: bytes) -> bytes:
        return self.conceal(value)

    def assigned(self, name: bytes, value: bytes) -> bytes:
        if is_secret_name(name) and is_secret_value(name, value):
            return self.secret(value)
        return self.text(value)

    def module(self, value: bytes) -> bytes:
        return self._values(value)
