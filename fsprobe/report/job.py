"""The report of a job on a terminal: totals, how its ranks and nodes differ, who is missing."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsprobe.model import JsonObject
from fsprobe.report import numbers
from fsprobe.report.terminal import clean

WIDTH = 80
N_NODES = 8
N_NAMED = 8
Format = Callable[[float | None], str]
_SPREADS: tuple[tuple[str, str, Format], ...] = (
    ("wall_s", "wall, traced", numbers.seconds),
    ("startup_s", "start and import", numbers.seconds),
    ("n_metadata", "metadata calls", numbers.count),
    ("n_open", "opens", numbers.count),
    ("n_missing", "in vain", numbers.count),
    ("fs_time_s", "time in calls", numbers.seconds),
    ("peak_open_per_s", "opens/s, busiest 1 s", numbers.count),
)


def show(profile: JsonObject, out: TextIO, recording: str) -> None:
    """Print the report of a job."""
    width = None if out.isatty() else WIDTH
    draw(Console(file=out, width=width, highlight=False), profile, recording)


def render(profile: JsonObject, recording: str) -> str:
    """The same as plain text, 80 columns wide."""
    out = io.StringIO()
    draw(Console(file=out, width=WIDTH, highlight=False, color_system=None), profile, recording)
    return out.getvalue()


def draw(console: Console, profile: JsonObject, recording: str) -> None:
    """The report, part by part."""
    console.print()
    _head(console, profile)
    _totals(console, profile)
    _spreads(console, profile["job"])
    _nodes(console, profile["job"])
    _scaled(console, profile["job"])
    console.print()
    console.print(Text(profile["job"]["clock"] + " Rates are those under the tracer.", style="dim"))
    if recording:
        console.print(Text(f"All of it: fsprobe report {shlex.quote(clean(recording))} --format html", style="dim"))


def who(job: JsonObject) -> str:
    """How many ranks were traced, of how many."""
    traced, size = job["n_ranks_traced"], job["n_ranks"]
    words = numbers.plural(traced, "rank")
    if size is not None and size != traced:
        words = f"{numbers.count(traced)} of {numbers.plural(size, 'rank')}"
    nodes = numbers.plural(job["n_nodes_traced"], "node")
    if job["n_nodes"] is not None and job["n_nodes"] != job["n_nodes_traced"]:
        nodes = f"{numbers.count(job['n_nodes_traced'])} of {numbers.plural(job['n_nodes'], 'node')}"
    return f"{words} on {nodes}"


def warnings(job: JsonObject) -> list[str]:
    """What is missing or went wrong, one sentence each."""
    lines = []
    absent = job["missing"]
    if absent["ranks"]:
        lines.append(f"no recording of {numbers.plural(absent['n'], 'rank')}: {_named(map(str, absent['ranks']))}")
    elif absent["n"]:
        lines.append(f"no recording of {numbers.plural(absent['n'], 'node')}")
    if job["unreadable"]:
        n_files = numbers.plural(len(job["unreadable"]), "file")
        lines.append(f"{n_files} left out: {_named(row['file'] for row in job['unreadable'])}")
    if job["killed"]:
        lines.append("killed: " + _named(f"{row['of']} (signal {row['signal']})" for row in job["killed"]))
    if job["failed"]:
        lines.append("failed: " + _named(f"{row['of']} (exit code {row['exit_code']})" for row in job["failed"]))
    if job["incomplete"]:
        lines.append("not complete: " + _named(job["incomplete"]))
    if job["repeated"]:
        lines.append("more than one recording: " + _named(job["repeated"]))
    if job["n_without_requests"]:
        lines.append(f"requests not observed in {numbers.plural(job['n_without_requests'], 'recording')}")
    if job["n_mounts_differ"]:
        lines.append("the nodes have different filesystems at one place: the first one met names it")
    return lines


def _named(names: object) -> str:
    listed = [str(name) for name in names]  # type: ignore[attr-defined]
    more = f" and {numbers.count(len(listed) - N_NAMED)} more" if len(listed) > N_NAMED else ""
    return ", ".join(listed[:N_NAMED]) + more


def _head(console: Console, profile: JsonObject) -> None:
    manifest, job = profile["manifest"], profile["job"]
    command = shlex.join(str(word) for word in manifest.get("command") or [])
    console.print(Text("fsprobe  ", style="bold") + Text(clean(command, console.width - 12), style="cyan"))
    name = f"job {manifest['job_id']}, " if manifest.get("job_id") else ""
    console.print(Text(clean(f"{name}{who(job)}, {manifest['backend']}"), style="dim"))
    for line in warnings(job):
        console.print(Text("note: " + clean(line), style="yellow"))


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column(title, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _totals(console: Console, profile: JsonObject) -> None:
    metrics, requests = profile["metrics"], profile["requests"]
    rates = metrics["rates"]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    grid.add_row(
        "calls",
        f"{numbers.count(metrics['n_metadata'])} metadata calls in all: {numbers.count(metrics['n_open'])} open, "
        f"{numbers.count(metrics['n_stat'])} stat, {numbers.count(metrics['n_missing'])} in vain",
    )
    grid.add_row(
        "rate",
        f"{numbers.rate(rates['peak_metadata_per_s'])} in the busiest 1 s, {numbers.rate(rates['sustained_metadata_per_s'])} in "
        f"10 s; opens {numbers.rate(rates['peak_open_per_s'])} in all",
    )
    if requests is None:
        grid.add_row("requests", numbers.NOT_OBSERVED)
    for mount, row in list((requests or {}).get("by_mount", {}).items())[:4]:
        grid.add_row(
            "requests",
            f"{numbers.count(row['metadata'])} to {clean(mount, 30)} from cold nodes: {numbers.count(row['lookup'])} look-ups, "
            f"{numbers.count(row['open'] + row['opendir'])} opens",
        )
    console.print()
    console.print(grid)


def _spreads(console: Console, job: JsonObject) -> None:
    table = _table("each rank", ("min", "median", "max", "max of", "outliers"))
    for name, title, show_number in _SPREADS:
        row = job["spread"].get(name)
        if row is None:
            table.add_row(title, numbers.NOT_OBSERVED, "", "", "", "")
            continue
        table.add_row(
            title,
            show_number(row["min"]),
            show_number(row["median"]),
            show_number(row["max"]),
            clean(row["max_of"], 16) if row["max"] != row["min"] else "all alike",
            numbers.count(row["n_outliers"]) if row["n_outliers"] else "-",
        )
    console.print()
    console.print(table)
    if len(job["slowest"]) > 1:
        console.print(Text("slowest: " + ", ".join(clean(name, 16) for name in job["slowest"]), style="dim"))
    far = {entry["of"] for row in job["spread"].values() if row for entry in row["outliers"]}
    if far:
        console.print(Text("unlike the others: " + _named(sorted(clean(name, 16) for name in far)), style="dim"))


def _nodes(console: Console, job: JsonObject) -> None:
    nodes = job["nodes"]
    table = _table("node", ("ranks", "calls", "open", "stat", "in vain", "requests", "slowest"))
    shown = nodes if len(nodes) <= N_NODES else sorted(nodes, key=lambda row: -row["n_metadata"])[:N_NODES]
    for row in shown:
        table.add_row(
            clean(row["key"], 20),
            numbers.count(row["n_recordings"]),
            numbers.count(row["n_metadata"]),
            numbers.count(row["n_open"]),
            numbers.count(row["n_stat"]),
            numbers.count(row["n_missing"]),
            numbers.count(row["requests"]["metadata"]) if row["requests"] is not None else numbers.NOT_OBSERVED,
            numbers.seconds(row["wall_s"]),
        )
    console.print()
    console.print(table)
    if len(shown) < len(nodes):
        console.print(Text(f"the busiest of {numbers.count(len(nodes))} nodes", style="dim"))
    console.print(
        Text("Requests: metadata requests of a node whose caches are cold, to all its filesystems.", style="dim")
    )


def _scaled(console: Console, job: JsonObject) -> None:
    scaled = job["scaled"]
    if scaled is None:
        return
    metrics, requests = scaled["metrics"], scaled["requests"]
    words = f"{numbers.count(metrics['n_metadata'])} metadata calls, {numbers.count(metrics['n_open'])} opens"
    if requests is not None:
        words += f", {numbers.count(requests['metadata'])} requests from {numbers.plural(scaled['n_nodes'], 'node')}"
    console.print()
    console.print(Text(f"The whole job: {words}", style="bold"))
    console.print(Text(clean(scaled["label"]), style="dim"))
