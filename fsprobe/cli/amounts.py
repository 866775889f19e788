"""Amounts on the command line: what Python takes for a number need not be an amount of anything."""

from __future__ import annotations

import math
from typing import Any

import click

MAX_AMOUNT = 10**15
"""More of anything nobody has; and no formula overflows."""


class Amount(click.FloatRange):
    """A finite number within bounds: no nan, which is within any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number.

        Raises:
            click.UsageError: it is none, not finite, or out of the bounds.
        """
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number) or abs(number) > MAX_AMOUNT:
            self.fail(f"{value!r} is no amount", param, ctx)
        return number


class Whole(click.IntRange):
    """A whole number of at least `least`."""

    def __init__(self, least: int = 0) -> None:
        super().__init__(min=least)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number.

        Raises:
            click.UsageError: it is none, or out of the bounds.
        """
        number: int = super().convert(value, param, ctx)
        if number > MAX_AMOUNT:
            self.fail(f"{str(value)[:20]}... is no amount", param, ctx)
        return number
