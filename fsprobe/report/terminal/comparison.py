"""A comparison on a terminal, and the progress of making one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fsprobe.model.formats import JsonObject
from fsprobe.report import facts, numbers
from fsprobe.report.terminal.console import as_text, console_on
from fsprobe.report.terminal.run import clean


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
    columns = (TextColumn("{task.description:32}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=out), transient=True) as bar:
        task = bar.add_task("", total=None)
        total = [0]

        def draw_bar(what: str, done: int, of: int) -> None:
            if of != total[0]:
                # another kind of steps begins: the time left is not to be reckoned from the old ones
                total[0] = of
                # of none it is not known how many there will be
                bar.reset(task, total=of or None)
            bar.update(task, description=clean(what, 32), completed=done)

        yield draw_bar


def show(comparison: JsonObject, out: TextIO) -> None:
    """Print a comparison; with colour when `out` is a terminal."""
    draw(console_on(out), comparison)


def render(comparison: JsonObject) -> str:
    """The same as plain text, 80 columns wide."""
    return as_text(lambda console: draw(console, comparison))


def draw(console: Console, comparison: JsonObject) -> None:
    """The answer, the table of layouts, what differs in calls, and how it was measured."""
    rows = comparison["rows"]
    console.print()
    draw_answers(console, comparison)
    console.print()
    served = [facts.n_served(row) for row in rows]
    counted = "client" if any(row.get("client_counters") for row in rows) else "served"
    columns = ["layout", "cache", "start", "spread", "CPU", "calls", "requests"]
    columns += [counted] if any(n is not None for n in served) else []
    table = _table()
    for name in columns:
        table.add_column(
            name, justify="left" if name in ("layout", "cache") else "right", no_wrap=True, overflow="ellipsis"
        )
    for row, n in zip(rows, served, strict=True):
        table.add_row(*map(Text, cells(row)), *([numbers.count(n)] if counted in columns else []))
    console.print(table)
    draw_places(console, comparison)
    draw_differences(console, comparison)
    draw_notes(console, comparison)


def _table() -> Table:
    return Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")


def draw_answers(console: Console, comparison: JsonObject) -> None:
    """Of each layout and cache state: is it faster, by how much, how sure; and what it asks the file server for."""
    baseline = clean(str(comparison["baseline"]))
    fewer: dict[str, list[str]] = {}
    for row in comparison["rows"]:
        label = clean(str(row["layout"]), 20)
        ratio = row.get("ratio_requests")
        if ratio is not None and not SAME_REQUESTS <= ratio <= 1 / SAME_REQUESTS:
            words = (
                "no metadata requests"
                if ratio == 0
                else f"{numbers.ratio(1 / ratio)} fewer metadata requests"
                if ratio < 1
                else f"{numbers.ratio(ratio)} the metadata requests"
            )
            named = fewer.setdefault(words, [])
            named += [label] if label not in named else []
        if row["verdict"] in ("baseline", ""):
            continue
        style = "bold"
        if row["clear"]:
            style = "bold green" if row["ratio_wall"] < 1 else "bold red"
        sure = facts.certainty(row)
        state = f", {row['cache']}" if row["cache"] in ("cold", "warm") else ""
        answer = clean(str(row["verdict"])) + (f" than {baseline}" if row["clear"] else "")
        console.print(Text(f"{label}{state}: {answer}", style=style) + Text(f" ({sure})" if sure else ""))
    for words, labels in fewer.items():
        console.print(Text(f"{' and '.join(labels)}: {words}", style="bold") + Text(" (cold client, predicted)"))


SAME_REQUESTS = 0.9
"""Up to this ratio of requests it is not worth a line. A judgement."""


def cells(row: JsonObject) -> list[str]:
    """One layout's line."""
    wall, cpu = row["wall_s"], row["cpu_s"]
    requests = row["requests"].get("environment") if isinstance(row["requests"], dict) else None
    return [
        clean(str(row["layout"]), 20),
        str(row["cache"]),
        numbers.seconds(wall["median"]) if wall else numbers.NOT_OBSERVED,
        f"{numbers.seconds(wall['min'])}-{numbers.seconds(wall['max'])}" if wall and len(wall["runs"]) > 1 else "",
        numbers.seconds(sum(part["median"] for part in cpu.values() if part is not None)) if cpu else "",
        numbers.count(row["metrics"]["n_metadata"]),
        numbers.count(requests) if requests is not None else "",
    ]


def draw_places(console: Console, comparison: JsonObject) -> None:
    """Where each layout's files lie, and how they are mounted."""
    rows = {str(row["layout"]): row for row in reversed(comparison["rows"]) if row["where"]}
    if not rows:
        return
    how = {label: row["mount_how"] and f"through {row['mount_how']}" for label, row in rows.items()}
    types = {label: row["fstype"] or "?" for label, row in rows.items()}
    table = Table(box=None, padding=(0, 1), pad_edge=False, show_header=False, style="dim")
    for _ in range(4):
        table.add_column(no_wrap=True, overflow="ellipsis")
    taken = sum(
        max(map(len, words)) + 2 for words in ([clean(label, 20) for label in rows], types.values(), how.values())
    )
    for label in reversed(rows):
        where = clean(rows[label]["where"], max(12, min(console.width, 160) - taken - 1))
        table.add_row(*map(Text, (clean(label, 20), where, types[label], how[label])))
    console.print()
    console.print(table)


def draw_differences(console: Console, comparison: JsonObject) -> None:
    """Which calls differ between the layouts, by name."""
    same: list[str] = []
    for label, found in comparison["differences"].items():
        if not found["n_paths"]:
            same.append(clean(label))
            continue
        change = found["n_layout"] - found["n_baseline"]
        console.print(
            Text(
                f"\n{clean(label)} differs in {numbers.plural(found['n_paths'], 'path')} ({change:+,} calls):",
                style="bold",
            )
        )
        for row in found["rows"][:8]:
            console.print(
                Text(f"  {row['op']:9} {row['baseline']:>6,} -> {row['layout']:>6,}  {clean(row['path'], 50)}")
            )
        if found["n_paths"] > 8:
            console.print(Text(f"  and {found['n_paths'] - 8:,} more", style="dim"))
    if same:
        console.print(Text(f"\nthe same calls as {comparison['baseline']}: {', '.join(same)}"))


def draw_notes(console: Console, comparison: JsonObject) -> None:
    """What to mind, and how it was measured."""
    console.print()
    for line in comparison.get("notes", []):
        console.print(Text("note: " + clean(line), style="yellow"))
    n_runs = comparison.get("n_runs")
    if not n_runs:
        return
    if comparison.get("notes"):
        console.print()
    rows = comparison["rows"]
    lines = [
        f"start: median of {numbers.plural(n_runs, 'untraced run')}, taken in turn, without the mounting; spread: the fastest and the slowest",
        "CPU: user and system of the command, and of what serves its mount; calls: metadata calls of one traced run",
        "requests: metadata requests of a cold client for the environment, or for mounting its image: a model, validated "
        "against a FUSE server",
        "95 %: bootstrap interval of the ratio of the medians; p: how often chance alone makes such a difference (rank sums, "
        "all ways to deal them out, or 20,000 at random)",
    ]
    if any(row["server_requests"] for row in rows):
        lines.append("served: metadata requests that the file server counted, median")
    if any(row.get("client_counters") for row in rows):
        lines.append(
            "client: metadata requests that this node's client of the filesystem counted, of all its programs, median"
        )
    for line in lines:
        console.print(Text(line, style="dim"))
