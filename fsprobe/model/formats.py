"""The version of what fsprobe writes, and the JSON that it is written as."""

from __future__ import annotations

from typing import Any

FORMAT = 2
"""Grows by one on a breaking change of the recording or of any JSON that scripts read."""

JsonObject = dict[str, Any]


def text(path: bytes) -> str:
    """Render foreign bytes as text that JSON, jq and every viewer accept.

    Valid UTF-8 stays, every other byte becomes `\\xNN`, a literal backslash is doubled, so `untext` is exact.
    """
    if b"\\" in path:
        path = path.replace(b"\\", b"\\\\")
    return path.decode("utf-8", "backslashreplace")
