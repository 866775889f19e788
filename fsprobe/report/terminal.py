"""The report on a terminal: one screen of 80 columns, plain text in a pipe."""

from __future__ import annotations

import io
import shlex
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fsprobe.model import JsonObject
from fsprobe.report import numbers, sentences

WIDTH = 80
TOP = 8
PASSED_ON = 0.8
"""An import that accounts for more than this share of the one that asked for it says nothing new. A judgement."""
_CLASS_STYLE = {"network": "bold yellow", "image": "green", "memory": "green", "local": "", "pseudo": "dim"}
_LEVEL_STYLE = {
    "not the filesystem": "bold green",
    "noticeable": "bold yellow",
    "heavy": "bold red",
    "danger": "bold red",
}
_SEVERITY = {"critical": ("!!", "bold red"), "warn": ("! ", "yellow"), "info": ("i ", "cyan")}


def show(profile: JsonObject, out: TextIO, recording: str) -> None:
    """Print the report of a profile; with colour when `out` is a terminal."""
    width = None if out.isatty() else WIDTH
    console = Console(file=out, width=width, highlight=False, soft_wrap=False)
    if console.width > 110:
        console = Console(file=out, width=110, highlight=False, soft_wrap=False)
    draw(console, profile, recording)


def render(profile: JsonObject, recording: str) -> str:
    """The same as plain text, 80 columns wide."""
    out = io.StringIO()
    draw(Console(file=out, width=WIDTH, highlight=False, color_system=None), profile, recording)
    return out.getvalue()


def draw(console: Console, profile: JsonObject, recording: str) -> None:
    """The report, part by part."""
    console.print()
    draw_head(console, profile)
    draw_totals(console, profile)
    draw_mounts(console, profile)
    draw_phases(console, profile)
    draw_imports(console, profile)
    draw_packages(console, profile)
    draw_missing(console, profile)
    draw_findings(console, profile)
    draw_foot(console, profile, recording)


def clean(value: str, width: int = 0) -> str:
    """Foreign text for a terminal: control characters shown, not obeyed; the middle left out of what is too long."""
    safe = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in value)
    if width and len(safe) > width:
        keep = width - 1
        safe = safe[: keep // 3] + "…" + safe[-(keep - keep // 3) :]
    return safe


def draw_head(console: Console, profile: JsonObject) -> None:
    command = shlex.join(str(word) for word in profile["manifest"].get("command") or [])
    console.print(Text("fsprobe  ", style="bold") + Text(clean(command, console.width - 12), style="cyan"))
    console.print(Text(sentences.backend_line(profile), style="dim"))
    console.print()
    console.print(Text(clean(sentences.headline(profile)), style="bold"))
    verdict = profile.get("verdict")
    if verdict:
        level = str(verdict["level"])
        console.print(
            Text(level[:1].upper() + level[1:] + ". ", style=_LEVEL_STYLE.get(level, "bold"))
            + Text(clean(str(verdict["sentence"])))
        )
    for line in sentences.quality_lines(profile):
        console.print(Text("note: " + clean(line), style="yellow"))


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold underline"))


def draw_totals(console: Console, profile: JsonObject) -> None:
    metrics, manifest = profile["metrics"], profile["manifest"]
    grid = Table.grid(padding=(0, 1))
    for _ in range(2):
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(no_wrap=True)
    rates = metrics["rates"]
    wall, user, system = manifest.get("wall_s"), manifest.get("user_s"), manifest.get("sys_s")
    rows = [
        (
            "calls",
            ", ".join(f"{numbers.count(metrics['n_' + op])} {op}" for op in ("open", "stat", "list")),
            "in vain",
            f"{numbers.count(metrics['n_missing'])} ({numbers.part_of(metrics['n_missing'], metrics['n_metadata'])})",
        ),
        (
            "paths",
            numbers.count(metrics["n_paths"]) + " distinct",
            "processes",
            sentences.process_line(profile) or numbers.NOT_OBSERVED,
        ),
        (
            "rate",
            f"{numbers.rate(rates['peak_metadata_per_s'])} in the busiest 1 s",
            "opens",
            f"{numbers.rate(rates['peak_open_per_s_process'])} a process, {numbers.rate(rates['peak_open_per_s'])} in all",
        ),
        (
            "wall",
            f"{numbers.seconds(wall)} traced",
            "fs calls",
            f"at most {numbers.share(metrics['share_fs_time_at_most'])} of it"
            if metrics["share_fs_time_at_most"] is not None
            else numbers.NOT_OBSERVED,
        ),
        (
            "CPU",
            f"{numbers.seconds(user)} user, {numbers.seconds(system)} system",
            "faults",
            f"{numbers.count(manifest.get('majflt'))} major, {numbers.size_bytes(manifest.get('read_bytes'))} read",
        ),
    ]
    console.print()
    for row in rows:
        grid.add_row(*row)
    console.print(grid)


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, show_edge=False, header_style="dim")
    for name, justify in columns:
        table.add_column(
            name,
            justify="right" if justify == "right" else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if justify == "fill" else None,
        )
    table.expand = any(justify == "fill" for _, justify in columns)
    return table


def _bar(part: int, total: int, width: int = 10) -> Text:
    eighths = round(part / total * width * 8) if total else 0
    blocks = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
    return Text(blocks.ljust(width), style="cyan")


def _busiest(rows: Sequence[JsonObject], n: int) -> tuple[list[JsonObject], list[JsonObject]]:
    return list(rows[:n]), list(rows[n:])


def draw_mounts(console: Console, profile: JsonObject) -> None:
    metrics = profile["metrics"]
    _heading(console, "Where they went")
    table = _table(
        ("mount", "fill"),
        ("type", "left"),
        ("calls", "right"),
        ("missing", "right"),
        ("median", "right"),
        ("p95", "right"),
        ("max", "right"),
    )
    shown, rest = _busiest([row for row in metrics["by_mount"] if row["fs_class"] != "pseudo"], 5)
    for row in shown:
        style = _CLASS_STYLE.get(row["fs_class"] or "", "")
        table.add_row(
            clean(row["key"], 30),
            Text(f"{row['fstype'] or '?'} ({row['fs_class'] or '?'})", style=style),
            numbers.count(row["n_metadata"]),
            numbers.count(row["n_missing"]),
            numbers.milliseconds(row["p50_ms"]),
            numbers.milliseconds(row["p95_ms"]),
            numbers.milliseconds(row["max_ms"]),
        )
    console.print(table)
    pseudo = sum(row["n_metadata"] for row in metrics["by_mount"] if row["fs_class"] == "pseudo")
    more = []
    if rest:
        more.append(f"{len(rest)} more mounts with {numbers.count(sum(row['n_metadata'] for row in rest))} calls")
    if pseudo:
        more.append(f"{numbers.count(pseudo)} on /proc, /sys and the like")
    floor = metrics.get("tracer_floor_us")
    if floor is not None:
        more.append(f"each time holds the tracer's stop, some {floor:.0f} us")
    if more:
        console.print(Text("; ".join(more), style="dim"))
    draw_requests(console, profile)


def draw_requests(console: Console, profile: JsonObject) -> None:
    requests = profile.get("requests")
    if not requests:
        return
    rows = []
    for row in profile["metrics"]["by_mount"]:
        counts = requests["by_mount"].get(row["key"])
        if counts and row["fs_class"] in ("network", "image", "local"):
            n = sum(counts[name] or 0 for name in ("lookup", "open", "opendir", "readdir", "readlink"))
            rows.append(f"{clean(row['key'], 30)} {numbers.count(n)}")
    if rows:
        console.print(Text("requests that a cold client would send: " + ", ".join(rows[:4]), style=""))


def draw_phases(console: Console, profile: JsonObject) -> None:
    metrics = profile["metrics"]
    _heading(console, "When")
    table = _table(
        ("phase", "left"),
        ("calls", "right"),
        ("", "left"),
        ("open", "right"),
        ("stat", "right"),
        ("missing", "right"),
        ("time", "right"),
    )
    for row in metrics["by_phase"]:
        table.add_row(
            row["key"],
            numbers.count(row["n_metadata"]),
            _bar(row["n_metadata"], metrics["n_metadata"]),
            numbers.count(row["n_open"]),
            numbers.count(row["n_stat"]),
            numbers.count(row["n_missing"]),
            numbers.seconds(row["time_s"]),
        )
    console.print(table)


def draw_imports(console: Console, profile: JsonObject) -> None:
    rows = profile["metrics"]["by_module"]
    if rows is None:
        _heading(console, "Imports")
        console.print(Text(numbers.NOT_OBSERVED, style="dim"))
        return
    shown = costly_imports(rows)[:TOP]
    if not shown:
        return
    _heading(console, "Imports that cost most (with what they import)")
    table = _table(
        ("module", "fill"),
        ("calls", "right"),
        ("", "left"),
        ("missing", "right"),
        ("time", "right"),
        ("asked for by", "left"),
    )
    total = profile["metrics"]["n_metadata"]
    for row in shown:
        table.add_row(
            clean(row["key"], console.width - 54),
            numbers.count(row["n_metadata_cum"]),
            _bar(row["n_metadata_cum"], total, 6),
            numbers.count(row["n_missing_cum"]),
            numbers.seconds(row["time_cum_s"]),
            clean(row["parent"] or "the program", 18),
        )
    console.print(table)


def costly_imports(rows: Sequence[JsonObject]) -> list[JsonObject]:
    """The imports worth a line, most calls first: one that only hands on to a single other import is left out for that one."""
    by_key = {row["key"]: row for row in rows}
    kept = []
    for row in rows:
        parent = by_key.get(row["parent"])
        passed_on = parent is not None and row["n_metadata_cum"] > PASSED_ON * parent["n_metadata_cum"]
        if row["key"] != sentences.NO_IMPORT and row["n_metadata_cum"] and not passed_on:
            kept.append(row)
    return kept


def draw_packages(console: Console, profile: JsonObject) -> None:
    metrics = profile["metrics"]
    _heading(console, "Packages whose files they were")
    table = _table(
        ("package", "fill"),
        ("calls", "right"),
        ("", "left"),
        ("open", "right"),
        ("stat", "right"),
        ("missing", "right"),
        ("time", "right"),
    )
    shown, rest = _busiest(metrics["by_package"], TOP)
    for row in shown:
        table.add_row(
            clean(row["key"], 34),
            numbers.count(row["n_metadata"]),
            _bar(row["n_metadata"], metrics["n_metadata"]),
            numbers.count(row["n_open"]),
            numbers.count(row["n_stat"]),
            numbers.count(row["n_missing"]),
            numbers.seconds(row["time_s"]),
        )
    console.print(table)
    if rest:
        console.print(
            Text(
                f"{numbers.plural(len(rest), 'more package')} with {numbers.count(sum(row['n_metadata'] for row in rest))} calls",
                style="dim",
            )
        )


def draw_missing(console: Console, profile: JsonObject) -> None:
    rows = profile["metrics"]["missing"]
    if not rows:
        return
    _heading(console, "Looked up in vain")
    table = _table(("why", "left"), ("calls", "right"), ("for instance", "fill"))
    for row in rows:
        table.add_row(
            clean(row["reason"]), numbers.count(row["n"]), clean(row["examples"][0], 40) if row["examples"] else ""
        )
    console.print(table)


def draw_findings(console: Console, profile: JsonObject) -> None:
    findings = profile.get("findings") or []
    if not findings:
        return
    _heading(console, "What to do")
    for finding in findings[:6]:
        sign, style = _SEVERITY.get(finding["severity"], ("  ", ""))
        saves = finding.get("saves") or {}
        saved = ", ".join(f"{numbers.count(saves[name])} {name}" for name in ("calls", "requests") if saves.get(name))
        console.print(
            Text(sign, style=style)
            + Text(f" {finding['code']}  {clean(finding['title'])}", style="bold")
            + Text(f"  saves {saved}" if saved else "", style="green")
        )
        console.print(Padding(Text(clean(finding["evidence"])), (0, 0, 0, 3)))
        for line in finding["commands"][:3]:
            console.print(Padding(Text("$ " + clean(line), style="cyan"), (0, 0, 0, 3)))
    if len(findings) > 6:
        console.print(Text(f"{len(findings) - 6} more in `fsprobe report FILE --format html`", style="dim"))


def draw_foot(console: Console, profile: JsonObject, recording: str) -> None:
    own = sum(profile["quality"]["own"].values())
    console.print()
    console.print(Text(f"recording: {clean(recording)}", style="dim"))
    console.print(
        Text(
            f"{numbers.count(own)} calls of fsprobe's own taken out. Not seen: page faults (files mapped into "
            "memory), and what a cache answered that would be cold elsewhere.",
            style="dim",
        )
    )
