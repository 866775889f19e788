"""The report on a terminal, all of it: findings first, as wide as the screen is, plain text of 80 columns in a pipe."""

from __future__ import annotations

import shlex
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsprobe import numbers
from fsprobe.capture import shipped
from fsprobe.model.finding import Finding
from fsprobe.model.profile import Profile, Verdict
from fsprobe.model.rows import ModuleRow, MountRow, NotFoundRow, Row, first_rows
from fsprobe.model.time.account import TimeRow
from fsprobe.report import caveats, facts, request_facts, sentences
from fsprobe.report.terminal import time_bar
from fsprobe.report.terminal.console import (
    BAD,
    GOOD,
    INFO,
    MAX_WIDTH,
    MIND,
    NOTE,
    Column,
    as_text,
    clean,
    console_on,
    dotted,
    draw_table,
    print_command,
    print_words,
    widest,
)

TOP = 8
MIN_WITH_EXAMPLES = 80
"""Columns of a screen on which an example of a path has room beside its reason."""
N_SERVED = 3
_LEVELS = {"not the filesystem": GOOD, "noticeable": MIND, "heavy": BAD, "danger": BAD}
FAILED = {"failed": BAD, "was ended by": BAD}
SEVERITIES = {"critical": ("!!", BAD), "warn": ("! ", MIND), "info": ("i ", INFO)}


def show(profile: Profile, out: TextIO, recording: str) -> None:
    """Print the report of a profile; with colour when `out` is a terminal."""
    draw(console_on(out, MAX_WIDTH), profile, recording)


def render(profile: Profile, recording: str) -> str:
    """The same as plain text, 80 columns wide."""
    return as_text(lambda console: draw(console, profile, recording))


def draw(console: Console, profile: Profile, recording: str) -> None:
    """The report, part by part."""
    console.print()
    draw_head(console, profile)
    draw_findings(console, profile, recording)
    draw_totals(console, profile)
    draw_mounts(console, profile)
    draw_phases(console, profile)
    draw_imports(console, profile)
    draw_seconds(console, profile)
    draw_packages(console, profile)
    draw_not_found(console, profile)
    draw_foot(console, profile, recording)


def draw_command(console: Console, profile: Profile) -> None:
    """What was run, on one line: whole words from its beginning, as many as there is room for."""
    words = clean(facts.command_line(profile.manifest)) or "(the log does not hold the command)"
    room = console.width - len("fsprobe  ")
    if len(words) > room:
        begun = words[: room - 1].rpartition(" ")[0] or words[: room - 2]
        words = begun + " …"
    console.print(Text.assemble(("fsprobe  ", "bold"), words), soft_wrap=True)


def draw_head(console: Console, profile: Profile) -> None:
    draw_command(console, profile)
    print_words(console, sentences.backend_line(profile))
    console.print()
    failure = facts.how_it_failed(profile.manifest)
    if failure:
        print_words(console, f"The command {failure}.", "bold", marks=FAILED)
    for line in caveats.alarms(profile):
        print_words(console, line, "bold")
    if profile.verdict is not None:
        draw_verdict(console, profile.verdict)
    print_words(console, sentences.headline(profile), "" if profile.verdict is not None else "bold")
    for line in caveats.quality_lines(profile):
        print_words(console, "note: " + line, marks=NOTE)
    if profile.time is not None:
        console.print()
        ascii_only = not console.encoding.lower().startswith("utf")
        for line in time_bar.lines(profile.time, min(console.width, time_bar.WIDTH), ascii_only):
            console.print(Text(line))


def draw_verdict(console: Console, verdict: Verdict) -> None:
    """The sentence, with its level marked."""
    print_words(console, verdict.sentence, "bold", marks={verdict.level: _LEVELS.get(verdict.level, "")})


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold underline"))


def draw_totals(console: Console, profile: Profile) -> None:
    metrics, manifest, rates = profile.metrics, profile.manifest, profile.metrics.rates
    kinds = sentences.process_kinds(profile)
    rows = [
        (
            "calls",
            sentences.call_kinds(profile),
            "not found",
            f"{numbers.count(metrics.n_not_found)} ({numbers.part_of(metrics.n_not_found, metrics.n_metadata)})",
        ),
        (
            "paths",
            f"{sentences.paths_line(profile)} distinct",
            "processes",
            sentences.n_processes(profile) + (f" ({kinds})" if kinds else ""),
        ),
        (
            "rate",
            _all_or_nothing("{} in the busiest 1 s", numbers.rate(rates.peak_metadata_per_s)),
            "opens",
            _opens(rates.peak_open_per_s_process, rates.peak_open_per_s),
        ),
        (
            "wall",
            _all_or_nothing("{} traced", numbers.seconds(manifest.wall_s)),
            "in calls",
            _all_or_nothing(sentences.share_pattern(profile), numbers.share(metrics.share_of_wall)),
        ),
        (
            "CPU",
            _all_or_nothing("{} user, {} system", numbers.cpu(manifest.user_s), numbers.cpu(manifest.sys_s)),
            "faults",
            _all_or_nothing(
                "{} major, {} read", numbers.count(manifest.majflt), numbers.size_bytes(manifest.read_bytes)
            ),
        ),
    ]
    widths = [max(cell_len(row[i]) + 1 for row in rows) for i in range(4)]
    # two facts a line where there is room, else one
    is_wide = sum(widths) <= console.width + 1
    shown: list[tuple[str, ...]] = [*rows] if is_wide else [row[i : i + 2] for row in rows for i in (0, 2)]
    grid = Table.grid(padding=(0, 1))
    for _ in range(len(shown[0]) // 2):
        grid.add_column(style="bold", no_wrap=True, min_width=0 if is_wide else max(cell_len(row[0]) for row in shown))
        grid.add_column(no_wrap=is_wide)
    for row in shown:
        grid.add_row(*row)
    console.print()
    console.print(grid)


def _opens(per_process: float | None, total: float | None) -> str:
    if per_process is None or total is None or per_process == total:
        return numbers.rate(total)
    return f"{numbers.rate(per_process)} a process, {numbers.rate(total)} total"


def _all_or_nothing(pattern: str, *values: str) -> str:
    """Values in a sentence; "not observed" once where none was."""
    return numbers.NOT_OBSERVED if all(value == numbers.NOT_OBSERVED for value in values) else pattern.format(*values)


def _bar(part: int, total: int, width: int = 10) -> Text:
    eighths = min(round(part / total * width * 8), width * 8) if total else 0
    blocks = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
    return Text(blocks.ljust(width))


def draw_mounts(console: Console, profile: Profile) -> None:
    metrics = profile.metrics
    _heading(console, "Mounts")
    shown, rest = first_rows([row for row in metrics.by_mount if row.fs_class != "pseudo"], 5)
    columns: list[Column[MountRow]] = [
        ("mount", "fill", lambda row: clean(row.key)),
        (
            "type",
            "left",
            lambda row: Text(
                f"{row.fstype or '?'} ({row.fs_class or '?'})" if row.fstype or row.fs_class else "not known",
                style="bold" if row.fs_class == "network" else "",
            ),
        ),
        ("calls", "right", lambda row: numbers.count(row.n_metadata)),
        ("not found", "right", lambda row: numbers.count(row.n_not_found)),
        ("median", "right", lambda row: numbers.milliseconds(row.p50_ms)),
        ("p95", "right", lambda row: numbers.milliseconds(row.p95_ms)),
        ("max", "right", lambda row: numbers.milliseconds(row.max_ms)),
    ]
    draw_table(console, shown, columns)
    more = []
    if rest is not None:
        more.append(f"{numbers.plural(rest.n_rows, 'more mount')} with {numbers.plural(rest.n_metadata, 'call')}")
    if metrics.pseudo.n_metadata:
        more.append(f"{numbers.count(metrics.pseudo.n_metadata)} on /proc, /sys and the like")
    if metrics.tracing_overhead_us:
        but = ", but not the seconds by package" if profile.time is not None and profile.time.by_package else ""
        us = f"{metrics.tracing_overhead_us:.0f} us per call"
        more.append(f"times here and below include the tracing overhead, some {us}{but}")
    if more:
        print_words(console, "; ".join(more))
    draw_requests(console, profile)


def draw_requests(console: Console, profile: Profile) -> None:
    requests = profile.requests
    if requests is None:
        draw_served(console, profile)
        return
    by_mount = [row for row in requests.by_mount if row.reaches_server and row.n_metadata]
    shown = [
        f"{numbers.count(row.n_metadata)} to {clean(row.key, 30)}{' (local disk)' if row.fs_class == 'local' else ''}"
        for row in by_mount[:4]
    ]
    total = numbers.count(requests.at_servers.n_metadata)
    if len(by_mount) == 1:
        total = shown[0]
    elif shown:
        total += f" ({', '.join(shown)}{', ...' if by_mount[4:] else ''})"
    print_words(console, f"{request_facts.name_of(profile)}, cold cache (predicted): {total}")
    draw_served(console, profile)


def draw_served(console: Console, profile: Profile) -> None:
    """By the names of each mount's own client, predicted beside counted, and what is not predictable."""
    for line in request_facts.lines(request_facts.of_profile(profile)[:N_SERVED]):
        print_words(console, line, indent=2)


def _grouping(justify: str, title: str, total: int) -> list[Column[Row]]:
    return [
        (title, justify, lambda row: clean(row.key)),
        ("calls", "right", lambda row: numbers.count(row.n_metadata)),
        ("", "left", lambda row: _bar(row.n_metadata, total)),
        ("open", "right", lambda row: numbers.count(row.n_open)),
        ("stat", "right", lambda row: numbers.count(row.n_stat)),
        ("not found", "right", lambda row: numbers.count(row.n_not_found)),
        ("time", "right", lambda row: numbers.seconds(row.time_s)),
    ]


def draw_phases(console: Console, profile: Profile) -> None:
    metrics = profile.metrics
    _heading(console, "Phases")
    draw_table(console, metrics.by_phase, _grouping("left", "phase", metrics.n_metadata))


def draw_imports(console: Console, profile: Profile) -> None:
    rows = profile.metrics.by_module
    if rows is None:
        _heading(console, "Imports")
        seen = sentences.has_python(profile) or sentences.is_unobserved(profile)
        text = numbers.NOT_OBSERVED if seen else "no start of a Python was recognized in this run"
        console.print(Text(text))
        return
    shown = sentences.costly_imports(rows, TOP)
    if not shown:
        return
    _heading(console, sentences.imports_title(profile))
    columns: list[Column[ModuleRow]] = [
        (profile.metrics.imports_by, "fill", lambda row: clean(row.key)),
        ("cumulative", "right", lambda row: numbers.count(row.n_metadata_cum)),
        ("self", "right", lambda row: numbers.count(row.n_metadata)),
        ("not found", "right", lambda row: numbers.count(row.n_not_found_cum)),
        ("time", "right", lambda row: numbers.seconds(row.time_cum_s)),
    ]
    taken = sum(widest(title.replace(" ", "\n"), [str(cell(row)) for row in shown]) + 2 for title, _, cell in columns)
    room = max(18, console.width - taken)
    columns.append(("imported by", "left", lambda row: dotted(sentences.importer(row, profile) or "?", room)))
    draw_table(console, shown, columns)
    left = sentences.imports_left(profile)
    if left:
        console.print(Text(left))


def draw_seconds(console: Console, profile: Profile) -> None:
    rows = profile.time.by_package if profile.time is not None else None
    if not rows:
        return
    _heading(console, "Seconds by package imported (their own)")
    columns: list[Column[TimeRow]] = [
        ("package", "fill", lambda row: clean(row.key)),
        ("wall", "right", lambda row: numbers.seconds(row.wall_s)),
        ("CPU", "right", lambda row: numbers.seconds(row.cpu_s)),
        ("in metadata calls", "right", lambda row: numbers.seconds(row.metadata_s)),
        ("in reads", "right", lambda row: numbers.seconds(row.reads_s)),
        ("other", "right", lambda row: numbers.seconds(row.other_s)),
    ]
    draw_table(console, rows[:TOP], columns)


def draw_packages(console: Console, profile: Profile) -> None:
    metrics = profile.metrics
    _heading(console, "Packages")
    shown, rest = first_rows(metrics.by_package, TOP)
    draw_table(console, shown, _grouping("fill", "package", metrics.n_metadata))
    if rest is not None:
        words = f"{numbers.plural(rest.n_rows, 'more package')} with {numbers.plural(rest.n_metadata, 'call')}"
        console.print(Text(words))


def draw_not_found(console: Console, profile: Profile) -> None:
    rows = profile.metrics.not_found
    if not rows:
        return
    _heading(console, "Failed lookups (not found)")
    columns: list[Column[NotFoundRow]] = [
        ("reason", "left", lambda row: clean(row.reason)),
        ("calls", "right", lambda row: numbers.count(row.n)),
        ("for instance", "fill", lambda row: clean(row.examples[0]) if row.examples else ""),
    ]
    if console.width < MIN_WITH_EXAMPLES:
        columns.pop()  # of a path that is cut to some letters nobody learns anything
    draw_table(console, rows, columns)


def draw_findings(console: Console, profile: Profile, recording: str) -> None:
    findings = facts.findings(profile)
    if not findings:
        return
    _heading(console, "What to do")
    for number, finding in enumerate(findings[:6]):
        if number:
            console.print()
        sign, style = SEVERITIES.get(finding.severity, ("  ", ""))
        print_words(console, f"{sign} {finding.code}  {finding.title}", "bold", marks={finding.code: style})
        saved = _saved(finding)
        if saved:
            print_words(console, f"saves {saved}", indent=3)
        print_words(console, finding.evidence, indent=3)
        for line in facts.commands(finding, profile, recording)[:3]:
            print_command(console, line, "   $ ")
    if len(findings) > 6:
        console.print()
        print_words(
            console,
            f"{len(findings) - 6} more on the page: `{shipped.typed()} report {shlex.quote(clean(recording or 'FILE'))} -o page.html`",
        )


def _saved(finding: Finding) -> str:
    saves = finding.saves
    return ", ".join(numbers.plural(saves[f"{one}s"], one) for one in ("call", "request") if saves.get(f"{one}s"))


def draw_foot(console: Console, profile: Profile, recording: str) -> None:
    console.print()
    console.print(Text(f"recording: {clean(recording)}"), soft_wrap=True)
    print_words(
        console,
        f"fsprobe's own calls (excluded): {numbers.count(profile.quality.n_own_calls)}. Not seen: page faults (files "
        "mapped into memory), and what a cache answered that would be cold elsewhere.",
    )
