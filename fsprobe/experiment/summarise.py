"""What an experiment came to, as JSON (Contract: Comparison JSON), and the file that holds it."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fsprobe import foreign_json
from fsprobe.capture.machine import host
from fsprobe.errors import BadInput
from fsprobe.experiment import significance
from fsprobe.experiment.plan import BASELINE, IMAGES, Plan, Run, Side, State
from fsprobe.model.formats import FORMAT, JsonObject
from fsprobe.model.text import text
from fsprobe.recording import file
from fsprobe.recording.file import Recording
from fsprobe.recording.shapes import TEXT, misfit

METRICS = (
    "n_open",
    "n_stat",
    "n_readlink",
    "n_list",
    "n_exec",
    "n_change",
    "n_missing",
    "n_metadata",
    "n_paths",
)


def summarise(plan: Plan, state: State) -> JsonObject:
    """The comparison so far; layouts that were not traced yet are not in it."""
    traced = [side for side in state.sides if side.analysis is not None]
    base = traced[0]
    assert base.analysis is not None
    rows = []
    for cache in state.caches:
        of_base = [run for run in state.runs if run.layout == BASELINE and run.cache == cache]
        for side in traced:
            runs = [run for run in state.runs if run.layout == side.layout.label and run.cache == cache]
            rows.append(_row(plan, side, base, cache, runs, of_base, bool(state.counted_by)))
    differences = {}
    notes = list(state.notes)
    for side in traced[1:]:
        assert side.analysis is not None
        renamed = {os.fsencode(side.layout.where): os.fsencode(os.path.realpath(plan.env))} if side.in_place else {}
        differences[side.layout.label] = significance.call_differences(
            base.analysis.tally, side.analysis.tally, renamed
        )
        if side.in_place:
            notes.append(f"{side.layout.label} ran from {text(os.fsencode(side.layout.where))}: {side.in_place}")
        if side.layout.kind in IMAGES and side.mounting is None:
            notes.append(
                f"what {side.layout.label} asks for its image was not observed: mounting it can't be traced here"
            )
    notes[:0] = failure_notes(plan, state)
    if state.interrupted:
        notes.insert(0, f"interrupted ({state.interrupted}) after {len(state.runs)} timed runs: these are in here")
    return {
        "format": FORMAT,
        "kind": "comparison",
        "baseline": BASELINE,
        "environment": text(os.fsencode(plan.env)),
        "command": plan.command,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": host.facts(os.environ),
        "n_runs": plan.n_runs,
        "make_cold": plan.make_cold,
        "order": [[run.layout, run.cache] for run in state.runs],
        "interrupted": state.interrupted or None,
        "counted_by": state.counted_by or None,
        "notes": notes,
        "rows": rows,
        "differences": differences,
    }


def _row(
    plan: Plan, side: Side, base: Side, cache: str, runs: Sequence[Run], of_base: Sequence[Run], by_client: bool
) -> JsonObject:
    assert side.analysis is not None
    counts, base_counts = environment_counts(plan, side), environment_counts(plan, base)
    verdict, words = None, "baseline"
    if side is not base:
        failing = [one.layout.label for one, its in ((side, runs), (base, of_base)) if any(r.exit_status for r in its)]
        if failing:
            words = f"not compared: the command failed in {' and '.join(failing)}"
        elif runs and of_base:
            verdict = significance.compare_runs([run.wall_s for run in of_base], [run.wall_s for run in runs])
            words = verdict.reason
        else:
            words = "no runs"
    servers = [run.server for run in runs if run.server is not None]
    counted = {name: spread([server[name] for server in servers]) for name in servers[0]} if servers else None
    beside = [run.beside_s for run in runs if run.beside_s is not None]
    metrics = side.analysis.profile["metrics"]
    return {
        "layout": side.layout.label,
        "kind": side.layout.kind,
        "where": text(os.fsencode(side.layout.where)),
        "fstype": side.layout.fstype,
        "mount_how": side.layout.mount_how,
        "in_place": bool(side.in_place),
        "cache": cache,
        "wall_s": spread([run.wall_s for run in runs]),
        "cpu_s": {
            "user": spread([run.user_s for run in runs]),
            "sys": spread([run.sys_s for run in runs]),
            "around": spread(beside) if len(beside) == len(runs) else None,
        }
        if runs
        else None,
        "majflt": spread([run.majflt for run in runs]),
        "exit_codes": sorted({run.exit_status for run in runs} | _traced_codes(side)),
        "metrics": {name: metrics[name] for name in METRICS},
        "requests": {
            **(side.analysis.profile["requests"] or {}).get("by_mount", {}),
            "environment": None if counts is None else counts["metadata"],
            "environment_counts": counts,
        },
        "server_requests": None if by_client else counted,
        # what this node's kernel counted, for all its programs together: not the same thing as what a server was asked
        "client_counters": counted if by_client else None,
        "ratio_wall": None if verdict is None else round(verdict.ratio, 4),
        "ratio_wall_low": None if verdict is None else round(verdict.low, 4),
        "ratio_wall_high": None if verdict is None else round(verdict.high, 4),
        "p": None if verdict is None else round(verdict.p, 5),
        "ratio_requests": round(counts["metadata"] / base_counts["metadata"], 6)
        if counts is not None and base_counts is not None and base_counts["metadata"]
        else None,
        "clear": None if verdict is None else verdict.clear,
        "verdict": words,
    }


def failure_notes(plan: Plan, state: State) -> list[str]:
    """Of each layout in which the command failed: how often, with what, and where to read why."""
    notes = []
    for side in state.sides:
        if side.analysis is None:
            continue
        label = side.layout.label
        traced = _exit_words(side.analysis.profile["manifest"])
        timed = [run.exit_status for run in state.runs if run.layout == label]
        failed = [status for status in timed if status]
        parts = [f"the traced run ({traced})"] if traced else []
        if failed:
            said = ", ".join(sorted({_status_words(status) for status in failed}))
            parts.append(f"{len(failed)} of {len(timed)} timed runs ({said})")
        if parts:
            where = f"; what it said is in {plan.output_dir}/{label.replace('/', '_')}-*" if plan.output_dir else ""
            notes.append(
                f"the command failed in {label}, in {' and '.join(parts)}: its calls and times there are not those of a whole run{where}"
            )
    return notes


def _traced_codes(side: Side) -> set[int]:
    manifest = side.analysis.profile["manifest"] if side.analysis is not None else {}
    if manifest.get("signal"):
        return {-int(manifest["signal"])}
    return set() if manifest.get("exit_code") is None else {int(manifest["exit_code"])}


def _exit_words(manifest: Mapping[str, Any]) -> str:
    if manifest.get("signal"):
        return _status_words(-int(manifest["signal"]))
    return _status_words(int(manifest["exit_code"])) if manifest.get("exit_code") else ""


def _status_words(status: int) -> str:
    return f"exit code {status}" if status > 0 else f"killed by signal {-status}"


def environment_counts(plan: Plan, side: Side) -> JsonObject | None:
    """What a cold client asks for paths at or under the environment, or for the image that holds it; None if not observed.

    Of an image it is what mounting it asked for the image file; what is inside is answered on the node.
    """
    if side.layout.kind in IMAGES:
        return side.mounting
    if side.analysis is None or side.analysis.requests is None:
        return None
    place = side.layout.where if side.in_place else plan.env
    return side.analysis.requests.environment(os.fsencode(os.path.realpath(place)))


def spread(values: Sequence[float]) -> JsonObject | None:
    """Median, least, greatest and every run; None without runs."""
    if not values:
        return None
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
        "runs": [round(value, 4) for value in values],
    }


def write(path: str, comparison: JsonObject, recordings: Mapping[str, bytes]) -> None:
    """Write a comparison with its traced runs as one file: section `recording.N` holds the recording of layout N."""
    sections: list[tuple[str, bytes]] = [("manifest", json.dumps(comparison, indent=1).encode())]
    sections.append(("layouts", json.dumps(list(recordings)).encode()))
    sections += [(f"recording.{i}", data) for i, data in enumerate(recordings.values())]
    file.write(path, "comparison", sections)


def extract(path: str, label: str, out: str) -> None:
    """Write the traced run of one layout out of a comparison's file as a recording of its own.

    Raises:
        BadInput: no comparison, or it has no such layout.
    """
    opened = Recording(path)
    if opened.kind != "comparison":
        raise BadInput(f"{path} is a {opened.kind}: it has no layouts", "`fsprobe compare -o FILE` writes one that has")
    try:
        labels = foreign_json.loads(b"".join(opened.section("layouts")) or b"[]")
        if misfit(labels, [TEXT]):
            raise ValueError
    except ValueError:
        raise BadInput(f"{path} is damaged: its section layouts can't be read", "compare again") from None
    if label not in labels:
        raise BadInput(f"{path} holds no recording of a layout {label}", f"it has: {', '.join(labels)}")
    with open(out, "wb") as target:
        for block in opened.section(f"recording.{labels.index(label)}"):
            target.write(block)
