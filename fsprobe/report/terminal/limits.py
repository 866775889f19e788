"""Limits of a run, kept or not, on a terminal and in the log of a build."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsprobe import numbers
from fsprobe.model.answers import Check, LimitRow
from fsprobe.report.terminal.console import BAD, GOOD, clean, console_on, print_table, print_words

N_SHOWN = 6


def show(answer: Check, out: TextIO) -> None:
    """Print the answer of a check; with colour when `out` is a terminal."""
    draw(console_on(out), answer)


def draw(console: Console, answer: Check) -> None:
    """The answer, the limits, and for each that was exceeded the imports that account for it."""
    head = "passed" if answer.passed else "failed"
    print_words(console, f"check {head}: {_in_short(answer)}", "bold", marks={head: GOOD if answer.passed else BAD})
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("", "left"), ("counted", "right"), ("limit", "right"), ("", "left"), ("", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in answer.limits:
        table.add_row(
            row.what,
            numbers.count(row.n),
            numbers.count(row.n_most),
            Text(f"{numbers.count(row.n_over)} too many", style="bold") if row.is_exceeded else Text("ok"),
            Text(clean(row.because)),
        )
    print_table(console, table)
    for row in answer.exceeded:
        _offenders(console, row, has_baseline=answer.baseline is not None)
    for note in answer.notes:
        print_words(console, note)


def _in_short(answer: Check) -> str:
    parts = []
    if answer.exceeded:
        parts.append(f"{len(answer.exceeded)} of {numbers.plural(len(answer.limits), 'limit')} exceeded")
    if answer.failure:
        parts.append(answer.failure)
    return "; ".join(parts) or f"{numbers.plural(len(answer.limits), 'limit')} kept"


def _offenders(console: Console, row: LimitRow, has_baseline: bool) -> None:
    if not row.offenders:
        return
    which = f"more {row.what} than in the baseline" if has_baseline else f"the most {row.what}"
    console.print()
    console.print(Text(f"{(row.grouping or '').capitalize()} with {which}:"))
    table = Table(box=None, pad_edge=False, show_header=False)
    for justify in ("right", "left", "left"):
        table.add_column(justify=justify)
    for offender in row.offenders[:N_SHOWN]:
        before = ""
        if has_baseline:
            before = "not in the baseline" if offender.is_new else f"{numbers.count(offender.n_before)} before"
        through = f"through {' > '.join(offender.through)}" if offender.through else ""
        table.add_row(
            ("+" if has_baseline else "") + numbers.count(offender.n_more),
            clean(offender.key),
            Text(clean(", ".join(part for part in (before, through) if part))),
        )
    print_table(console, table)
