"""The verdict on a job: that on its average rank, times its processes, with the rates of all of them on the common clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fsprobe.analysis.counting.tally import ProcessTally, Tally
from fsprobe.analysis.findings.evidence import Evidence, plural
from fsprobe.analysis.verdict import MACHINE, NOT, WAIT, Reason, judge, sentence
from fsprobe.jobs.alike_ranks import launched
from fsprobe.jobs.sums import OWN, SHARED
from fsprobe.model.formats import JsonObject

_COUNTS = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_missing", "n_metadata")


def job_verdict(evidence: Evidence, processes: Mapping[str, ProcessTally]) -> JsonObject:
    """Judge a job.

    The rules of a single run hold for what one process does; so they are asked of the average of the traced ranks, with the
    number of all ranks as the number of processes. The rate is that of all together, as measured where all were traced.

    Args:
        evidence: the whole: its tally, its profile with the section `job`, its requests.
        processes: those of one rank that stands for most: how many of them work at the same time.

    Returns:
        As `verdict.verdict`.
    """
    profile = evidence.profile
    job = profile["job"]
    n_ranks = job["n_ranks"] or job["n_recordings"]
    average = replace(
        evidence,
        tally=Tally(floor=evidence.tally.floor, by_process=dict(processes)),
        profile=average_rank(profile, n_ranks),
    )
    made = judge(average)
    said = [_of_a_rank(reason, job) for reason in made.reasons if reason.about != MACHINE]
    served = _served(profile)
    return {
        "level": made.level,
        "sentence": _not(profile, served) if made.level == NOT else sentence(made.level, said[0]),
        "reasons": [
            *said,
            *_requests(profile, served),
            *_rates(profile),
            *(_of_a_rank(reason, job) for reason in made.reasons if reason.about == MACHINE),
        ],
        "unseen": list(made.unseen),
    }


def average_rank(profile: JsonObject, n_processes: int) -> JsonObject:
    """A job's profile as that of its average rank; its variables say that there are `n_processes` of them."""
    metrics, manifest, job = profile["metrics"], profile["manifest"], profile["job"]
    n, n_nodes = job["n_recordings"], max(1, job["n_nodes_traced"])
    rates = dict(metrics["rates"])
    for name in ("peak_metadata_per_s", "sustained_metadata_per_s", "peak_open_per_s", "sustained_open_per_s"):
        rates[name] = rates[name] / n if rates.get(name) is not None else None
    walls = [row["wall_s"] for row in job["ranks"] if row["wall_s"] is not None]
    requests = profile["requests"]
    return {
        **profile,
        "manifest": {
            **manifest,
            "wall_s": sum(walls) / len(walls) if walls else None,
            "user_s": _mean(manifest["user_s"], n),
            "sys_s": _mean(manifest["sys_s"], n),
            "read_bytes": round(_mean(manifest["read_bytes"], n)) if manifest["read_bytes"] is not None else None,
            "job": launched(n_processes=n_processes),
        },
        "metrics": {
            **metrics,
            **{name: round(metrics[name] / n) for name in (*_COUNTS, "n_startup")},
            "fs_time_s": _mean(metrics["fs_time_s"], n),
            "by_mount": [_mean_row(row, n) for row in metrics["by_mount"]],
            "rates": rates,
        },
        "requests": {**requests, "by_mount": {key: _cold(row, n, n_nodes) for key, row in requests["by_mount"].items()}}
        if requests
        else requests,
    }


def _mean(value: float | None, n: int) -> Any:
    return None if value is None else value / n


def _mean_row(row: JsonObject, n: int) -> JsonObject:
    return {**row, **{name: round(row[name] / n) for name in _COUNTS}, "time_s": _mean(row["time_s"], n)}


def _cold(row: JsonObject, n: int, n_nodes: int) -> JsonObject:
    """What one rank waits for on a cold node: all that the node's ranks share, and its own."""
    made = dict(row)
    for names, divisor in ((SHARED, n_nodes), (OWN, n)):
        made.update({name: round(row[name] / divisor) for name in names if row.get(name) is not None})
    return made


def _of_a_rank(reason: Reason, job: JsonObject) -> str:
    if reason.about == WAIT:
        return f"in an average rank, {reason.text}"
    if reason.about == MACHINE:
        return f"in an average rank {reason.text}"
    n = job["n_recordings"]
    if reason.n_processes > n:
        return f"{reason.text}, scaled from the {n:,} that were traced"
    return reason.text


def _served(profile: JsonObject) -> list[JsonObject]:
    return [row for row in profile["metrics"]["by_mount"] if row.get("fs_class") == "network"]


def _requests(profile: JsonObject, served: Sequence[JsonObject]) -> list[str]:
    """What cold nodes ask file servers for, all together: the number that a site's administrators can compare."""
    by_mount = (profile["requests"] or {}).get("by_mount") or {}
    asked = [by_mount[row["key"]]["metadata"] for row in served if row["key"] in by_mount]
    if not asked:
        return []
    job = profile["job"]
    who = plural(job["n_recordings"], "traced process", "traced processes")
    return [
        f"{who} on {plural(job['n_nodes_traced'], 'cold node')} ask file servers for "
        f"{plural(sum(asked), 'metadata request')} (predicted)"
    ]


def _rates(profile: JsonObject) -> list[str]:
    rates = profile["metrics"]["rates"]
    if rates.get("peak_metadata_per_s") is None:
        return []
    return [
        f"all together made {rates['peak_metadata_per_s']:,.0f} metadata calls/s in the busiest second, "
        f"{rates['sustained_metadata_per_s']:,.0f}/s over 10 s, to all filesystems"
    ]


def _not(profile: JsonObject, served: Sequence[JsonObject]) -> str:
    job, metrics = profile["job"], profile["metrics"]
    who = f"of {plural(job['n_recordings'], 'rank')} on {plural(job['n_nodes_traced'], 'node')}"
    if not served:
        return f"It is not the filesystem: {plural(metrics['n_metadata'], 'metadata call')} {who}, none of them to a file server."
    n = sum(row["n_metadata"] for row in served)
    if metrics.get("fs_time_s") is None:
        return (
            f"By number it is not the filesystem: {plural(n, 'metadata call')} {who} to file servers; how long they took was "
            "not observed."
        )
    return (
        f"It is not the filesystem in this job: {plural(n, 'metadata call')} {who} to file servers, and they took little of the "
        "time; with empty caches or many more processes it may be."
    )
