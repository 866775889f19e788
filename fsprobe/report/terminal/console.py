"""Where a report is drawn: on a terminal as wide as it is, elsewhere and as text 80 columns wide."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TextIO

from rich.console import Console

WIDTH = 80


def console_on(out: TextIO) -> Console:
    """A console on a stream; with colour when it is a terminal."""
    return Console(file=out, width=None if out.isatty() else WIDTH, highlight=False)


def as_text(draw: Callable[[Console], None]) -> str:
    """What is drawn, as plain text."""
    out = io.StringIO()
    draw(Console(file=out, width=WIDTH, highlight=False, color_system=None))
    return out.getvalue()
