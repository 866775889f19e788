"""How else a name may be written: composed or decomposed, in capitals, percent-encoded, as octal or hexadecimal escapes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from fsprobe.model.formats import text as shown

WORD = rb"A-Za-z0-9\x80-\xff"
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})|\\{1,2}(?:x([0-9A-Fa-f]{2})|([0-3][0-7]{2}))")
_ODD = re.compile(rb"[%\\]")
# after `%2F` a name begins although a letter stands before it
_BEFORE = rb"(?:(?<![%s])|(?<=%%[0-9A-Fa-f]{2})|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\[0-3][0-7]{2})|(?<=\\[nt]))" % WORD
_AFTER = (
    rb"(?![%s]|%%(?i:3[0-9]|4[1-9A-F]|5[0-9A]|6[1-9A-F]|7[0-9A]|[89A-F][0-9A-F])|\\x(?i:[89A-F][0-9A-F])|\\[23][0-7]{2})"
    % WORD
)
MAX_ESCAPED = 400
"""So many names are looked for in escapes, too: each makes the pattern longer by forty characters a letter."""


class Finder:
    """Finds names in bytes, in whatever spelling."""

    def __init__(self, names: Iterable[bytes], *, is_exact: bool = False) -> None:
        """Prepare to look for names.

        Args:
            names: as they are.
            is_exact: whether only these very letters count, wherever they stand: so for secrets.
        """
        ordered = sorted(set(names), key=lambda name: (-len(name), name))
        spelled: dict[bytes, None] = {}
        for name in ordered:
            spelled.update(dict.fromkeys([name] if is_exact else sorted(spellings(name), key=lambda one: -len(one))))
        flags = 0 if is_exact else re.IGNORECASE
        before, after = (b"", b"") if is_exact else (_BEFORE, _AFTER)
        longest_first = sorted(spelled, key=lambda name: (-len(name), name))
        self._plain = _alternatives(before, [re.escape(name) for name in longest_first], after, flags)
        escaped = [b"".join(_byte(code) for code in name) for name in longest_first[:MAX_ESCAPED]]
        self._escaped = _alternatives(before, escaped, after, flags) if spelled else self._plain

    def pattern(self, value: bytes) -> re.Pattern[bytes]:
        """What to look for in `value`: the longer pattern only where it has escapes."""
        return self._escaped if _ODD.search(value) else self._plain


def _alternatives(before: bytes, names: list[bytes], after: bytes, flags: int) -> re.Pattern[bytes]:
    if not names:
        return re.compile(rb"(?!)")
    return re.compile(before + b"(?:" + b"|".join(names) + b")" + after, flags)


def _byte(code: int) -> bytes:
    """A pattern of one byte in each of its spellings; capitals and small letters are one where case is ignored."""
    return rb"(?:%s|%%(?i:%02x)|\\{1,2}(?:%03o|x(?i:%02x)))" % (re.escape(bytes((code,))), code, code, code)


def spellings(name: bytes) -> set[bytes]:
    """A name composed and decomposed, small, in capitals and as a title, in UTF-8 and Latin-1, and as reports show it."""
    found = {name, shown(name).encode("utf-8")}
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return found
    for cased in (text, text.lower(), text.upper(), text.title(), text.casefold()):
        for form in ("NFC", "NFD", "NFKC"):
            written = unicodedata.normalize(form, cased)
            found.add(written.encode("utf-8"))
            if not written.isascii():
                try:
                    found.add(written.encode("latin-1"))
                except UnicodeEncodeError:
                    pass
    if text.isascii():  # its letters in the other case are found anyway; not so where they are escaped
        return {name, text.lower().encode(), text.upper().encode(), text.title().encode()}
    return found


def canonical(spelled: bytes) -> bytes:
    """One form for all spellings of a name."""
    plain = _ESCAPED.sub(_unescaped, spelled)
    for encoding in ("utf-8", "latin-1"):
        try:
            text = plain.decode(encoding)
        except UnicodeDecodeError:
            continue
        return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold()).encode("utf-8")
    return plain


def _unescaped(match: re.Match[bytes]) -> bytes:
    percent, hexadecimal, octal = match.groups()
    return bytes((int(octal, 8) & 0xFF if octal else int(percent or hexadecimal, 16),))
