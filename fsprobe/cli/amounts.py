"""Amounts on the command line: what Python takes for a number need not be an amount of anything."""

from __future__ import annotations

import math
from typing import Any

import click

MAX_AMOUNT = 10**15
"""More of anything nobody has; and no formula overflows."""
N_SHOWN = 20


def shown(value: object) -> str:
    """What was given, as far as it can be read."""
    text = str(value)
    return repr(text if len(text) <= N_SHOWN else text[:N_SHOWN] + "...")


class Amount(click.FloatRange):
    """A finite number within bounds: no nan, which is within any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number.

        Raises:
            click.UsageError: it is none, not finite, or out of the bounds.
        """
        try:
            float(value)
        except ValueError:
            self.fail(f"{shown(value)} is no number", param, ctx)
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number) or abs(number) > MAX_AMOUNT:
            self.fail(f"{shown(value)} is no amount", param, ctx)
        return number


class Whole(click.IntRange):
    """A whole number of at least `least`, and of at most `most` where that is given."""

    def __init__(self, least: int = 0, most: int | None = None) -> None:
        super().__init__(min=least, max=most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number.

        Raises:
            click.UsageError: it is none, or out of the bounds.
        """
        try:
            int(value)
        except ValueError:
            self.fail(f"{shown(value)} is no whole number", param, ctx)
        number: int = super().convert(value, param, ctx)
        if number > MAX_AMOUNT:
            self.fail(f"{shown(value)} is no amount", param, ctx)
        return number
