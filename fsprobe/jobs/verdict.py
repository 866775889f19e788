"""The verdict on a job: that on its average rank, times its processes, with the rates of all of them on the common clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from fsprobe.analysis.counting.rates import SUSTAINED_S
from fsprobe.analysis.counting.tally import ProcessTally, Tally
from fsprobe.analysis.findings.evidence import Evidence, plural
from fsprobe.analysis.time.sums import average
from fsprobe.analysis.verdict import CAN_NOT_TELL, MACHINE, NOT, WAIT, Reason, can_not_tell, judge, sentence
from fsprobe.jobs.alike_ranks import launched
from fsprobe.jobs.sums import OWN, SHARED
from fsprobe.model.job import Job
from fsprobe.model.profile import Metrics, Profile, Verdict
from fsprobe.model.requests import RequestRow, total_of
from fsprobe.model.rows import CallCounts, MountRow, sum_of

C = TypeVar("C", bound=CallCounts)
_COUNTS = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found")


def job_verdict(evidence: Evidence, processes: Mapping[str, ProcessTally]) -> Verdict:
    """Judge a job.

    The rules of a single run hold for what one process does; so they are asked of the average of the traced ranks, with the
    number of all ranks as the number of processes. The rate is that of all together, as measured where all were traced.

    Args:
        evidence: the whole: its tally, its profile with the section `job`, its requests.
        processes: those of one rank that stands for most: how many of them work at the same time.
    """
    profile = evidence.profile
    job = profile.of_job
    average = replace(
        evidence,
        tally=Tally(floor=evidence.tally.floor, by_process=dict(processes)),
        profile=average_rank(profile, job.n_ranks or job.n_recordings),
    )
    made = judge(average)
    said = [_of_a_rank(reason, job) for reason in made.reasons if reason.about != MACHINE]
    served = _served(profile)
    if made.level == CAN_NOT_TELL:
        words = can_not_tell(average)
    else:
        words = _not(profile, served) if made.level == NOT else sentence(made.level, said[0])
    return Verdict(
        level=made.level,
        sentence=words,
        reasons=(
            *said,
            *_requests(profile, served),
            *_rates(profile),
            *(_of_a_rank(reason, job) for reason in made.reasons if reason.about == MACHINE),
        ),
        unseen=made.unseen,
    )


def average_rank(profile: Profile, n_processes: int) -> Profile:
    """A job's profile as that of its average rank; its variables say that there are `n_processes` of them."""
    manifest, job, requests = profile.manifest, profile.of_job, profile.requests
    n, n_nodes = job.n_recordings, max(1, job.n_nodes_traced)
    walls = [row.wall_s for row in job.ranks if row.wall_s is not None]
    return replace(
        profile,
        manifest=replace(
            manifest,
            wall_s=sum(walls) / len(walls) if walls else None,
            user_s=_mean(manifest.user_s, n),
            sys_s=_mean(manifest.sys_s, n),
            read_bytes=round(manifest.read_bytes / n) if manifest.read_bytes is not None else None,
            job=launched(n_processes=n_processes),
        ),
        metrics=_average(profile.metrics, n),
        time=average(profile.time) if profile.time is not None else None,
        requests=replace(requests, by_mount=tuple(_cold(row, n, n_nodes) for row in requests.by_mount))
        if requests is not None
        else None,
    )


def _average(metrics: Metrics, n: int) -> Metrics:
    rates = metrics.rates
    return replace(
        _mean_row(metrics, n),
        by_phase=tuple(_mean_row(row, n) for row in metrics.by_phase),
        by_mount=tuple(_mean_row(row, n) for row in metrics.by_mount),
        rates=replace(
            rates,
            peak_metadata_per_s=_mean(rates.peak_metadata_per_s, n),
            sustained_metadata_per_s=_mean(rates.sustained_metadata_per_s, n),
            peak_open_per_s=_mean(rates.peak_open_per_s, n),
            sustained_open_per_s=_mean(rates.sustained_open_per_s, n),
        ),
    )


def _mean(value: float | None, n: int) -> float | None:
    return None if value is None else value / n


def _mean_row(row: C, n: int) -> C:
    return replace(row, **{name: round(getattr(row, name) / n) for name in _COUNTS}, time_s=_mean(row.time_s, n))


def _cold(row: RequestRow, n: int, n_nodes: int) -> RequestRow:
    """What one rank waits for on a cold node: all that the node's ranks share, and its own."""
    shared = {name: round(getattr(row, name) / n_nodes) for name in SHARED if name not in ("read", "unread")}
    if not row.operations:
        return replace(row, **shared, **{name: round(getattr(row, name) / n) for name in OWN})
    # a client of NFS or Lustre: the first rank of a node asks for everything, the others for what is asked once more
    own = {name: round(getattr(row, name) / n_nodes) for name in (*OWN, "other")}
    further = (n - n_nodes) * row.n_again / n_nodes + (row.settling if n > n_nodes else 0)
    for name in ("other", "open", "opendir"):
        taken = min(own[name], max(0, round(further / n_nodes)))
        own[name] -= taken
        further -= taken * n_nodes
    return replace(row, **shared, **own)


def _of_a_rank(reason: Reason, job: Job) -> str:
    if reason.about == WAIT:
        return f"in an average rank, {reason.text}"
    if reason.about == MACHINE:
        return f"in an average rank {reason.text}"
    n = job.n_recordings
    if reason.n_processes > n:
        return f"{reason.text}, scaled from the {n:,} that were traced"
    return reason.text


def _served(profile: Profile) -> list[MountRow]:
    return [row for row in profile.metrics.by_mount if row.fs_class == "network"]


def _requests(profile: Profile, served: Sequence[MountRow]) -> list[str]:
    """What cold nodes ask file servers for, all together: the number that a site's administrators can compare."""
    keys = {row.key for row in served}
    rows = [row for row in profile.requests.by_mount if row.key in keys] if profile.requests is not None else []
    if not rows:
        return []
    job = profile.of_job
    who = plural(job.n_recordings, "traced process", "traced processes")
    return [
        f"{who} on {plural(job.n_nodes_traced, 'cold node')} {'asks' if job.n_recordings == 1 else 'ask'} file servers for "
        f"{plural(total_of(rows).n_metadata, 'metadata request')} (predicted)"
    ]


def _rates(profile: Profile) -> list[str]:
    rates = profile.metrics.rates
    if rates.peak_metadata_per_s is None or rates.sustained_metadata_per_s is None:
        return []
    return [
        f"all together made {rates.peak_metadata_per_s:,.0f} metadata calls in the busiest second, "
        f"{rates.sustained_metadata_per_s * SUSTAINED_S:,.0f} in the busiest {SUSTAINED_S} s, to all filesystems"
    ]


def _not(profile: Profile, served: Sequence[MountRow]) -> str:
    job, metrics = profile.of_job, profile.metrics
    who = f"of {plural(job.n_recordings, 'rank')} on {plural(job.n_nodes_traced, 'node')}"
    if not served:
        return f"It is not the filesystem: {plural(metrics.n_metadata, 'metadata call')} {who}, none of them to a file server."
    n = sum_of(served).n_metadata
    if metrics.time_s is None:
        return (
            f"By number it is not the filesystem: {plural(n, 'metadata call')} {who} to file servers; how long they took was "
            "not observed."
        )
    return (
        f"It is not the filesystem in this job: {plural(n, 'metadata call')} {who} to file servers, and they took little of the "
        "time; with empty caches or many more processes it may be."
    )
