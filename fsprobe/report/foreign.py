"""Foreign text (paths, commands, host names) made harmless to look at: what does not print is shown, not obeyed."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


_OWN_SPAN = re.compile(r"`((?:fsprobe(?: -?-?[a-z]+| [A-Z]+)+|[A-Z_]+=[0-9]|lookup|negative|read_max))`")
"""What our own sentences have in backquotes. Of foreign text only that very command or setting would be taken for one."""


def parts(sentence: str) -> list[tuple[str, bool]]:
    """A sentence of ours as (text, whether it is a command or setting) pairs, without the backquotes of the latter.

    Backquotes of foreign text stay what they are: text.
    """
    return [(part, number % 2 == 1) for number, part in enumerate(_OWN_SPAN.split(sentence)) if part]


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


def visible_in(value: T) -> T:
    """The same value with `visible` applied to every text and key in it; what is named `commands` keeps newlines."""
    return cast("T", _visible_in(value, ""))


def _visible_in(value: Any, keep: str) -> Any:
    if isinstance(value, str):
        return visible(value, keep)
    if isinstance(value, (list, tuple)):
        return type(value)(_visible_in(inner, keep) for inner in value)
    if isinstance(value, Mapping):
        return {visible(str(name)): _visible_in(inner, _kept(name, keep)) for name, inner in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return dataclasses.replace(
            value, **{name: _visible_in(getattr(value, name), _kept(name, keep)) for name in names}
        )
    return value


def _kept(name: str, keep: str) -> str:
    return "\n" if name == "commands" else keep
