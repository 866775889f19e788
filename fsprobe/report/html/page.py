"""The report as one HTML file that opens from disk: nothing is loaded, and no text from the recording is trusted."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import jinja2

from fsprobe import __version__
from fsprobe.model.formats import JsonObject
from fsprobe.report import facts, job_facts, numbers, sentences
from fsprobe.report.foreign import visible_in
from fsprobe.report.html import job
from fsprobe.report.html.tables import all_tables, with_requests
from fsprobe.report.import_tree import import_tree

PHASES = ("launch", "loader", "init", "site", "import", "run")
MAX_BINS = 900
"""More bars than that can't be told apart on a screen; neighbouring bins are added."""
MAX_NODES = 6_000
"""Modules in the icicle; the smallest ones beyond that are added up below the module that asked for them."""
SCRIPTS = ("common.js", "icicle.js", "timeline.js", "tables.js", "job.js", "report.js")
LATENCY_AXIS_MS = (0.001, 1_000.0)


def render(profile: JsonObject, recording: str | None = None) -> str:
    """One self-contained page for a profile (of a run or a job) or a comparison.

    Args:
        profile: the JSON of a profile, or of a comparison (`kind` is then "comparison").
        recording: the file it came from, to be named in the page.
    """
    shown = visible_in(profile)
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
        ms=numbers.milliseconds,
        share=numbers.share,
        ratio=numbers.ratio,
    )
    style = _template_text(environment, "report.css") + _template_text(environment, "job.css")
    comparison = shown.get("kind") == "comparison"
    names = ("common.js", "report.js") if comparison else SCRIPTS
    script = "(() => {\n'use strict';\n" + "\n".join(_template_text(environment, name) for name in names) + "\n})();\n"
    values: dict[str, Any] = {
        # both are files of this package, so they go in as they are
        "style": style,
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "version": __version__,
        "recording": visible_in(recording or ""),
    }
    if comparison:
        return environment.get_template("comparison.html.j2").render(
            **values, **comparison_view(shown, values["recording"])
        )
    return environment.get_template("report.html.j2").render(**values, **profile_view(shown, visible_in(recording)))


def _template_text(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def embed(value: Any) -> str:
    """JSON for a script element: no character in it can end the element or the line it stands on."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def profile_view(profile: JsonObject, recording: str | None) -> JsonObject:
    """What the page of a profile shows, ready for the template."""
    metrics = profile["metrics"]
    verdict = profile.get("verdict") or None
    by_mount = [row for row in metrics.get("by_mount") or [] if row.get("p50_ms") is not None]
    data = {
        "total": metrics["n_metadata"],
        "icicle": icicle(profile),
        "timeline": timeline(metrics.get("timeline") or []),
        "tables": all_tables(profile),
    }
    is_job = profile.get("kind") == "job"
    if is_job:
        data["tables"] = job.tables(profile) + data["tables"]
        data["job"] = job.charts(profile)
    return {
        "title": facts.command_line(profile["manifest"]) or "fsprobe report",
        "head": job_facts.head(profile, recording) if is_job else facts.head(profile, recording),
        "headline": job_facts.headline(profile) if is_job else sentences.headline(profile),
        "job": job.view(profile) if is_job else None,
        "verdict": verdict,
        "level": facts.LEVELS.index(verdict["level"]) if verdict and verdict.get("level") in facts.LEVELS else None,
        "levels": facts.LEVELS,
        "figures": job_facts.figures(profile) if is_job else facts.key_figures(profile),
        "findings": [{**row, "saving": facts.saving(row, profile)} for row in facts.findings(profile)],
        "phases": metrics.get("by_phase") or [],
        "missing": metrics.get("missing") or [],
        "latency": [{**row, **latency_marks(row)} for row in by_mount],
        "latency_ticks": [(label, log_position(value)) for value, label in _ticks()],
        "tables": data["tables"],
        "has_imports": data["icicle"] is not None,
        "n_cut": (data["icicle"] or {}).get("n_cut", 0),
        "n_metadata": metrics["n_metadata"],
        "n_missing": metrics["n_missing"],
        "notes": (job_facts.notes(profile["job"]) if is_job else []) + sentences.quality_lines(profile),
        "method": facts.method(profile),
        "data": embed(data),
    }


def icicle(profile: JsonObject) -> JsonObject | None:
    """The import tree as columns; None where imports were not observed.

    Returns:
        `names`, `parents` (index or -1; parents come first) and, a number a module, `calls`, `missing`, `opens`,
        `stats`, `time` and `requests` (None where not observed) of the module itself, `recorded` (cumulative calls).
    """
    rows = profile["metrics"].get("by_module")
    if rows is None:
        return None
    tree = import_tree(rows)
    by_key = {row["key"]: row for row in with_requests(rows, facts.requests_table(profile, "by_module"))}
    sums = tree.totals("n_metadata")
    kept = set(sorted(tree.order, key=lambda key: -sums[key])[:MAX_NODES])
    dropped: dict[str | None, list[JsonObject]] = {}
    if len(kept) < len(tree.order):
        for key in list(kept):
            kept.update(tree.chain(key))
        for key in tree.order:
            if key not in kept:
                above = next((name for name in reversed(tree.chain(key)) if name in kept), None)
                dropped.setdefault(above, []).append(by_key[key])
    keys = [key for key in tree.order if key in kept]
    at = {key: number for number, key in enumerate(keys)}
    columns = {"calls": "n_metadata", "missing": "n_missing", "opens": "n_open", "stats": "n_stat", "time": "time_s"}
    columns["requests"] = "n_requests"
    result: JsonObject = {
        "names": list(keys),
        "parents": [at[parent] if (parent := tree.parents[key]) is not None else -1 for key in keys],
        "recorded": [by_key[key].get("n_metadata_cum") for key in keys],
        "imports": [by_key[key].get("n_imports") for key in keys],
        "n_cut": tree.n_cut,
    }
    for name, source in columns.items():
        values = [by_key[key].get(source) for key in keys]
        result[name] = values if any(value is not None for value in values) else None
    for above, rest in dropped.items():
        result["names"].append(f"({len(rest):,} smaller imports)")
        result["parents"].append(at[above] if above is not None else -1)
        result["recorded"].append(None)
        result["imports"].append(len(rest))
        for name, source in columns.items():
            if result[name] is not None:
                result[name].append(sum(row.get(source) or 0 for row in rest))
    return result


def timeline(rows: Sequence[JsonObject]) -> JsonObject | None:
    """Bins of equal length with the calls of each phase; empty bins are left out, not closed up. None without times."""
    if not rows:
        return None
    phases = [name for name in PHASES if any(row.get(name) for row in rows)]
    n_bins = round(rows[-1]["t_s"] * 10) + 1
    width = math.ceil(n_bins / MAX_BINS)
    bins: dict[int, list[int]] = {}
    for row in rows:
        counts = bins.setdefault(round(row["t_s"] * 10) // width, [0] * len(phases))
        for number, name in enumerate(phases):
            counts[number] += row.get(name) or 0
    return {
        "bin_s": width / 10,
        "n_bins": math.ceil(n_bins / width),
        "phases": phases,
        "bins": [[number, *counts] for number, counts in sorted(bins.items())],
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


def latency_marks(row: JsonObject) -> JsonObject:
    """Positions of median, p95 and maximum of a mount's calls on the latency axis."""
    marks = {name: log_position(row[name]) for name in ("p50_ms", "p95_ms", "max_ms") if row.get(name) is not None}
    return {"marks": marks, "from": min(marks.values()), "to": max(marks.values())}


def comparison_view(comparison: JsonObject, recording: str) -> JsonObject:
    """What the page of a comparison shows; the bars share one axis that begins at zero."""
    rows = []
    longest = max((_longest(row) for row in comparison["rows"]), default=0.0) or 1.0
    most = max((facts.n_compared(row) or 0 for row in comparison["rows"]), default=0) or 1
    for row in comparison["rows"]:
        wall = row.get("wall_s") or {}
        runs = wall.get("runs")
        n = facts.n_compared(row)
        rows.append(
            {
                **row,
                "wall": {name: wall.get(name) for name in ("median", "min", "max")},
                "n_runs": len(runs) if isinstance(runs, list) else runs,
                "dots": [round(value / longest * 100, 2) for value in runs] if isinstance(runs, list) else [],
                "at": {
                    name: round(wall[name] / longest * 100, 2)
                    for name in ("median", "min", "max")
                    if wall.get(name) is not None
                },
                "n": n,
                "n_at": round(n / most * 100, 2) if n is not None else None,
                "base": row.get("layout") == comparison.get("baseline"),
                "n_metadata": (row.get("metrics") or {}).get("n_metadata"),
                "cpu": facts.cpu_seconds(row),
                "around": (
                    (row["cpu_s"].get("around") or {}).get("median") if isinstance(row.get("cpu_s"), dict) else None
                ),
                "n_served": facts.n_served(row),
                "counted_where": facts.counted_where(row),
                "sentence": facts.comparison_sentence(row, comparison, with_certainty=False),
                "certainty": facts.certainty(row),
            }
        )
    return {
        "title": facts.command_line(comparison) or f"Layouts compared with {comparison.get('baseline')}",
        "head": facts.comparison_head(comparison, recording),
        "notes": facts.comparison_notes(comparison),
        "differences": comparison.get("differences") or {},
        "headline": facts.comparison_headline(comparison),
        "rows": rows,
        "baseline": comparison.get("baseline"),
        "data": embed({}),
    }


def _longest(row: JsonObject) -> float:
    wall = row.get("wall_s") or {}
    return float(wall.get("max") or wall.get("median") or 0.0)
