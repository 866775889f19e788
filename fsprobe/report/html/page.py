"""The report as one HTML file that opens from disk: nothing is loaded, and no text from the recording is trusted."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from fsprobe import __version__, numbers
from fsprobe.model.comparison import Comparison, LayoutRow
from fsprobe.model.formats import JsonObject
from fsprobe.model.profile import LEVELS, PHASES, Profile
from fsprobe.model.requests import total_of
from fsprobe.model.rows import PROGRAM, ModuleRow, MountRow, TimelineRow, sum_of
from fsprobe.report import caveats, comparison_facts, facts, job_facts, request_facts, sentences
from fsprobe.report.foreign import parts, visible_in
from fsprobe.report.html import colours, job
from fsprobe.report.html.import_tree import import_tree
from fsprobe.report.html.tables import all_tables

MAX_BINS = 900
"""More bars than that can't be told apart on a screen; neighbouring bins are added."""
MAX_NAMED = 500
"""Modules that the timeline can name."""
MAX_NODES = 6_000
"""Modules in the icicle; the smallest ones beyond that are added up below the module that imported them."""
SCRIPTS = (
    "shared/common.js",
    "run/tree.js",
    "run/icicle.js",
    "run/export.js",
    "run/timeline.js",
    "shared/tables.js",
    "job/charts.js",
    "shared/page.js",
)
LATENCY_AXIS_MS = (0.001, 1_000.0)


def render(
    value: Profile | Comparison, recording: str | None = None, adopt: Mapping[str, Sequence[str]] | None = None
) -> str:
    """One self-contained page for a profile (of a run or a job) or a comparison.

    Args:
        value: the profile or comparison.
        recording: the file it came from, to be named in the page.
        adopt: of a comparison, the lines to have its winner from now on, by heading.
    """
    shown = visible_in(value)
    named = visible_in(recording)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fsprobe.report.html", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=numbers.count,
        plural=numbers.plural,
        seconds=numbers.seconds,
        cpu=numbers.cpu,
        ms=numbers.milliseconds,
        share=numbers.share,
        ratio=numbers.ratio,
        ratios=numbers.ratios,
        known=facts.known,
        sentence_case=facts.sentence_case,
        parts=parts,
        started=lambda line: line if isinstance(shown, Comparison) else facts.as_started(line, shown.manifest),
    )
    style = _template_text(environment, "shared/page.css") + _template_text(environment, "job/charts.css")
    names = ("shared/common.js", "shared/page.js") if isinstance(shown, Comparison) else SCRIPTS
    script = "(() => {\n'use strict';\n" + "\n".join(_template_text(environment, name) for name in names) + "\n})();\n"
    values: dict[str, Any] = {
        # both are files of this package, so they go in as they are
        "style": style,
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "version": __version__,
        "recording": named or "",
    }
    if isinstance(shown, Comparison):
        return environment.get_template("comparison/page.html.j2").render(
            **values, adopt=visible_in(dict(adopt or {})), **comparison_view(shown, named)
        )
    return environment.get_template("run/page.html.j2").render(**values, **profile_view(shown, named))


def _template_text(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def embed(value: Any) -> str:
    """JSON for a script element: no character in it can end the element or the line it stands on."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def profile_view(profile: Profile, recording: str | None) -> JsonObject:
    """What the page of a profile shows, ready for the template."""
    metrics, verdict = profile.metrics, profile.verdict
    data: JsonObject = {
        "total": metrics.n_metadata,
        "icicle": icicle(profile),
        "timeline": timeline(metrics.timeline, metrics.timeline_step_s, metrics.by_module or ()),
        "tables": all_tables(profile),
    }
    is_job = profile.job is not None
    if is_job:
        data["tables"] = job.tables(profile) + data["tables"]
        data["job"] = job.charts(profile)
    return {
        "title": facts.command_line(profile.manifest) or "fsprobe report",
        "head": job_facts.head(profile, recording) if is_job else facts.head(profile, recording),
        "headline": job_facts.headline(profile) if is_job else sentences.headline(profile),
        "job": job.view(profile) if is_job else None,
        "asked": request_facts.name_of(profile),
        "failure": facts.how_it_failed(profile.manifest) if profile.job is None else "",  # a job names its ranks
        "has_python": sentences.has_python(profile) or sentences.is_unobserved(profile),
        "alarms": caveats.alarms(profile),
        "time": profile.time,
        "time_title": sentences.time_title(profile.time) if profile.time is not None else "",
        "time_slowest": sentences.slowest_title(profile.time.slowest)
        if profile.time is not None and profile.time.slowest is not None
        else "",
        "time_notes": sentences.time_notes(profile.time) if profile.time is not None else (),
        "verdict": verdict,
        "level": LEVELS.index(verdict.level) if verdict and verdict.level in LEVELS else None,
        "levels": LEVELS,
        "figures": job_facts.figures(profile) if is_job else facts.key_figures(profile),
        "findings": [
            (finding, facts.saving(finding, profile), facts.commands(finding, profile, recording or ""))
            for finding in facts.findings(profile)
        ],
        "phases": metrics.by_phase,
        "not_found": metrics.not_found,
        "served": request_facts.of_profile(profile),
        "has_overhead": bool(metrics.tracing_overhead_us),
        "latency": [(row, latency_marks(row)) for row in metrics.by_mount if row.p50_ms is not None],
        "latency_ticks": [(label, log_position(value)) for value, label in _ticks()],
        "tables": data["tables"],
        "has_imports": data["icicle"] is not None,
        "n_cut": (data["icicle"] or {}).get("n_cut", 0),
        "n_not_found": metrics.n_not_found,
        "notes": (job_facts.notes(profile.job) if profile.job is not None else []) + caveats.quality_lines(profile),
        "method": facts.method(profile),
        "data": embed(data),
    }


COLUMNS = {
    "calls": "n_metadata",
    "not_found": "n_not_found",
    "opens": "n_open",
    "stats": "n_stat",
    "time": "time_s",
}
"""Column of the icicle -> count of a module's row."""


def icicle(profile: Profile) -> JsonObject | None:
    """The import tree as columns; None where imports were not observed.

    Returns:
        `names`, `parents` (index or -1; parents come first) and, a number a module, `calls`, `not_found`, `opens`,
        `stats`, `time` and `requests` (None where not observed) of the module itself, `recorded` (cumulative calls);
        `colours`: package -> number of its colour.
    """
    rows = profile.metrics.by_module
    if rows is None:
        return None
    tree = import_tree(rows)
    by_key = {row.key: row for row in rows}
    asked = {row.key: row for row in profile.requests.by_module} if profile.requests is not None else {}
    sums = tree.totals("n_metadata")
    kept = set(sorted(tree.order, key=lambda key: -sums[key])[:MAX_NODES])
    dropped: dict[str | None, list[ModuleRow]] = {}
    if len(kept) < len(tree.order):
        for key in list(kept):
            kept.update(tree.chain(key))
        for key in tree.order:
            if key not in kept:
                above = next((name for name in reversed(tree.chain(key)) if name in kept), None)
                dropped.setdefault(above, []).append(by_key[key])
    keys = [key for key in tree.order if key in kept]
    at = {key: number for number, key in enumerate(keys)}
    result: JsonObject = {
        "names": list(keys),
        "parents": [at[parent] if (parent := tree.parents[key]) is not None else -1 for key in keys],
        "recorded": [by_key[key].n_metadata_cum for key in keys],
        "imports": [by_key[key].n_imports for key in keys],
        "n_cut": tree.n_cut,
        "colours": colours.slots(
            sorted(keys, key=lambda key: -sums[key]), colours.touching({key: tree.parents[key] for key in keys}, sums)
        ),
        "requests": [asked[key].n_metadata if key in asked else 0 for key in keys] if asked else None,
    }
    for name, source in COLUMNS.items():
        values = [getattr(by_key[key], source) for key in keys]
        result[name] = values if any(value is not None for value in values) else None
    for above, rest in dropped.items():
        total = sum_of(rest)
        result["names"].append(f"({len(rest):,} smaller imports)")
        result["parents"].append(at[above] if above is not None else -1)
        result["recorded"].append(None)
        result["imports"].append(len(rest))
        for name, source in COLUMNS.items():
            if result[name] is not None:
                result[name].append(getattr(total, source) or 0)
        if result["requests"] is not None:
            result["requests"].append(total_of(asked[row.key] for row in rest if row.key in asked).n_metadata)
    return result


def timeline(rows: Sequence[TimelineRow], step_s: float = 0.1, modules: Sequence[ModuleRow] = ()) -> JsonObject | None:
    """Bins of equal length with the calls of each phase; empty bins are left out, not closed up. None without times.

    `modules` has [bin of its first call, name, cumulative calls] of the modules that cost most.
    """
    if not rows:
        return None
    phases = [name for name in PHASES if any(row.by_phase.get(name) for row in rows)]
    n_bins = round(rows[-1].t_s / step_s) + 1
    width = math.ceil(n_bins / MAX_BINS)
    bins: dict[int, list[int]] = {}
    for row in rows:
        counts = bins.setdefault(round(row.t_s / step_s) // width, [0] * len(phases))
        for number, name in enumerate(phases):
            counts[number] += row.by_phase.get(name, 0)
    return {
        "bin_s": round(width * step_s, 1),
        "n_bins": math.ceil(n_bins / width),
        "phases": phases,
        "bins": [[number, *counts] for number, counts in sorted(bins.items())],
        "modules": [
            [int(row.first_s / (step_s * width)), row.key, row.n_metadata_cum]
            for row in sorted(modules, key=lambda row: -row.n_metadata_cum)
            if row.first_s is not None and row.key != PROGRAM
        ][:MAX_NAMED],
    }


def log_position(value_ms: float) -> float:
    """Where a latency stands on the logarithmic axis, in percent of its length."""
    low, high = LATENCY_AXIS_MS
    share = math.log(max(low, min(high, value_ms)) / low) / math.log(high / low)
    return round(share * 100, 2)


def _ticks() -> list[tuple[float, str]]:
    return [
        (0.001, "1 us"),
        (0.01, "10 us"),
        (0.1, "0.1 ms"),
        (1, "1 ms"),
        (10, "10 ms"),
        (100, "0.1 s"),
        (1_000, "1 s"),
    ]


def latency_marks(row: MountRow) -> JsonObject:
    """Positions of median, p95 and maximum of a mount's calls on the latency axis."""
    found = {name: getattr(row, name) for name in ("p50_ms", "p95_ms", "max_ms")}
    marks = {name: log_position(value) for name, value in found.items() if value is not None}
    return {"marks": marks, "from": min(marks.values()), "to": max(marks.values())}


def comparison_view(comparison: Comparison, recording: str | None) -> JsonObject:
    """What the page of a comparison shows; the bars share one axis that begins at zero."""
    longest = max((row.wall_s.max for row in comparison.rows if row.wall_s is not None), default=0.0) or 1.0
    most = max((row.n_requests or 0 for row in comparison.rows), default=0) or 1
    return {
        "title": facts.command_line(comparison) or f"Storage layouts compared with {comparison.baseline}",
        "head": comparison_facts.head(comparison, recording),
        "notes": comparison_facts.notes(comparison),
        "differences": comparison.differences,
        "served": request_facts.of_comparison(comparison),
        "caveat": facts.REQUESTS_CAVEAT,
        "asked": comparison_facts.requests_name(comparison),
        "headline": comparison_facts.headline(comparison),
        "seconds_lines": comparison_facts.seconds_lines(comparison),
        "winner": winner.layout if (winner := comparison_facts.winner(comparison)) is not None else "",
        "rows": [(row, _layout_view(row, comparison, longest, most)) for row in comparison.rows],
        "baseline": comparison.baseline,
        "data": embed({}),
    }


def _layout_view(row: LayoutRow, comparison: Comparison, longest: float, most: int) -> JsonObject:
    """What a line of a comparison shows beside the row's own numbers."""
    wall, n = row.wall_s, row.n_requests
    return {
        "dots": [round(value / longest * 100, 2) for value in wall.runs] if wall is not None else [],
        "at": {name: round(getattr(wall, name) / longest * 100, 2) for name in ("median", "min", "max")}
        if wall is not None
        else None,
        "what": ", ".join(
            part
            for part in dict.fromkeys((row.kind, row.fstype, row.mount_how, row.where))
            if part and part != row.layout
        ),
        "n": n,
        "n_at": round(n / most * 100, 2) if n is not None else None,
        "base": row.layout == comparison.baseline,
        "cpu": row.cpu_s.median_s if row.cpu_s is not None else None,
        "counted_where": comparison_facts.counted_where(row),
        "sentence": comparison_facts.sentence(row, comparison, with_certainty=False),
        "certainty": comparison_facts.certainty(row),
    }
