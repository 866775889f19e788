"""The report of a job on a terminal: totals, how its ranks and nodes differ, who is missing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsprobe import numbers
from fsprobe.capture import shipped
from fsprobe.model.job import Job
from fsprobe.model.profile import Profile
from fsprobe.report import caveats, job_facts, job_rows, request_facts, sentences
from fsprobe.report.foreign import visible_in
from fsprobe.report.terminal import time_bar
from fsprobe.report.terminal.console import (
    NOTE,
    as_text,
    clean,
    console_on,
    print_command,
    print_table,
    print_words,
    without,
)
from fsprobe.report.terminal.run import draw_command, draw_findings, draw_verdict

N_NODES = 8
N_MOUNTS = 4


def show(profile: Profile, out: TextIO, recording: str) -> None:
    """Print the report of a job."""
    draw(console_on(out), profile, recording)


def render(profile: Profile, recording: str) -> str:
    """The same as plain text, 80 columns wide."""
    return as_text(lambda console: draw(console, profile, recording))


def draw(console: Console, profile: Profile, recording: str) -> None:
    """The report, part by part."""
    profile = visible_in(profile)
    job = profile.of_job
    console.print()
    _head(console, profile, job)
    _totals(console, profile)
    _spreads(console, job)
    asked = request_facts.name_of(profile)
    _nodes(console, job, asked)
    _scaled(console, job, asked)
    draw_findings(console, profile, "")
    console.print()
    console.print(Text(job_facts.times_note(profile)))
    if recording:
        page = (clean(recording).rpartition("/")[2].removesuffix(".fsprobe") or "job") + ".html"
        line = f"{shipped.typed()} report {shlex.quote(clean(recording))} -o {shlex.quote(page)}"
        print_command(console, line, "As a page: ")


def _head(console: Console, profile: Profile, job: Job) -> None:
    manifest = profile.manifest
    draw_command(console, profile)
    name = f"job {manifest.job_id}, " if manifest.job_id else ""
    console.print(Text(clean(f"{name}{job_facts.who(job)}, {manifest.backend}")))
    for line in caveats.alarms(profile):
        print_words(console, line, "bold")
    if profile.verdict is not None:
        draw_verdict(console, profile.verdict)
    for line in [*job_facts.warnings(job), *caveats.quality_lines(profile)]:
        print_words(console, "note: " + line, marks=NOTE)
    if profile.time is not None:
        console.print()
        ascii_only = not console.encoding.lower().startswith("utf")
        for line in time_bar.lines(profile.time, min(console.width, time_bar.WIDTH), ascii_only):
            console.print(Text(clean(line)))


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column(title, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _totals(console: Console, profile: Profile) -> None:
    metrics, requests = profile.metrics, profile.requests
    rates = metrics.rates
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    grid.add_row(
        "calls",
        f"{numbers.count(metrics.n_metadata)} metadata calls in total: {numbers.count(metrics.n_open)} open, "
        f"{numbers.count(metrics.n_stat)} stat, {numbers.count(metrics.n_not_found)} not found",
    )
    grid.add_row(
        "rate",
        f"{numbers.rate(rates.peak_metadata_per_s)} in the busiest 1 s, {numbers.rate(rates.sustained_metadata_per_s)} in "
        f"10 s; opens {numbers.rate(rates.peak_open_per_s)} in total",
    )
    if requests is None:
        grid.add_row("requests", numbers.NOT_OBSERVED)
    else:
        grid.add_row("requests", f"{sentences.requests(profile, 'server request')} in total, cold cache (predicted)")
        for row in [row for row in requests.by_mount if row.reaches_server and row.protocol is None][:N_MOUNTS]:
            grid.add_row(
                "",
                f"{numbers.count(row.n_metadata)} to {clean(row.key, 30)}: {numbers.count(row.lookup)} lookups, "
                f"{numbers.count(row.open + row.opendir)} opens",
            )
        for line in request_facts.lines(request_facts.of_profile(profile)[:N_MOUNTS]):
            grid.add_row("", clean(line))
    console.print()
    console.print(grid)


def _spreads(console: Console, job: Job) -> None:
    table = _table("each rank", ("min", "median", "max", "max of", "outliers"))
    rows = job_rows.spread_rows(job)
    for row in rows:
        if not row.observed:
            table.add_row(row.title, numbers.NOT_OBSERVED, "", "", "", "")
            continue
        n_outliers = numbers.count(row.n_outliers) if row.n_outliers else "-"
        table.add_row(row.title, row.min, row.median, row.max, clean(row.max_of, 16), n_outliers)
    if all(row.max_of == job_rows.SAME for row in rows if row.observed):
        table = without(table, ("max of", "outliers"))
    console.print()
    print_table(console, table, ("outliers", "max of"))
    wall = job.spread.observed.get("wall_s")
    if len(job.slowest) > 1 and wall is not None and wall.min != wall.max:
        console.print(Text("slowest: " + ", ".join(clean(name, 16) for name in job.slowest)))
    far = {entry.of for spread in job.spread.observed.values() for entry in spread.outliers}
    if far:
        console.print(
            Text("unlike the others: " + job_rows.named([clean(row.key, 16) for row in job.ranks if row.key in far]))
        )


def _nodes(console: Console, job: Job, asked: str) -> None:
    table = _table("node", ("ranks", "calls", "open", "stat", "not found", "requests", "slowest"))
    shown, rest = job_rows.node_rows(job, N_NODES)
    for row in shown:
        table.add_row(
            clean(row.key, 20),
            numbers.count(row.n_recordings),
            numbers.count(row.n_metadata),
            numbers.count(row.n_open),
            numbers.count(row.n_stat),
            numbers.count(row.n_not_found),
            numbers.count(row.n_requests),
            numbers.seconds(row.wall_s),
        )
    console.print()
    print_table(console, table, ("stat", "open", "not found"))
    if rest is not None:
        console.print(Text(f"the busiest of {numbers.count(len(job.nodes))} nodes"))
    whose = asked if asked != "requests" else "to file servers and local disks,"
    console.print(Text(f"requests: {whose} of a node, cold cache (predicted)"))


def _scaled(console: Console, job: Job, asked: str) -> None:
    found = job_facts.estimate(job, asked)
    if found is None:
        return
    words, label = found
    console.print()
    console.print(Text(f"The whole job: {words}", style="bold"))
    console.print(Text(clean(label)))
