"""Where a report is drawn: on a terminal as wide as it is, elsewhere and as text 80 columns wide."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from fsprobe.report.foreign import visible

WIDTH = 80


class Screen(Console):
    """A console that foreign text can't steer: what does not print is shown as an escape, wherever it comes from.

    Only what rich itself means as a control stays one. Who draws may still shorten and escape text before, for the sake of
    its width; nothing depends on it.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of something, each of them harmless."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.replace("\n", "").isprintable():
                yield segment
            else:
                yield Segment(visible(segment.text, keep="\n"), segment.style)


def console_on(out: TextIO) -> Console:
    """A console on a stream; with colour when it is a terminal."""
    return Screen(file=out, width=None if out.isatty() else WIDTH, highlight=False)


def as_text(draw: Callable[[Console], None]) -> str:
    """What is drawn, as plain text."""
    out = io.StringIO()
    draw(Screen(file=out, width=WIDTH, highlight=False, color_system=None))
    return out.getvalue()
