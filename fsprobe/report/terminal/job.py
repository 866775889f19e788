"""The report of a job on a terminal: totals, how its ranks and nodes differ, who is missing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsprobe.model.formats import JsonObject
from fsprobe.report import job_facts, numbers
from fsprobe.report.terminal.console import as_text, console_on
from fsprobe.report.terminal.run import clean, draw_findings

N_NODES = 8
_STYLES = {
    "not the filesystem": "bold green",
    "noticeable": "bold yellow",
    "heavy": "bold red",
    "danger": "bold red",
}


def show(profile: JsonObject, out: TextIO, recording: str) -> None:
    """Print the report of a job."""
    draw(console_on(out), profile, recording)


def render(profile: JsonObject, recording: str) -> str:
    """The same as plain text, 80 columns wide."""
    return as_text(lambda console: draw(console, profile, recording))


def draw(console: Console, profile: JsonObject, recording: str) -> None:
    """The report, part by part."""
    console.print()
    _head(console, profile)
    _totals(console, profile)
    _spreads(console, profile["job"])
    _nodes(console, profile["job"])
    _scaled(console, profile["job"])
    draw_findings(console, profile)
    console.print()
    console.print(Text(profile["job"]["clock"] + " " + job_facts.TRACED_RATES, style="dim"))
    if recording:
        console.print(Text(f"All of it: fsprobe report {shlex.quote(clean(recording))} --format html", style="dim"))


def _head(console: Console, profile: JsonObject) -> None:
    manifest, job = profile["manifest"], profile["job"]
    command = shlex.join(str(word) for word in manifest.get("command") or [])
    console.print(Text("fsprobe  ", style="bold") + Text(clean(command, console.width - 12), style="cyan"))
    name = f"job {manifest['job_id']}, " if manifest.get("job_id") else ""
    console.print(Text(clean(f"{name}{job_facts.who(job)}, {manifest['backend']}"), style="dim"))
    verdict = profile.get("verdict")
    if verdict:
        style = _STYLES.get(verdict["level"], "bold")
        console.print(Text(clean(str(verdict["sentence"])), style=style))
    for line in job_facts.warnings(job):
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
    for name, title, show_number in job_facts.SPREADS:
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
        console.print(
            Text("unlike the others: " + job_facts.named(sorted(clean(name, 16) for name in far)), style="dim")
        )


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
    found = job_facts.estimate(job)
    if found is None:
        return
    words, label = found
    console.print()
    console.print(Text(f"The whole job: {words}", style="bold"))
    console.print(Text(clean(label), style="dim"))
