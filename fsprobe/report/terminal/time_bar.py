"""The time account as one bar with its legend: lines of plain text that also work where a terminal has ASCII alone."""

from __future__ import annotations

import textwrap

from fsprobe.model.time.account import BOTH, CPU, METADATA, OTHER, READS, TimeAccount, TimeSplit
from fsprobe.report import sentences

WIDTH = 80
_FILLS = {CPU: "█", METADATA: "▓", READS: "▒", BOTH: "▚", OTHER: "░"}
_LETTERS = {CPU: "C", METADATA: "m", READS: "r", BOTH: "+", OTHER: "."}


def lines(account: TimeAccount, width: int = WIDTH, ascii_only: bool = False, has_notes: bool = True) -> list[str]:
    """Title, bar, legend and notes, each line at most `width` wide; of a job its slowest rank's bar too.

    Args:
        account: the run's or the job's.
        width: in columns.
        ascii_only: for an output that can't have block characters.
        has_notes: with what was subtracted, faults, reads and the guess at the caches.
    """
    notes = textwrap.wrap("; ".join(sentences.time_notes(account)), width) if has_notes else []
    found = [sentences.time_title(account), *_bar(account, width, ascii_only)]
    if account.slowest is not None:
        found += [
            *textwrap.wrap(sentences.slowest_title(account.slowest), width),
            *_bar(account.slowest, width, ascii_only),
        ]
    return [*found, *notes]


def _bar(split: TimeSplit, width: int, ascii_only: bool) -> list[str]:
    fills = _LETTERS if ascii_only else _FILLS
    cells = _cells([part.share for part in split.parts], width)
    bar = "".join(fills[part.key] * n for part, n in zip(split.parts, cells, strict=True))
    legend = [f"{fills[part.key]} {part.name}: {sentences.part(part)}" for part in split.parts]
    return [bar, *_rows(legend, width)]


def _cells(shares: list[float], width: int) -> list[int]:
    """Whole cells that fill the width; what is there has one at least, and the largest gives it."""
    cells = [max(1, round(share * width)) if share > 0 else 0 for share in shares]
    if any(cells):
        largest = max(range(len(cells)), key=cells.__getitem__)
        cells[largest] = max(0, cells[largest] + width - sum(cells))
    return cells


def _rows(entries: list[str], width: int) -> list[str]:
    rows: list[str] = []
    for entry in entries:
        if rows and len(rows[-1]) + 3 + len(entry) <= width:
            rows[-1] += "   " + entry
        else:
            rows.append(entry)
    return [piece for row in rows for piece in textwrap.wrap(row, width, subsequent_indent="  ", drop_whitespace=True)]
