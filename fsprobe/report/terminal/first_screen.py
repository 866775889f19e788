"""What a run ends with: some twelve lines for who waits at a prompt. All of it is `fsprobe report FILE`, or `run --full`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from fsprobe import numbers
from fsprobe.capture import shipped
from fsprobe.model.profile import Profile
from fsprobe.model.rows import NO_MODULES
from fsprobe.report import caveats, facts, request_facts, sentences
from fsprobe.report.terminal import time_bar
from fsprobe.report.terminal.console import MAX_WIDTH, NOTE, as_text, clean, console_on, print_command, print_words
from fsprobe.report.terminal.run import FAILED, SEVERITIES, draw_command, draw_verdict

N_IMPORTS = 3
SMALL_SHARE = 0.005
"""An import with less than this of the time, or of the calls, is not worth a line. A judgement."""


def show(profile: Profile, out: TextIO, recording: str) -> None:
    """Print the first screen of a run; with colour when `out` is a terminal."""
    draw(console_on(out, MAX_WIDTH), profile, recording)


def render(profile: Profile, recording: str) -> str:
    """The same as plain text, 80 columns wide."""
    return as_text(lambda console: draw(console, profile, recording))


def draw(console: Console, profile: Profile, recording: str) -> None:
    """How it ended, the verdict, the seconds, the imports, the first thing to do, and where the rest is."""
    failure = facts.how_it_failed(profile.manifest)
    if failure:
        print_words(console, f"fsprobe: the command {failure}", "bold", marks=FAILED)
    draw_command(console, profile)
    for line in caveats.alarms(profile):
        print_words(console, line, "bold")
    verdict = profile.verdict
    if verdict is None:
        print_words(console, sentences.headline(profile), "bold")
    else:
        draw_verdict(console, verdict)
    print_words(console, counts_line(profile))
    _draw_time(console, profile)
    _draw_imports(console, costliest(profile), sentences.how_sure(profile))
    _draw_finding(console, profile, recording)
    _draw_rest(console, profile, recording)


def counts_line(profile: Profile) -> str:
    """The counts that a reader may compare: calls, failed lookups, requests."""
    metrics = profile.metrics
    if sentences.is_unobserved(profile):
        return ""
    line = f"{numbers.plural(metrics.n_metadata, 'metadata call')}, {numbers.count(metrics.n_not_found)} not found"
    if profile.n_requests is not None:
        kind = request_facts.name_of(profile)
        asked = kind if profile.n_requests != 1 else kind[:-1]
        line += f"; cold cache: {numbers.count(profile.n_requests)} {asked} (predicted)"
    return line


def costliest(profile: Profile) -> Sequence[tuple[str, float | None, int | None]]:
    """The imports with the most of their own (without what they imported): module, seconds, metadata calls.

    By seconds where the time account has them, else by calls.
    """
    modules = {row.key: row.n_metadata for row in profile.metrics.by_module or () if row.key not in NO_MODULES}
    account = profile.time
    if account is not None and account.by_import is not None:
        timed = sorted((row for row in account.by_import if row.key not in NO_MODULES), key=lambda row: -row.wall_s)
        found = [
            (row.key, row.wall_s, modules.get(row.key))
            for row in timed
            if row.wall_s > _least(row.key) * account.wall_s
        ]
        return found[:N_IMPORTS]
    counted = sorted(modules.items(), key=lambda item: -item[1])
    n_all = profile.metrics.n_metadata
    return [(key, None, n) for key, n in counted if n > _least(key) * n_all][:N_IMPORTS]


def _least(module: str) -> float:
    """The share that is worth a line; every Python looks for the modules of its `site`, so of these more."""
    return sentences.OWN_SHARE if module in sentences.SITES_OWN else SMALL_SHARE


def _draw_time(console: Console, profile: Profile) -> None:
    if profile.time is None:
        return
    for line in time_bar.lines(
        profile.time,
        min(console.width, time_bar.WIDTH),
        not console.encoding.lower().startswith("utf"),
        has_notes=False,
    ):
        console.print(Text(line))


def _draw_imports(console: Console, rows: Sequence[tuple[str, float | None, int | None]], how: str) -> None:
    before, after = how.split("{}")
    cells = []
    for key, own_s, n_calls in rows:
        parts = [numbers.seconds(own_s)] if own_s is not None else []
        parts += [numbers.plural(n_calls, "call")] if n_calls is not None else []
        cells.append((key, before + ", ".join(parts)))
    own = " of its own"
    room = console.width - len("import ") - 2 - len(after) - max((len(cost) for _, cost in cells), default=0)
    width = max((len(clean(name)) for name, _ in cells), default=0)
    if width > room - len(own):
        own, width = "", max(12, min(width, room))
    for name, cost in cells:
        shown = Text(clean(name, width).ljust(width)) + Text(f"  {cost}{own}{after}")
        console.print(Text("import ") + shown, soft_wrap=True)


def _draw_finding(console: Console, profile: Profile, recording: str) -> None:
    findings = facts.findings(profile)
    if not findings:
        return
    first = next((finding for finding in findings if finding.commands), findings[0])
    _, style = SEVERITIES.get(first.severity, ("", ""))
    print_words(console, f"{first.code}  {first.title}", "bold", marks={first.code: style})
    for line in facts.commands(first, profile, recording)[:1]:
        print_command(console, line, "  $ ")


def _draw_rest(console: Console, profile: Profile, recording: str) -> None:
    notes = caveats.quality_lines(profile)
    if notes:
        more = f" ({len(notes) - 1} more in the report)" if len(notes) > 1 else ""
        print_words(console, f"note: {notes[0].partition('. ')[0].rstrip('.')}{more}", marks=NOTE)
    console.print(Text(f"recording: {clean(recording)}"), soft_wrap=True)
    n_findings = len(profile.findings)
    next_line = f"next:      {shipped.typed()} report {shlex.quote(clean(recording))}"
    more = "  # all of it" + (f": {numbers.plural(n_findings, 'finding')}" if n_findings > 1 else "")
    console.print(
        Text(next_line) + Text(more if len(next_line + more) <= console.width else ""),
        soft_wrap=True,
    )
