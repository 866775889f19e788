"""The interpreter's search for cycles: tables of counts hold none, and looking takes a tenth of the time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

NEVER = 1 << 30
"""New objects after which one looks, where what holds cycles goes when all is read."""
SELDOM = 200_000
"""... and where much comes and goes: some of it may be held by cycles."""


@contextmanager
def seldom_collected(n_objects: int) -> Iterator[None]:
    """Look for cycles only after so many new objects; who has that off, or looks more seldom still, keeps it so."""
    thresholds = gc.get_threshold()
    if thresholds[0]:
        gc.set_threshold(max(n_objects, thresholds[0]), *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
