"""A comparison on a terminal, and the progress of making one."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fsprobe.model import JsonObject
from fsprobe.report import facts, numbers
from fsprobe.report.terminal import WIDTH, clean


@contextmanager
def progress(out: TextIO) -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar with the time left, on a terminal; elsewhere a line a minute at most."""
    if not out.isatty():
        last = [0.0]

        def line(what: str, done: int, of: int) -> None:
            if time.monotonic() - last[0] > 60:
                last[0] = time.monotonic()
                out.write(f"fsprobe: {what} ({done} of {of})\n")

        yield line
        return
    columns = (TextColumn("{task.description:32}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=out), transient=True) as bar:
        task = bar.add_task("", total=1)
        total = [1]

        def draw_bar(what: str, done: int, of: int) -> None:
            if of != total[0]:
                # another kind of steps begins: the time left is not to be reckoned from the old ones
                total[0] = of
                bar.reset(task, total=max(of, 1))
            bar.update(task, description=clean(what, 32), completed=done)

        yield draw_bar


def show(comparison: JsonObject, out: TextIO) -> None:
    """Print a comparison; with colour when `out` is a terminal."""
    draw(Console(file=out, width=None if out.isatty() else WIDTH, highlight=False), comparison)


def render(comparison: JsonObject) -> str:
    """The same as plain text, 80 columns wide."""
    out = io.StringIO()
    draw(Console(file=out, width=WIDTH, highlight=False, color_system=None), comparison)
    return out.getvalue()


def draw(console: Console, comparison: JsonObject) -> None:
    """The table of layouts, what differs in calls, and how it was measured."""
    rows = comparison["rows"]
    console.print()
    for row in rows:
        if row["clear"]:
            cold = f", {row['cache']} cache" if row["cache"] in ("cold", "warm") else ""
            console.print(
                Text(f"{row['layout']}: {row['verdict']}", style="bold green" if row["ratio_wall"] < 1 else "bold red")
                + Text(f" than {comparison['baseline']}{cold} (95 %: {interval(row)})")
            )
        elif row["verdict"] not in ("baseline", ""):
            console.print(Text(f"{row['layout']}: {row['verdict']}", style="bold") + Text(f" ({row['cache']} cache)"))
    console.print()
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    by_client = any(row.get("client_counters") for row in rows)
    source = "client_counters" if by_client else "server_requests"
    served = [facts.n_served({"server_requests": row.get(source)}) for row in rows]
    counted = "client" if by_client else "served"
    columns = ["layout", "cache", "start", "spread", "CPU", "calls", "requests"]
    columns += [counted] if any(n is not None for n in served) else []
    for name in columns:
        table.add_column(
            name, justify="left" if name in ("layout", "cache") else "right", no_wrap=True, overflow="ellipsis"
        )
    for row, n in zip(rows, served, strict=True):
        table.add_row(*cells(row), *([numbers.count(n)] if counted in columns else []))
    console.print(table)
    draw_places(console, comparison)
    draw_differences(console, comparison)
    draw_notes(console, comparison)


def interval(row: JsonObject) -> str:
    """The interval of the ratio as factors, the smaller first."""
    factors = sorted(
        1 / value if row["ratio_wall"] < 1 else value for value in (row["ratio_wall_low"], row["ratio_wall_high"])
    )
    return f"{factors[0]:.2g} to {factors[1]:.2g} times"


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
    seen = set()
    console.print()
    for row in comparison["rows"]:
        if row["layout"] in seen or not row["where"]:
            continue
        seen.add(row["layout"])
        how = f", seen through {row['mount_how']}" if row["mount_how"] else ""
        console.print(
            Text(
                f"{clean(str(row['layout']), 12):12} {clean(row['where'], 36)} on {row['fstype'] or '?'}{how}",
                style="dim",
            )
        )


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
    """How it was measured, and what to mind."""
    console.print()
    n_runs = comparison.get("n_runs")
    lines = list(comparison.get("notes", []))
    if n_runs:
        lines.append(
            f"start: median of {n_runs} untraced runs, taken in turn, without the mounting; CPU: user and system of the command, and of what "
            "serves its mount; calls: one traced run; requests: what a cold client would ask the file server for the environment, or "
            "for mounting its image (a model, validated against a FUSE server)"
            + (
                "; served: metadata requests that were counted"
                if any(row["server_requests"] for row in comparison["rows"])
                else ""
            )
            + (
                "; client: metadata requests that the kernel's client of the filesystem counted, of all programs on this node"
                if any(row.get("client_counters") for row in comparison["rows"])
                else ""
            )
        )
    for line in lines:
        console.print(Text(clean(line), style="dim"))
