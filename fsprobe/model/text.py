"""Foreign bytes as text."""

from __future__ import annotations


def text(path: bytes) -> str:
    """Render foreign bytes as text that JSON, jq and every viewer accept.

    Valid UTF-8 stays, every other byte becomes `\\xNN`, a literal backslash is doubled, so `untext` is exact.
    """
    if b"\\" in path:
        path = path.replace(b"\\", b"\\\\")
    return path.decode("utf-8", "backslashreplace")
