"""The version of what fsprobe writes, and the JSON that it is written as."""

from __future__ import annotations

from typing import Any

FORMAT = 1
"""Grows by one on a breaking change of the recording or of any JSON that scripts read."""

JsonObject = dict[str, Any]
