"""JSON that somebody else may have written: no depth of it ends the reader.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_DEPTH = 100
"""What fsprobe writes is a dozen levels deep at most; Python's own limit is about 1000 calls."""


MAX_PARTS = 12000000
"""Values in it: each takes a hundred bytes or so in memory, and two or three in the text. A tally of 50,000 paths has some two million."""


def loads(data: "str | bytes") -> "Any":
    """Read JSON.

    Raises:
        ValueError: it is none; it has more than `MAX_PARTS` values; or it is nested deeper than `MAX_DEPTH`, on which whoever walks
            through it might fail.
    """
    if len(data) > MAX_PARTS:
        signs = (",", "[", "{") if isinstance(data, str) else (b",", b"[", b"{")
        if sum(map(data.count, signs)) > MAX_PARTS:  # type: ignore[arg-type]
            raise ValueError("more values than anybody writes")
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply")
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            part
            for one in level
            if isinstance(one, (dict, list))
            for part in (one.values() if isinstance(one, dict) else one)
            if isinstance(part, (dict, list))
        ]
        if not level:
            return value
    raise ValueError("nested too deeply")
