"""The report as Markdown for a ticket: short, safe to paste into GitHub and GitLab whatever the paths are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fsprobe import __version__
from fsprobe.model.formats import JsonObject
from fsprobe.report import facts, job_facts, numbers, sentences
from fsprobe.report.foreign import visible_in

TOP = 8
MAX_CELL = 100
"""Characters of a path in a table; a ticket is read in a narrow column."""
_REFERENCE = re.compile(r"([@#!~$&%])(?=\w)")
_LINE_START = re.compile(r"^(\d*)([-+=.)])(?=\s|$|[-=])")
_TEXT_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~$&!])")


def render(profile: JsonObject, recording: str | None = None) -> str:
    """The profile (or comparison) as Markdown.

    Args:
        profile: the JSON of a profile, or of a comparison.
        recording: the file it came from, to be named.
    """
    shown = visible_in(profile)
    if shown.get("kind") == "comparison":
        return "\n".join(_comparison(shown, visible_in(recording))) + "\n"
    metrics = shown["metrics"]
    lines = [f"## Filesystem load of {code(facts.command_line(shown['manifest']))}", ""]
    verdict = shown.get("verdict") or {}
    if verdict:
        lines += [f"**{text(str(verdict['sentence']))}**", ""]
    is_job = shown.get("kind") == "job"
    if is_job and job_facts.reasons(shown):
        lines += [*(f"- {text(reason)}" for reason in job_facts.reasons(shown)), ""]
    lines += [text(job_facts.headline(shown) if is_job else sentences.headline(shown)), ""]
    notes = job_facts.notes(shown["job"]) if is_job else []
    lines += [f"> Note: {text(note)}." for note in [*notes, *sentences.quality_lines(shown)]]
    if lines[-1]:
        lines.append("")
    head = (job_facts.head if is_job else facts.head)(shown, visible_in(recording))
    lines += table(("Job" if is_job else "Run", ""), ((label, text(value)) for label, value in head))
    figures = job_facts.figures(shown) if is_job else facts.key_figures(shown)
    lines += table(
        ("Key figure", "", ""),
        ((row.label, f"**{text(row.value)}**", text(row.note)) for row in figures),
    )
    lines += _findings(shown)
    lines += _job(shown["job"]) if is_job else []
    lines += _imports(shown)
    lines += ["### Packages", ""]
    lines += _top_table(
        ("Package", "calls", "open", "stat", "in vain", "time"),
        metrics.get("by_package") or [],
        ("n_metadata", "n_open", "n_stat", "n_missing"),
    )
    lines += _mounts(shown)
    lines += _missing(shown)
    lines += ["### Method and limits", ""]
    lines += [f"- **{text(label)}:** {text(value)}" for label, value in facts.method(shown)]
    lines += ["", f"Made by fsprobe {__version__}."]
    return "\n".join(lines) + "\n"


def text(value: str) -> str:
    """Foreign text as plain words: no markup, no HTML, no mention, no reference, no link, one line.

    `@name`, `#1`, `!1` and bare addresses become links after Markdown was read, so a backslash does not stop them: a
    zero-width space parts them.
    """
    one_line = " ".join(value.split())
    parted = _REFERENCE.sub("\\1\u200b", one_line).replace("://", ":\u200b//").replace("www.", "www\u200b.")
    escaped = _TEXT_SPECIAL.sub(r"\\\1", parted)
    return _LINE_START.sub(r"\1\\\2", escaped)


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


def _top_table(head: Sequence[str], rows: Sequence[JsonObject], counts: Sequence[str]) -> list[str]:
    shown, rest = rows[:TOP], rows[TOP:]
    lines = [
        [code(row["key"], MAX_CELL), *(numbers.count(row[name]) for name in counts), numbers.seconds(row["time_s"])]
        for row in shown
    ]
    if rest:
        times = [row["time_s"] for row in rest if row["time_s"] is not None]
        lines.append(
            [
                f"{numbers.count(len(rest))} more",
                *(numbers.count(sum(row[name] or 0 for row in rest)) for name in counts),
                numbers.seconds(sum(times) if times else None),
            ]
        )
    return table(head, lines, n_left=1)


def _findings(profile: JsonObject) -> list[str]:
    lines = ["### Findings", ""]
    found = facts.findings(profile)
    if not found:
        return [*lines, f"No finding for this {'job' if profile.get('kind') == 'job' else 'run'}.", ""]
    for row in found:
        saved = facts.saving(row, profile)
        lines.append(f"**{text(str(row['code']))} ({text(str(row['severity']))}): {text(row['title'])}**")
        if saved:
            lines[-1] += f" Saves {text(saved)}."
        lines += ["", text(row["evidence"]), ""]
        if row.get("advice"):
            lines += [text(row["advice"]), ""]
        for command in row.get("commands") or []:
            lines += [*block(command), ""]
        if row.get("source"):
            lines += [f"Source: {text(row['source'])}", ""]
    return lines


def _job(job: JsonObject) -> list[str]:
    """The ranks and nodes of a job: how they differ, who stands out, what each node does."""
    lines = ["### Job: ranks and nodes", "", text(f"{job_facts.who(job)} traced."), ""]
    lines += [f"- {text(line)}" for line in job_facts.warnings(job)]
    if lines[-1]:
        lines.append("")
    guess = job_facts.estimate(job)
    if guess is not None:
        lines += [f"**Estimate of the whole job: {text(guess[0])}.** {text(guess[1][:1].upper() + guess[1][1:])}.", ""]
    cells = []
    for row in job_facts.spread_rows(job):
        if not row["observed"]:
            cells.append([text(row["title"]), numbers.NOT_OBSERVED, "", "", "", ""])
            continue
        values = [text(row[name]) for name in ("min", "median", "max")]
        cells.append([text(row["title"]), *values, text(row["max_of"]), text(row["outliers"]) or "none"])
    made = table(("Each rank", "min", "median", "max", "max of", "outliers"), cells)
    made[1] = "| --- | ---: | ---: | ---: | --- | --- |"
    return [*lines, *made, *_ranks(job), *_nodes(job), text(job["clock"] + " " + job_facts.TRACED_RATES), ""]


def _ranks(job: JsonObject) -> list[str]:
    shown, rest = job_facts.rank_rows(job)
    counts = ("n_metadata", "n_open", "n_stat", "n_missing")
    cells = [
        [
            code(row["key"], MAX_CELL),
            code(row["node"], MAX_CELL),
            numbers.seconds(row["wall_s"]),
            numbers.seconds(row["startup_s"]),
            *(numbers.count(row[name]) for name in counts),
            text(row["why"]),
        ]
        for row in shown
    ]
    if rest is not None:
        times = (numbers.seconds(rest[name]) for name in ("wall_s", "startup_s"))
        sums = (numbers.count(rest[name]) for name in counts)
        cells.append([f"{numbers.count(rest['n'])} more", "", *times, *sums, "calls summed, times the median"])
    head = ("Rank" if rest is None else "Ranks that stand out", "node", "wall", "start and import")
    made = table((*head, "calls", "open", "stat", "in vain", "why" if rest is not None else "remarkable"), cells)
    made[1] = "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    return made


def _nodes(job: JsonObject) -> list[str]:
    shown, rest = job_facts.node_rows(job)
    counts = ("n_recordings", "n_metadata", "n_open", "n_stat", "n_missing", "n_requests")
    cells = [
        [
            code(row["key"], MAX_CELL),
            *(numbers.count(row[name]) for name in counts),
            numbers.rate(row.get("peak_metadata_per_s")),
            numbers.seconds(row["wall_s"]),
        ]
        for row in shown
    ]
    if rest is not None:
        sums = (numbers.count(rest[name]) for name in counts)
        cells.append([f"{numbers.count(rest['n'])} more", *sums, "", numbers.seconds(rest["wall_s"])])
    head = ("Node", "ranks", "calls", "open", "stat", "in vain", "requests", "busiest 1 s", "slowest rank")
    return table(head, cells, n_left=1)


def _imports(profile: JsonObject) -> list[str]:
    rows = profile["metrics"].get("by_module")
    lines = ["### Imports", ""]
    if rows is None:
        return [*lines, "Not observed.", ""]
    shown = _costly(rows)[:TOP]
    total = profile["metrics"]["n_metadata"]
    cells = (
        [
            code(row["key"], MAX_CELL),
            code(row["parent"], MAX_CELL) if row.get("parent") else "the program",
            numbers.count(row["n_metadata_cum"]),
            numbers.part_of(row["n_metadata_cum"], total),
            numbers.count(row.get("n_missing_cum")),
            numbers.seconds(row.get("time_cum_s")),
        ]
        for row in shown
    )
    head = ("Module, with what it imports", "asked for by", "calls", "share", "in vain", "time")
    return lines + table(head, cells, n_left=2)


def _costly(rows: Sequence[JsonObject]) -> list[JsonObject]:
    """The imports worth a line, as the terminal chooses them."""

    return sentences.costly_imports(rows)


def _mounts(profile: JsonObject) -> list[str]:
    requests = facts.requests_table(profile, "by_mount")
    rows = [row for row in profile["metrics"].get("by_mount") or [] if row.get("fs_class") != "pseudo"]
    cells = (
        [
            code(row["key"], MAX_CELL),
            text(f"{row.get('fstype') or numbers.NOT_OBSERVED} ({row.get('fs_class') or numbers.NOT_OBSERVED})"),
            numbers.count(row["n_metadata"]),
            numbers.count(row["n_missing"]),
            numbers.count(facts.n_requests(requests.get(row["key"]))),
            numbers.milliseconds(row.get("p50_ms")),
            numbers.milliseconds(row.get("p95_ms")),
            numbers.milliseconds(row.get("max_ms")),
        ]
        for row in rows[:TOP]
    )
    head = ("Mount", "type", "calls", "in vain", "requests", "median", "p95", "max")
    return ["### Mounts", "", *table(head, cells, n_left=2)]


def _missing(profile: JsonObject) -> list[str]:
    rows = profile["metrics"].get("missing") or []
    if not rows:
        return []
    cells = (
        [
            text(row["reason"]),
            numbers.count(row["n"]),
            numbers.count(row.get("n_paths")),
            code(row["examples"][0], MAX_CELL) if row.get("examples") else "",
        ]
        for row in rows
    )
    lines = table(("Why", "calls", "paths", "for instance"), cells)
    lines[1] = "| --- | ---: | ---: | --- |"
    return ["### Looked up in vain", "", *lines]


def _head(comparison: JsonObject, recording: str | None) -> list[tuple[str, str]]:
    return [(label, text(value)) for label, value in facts.comparison_head(comparison, recording)]


def _comparison(comparison: JsonObject, recording: str | None) -> list[str]:
    baseline = comparison.get("baseline")
    lines = [f"## Layouts compared with {code(str(baseline))}", "", text(facts.comparison_headline(comparison)), ""]
    lines += table(("Run", ""), [("Command", code(facts.command_line(comparison))), *_head(comparison, recording)])
    cells = []
    for row in comparison["rows"]:
        wall = row.get("wall_s") or {}
        runs = wall.get("runs")
        n_runs = len(runs) if isinstance(runs, list) else runs
        spread = (
            f"{numbers.seconds(wall['min'])} to {numbers.seconds(wall['max'])}"
            if wall.get("min") is not None and wall.get("max") is not None
            else numbers.NOT_OBSERVED
        )
        cells.append(
            [
                code(str(row["layout"]), MAX_CELL),
                text(str(row.get("fstype") or numbers.NOT_OBSERVED)),
                text(facts.known(row.get("cache"))),
                numbers.seconds(wall.get("median")),
                f"{spread}, {numbers.count(n_runs)} runs",
                numbers.count(facts.n_compared(row)),
                text(facts.comparison_sentence(row, comparison)),
            ]
        )
    head = ("Layout", "type", "cache", "wall, median", "spread", "requests", "against the baseline")
    lines += table(head, cells)
    for label, found in (comparison.get("differences") or {}).items():
        same = f"the same {numbers.count(found['n_baseline'])} calls as the baseline"
        change = f"{found['n_layout'] - found['n_baseline']:+,} calls, on {numbers.plural(found['n_paths'], 'path')}"
        lines.append(f"- {code(str(label))}: {change if found['n_paths'] else same}")
    lines += [f"- Note: {text(note)}." for note in facts.comparison_notes(comparison)]
    if lines[-1]:
        lines.append("")
    lines += [
        "Wall times are of runs without a tracer, counts of a run with one. Requests are predicted for a client with empty "
        "caches, validated against a FUSE file server, not against Lustre or NFS.",
        "",
        f"Made by fsprobe {__version__}.",
    ]
    return lines
