"""The report on a terminal: one screen of 80 columns, plain text in a pipe."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fsprobe.model.formats import JsonObject
from fsprobe.report import numbers, sentences
from fsprobe.report.terminal.console import WIDTH, as_text

TOP = 8
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
    return as_text(lambda console: draw(console, profile, recording))


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
        console.print(Text(clean(str(verdict["sentence"])), style=_LEVEL_STYLE.get(level, "bold")))
    for line in sentences.quality_lines(profile):
        console.print(Text("note: " + clean(line), style="yellow"))


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold underline"))


def draw_totals(console: Console, profile: JsonObject) -> None:
    metrics, manifest = profile["metrics"], profile["manifest"]
    rates, share = metrics["rates"], metrics["share_fs_time_at_most"]
    rows = [
        (
            "calls",
            ", ".join(f"{numbers.count(metrics['n_' + op])} {op}" for op in ("open", "stat", "list")),
            "in vain",
            f"{numbers.count(metrics['n_missing'])} ({numbers.part_of(metrics['n_missing'], metrics['n_metadata'])})",
        ),
        (
            "paths",
            ("at least " if metrics.get("n_paths_at_least") else "") + numbers.count(metrics["n_paths"]) + " distinct",
            "processes",
            sentences.process_line(profile) or numbers.NOT_OBSERVED,
        ),
        (
            "rate",
            _all_or_nothing("{} in the busiest 1 s", numbers.rate(rates["peak_metadata_per_s"])),
            "opens",
            _opens(rates["peak_open_per_s_process"], rates["peak_open_per_s"]),
        ),
        (
            "wall",
            _all_or_nothing("{} traced", numbers.seconds(manifest.get("wall_s"))),
            "fs calls",
            _all_or_nothing("at most {} of it", numbers.share(share)),
        ),
        (
            "CPU",
            _all_or_nothing(
                "{} user, {} system", numbers.seconds(manifest.get("user_s")), numbers.seconds(manifest.get("sys_s"))
            ),
            "faults",
            _all_or_nothing(
                "{} major, {} read",
                numbers.count(manifest.get("majflt")),
                numbers.size_bytes(manifest.get("read_bytes")),
            ),
        ),
    ]
    grid = Table.grid(padding=(0, 1))
    for _ in range(2):
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    console.print()
    console.print(grid)


def _opens(per_process: float | None, in_all: float | None) -> str:
    if per_process is None or in_all is None or per_process == in_all:
        return numbers.rate(in_all)
    return f"{numbers.rate(per_process)} a process, {numbers.rate(in_all)} in all"


def _all_or_nothing(pattern: str, *values: str) -> str:
    """Values in a sentence; "not observed" once where none was."""
    return numbers.NOT_OBSERVED if all(value == numbers.NOT_OBSERVED for value in values) else pattern.format(*values)


Column = tuple[str, str, Callable[[JsonObject], str | Text]]
"""Title, how it is set (left, right, fill: takes the room that is left), and the cell of a row."""


def draw_table(console: Console, rows: Sequence[JsonObject], columns: Sequence[Column]) -> None:
    """A table without lines; a column in which nothing was observed is left out, and named below."""
    cells = {title: [cell(row) for row in rows] for title, _, cell in columns}
    absent = [title for title in cells if cells[title] and all(cell == numbers.NOT_OBSERVED for cell in cells[title])]
    table = Table(box=None, padding=(0, 1), pad_edge=False, show_edge=False, header_style="dim")
    shown = [column for column in columns if column[0] not in absent]
    for title, justify, _ in shown:
        table.add_column(
            title.strip(),
            justify="right" if justify == "right" else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if justify == "fill" else None,
        )
    table.expand = any(justify == "fill" for _, justify, _ in shown)
    for i in range(len(rows)):
        table.add_row(*(cells[title][i] for title, _, _ in shown))
    console.print(table)
    if absent:
        console.print(Text(f"not observed: {', '.join(absent)}", style="dim"))


def _bar(part: int, total: int, width: int = 10) -> Text:
    eighths = round(part / total * width * 8) if total else 0
    blocks = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
    return Text(blocks.ljust(width), style="cyan")


def _count(name: str) -> Callable[[JsonObject], str]:
    return lambda row: numbers.count(row[name])


def draw_mounts(console: Console, profile: JsonObject) -> None:
    metrics = profile["metrics"]
    _heading(console, "Where they went")
    shown = [row for row in metrics["by_mount"] if row["fs_class"] != "pseudo"]
    rest, shown = shown[5:], shown[:5]
    columns: list[Column] = [
        ("mount", "fill", lambda row: clean(row["key"], 30)),
        (
            "type",
            "left",
            lambda row: Text(
                f"{row['fstype'] or '?'} ({row['fs_class'] or '?'})", style=_CLASS_STYLE.get(row["fs_class"] or "", "")
            ),
        ),
        ("calls", "right", _count("n_metadata")),
        ("missing", "right", _count("n_missing")),
        ("median", "right", lambda row: numbers.milliseconds(row["p50_ms"])),
        ("p95", "right", lambda row: numbers.milliseconds(row["p95_ms"])),
        ("max", "right", lambda row: numbers.milliseconds(row["max_ms"])),
    ]
    draw_table(console, shown, columns)
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
        if counts and row["fs_class"] not in ("pseudo", "memory", "image"):
            n = sum(counts[name] or 0 for name in ("lookup", "open", "opendir", "readdir", "readlink"))
            rows.append(f"{clean(row['key'], 30)} {numbers.count(n)}")
    if rows:
        console.print(Text("requests that a cold client would send: " + ", ".join(rows[:4])))


def _grouping(name: str, title: str, total: int, width: int) -> list[Column]:
    return [
        (title, name, lambda row: clean(row["key"], width)),
        ("calls", "right", _count("n_metadata")),
        ("", "left", lambda row: _bar(row["n_metadata"], total)),
        ("open", "right", _count("n_open")),
        ("stat", "right", _count("n_stat")),
        ("missing", "right", _count("n_missing")),
        ("time", "right", lambda row: numbers.seconds(row["time_s"])),
    ]


def draw_phases(console: Console, profile: JsonObject) -> None:
    metrics = profile["metrics"]
    _heading(console, "When")
    draw_table(console, metrics["by_phase"], _grouping("left", "phase", metrics["n_metadata"], 10))


def draw_imports(console: Console, profile: JsonObject) -> None:
    rows = profile["metrics"]["by_module"]
    if rows is None:
        _heading(console, "Imports")
        seen = sentences.has_python(profile) or sentences.is_unobserved(profile)
        text = numbers.NOT_OBSERVED if seen else "there was no Python in this run"
        console.print(Text(text, style="dim"))
        return
    shown = sentences.costly_imports(rows)[:TOP]
    if not shown:
        return
    total = profile["metrics"]["n_metadata"]
    nobody = "?" if profile["quality"].get("n_estimated") else "the program"
    _heading(console, "Imports that cost most (with what they import)")
    columns: list[Column] = [
        ("module", "fill", lambda row: clean(row["key"], console.width - 54)),
        ("calls", "right", _count("n_metadata_cum")),
        ("", "left", lambda row: _bar(row["n_metadata_cum"], total, 6)),
        ("missing", "right", _count("n_missing_cum")),
        ("time", "right", lambda row: numbers.seconds(row["time_cum_s"])),
        ("asked for by", "left", lambda row: clean(row["parent"] or nobody, 18)),
    ]
    draw_table(console, shown, columns)


def draw_packages(console: Console, profile: JsonObject) -> None:
    metrics = profile["metrics"]
    _heading(console, "Packages whose files they were")
    shown, rest = metrics["by_package"][:TOP], metrics["by_package"][TOP:]
    draw_table(console, shown, _grouping("fill", "package", metrics["n_metadata"], 34))
    if rest:
        n_calls = sum(row["n_metadata"] for row in rest)
        console.print(
            Text(f"{numbers.plural(len(rest), 'more package')} with {numbers.count(n_calls)} calls", style="dim")
        )


def draw_missing(console: Console, profile: JsonObject) -> None:
    rows = profile["metrics"]["missing"]
    if not rows:
        return
    _heading(console, "Looked up in vain")
    columns: list[Column] = [
        ("why", "left", lambda row: clean(row["reason"])),
        ("calls", "right", _count("n")),
        ("for instance", "fill", lambda row: clean(row["examples"][0], 40) if row["examples"] else ""),
    ]
    draw_table(console, rows, columns)


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
            # never broken: it is there to be copied
            console.print(Text("   $ " + clean(line), style="cyan"), soft_wrap=True)
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
