"""The verdict: is it the filesystem? One sentence, a level, why, and what could not be seen.

Calls alone say little: a warm cache on the node answers ten thousand of them in a tenth of a second. So three things are
weighed. What the run waited for, as far as the tracer shows it. What one start asks of file servers, times the processes
of the job. And how fast it asks, against what support staff call too much. Thresholds: `findings.thresholds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fsprobe.analysis.counting.tally import quantile_ns
from fsprobe.analysis.findings.evidence import Evidence, n_ranks, plural
from fsprobe.analysis.findings.thresholds import cold_ms
from fsprobe.model.formats import JsonObject

NOT = "not the filesystem"
NOTICEABLE = "noticeable"
HEAVY = "heavy"
DANGER = "danger"
LEVELS = (NOT, NOTICEABLE, HEAVY, DANGER)
_OF_SEVERITY = {"info": NOTICEABLE, "warn": HEAVY, "critical": DANGER}
_MOSTLY_WAITING = 0.4
"""Share of the wall time from which on calls on local storage are worth a word: a judgement."""
_N_CHEAPEST = 20
_CPU_BOUND = 0.6
"""Share of the wall time that was CPU time from which on a run on local storage is called busy computing: a judgement."""


WAIT, START, RATE, COLD, MACHINE = "wait", "start", "rate", "cold", "machine"
"""What a reason is about: the time that calls took, their number, their rate, a start with empty caches, what else took time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that was weighed."""

    about: str
    level: str
    text: str
    n_processes: int = 1
    """How many processes it was multiplied by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A level and why, before it is put into a sentence."""

    level: str
    reasons: tuple[Reason, ...]
    """The worst first, what is harmless after it, what else took time last."""
    unseen: tuple[str, ...]


def verdict(evidence: Evidence) -> JsonObject:
    """Judge one run.

    Returns:
        {"level": one of `LEVELS`, "sentence": str, "reasons": [str], "unseen": [str]}
    """
    made = judge(evidence)
    reasons = [reason.text for reason in made.reasons]
    return {
        "level": made.level,
        "sentence": _not(evidence) if made.level == NOT else sentence(made.level, reasons[0]),
        "reasons": reasons,
        "unseen": list(made.unseen),
    }


def judge(evidence: Evidence) -> Judgement:
    """Weigh what one run did."""
    served = _served(evidence)
    found = _by_time(evidence, served)
    if served:
        found += _by_start(evidence, served) + _by_rate(evidence, served) + _by_cold_start(evidence, served)
    found.sort(key=lambda reason: -LEVELS.index(reason.level))
    return Judgement(
        level=found[0].level if found else NOT,
        reasons=(*found, *_beside(evidence)),
        unseen=tuple(unseen(evidence)),
    )


def sentence(level: str, reason: str) -> str:
    """The verdict in one sentence, for a level other than `NOT`."""
    words = {
        NOTICEABLE: "The filesystem is noticeable",
        HEAVY: "The filesystem load is heavy",
        DANGER: "This is a danger to the shared filesystem",
    }
    return f"{words[level]}: {reason}."


def _rows(evidence: Evidence) -> list[Mapping[str, Any]]:
    rows = evidence.profile["metrics"].get("by_mount") or []
    return [row for row in rows if row.get("fs_class") != "pseudo"]


def _served(evidence: Evidence) -> list[Mapping[str, Any]]:
    """The mounts that a file server answers for, the busiest first; unknown ones only where they answer as slowly as one."""
    slow_ms = evidence.thresholds["slow_call_ms"].info
    return [
        row
        for row in _rows(evidence)
        if row.get("fs_class") == "network" or (row.get("fs_class") is None and (row.get("p50_ms") or 0.0) >= slow_ms)
    ]


def _n_calls(rows: list[Mapping[str, Any]]) -> int:
    return sum(int(row["n_metadata"]) for row in rows)


def _waited(evidence: Evidence, rows: list[Mapping[str, Any]]) -> tuple[float, float] | None:
    """What calls on some mounts took at most: (share of the wall time, s), of several processes at once, per process.

    What the run's own cheapest calls took is the tracer's cost and taken off each call and the wall time.
    """
    metrics, manifest = evidence.profile["metrics"], evidence.profile["manifest"]
    floor_s, wall_s = _floor_s(evidence), manifest.get("wall_s")
    if floor_s is None or not wall_s:
        return None
    n_parallel = _n_parallel(evidence)
    time_s = sum(max(0.0, (row.get("time_s") or 0.0) - floor_s * row["n_metadata"]) for row in rows)
    waited_s = float(time_s / n_parallel)
    untraced_s = max(float(wall_s) - floor_s * metrics["n_metadata"] / n_parallel, waited_s, 1e-9)
    return waited_s / untraced_s, waited_s


def _floor_s(evidence: Evidence) -> float | None:
    """What the tracer adds to a call, as the run's cheap calls show it.

    The profile takes the 10th percentile. Where nearly all calls wait for a server that is such a wait itself, so it is
    held to three times what the cheapest few took.
    """
    floor_us = evidence.profile["metrics"].get("tracer_floor_us")
    if floor_us is None:
        return None
    n = sum(evidence.tally.floor.values())
    cheapest_ns = quantile_ns(evidence.tally.floor, min(1.0, _N_CHEAPEST / n)) if n else None
    return float(floor_us) / 1e6 if cheapest_ns is None else min(float(floor_us) / 1e6, 3 * cheapest_ns / 1e9)


def _n_parallel(evidence: Evidence) -> float:
    """How many processes made calls at the same time: the mean over calls of the processes active in the same 0.1 s."""
    active: dict[int, set[int]] = {}
    n_by_bin: dict[int, int] = {}
    for process in evidence.tally.by_process.values():
        for number, n in process.n_metadata_by_bin.items():
            active.setdefault(number, set()).add(process.pid)
            n_by_bin[number] = n_by_bin.get(number, 0) + n
    total = sum(n_by_bin.values())
    return max(1.0, sum(n * len(active[number]) for number, n in n_by_bin.items()) / total) if total else 1.0


def _by_time(evidence: Evidence, served: list[Mapping[str, Any]]) -> list[Reason]:
    found = []
    waited = _waited(evidence, served) if served else None
    if waited is not None:
        reason = f"calls on {_names(served)} took at most {waited[1]:.2g} s, {waited[0]:.0%} of the wall time"
        found.append(Reason(about=WAIT, level=_level_of_wait(evidence, *waited), text=reason))
    others = [row for row in _rows(evidence) if row not in served]
    waited = _waited(evidence, others) if others else None
    if waited is None:
        return found
    reason = f"calls on local disks, memory and images took at most {waited[1]:.2g} s, {waited[0]:.0%} of the wall time"
    is_waiting = (
        _level_of_wait(evidence, *waited) != NOT and waited[0] >= _MOSTLY_WAITING and not _is_computing(evidence)
    )
    # never worse than noticeable: nobody else waits for this machine's own disk
    return [*found, Reason(about=WAIT, level=NOTICEABLE if is_waiting else NOT, text=reason)]


def _level_of_wait(evidence: Evidence, share: float, wait_s: float) -> str:
    """A large share of a short time is as harmless as a small share of a long one: both must be reached."""
    by_share, by_time = evidence.thresholds["share_time"].level(share), evidence.thresholds["wait_s"].level(wait_s)
    if by_share is None or by_time is None:
        return NOT
    return min(_OF_SEVERITY[by_share], _OF_SEVERITY[by_time], key=LEVELS.index)


def _is_computing(evidence: Evidence) -> bool:
    """Whether processors were busy for most of the time: then calls are not what a run waits for."""
    manifest = evidence.profile["manifest"]
    cpu_s = float(manifest.get("user_s") or 0.0) + float(manifest.get("sys_s") or 0.0)
    return bool(manifest.get("wall_s")) and cpu_s / float(manifest["wall_s"]) >= _CPU_BOUND


def _by_start(evidence: Evidence, served: list[Mapping[str, Any]]) -> list[Reason]:
    n = _start_calls(evidence, served)
    ranks = n_ranks(evidence)
    severity = evidence.thresholds["start_calls"].level(n * ranks)
    if severity is None:
        return []
    times = f" x {ranks:,} processes = {n * ranks:,}" if ranks > 1 else ""
    text = f"a start makes {plural(n, 'metadata call')} on {_names(served)}{times}"
    return [Reason(about=START, level=_OF_SEVERITY[severity], text=text, n_processes=ranks)]


def _start_calls(evidence: Evidence, served: list[Mapping[str, Any]]) -> int:
    """Calls on servers until the last import has ended: the tally has phases and mounts apart, so their shares are multiplied."""
    metrics = evidence.profile["metrics"]
    total = metrics["n_metadata"]
    return round(_n_calls(served) * metrics.get("n_startup", total) / total) if total else 0


def _by_rate(evidence: Evidence, served: list[Mapping[str, Any]]) -> list[Reason]:
    metrics = evidence.profile["metrics"]
    rates = metrics["rates"]
    total = metrics["n_metadata"]
    if rates.get("sustained_metadata_per_s") is None or not total:
        return []
    share = _n_calls(served) / total
    ranks = n_ranks(evidence)
    found = []
    per_s = rates["sustained_metadata_per_s"] * share * ranks
    severity = evidence.thresholds["sustained_calls_per_s"].level(per_s)
    if severity:
        text = f"{per_s:,.0f} metadata calls/s over 10 s" + (f" by {ranks:,} processes" if ranks > 1 else "")
        found.append(Reason(about=RATE, level=_OF_SEVERITY[severity], text=text, n_processes=ranks))
    opens = sum(int(row["n_open"]) for row in served) / max(1, int(metrics["n_open"]))
    opens_per_s = rates["sustained_open_per_s_process"] * opens
    severity = evidence.thresholds["sustained_opens_per_s_process"].level(opens_per_s)
    if severity:
        text = f"one process opens {opens_per_s:,.0f} files/s over 10 s"
        found.append(Reason(about=RATE, level=_OF_SEVERITY[severity], text=text))
    return found


def _by_cold_start(evidence: Evidence, served: list[Mapping[str, Any]]) -> list[Reason]:
    """What the same would wait with empty caches: by published latencies, so never more than noticeable."""
    wait_s = 0.0
    sources = []
    for row in served:
        ms, source = cold_ms(str(row.get("fstype") or ""))
        wait_s += _n_cold(evidence, row) * ms / 1e3
        if source not in sources:
            sources.append(source)
    if evidence.thresholds["cold_wait_s"].level(wait_s) is None:
        return []
    text = f"with empty caches the same start may wait {wait_s:,.0f} s (estimated; {sources[0]})"
    return [Reason(about=COLD, level=NOTICEABLE, text=text)]


def _n_cold(evidence: Evidence, row: Mapping[str, Any]) -> int:
    """What a cold client asks of a mount: the predicted requests, else the opens (the published figures are per open)."""
    by_mount = (evidence.profile.get("requests") or {}).get("by_mount") or {}
    predicted = by_mount.get(row["key"])
    # the published figures are seconds per open or listing, look-ups included
    if predicted:
        return int((predicted.get("open") or 0) + (predicted.get("opendir") or 0) + (predicted.get("negative") or 0))
    return int(row["n_open"])


def _names(rows: list[Mapping[str, Any]]) -> str:
    shown = [f"{row['key']} ({row.get('fstype') or 'not known'})" for row in rows[:2]]
    return " and ".join(shown) + (f" and {len(rows) - 2} more" if len(rows) > 2 else "")


def _not(evidence: Evidence) -> str:
    """The sentence where it is not the filesystem."""
    metrics, served = evidence.profile["metrics"], _served(evidence)
    if not served:
        n = metrics["n_metadata"]
        return f"It is not the filesystem: {plural(n, 'metadata call')}, none of them to a file server."
    calls = f"{plural(_n_calls(served), 'metadata call')} on {_names(served)}"
    if metrics.get("fs_time_s") is None:
        return f"By number it is not the filesystem: {calls}; how long they took was not observed."
    return (
        f"It is not the filesystem in this run: {calls}, and they took little of the time; with empty caches or many processes "
        "it may be."
    )


def _beside(evidence: Evidence) -> list[Reason]:
    """What else took the time: CPU, wall, page faults and bytes."""
    manifest = evidence.profile["manifest"]
    parts = []
    if manifest.get("wall_s") is not None:
        cpu = (manifest.get("user_s") or 0.0) + (manifest.get("sys_s") or 0.0)
        has_cpu = manifest.get("user_s") is not None
        parts.append(f"{manifest['wall_s']:.2f} s wall" + (f", {cpu:.2f} s CPU (user + system)" if has_cpu else ""))
    if manifest.get("majflt") is not None:
        parts.append(plural(int(manifest["majflt"]), "major page fault"))
    if manifest.get("read_bytes") is not None:
        parts.append(f"{manifest['read_bytes'] / 1e6:,.1f} MB read")
    where = "under the hooks" if manifest.get("backend") == "audit" else "under the tracer"
    return [Reason(about=MACHINE, level=NOT, text=f"{where}: " + ", ".join(parts))] if parts else []


def unseen(evidence: Evidence) -> list[str]:
    """What this recording can't show."""
    manifest, metrics = evidence.profile["manifest"], evidence.profile["metrics"]
    quality = evidence.profile.get("quality") or {}
    observes = manifest.get("observes")
    found = ["pages of shared libraries that are read when they are first touched: a page fault is no call"]
    if manifest.get("cache") in (None, "unknown"):
        found.append("whether caches were warm: a second run on the same node waits less, a first one on another more")
    if metrics.get("fs_time_s") is None or metrics.get("tracer_floor_us") is None:
        found.append("how long calls took: the log has no durations or no wall time")
    if not any(row.get("fs_class") for row in metrics.get("by_mount") or []):
        found.append("on which filesystems the paths lie: no mount table")
    if observes is not None and "loader" not in observes:
        found.append("what the dynamic loader and programs other than Python looked up")
        found.append("interpreters under -I, -E, -S or without the environment, and what ran before site")
    if metrics.get("by_module") is None:
        found.append("which import made which call: no markers")
    if manifest.get("privileged"):
        found.append("programs with raised privileges: tracing takes these away")
    if manifest.get("descendants_left"):
        found.append("what processes did that outlived the command")
    if manifest.get("log_truncated"):
        found.append("the end of the run: the log was cut off")
    if quality.get("io_uring"):
        found.append("operations that were handed over by io_uring")
    if evidence.requests is None and _served(evidence):
        found.append("how many calls a client's cache answers: requests were not predicted")
    return found
