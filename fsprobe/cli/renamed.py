"""Options that had another name before: the old one still works, and no help names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


class Renamed(click.Option):
    """An option with former names: `@click.option("--new", cls=Renamed, formerly=["--old"])`."""

    def __init__(self, *args: Any, formerly: Sequence[str] = (), **options: Any) -> None:
        """As `click.Option`.

        Args:
            *args: the names that help shows.
            formerly: names that work too.
            **options: all else.
        """
        super().__init__(*args, **options)
        self.formerly = list(formerly)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """The parser alone knows the former names."""
        shown = self.opts
        self.opts = [*shown, *self.formerly]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown
