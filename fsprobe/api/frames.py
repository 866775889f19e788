"""Rows of a profile as pandas DataFrames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fsprobe.model import serial

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(rows: Iterable[Any], index: str, columns: Iterable[str] = ()) -> DataFrame:
    """A DataFrame with a row for each value, in their order.

    Args:
        rows: values of `model/`, with a field `key`, `reason` or `code` that names them.
        index: what the index is called; it holds that name.
        columns: columns in this order; without it all fields. What was not observed is NaN.
    """
    from pandas import DataFrame

    written = [serial.to_json(row) for row in rows]
    names = list(columns) or [name for name in (written[0] if written else {}) if name != index]
    label = next((name for name in ("key", "reason", "code", "layout") if written and name in written[0]), index)
    made = DataFrame(
        [[row.get(name) for name in names if name != label] for row in written],
        columns=[name for name in names if name != label],
    )
    made.index = [row[label] for row in written]
    made.index.name = index
    return made
