"""Numbers that somebody else may have written, in text: what Python takes for one need not be one, or can't be converted.

`"²".isdigit()` is true and `int("²")` fails, as does an int of 5000 digits; `float` takes nan, inf and 1e999.
"""

from __future__ import annotations

MAX_DIGITS = 18
"""What has no more of them fits into 64 bits with a sign."""


def count(text: str | bytes) -> int | None:
    """A whole number of ASCII digits, without a sign and below 10**18; None for anything else."""
    if not 0 < len(text) <= MAX_DIGITS or not text.isascii() or not text.isdigit():
        return None
    return int(text)
