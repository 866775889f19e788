"""Foreign text (paths, commands, host names) made harmless to look at: what does not print is shown, not obeyed."""

from __future__ import annotations

import unicodedata
from typing import Any

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(value: str, keep: str = "") -> str:
    """Show every character that would break a line, reorder the text or be unseen as an escape.

    Control characters, line and paragraph separators, the format characters that turn text around (RTL override
    and its like) and the surrogates that stand for odd bytes become `\\xNN` or `\\uNNNN`. Markup is not touched:
    that is the business of the format that the text goes into.

    Args:
        value: the text.
        keep: characters that stay as they are, e.g. a newline in a command of several lines.
    """
    if value.isascii() and value.isprintable():
        return value
    return "".join(
        letter if letter in keep or unicodedata.category(letter) not in _UNSEEN else _escape(letter) for letter in value
    )


def _escape(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: the byte itself
        code -= 0xDC00
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def visible_in(value: Any, keep: str = "") -> Any:
    """The same JSON value with `visible` applied to every text and key in it; what follows `commands` keeps newlines."""
    if isinstance(value, str):
        return visible(value, keep)
    if isinstance(value, dict):
        return {
            visible(str(name)): visible_in(inner, "\n" if name == "commands" else keep) for name, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [visible_in(inner, keep) for inner in value]
    return value
