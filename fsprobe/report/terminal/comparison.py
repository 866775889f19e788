"""A comparison on a terminal, and the progress of making one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsprobe import numbers
from fsprobe.model.comparison import CLEAR_P, SMALLEST_RATIO, Comparison, LayoutRow
from fsprobe.report import comparison_facts, request_facts
from fsprobe.report.foreign import visible_in
from fsprobe.report.terminal.console import (
    BAD,
    GOOD,
    NOTE,
    Screen,
    as_text,
    clean,
    console_on,
    marked,
    print_table,
    print_words,
)


@contextmanager
def progress(out: TextIO) -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar with the time left, on a terminal; elsewhere a line a minute at most."""
    if not out.isatty():
        last = [0.0]

        def line(what: str, done: int, of: int) -> None:
            if time.monotonic() - last[0] > 60:
                last[0] = time.monotonic()
                out.write(f"fsprobe: {clean(what)}" + (f" ({done:,} of {of:,})\n" if of > 1 else "\n"))

        yield line
        return
    # a third of what importing rich takes, and no report needs it
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:32}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Screen(file=out), transient=True) as bar:
        task = bar.add_task("", total=None, visible=False)  # until there is something to say
        total = [0]

        def draw_bar(what: str, done: int, of: int) -> None:
            if of != total[0]:
                # another kind of steps begins: the time left is not to be reckoned from the old ones
                total[0] = of
                # of none it is not known how many there will be
                bar.reset(task, total=of or None, completed=done, description=clean(what, 32))
            bar.update(task, description=clean(what, 32), completed=done, visible=True)

        yield draw_bar


def show(comparison: Comparison, out: TextIO) -> None:
    """Print a comparison; with colour when `out` is a terminal."""
    draw(console_on(out), comparison)


def render(comparison: Comparison) -> str:
    """The same as plain text, 80 columns wide."""
    return as_text(lambda console: draw(console, comparison))


def draw(console: Console, comparison: Comparison) -> None:
    """The answer, the table of layouts, what differs in calls, and how it was measured."""
    comparison = visible_in(comparison)
    console.print()
    if draw_answers(console, comparison):
        console.print()
    is_counted = any(row.n_served is not None for row in comparison.rows)
    counted = "client" if any(row.client_counters for row in comparison.rows) else "served"
    names = ["layout", "cache", "start", "spread", "CPU", "calls", "requests"] + [counted] * is_counted
    made = [[*cells(row), *([numbers.count(row.n_served)] if is_counted else [])] for row in comparison.rows]
    columns = [(name, column) for name, *column in zip(names, *made, strict=True) if not set(column) <= {"", "unknown"}]
    table = _table()
    for name, _ in columns:
        table.add_column(
            "recording" if name == "layout" and not comparison.n_runs and not comparison.environment else name,
            justify="left" if name in ("layout", "cache") else "right",
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in zip(*(column for _, column in columns), strict=True):
        table.add_row(*map(Text, row))
    print_table(console, table, ("spread", "CPU", "calls"))
    draw_places(console, comparison)
    draw_operations(console, comparison)
    draw_differences(console, comparison)
    draw_notes(console, comparison)


def _table() -> Table:
    return Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")


def draw_answers(console: Console, comparison: Comparison) -> bool:
    """Of each layout and cache state: is it faster, by how much, how sure; and what it asks the file server for. Whether it said any."""
    baseline = clean(comparison.baseline)
    fewer: dict[str, list[str]] = {}
    is_answered = False
    asked = comparison_facts.requests_name(comparison)
    for row in comparison.rows:
        label = clean(row.layout, 20)
        ratio = row.ratio_requests
        if ratio is not None and not SAME_REQUESTS <= ratio <= 1 / SAME_REQUESTS:
            words = (
                f"no {asked}"
                if ratio == 0
                else f"{numbers.ratio(1 / ratio)} fewer {asked}"
                if ratio < 1
                else f"{numbers.ratio(ratio)} the {asked}"
            )
            named = fewer.setdefault(words, [])
            named += [label] if label not in named else []
        if row.verdict in ("baseline", ""):
            continue
        marks = {"faster": GOOD, "slower": BAD} if row.clear else {}
        sure = comparison_facts.certainty(row)
        state = f", {row.cache}" if row.cache in ("cold", "warm") else ""
        answer = clean(row.verdict) + (f" than {baseline}" if row.clear else "")
        console.print(Text.assemble(marked(f"{label}{state}: {answer}", "bold", marks), f" ({sure})" if sure else ""))
        is_answered = True
    for words, labels in fewer.items():
        console.print(Text.assemble((f"{' and '.join(labels)}: {words}", "bold"), " (cold cache, predicted)"))
    return is_answered or bool(fewer)


SAME_REQUESTS = 0.9
"""Up to this ratio of requests it is not worth a line. A judgement."""
N_PATHS = 8


def cells(row: LayoutRow) -> list[str]:
    """One layout's line."""
    wall, cpu = row.wall_s, row.cpu_s
    return [
        clean(row.layout, 20),
        row.cache,
        numbers.seconds(wall.median) if wall is not None else numbers.NOT_OBSERVED,
        f"{numbers.seconds(wall.min)}-{numbers.seconds(wall.max)}" if wall is not None and len(wall.runs) > 1 else "",
        numbers.seconds(cpu.total_s) if cpu is not None else "",
        numbers.count(row.metrics.n_metadata),
        numbers.count(row.n_requests) if row.n_requests is not None else "",
    ]


def draw_places(console: Console, comparison: Comparison) -> None:
    """Where each layout's files lie, and how they are mounted."""
    rows = {row.layout: row for row in reversed(comparison.rows) if row.where}
    if not rows:
        return
    how = {label: row.mount_how and f"through {row.mount_how}" for label, row in rows.items()}
    types = {label: row.fstype or "?" for label, row in rows.items()}
    table = Table(box=None, padding=(0, 1), pad_edge=False, show_header=False)
    for _ in range(4):
        table.add_column(no_wrap=True, overflow="ellipsis")
    labels = [clean(label, 20) for label in rows]
    taken = sum(max(map(len, words)) + 2 for words in (labels, types.values(), how.values()))
    if console.width - taken <= max(len(row.where) for row in rows.values()):
        console.print()
        for label in reversed(rows):
            described = ", ".join(filter(None, (types[label], how[label])))
            print_words(console, f"{clean(label, 20)}: {rows[label].where} ({described})")
        return
    for label in reversed(rows):
        table.add_row(*map(Text, (clean(label, 20), clean(rows[label].where), types[label], how[label])))
    console.print()
    console.print(table)


def draw_operations(console: Console, comparison: Comparison) -> None:
    """Requests by the client's own names, predicted beside counted."""
    lines = request_facts.lines(request_facts.of_comparison(comparison))
    if lines:
        console.print()
    for line in lines:
        console.print(Text(clean(line)))


def draw_differences(console: Console, comparison: Comparison) -> None:
    """Which calls differ between the layouts, by name."""
    same: list[str] = []
    for label, found in comparison.differences.items():
        if not found.n_paths:
            same.append(clean(label))
            continue
        console.print(
            Text(
                f"\n{clean(label)} differs in {numbers.plural(found.n_paths, 'count')} by path and kind ({found.n_more:+,} calls):",
                style="bold",
            )
        )
        for row in found.rows[:N_PATHS]:
            console.print(
                Text(
                    f"  {row.op:9} {row.baseline:>6,} -> {row.layout:>6,}  {clean(row.path, max(20, min(50, console.width - 32)))}"
                )
            )
        if found.n_paths > N_PATHS:
            console.print(Text(f"  and {found.n_paths - N_PATHS:,} more"))
    if same:
        console.print(Text(f"\nthe same calls as {clean(comparison.baseline)}: {', '.join(same)}"))


def draw_notes(console: Console, comparison: Comparison) -> None:
    """What to mind, and how it was measured."""
    comparison = visible_in(comparison)
    console.print()
    notes = comparison_facts.notes(comparison)
    for line in notes:
        print_words(console, "note: " + line, marks=NOTE)
    if notes:
        console.print()
    lines = [
        "calls: metadata calls of one traced run",
        f"requests: {comparison_facts.requests_name(comparison)} for the environment, or for mounting its image, cold cache (predicted), by the "
        "rules of each mount's own client where they are known (NFS, Lustre), else by FUSE's",
    ]
    if comparison.n_runs:
        lines = [
            f"start: median of {numbers.plural(comparison.n_runs, 'untraced run')}, interleaved, without the mounting; "
            "spread: the fastest and the slowest",
            "CPU: user and system of the command, and of what serves its mount",
            *lines,
            "95%: bootstrap interval of the ratio of the medians; p: how often chance alone makes such a difference (rank "
            "sums, all permutations, or 20,000 at random)",
            f"clear: p at most {CLEAR_P:g}, and an interval wholly beyond {1 - SMALLEST_RATIO:g} to {1 + SMALLEST_RATIO:g} times",
        ]
    if any(row.server_requests for row in comparison.rows):
        lines.append("served: metadata requests that the file server counted, median")
    if any(row.client_counters for row in comparison.rows):
        lines.append(
            "client: metadata requests that this node's client of the filesystem counted, of all its programs, median"
        )
    for line in lines:
        console.print(Text(line))
