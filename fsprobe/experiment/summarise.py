"""What an experiment came to, as JSON (Contract: Comparison JSON), and the file that holds it."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields

from fsprobe import foreign_json
from fsprobe.analysis.counting.tally import opens_below
from fsprobe.capture.machine import host
from fsprobe.errors import BadInput
from fsprobe.experiment import significance
from fsprobe.experiment.plan import BASELINE, Plan, Run, Side, State
from fsprobe.model.comparison import IMAGE_KINDS, Comparison, CpuSpread, LayoutCounts, LayoutRow, Spread
from fsprobe.model.formats import text
from fsprobe.model.manifest import Manifest, signal_name
from fsprobe.model.profile import Metrics
from fsprobe.model.requests import RequestCounts
from fsprobe.recording import file
from fsprobe.recording.file import Recording
from fsprobe.recording.shapes import TEXT, misfit
from fsprobe.recording.stored import as_section


def summarise(plan: Plan, state: State) -> Comparison:
    """The comparison so far; layouts that were not traced yet are not in it."""
    traced = [side for side in state.sides if side.analysis is not None]
    base = traced[0]
    assert base.analysis is not None
    rows = []
    for cache in state.caches:
        of_base = [run for run in state.runs if run.layout == BASELINE and run.cache == cache]
        for side in traced:
            runs = [run for run in state.runs if run.layout == side.layout.label and run.cache == cache]
            rows.append(_row(plan, side, base, cache, runs, of_base, state))
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
        if side.layout.kind in IMAGE_KINDS and side.mounting is None:
            notes.append(
                f"what {side.layout.label} asks for its image was not observed: mounting it can't be traced here"
            )
    notes[:0] = failure_notes(plan, state)
    if state.interrupted:
        notes.insert(0, f"interrupted ({state.interrupted}) after {len(state.runs)} timed runs: these are in here")
    return Comparison(
        baseline=BASELINE,
        environment=text(os.fsencode(plan.env)),
        command=tuple(plan.command),
        date=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        host=host.facts(os.environ),
        n_runs=plan.n_runs,
        make_cold=plan.make_cold,
        order=tuple((run.layout, run.cache) for run in state.runs),
        interrupted=state.interrupted or None,
        counted_by=state.counted_by or None,
        notes=tuple(notes),
        rows=tuple(rows),
        differences=differences,
    )


def _row(
    plan: Plan, side: Side, base: Side, cache: str, runs: Sequence[Run], of_base: Sequence[Run], state: State
) -> LayoutRow:
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
    # Lustre's files name an operation from its first time on: what a run does not have, it did not ask
    names = dict.fromkeys(name for server in servers for name in server)
    counted = {name: spread_of([server.get(name, 0) for server in servers]) for name in names} if servers else None
    requests = side.analysis.profile.requests
    return LayoutRow(
        layout=side.layout.label,
        kind=side.layout.kind,
        where=text(os.fsencode(side.layout.where)),
        is_made=side.layout.label in plan.copies,
        fstype=side.layout.fstype,
        mount_how=side.layout.mount_how,
        in_place=bool(side.in_place),
        cache=cache,
        wall_s=spread([run.wall_s for run in runs]),
        cpu_s=cpu_spread(runs),
        majflt=spread([run.majflt for run in runs]),
        exit_codes=tuple(sorted({run.exit_status for run in runs} | _traced_codes(side))),
        metrics=layout_counts(side.analysis.profile.metrics),
        requests=None if requests is None else requests.by_mount,
        environment_requests=counts,
        n_environment_opens=environment_opens(plan, side),
        server_requests=None if state.counted_by else counted,
        # what this node's kernel counted, for all its programs together: not the same thing as what a server was asked
        client_counters=counted if state.counted_by else None,
        counted_mount=state.counted_mount,
        counted_mounts=counted_mounts(side, state),
        ratio_wall=None if verdict is None else round(verdict.ratio, 4),
        ratio_wall_low=None if verdict is None else round(verdict.low, 4),
        ratio_wall_high=None if verdict is None else round(verdict.high, 4),
        p=None if verdict is None else round(verdict.p, 5),
        ratio_requests=ratio_of_requests(counts, base_counts),
        clear=None if verdict is None else verdict.clear,
        verdict=words,
    )


def counted_mounts(side: Side, state: State) -> tuple[str, ...]:
    """The mounts in a layout whose requests that client counts: bound to another place, a directory is still its own."""
    found = {state.counted_mount: None} if state.counted_mount else {}
    if side.analysis is not None and side.analysis.requests is not None and state.counted_device is not None:
        for mount in side.analysis.requests.mount_of.values():
            if mount is not None and _is_part((mount.fstype, mount.source), state.counted_device):
                found[text(mount.path)] = None
    return tuple(found)


def _is_part(one: tuple[str, bytes], other: tuple[str, bytes]) -> bool:
    """Whether one is mounted from the other's device, or from a directory of it, as NFS then names it (nfs_show_devname)."""
    above, below = sorted((one[1].rstrip(b"/"), other[1].rstrip(b"/")), key=len)
    return one[0] == other[0] and (below == above or below.startswith(above + b"/"))


def layout_counts(metrics: Metrics) -> LayoutCounts:
    """What a comparison keeps of a run's totals."""
    return LayoutCounts(**{field.name: getattr(metrics, field.name) for field in fields(LayoutCounts)})


def ratio_of_requests(counts: RequestCounts | None, baseline: RequestCounts | None) -> float | None:
    """The requests of a layout over those of the baseline; None where there is nothing to divide."""
    if counts is None or baseline is None or not baseline.n_metadata:
        return None
    return round(counts.n_metadata / baseline.n_metadata, 6)


def cpu_spread(runs: Sequence[Run]) -> CpuSpread | None:
    """CPU seconds of runs; None without runs."""
    beside = [run.beside_s for run in runs if run.beside_s is not None]
    if not runs:
        return None
    return CpuSpread(
        user=spread([run.user_s for run in runs]),
        sys=spread([run.sys_s for run in runs]),
        around=spread(beside) if len(beside) == len(runs) else None,
    )


def failure_notes(plan: Plan, state: State) -> list[str]:
    """Of each layout in which the command failed: how often, with what, and where to read why."""
    notes = []
    for side in state.sides:
        if side.analysis is None:
            continue
        label = side.layout.label
        traced = _exit_words(side.analysis.profile.manifest)
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
    manifest = side.analysis.profile.manifest if side.analysis is not None else Manifest()
    if manifest.signal:
        return {-manifest.signal}
    return set() if manifest.exit_code is None else {manifest.exit_code}


def _exit_words(manifest: Manifest) -> str:
    if manifest.signal:
        return _status_words(-manifest.signal)
    return _status_words(manifest.exit_code) if manifest.exit_code else ""


def _status_words(status: int) -> str:
    return f"exit code {status}" if status > 0 else f"killed by {signal_name(-status)}"


def environment_counts(plan: Plan, side: Side) -> RequestCounts | None:
    """What a cold client asks for paths at or under the environment, or for the image that holds it; None if not observed.

    Of an image it is what mounting it asked for the image file; what is inside is answered on the node.
    """
    if side.layout.kind in IMAGE_KINDS:
        return side.mounting
    if side.analysis is None or side.analysis.requests is None:
        return None
    place = side.layout.where if side.in_place else plan.env
    return side.analysis.requests.environment(os.fsencode(os.path.realpath(place)))


def environment_opens(plan: Plan, side: Side) -> int | None:
    """Open calls of one start for paths at or under the environment; None if not observed."""
    if side.analysis is None:
        return None
    return opens_below(side.analysis.tally, os.fsencode(str(side.layout.where if side.in_place else plan.env)))


def spread(values: Sequence[float]) -> Spread | None:
    """Median, least, greatest and every run; None without runs."""
    return spread_of(values) if values else None


def spread_of(values: Sequence[float]) -> Spread:
    """Median, least, greatest and every run of at least one."""
    return Spread(
        median=round(statistics.median(values), 4),
        min=round(min(values), 4),
        max=round(max(values), 4),
        runs=tuple(round(value, 4) for value in values),
    )


def write(path: str, comparison: Comparison, recordings: Mapping[str, bytes]) -> None:
    """Write a comparison with its traced runs as one file: section `recording.N` holds the recording of layout N."""
    sections: list[tuple[str, bytes]] = [("manifest", b"".join(as_section(comparison)))]
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
        labels = foreign_json.loads(opened.whole("layouts") or b"[]")
        if misfit(labels, [TEXT]):
            raise ValueError
    except ValueError:
        raise BadInput(f"{path} is damaged: its section layouts can't be read", "compare again") from None
    if label not in labels:
        raise BadInput(f"{path} holds no recording of a layout {label}", f"it has: {', '.join(labels)}")
    with open(out, "wb") as target:
        for block in opened.section(f"recording.{labels.index(label)}"):
            target.write(block)
