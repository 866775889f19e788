"""The report as Markdown for a ticket: short, safe to paste into GitHub and GitLab whatever the paths are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fsprobe import __version__, numbers
from fsprobe.model.comparison import Comparison
from fsprobe.model.job import Job
from fsprobe.model.manifest import Manifest
from fsprobe.model.profile import Profile
from fsprobe.model.rows import CallCounts, first_rows
from fsprobe.model.time.account import TimeAccount, TimeRow, TimeSplit
from fsprobe.report import caveats, comparison_facts, facts, job_facts, job_rows, request_facts, sentences
from fsprobe.report.foreign import parts, visible_in

TOP = 8
MAX_CELL = 100
"""Characters of a path in a table; a ticket is read in a narrow column."""
_REFERENCE = re.compile(r"([@#!~$&%])(?=\w)")
_LINE_START = re.compile(r"^(\d*)([-+=.)])(?=\s|$|[-=])")
_TEXT_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~$&!])")


def render(value: Profile | Comparison, recording: str | None = None) -> str:
    """The profile (or comparison) as Markdown.

    Args:
        value: the profile or comparison.
        recording: the file it came from, to be named.
    """
    shown, named = visible_in(value), visible_in(recording)
    lines = _comparison(shown, named) if isinstance(shown, Comparison) else _profile(shown, named)
    return "\n".join(lines) + "\n"


def _profile(profile: Profile, recording: str | None) -> list[str]:
    is_job = profile.job is not None
    lines = [f"## Filesystem load of {code(facts.command_line(profile.manifest))}", ""]
    for line in caveats.alarms(profile):
        lines += [f"**{sentence(line, profile.manifest)}**", ""]
    if profile.verdict is not None:
        lines += [f"**{text(profile.verdict.sentence)}**", ""]
    if is_job and job_facts.reasons(profile):
        lines += [*(f"- {text(reason)}" for reason in job_facts.reasons(profile)), ""]
    lines += [text(job_facts.headline(profile) if is_job else sentences.headline(profile)), ""]
    notes = job_facts.notes(profile.job) if profile.job is not None else []
    lines += [f"> Note: {sentence(note, profile.manifest)}." for note in [*notes, *caveats.quality_lines(profile)]]
    if lines[-1]:
        lines.append("")
    head = (job_facts.head if is_job else facts.head)(profile, recording)
    lines += table(("Job" if is_job else "Run", ""), ((label, text(value)) for label, value in head))
    figures = job_facts.figures(profile) if is_job else facts.key_figures(profile)
    lines += table(
        ("Key figure", "", ""),
        ((row.label, f"**{text(row.value)}**", text(row.note)) for row in figures),
    )
    lines += _time(profile.time) if profile.time is not None else []
    lines += _findings(profile, recording)
    lines += _job(profile, profile.job) if profile.job is not None else []
    lines += _imports(profile)
    lines += _seconds(profile.time.by_package or ()) if profile.time is not None else []
    lines += ["### Packages", "", *_packages(profile)]
    lines += _mounts(profile)
    lines += _not_found(profile)
    lines += ["### Method and limits", ""]
    lines += [f"- **{text(label)}:** {text(value)}" for label, value in facts.method(profile)]
    return [*lines, "", f"Made by fsprobe {__version__}."]


def text(value: str) -> str:
    """Foreign text as plain words: no markup, no HTML, no mention, no reference, no link, one line.

    `@name`, `#1`, `!1` and bare addresses become links after Markdown was read, so a backslash does not stop them: a
    zero-width space parts them.
    """
    one_line = " ".join(value.split())
    parted = _REFERENCE.sub("\\1\u200b", one_line).replace("://", ":\u200b//").replace("www.", "www\u200b.")
    escaped = _TEXT_SPECIAL.sub(r"\\\1", parted)
    return _LINE_START.sub(r"\1\\\2", escaped)


def sentence(value: str, manifest: Manifest) -> str:
    """A sentence of ours about a run, with foreign text in it: as `text`, but its commands and settings are code spans."""
    made = []
    for part, is_code in parts(" ".join(value.split())):
        ends = part[: part.startswith(" ")], part[len(part) - part.endswith(" ") :]
        made.append(code(facts.as_started(part, manifest)) if is_code else text(part).join(ends))
    return "".join(made)


def code(value: str, width: int = 0) -> str:
    """Foreign text as a code span that nothing in it can end, also inside a table.

    Args:
        value: the text.
        width: leave out the middle of what is longer; 0 for all of it.
    """
    value = " ".join(value.split()) or " "
    if width and len(value) > width:
        value = value[: width // 3] + "…" + value[-(width - width // 3 - 1) :]
    if "|" in value:
        # a table is split at bars before code is looked at, and GitLab shows the backslash of `\|` outside of tables
        return "<code>" + _html(value) + "</code>"
    fence = "`" * (max((len(run) for run in re.findall("`+", value)), default=0) + 1)
    pad = " " if value.startswith("`") or value.endswith("`") else ""
    return f"{fence}{pad}{value}{pad}{fence}"


def _html(value: str) -> str:
    """Text for a <code> element: every sign that Markdown or HTML could read becomes a character reference."""
    return "".join(f"&#{ord(sign)};" if sign in "\\`*_{}[]<>()#+!|~$&@:\"'-" else sign for sign in value)


def block(value: str) -> list[str]:
    """A command as a fenced block that nothing in it can end."""
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", value)), default=0) + 1)
    return [f"{fence}sh", *value.split("\n"), fence]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], n_left: int = 99) -> list[str]:
    """A table; cells are Markdown already. Columns from `n_left` on are numbers, set to the right."""
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "|".join(" --- " if i < n_left else " ---: " for i in range(len(head))) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return [*lines, ""]


def _calls(row: CallCounts) -> list[str]:
    """The cells of calls, open, stat, not found."""
    return [numbers.count(n) for n in (row.n_metadata, row.n_open, row.n_stat, row.n_not_found)]


def _time(account: TimeAccount) -> list[str]:
    """The parts of the wall time, of a job those of its slowest rank too."""

    def cells(split: TimeSplit) -> list[str]:
        return [sentences.part(part) for part in split.parts]

    head, columns = ["Part", "time"], [[part.name for part in account.parts], cells(account)]
    slowest = account.slowest
    if slowest is not None:
        of = {part.key: part for part in slowest.parts}
        found = [of.get(part.key) for part in account.parts]
        columns.append([sentences.part(part) if part else "" for part in found])
        head = ["Part", "all ranks", f"{text(slowest.key)}, the slowest: {numbers.seconds(slowest.wall_s)}"]
    lines = [f"### {sentences.time_title(account)}", "", *table(head, zip(*columns, strict=True), n_left=1)]
    notes = sentences.time_notes(account)
    return [*lines, *([text("; ".join(notes)) + ".", ""] if notes else [])]


def _packages(profile: Profile) -> list[str]:
    shown, rest = first_rows(profile.metrics.by_package, TOP)
    cells = [[code(row.key, MAX_CELL), *_calls(row), numbers.seconds(row.time_s)] for row in shown]
    if rest is not None:
        cells.append([f"{numbers.count(rest.n_rows)} more", *_calls(rest), numbers.seconds(rest.time_s)])
    return table(("Package", "calls", "open", "stat", "not found", "time"), cells, n_left=1)


def _findings(profile: Profile, recording: str | None) -> list[str]:
    lines = ["### Findings", ""]
    found = facts.findings(profile)
    if not found:
        return [*lines, f"No finding for this {'run' if profile.job is None else 'job'}.", ""]
    for row in found:
        saved = facts.saving(row, profile)
        lines.append(f"**{text(row.code)} ({text(row.severity)}): {text(row.title)}**")
        if saved:
            lines[-1] += f" Saves {text(saved)}."
        lines += ["", text(row.evidence), ""]
        if row.advice:
            lines += [sentence(row.advice, profile.manifest), ""]
        for command in facts.commands(row, profile, recording or ""):
            lines += [*block(command), ""]
        if row.source:
            lines += [f"Source: {text(row.source)}", ""]
    return lines


def _job(profile: Profile, job: Job) -> list[str]:
    """The ranks and nodes of a job: how they differ, who stands out, what each node does."""
    asked = request_facts.name_of(profile)
    lines = ["### Job: ranks and nodes", "", text(f"{job_facts.who(job)} traced."), ""]
    lines += [f"- {text(line)}" for line in job_facts.warnings(job)]
    if lines[-1]:
        lines.append("")
    guess = job_facts.estimate(job, asked)
    if guess is not None:
        lines += [f"**Estimate of the whole job: {text(guess[0])}.** {text(guess[1][:1].upper() + guess[1][1:])}.", ""]
    cells = []
    for row in job_rows.spread_rows(job):
        if not row.observed:
            cells.append([text(row.title), numbers.NOT_OBSERVED, "", "", "", ""])
            continue
        values = [text(value) for value in (row.min, row.median, row.max)]
        cells.append([text(row.title), *values, text(row.max_of), text(row.outliers) or "none"])
    made = table(("Each rank", "min", "median", "max", "max of", "outliers"), cells)
    made[1] = "| --- | ---: | ---: | ---: | --- | --- |"
    return [*lines, *made, *_ranks(job), *_nodes(job, asked), text(job_facts.times_note(profile)), ""]


def _ranks(job: Job) -> list[str]:
    shown, rest = job_rows.rank_rows(job)
    cells = [
        [
            code(line.row.key, MAX_CELL),
            code(line.row.node, MAX_CELL),
            numbers.seconds(line.row.wall_s),
            numbers.seconds(line.row.startup_s),
            *_calls(line.row),
            text(line.why),
        ]
        for line in shown
    ]
    if rest is not None:
        times = (numbers.seconds(rest.wall_s), numbers.seconds(rest.startup_s))
        cells.append(
            [f"{numbers.count(rest.n)} more", "", *times, *_calls(rest.calls), "calls summed, times the median"]
        )
    head = ("Rank" if rest is None else "Ranks that stand out", "node", "wall", "start and import")
    made = table((*head, "calls", "open", "stat", "not found", "why" if rest is not None else "remarkable"), cells)
    made[1] = "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    return made


def _nodes(job: Job, asked: str) -> list[str]:
    shown, rest = job_rows.node_rows(job)
    cells = [
        [
            code(row.key, MAX_CELL),
            numbers.count(row.n_recordings),
            *_calls(row),
            numbers.count(row.n_requests),
            numbers.rate(row.peak_metadata_per_s),
            numbers.seconds(row.wall_s),
        ]
        for row in shown
    ]
    if rest is not None:
        sums = (numbers.count(rest.n_recordings), *_calls(rest.calls), numbers.count(rest.n_requests))
        cells.append([f"{numbers.count(rest.n)} more", *sums, "", numbers.seconds(rest.wall_s)])
    head = ("Node", "ranks", "calls", "open", "stat", "not found", asked, "busiest 1 s", "slowest rank")
    return table(head, cells, n_left=1)


def _imports(profile: Profile) -> list[str]:
    rows = profile.metrics.by_module
    lines = ["### Imports", ""]
    if rows is None:
        return [*lines, "Not observed.", ""]
    total = profile.metrics.n_metadata
    cells = (
        [
            code(row.key, MAX_CELL),
            code(row.parent, MAX_CELL) if row.parent else sentences.importer(row, profile) or numbers.NOT_OBSERVED,
            numbers.count(row.n_metadata_cum),
            numbers.part_of(row.n_metadata_cum, total),
            numbers.count(row.n_metadata),
            numbers.count(row.n_not_found_cum),
            numbers.seconds(row.time_cum_s),
        ]
        for row in sentences.costly_imports(rows, TOP)
    )
    head = (
        profile.metrics.imports_by.capitalize(),
        "imported by",
        "calls, cumulative",
        "share",
        "self",
        "not found",
        "time",
    )
    left = sentences.imports_left(profile)
    return lines + table(head, cells, n_left=2) + ([f"{text(left)}.", ""] if left else [])


def _seconds(rows: Sequence[TimeRow]) -> list[str]:
    """The packages whose imports took most time of their own, and where it went."""
    if not rows:
        return []
    parts = ("wall_s", "cpu_s", "metadata_s", "reads_s", "other_s")
    cells = ([code(row.key, MAX_CELL), *(numbers.seconds(getattr(row, part)) for part in parts)] for row in rows[:TOP])
    head = ("Package imported", "wall, its own", "CPU", "in metadata calls", "in reads", "other")
    return ["### Seconds by package imported", "", *table(head, cells, n_left=1)]


def _mounts(profile: Profile) -> list[str]:
    requests = profile.requests
    rows = [row for row in profile.metrics.by_mount if row.fs_class != "pseudo"]
    cells = (
        [
            code(row.key, MAX_CELL),
            text(f"{row.fstype or numbers.NOT_OBSERVED} ({row.fs_class or numbers.NOT_OBSERVED})"),
            numbers.count(row.n_metadata),
            numbers.count(row.n_not_found),
            numbers.count(None if requests is None else requests.n_at_server(row.key)),
            numbers.milliseconds(row.p50_ms),
            numbers.milliseconds(row.p95_ms),
            numbers.milliseconds(row.max_ms),
        ]
        for row in rows[:TOP]
    )
    head = ("Mount", "type", "calls", "not found", request_facts.name_of(profile), "median", "p95", "max")
    return ["### Mounts", "", *table(head, cells, n_left=2), *_served(request_facts.of_profile(profile))]


def _served(rows: Sequence[request_facts.Served]) -> list[str]:
    """Requests by the names of each mount's own client, predicted beside counted."""
    lines = []
    for row in rows:
        lines.append(f"{code(row.title, MAX_CELL)}: {text(row.rules)}.")
        lines[-1] += f" Counted by {text(row.counted_by)}." if row.counted_by else ""
        lines[-1] += f" Not counted: {text(row.why_not)}." if row.why_not else ""
        lines.append("")
        if row.operations:
            shown = [
                name for name, is_there in (("predicted", row.is_predicted), ("counted", row.is_counted)) if is_there
            ]
            cells = (
                [text(one.name), *(numbers.count(getattr(one, name)) for name in shown), text(one.doubt)]
                for one in row.operations
            )
            made = table(("Operation", *shown, "not predictable"), cells)
            made[1] = "| --- |" + " ---: |" * len(shown) + " --- |"
            lines += made
    return lines


def _not_found(profile: Profile) -> list[str]:
    rows = profile.metrics.not_found
    if not rows:
        return []
    cells = (
        [
            text(row.reason),
            numbers.count(row.n),
            numbers.count(row.n_paths),
            code(row.examples[0], MAX_CELL) if row.examples else "",
        ]
        for row in rows
    )
    lines = table(("Reason", "calls", "paths", "for instance"), cells)
    lines[1] = "| --- | ---: | ---: | --- |"
    return ["### Failed lookups (not found)", "", *lines]


def _comparison(comparison: Comparison, recording: str | None) -> list[str]:
    lines = [f"## Storage layouts compared with {code(comparison.baseline)}", ""]
    lines += [text(comparison_facts.headline(comparison)), ""]
    head = [(label, text(value)) for label, value in comparison_facts.head(comparison, recording)]
    lines += table(("Run", ""), [("Command", code(facts.command_line(comparison))), *head])
    cells = []
    for row in comparison.rows:
        wall = row.wall_s
        spread = (
            f"{numbers.seconds(wall.min)} to {numbers.seconds(wall.max)}, {numbers.plural(len(wall.runs), 'run')}"
            if wall is not None
            else numbers.NOT_OBSERVED
        )
        cells.append(
            [
                code(row.layout, MAX_CELL),
                text(row.fstype or numbers.NOT_OBSERVED),
                text(facts.known(row.cache)),
                numbers.seconds(wall.median if wall is not None else None),
                spread,
                numbers.count(row.n_requests),
                text(comparison_facts.sentence(row, comparison)),
            ]
        )
    names = (
        "Storage layout",
        "type",
        "cache",
        "wall, median",
        "spread",
        comparison_facts.requests_name(comparison),
        "against the baseline",
    )
    lines += table(names, cells)
    lines += _served(request_facts.of_comparison(comparison))
    for label, found in comparison.differences.items():
        same = f"the same {numbers.count(found.n_baseline)} metadata calls as the baseline"
        change = (
            f"{found.n_more:+,} metadata calls, differing in {numbers.plural(found.n_paths, 'count')} by path and kind"
        )
        lines.append(f"- {code(label)}: {change if found.n_paths else same}")
    lines += [f"- Note: {text(note)}." for note in comparison_facts.notes(comparison)]
    if lines[-1]:
        lines.append("")
    return [
        *lines,
        f"Wall times are of untraced runs, counts of a traced one. {facts.REQUESTS_CAVEAT}",
        "",
        f"Made by fsprobe {__version__}.",
    ]
