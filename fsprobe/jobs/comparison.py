"""Two jobs side by side: did their ranks make the same calls, and what do their nodes ask the file servers for."""

from __future__ import annotations

from fsprobe.jobs.verdict import job_of
from fsprobe.model.comparison import JobsComparison, MountPair, MountSide, PackagePair, Pair, RequestPair
from fsprobe.model.profile import Profile

COUNTS = ("n_metadata", "n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found")
RATES = ("peak_metadata_per_s", "sustained_metadata_per_s", "peak_open_per_s")
N_PACKAGES = 10
IMAGE_NOTE = (
    "what an image answers is no request to a server: only the image is opened there, and its blocks are read, by the node's "
    "mount (2 metadata requests a node, in neither number)"
)


def compare_jobs(baseline: Profile, other: Profile) -> JobsComparison:
    """Compare two profiles of kind "job"; each ratio is the other's over the baseline's."""
    counts = {
        name: Pair(baseline=getattr(baseline.metrics, name), other=getattr(other.metrics, name)) for name in COUNTS
    }
    jobs = (job_of(baseline), job_of(other))
    n_ranks = [job.n_recordings for job in jobs]
    is_alike = n_ranks[0] == n_ranks[1] and jobs[0].n_nodes_traced == jobs[1].n_nodes_traced
    return JobsComparison(
        same_calls=all(pair.baseline == pair.other for pair in counts.values()),
        alike=is_alike,
        counts=counts,
        per_rank={
            name: Pair(
                baseline=getattr(baseline.metrics, name) / n_ranks[0], other=getattr(other.metrics, name) / n_ranks[1]
            )
            for name in COUNTS
        },
        requests=_requests(baseline, other),
        by_mount=_mounts(baseline, other),
        by_package=_packages(baseline, other),
        rates={
            name: Pair(baseline=getattr(baseline.metrics.rates, name), other=getattr(other.metrics.rates, name))
            for name in RATES
        },
        notes=tuple(_notes(baseline, other, is_alike)),
    )


def _requests(baseline: Profile, other: Profile) -> RequestPair | None:
    left, right = baseline.n_requests, other.n_requests
    if left is None or right is None:
        return None
    return RequestPair(
        baseline=left,
        other=right,
        ratio=round(right / left, 6) if left else None,
        baseline_node=round(left / max(1, job_of(baseline).n_nodes_traced)),
        other_node=round(right / max(1, job_of(other).n_nodes_traced)),
    )


def _mounts(baseline: Profile, other: Profile) -> tuple[MountPair, ...]:
    """Each mount with its type on either side, and calls and requests there, the busiest first."""
    rows = []
    for key in dict.fromkeys(row.key for side in (baseline, other) for row in side.metrics.by_mount):
        known = [row for side in (baseline, other) if (row := side.metrics.mount(key)) is not None]
        if all(row.fs_class == "pseudo" for row in known):
            continue
        rows.append(
            MountPair(
                key=key,
                fs_class=known[-1].fs_class,
                fstype=known[-1].fstype,
                baseline=_mount_side(baseline, key),
                other=_mount_side(other, key),
            )
        )
    return tuple(sorted(rows, key=lambda row: -max(row.baseline.n_metadata, row.other.n_metadata)))


def _mount_side(side: Profile, key: str) -> MountSide:
    row = side.metrics.mount(key)
    return MountSide(
        fstype=row.fstype if row is not None else None,
        n_metadata=row.n_metadata if row is not None else 0,
        n_requests=side.requests.n_at_server(key) if side.requests is not None else None,
    )


def _packages(baseline: Profile, other: Profile) -> tuple[PackagePair, ...]:
    """The packages whose calls differ most."""
    tables = [{row.key: row.n_metadata for row in side.metrics.by_package} for side in (baseline, other)]
    rows = [
        PackagePair(key=key, baseline=tables[0].get(key, 0), other=tables[1].get(key, 0))
        for key in dict.fromkeys([*tables[0], *tables[1]])
    ]
    differing = [row for row in rows if row.baseline != row.other]
    return tuple(sorted(differing, key=lambda row: (-abs(row.other - row.baseline), row.key))[:N_PACKAGES])


def _notes(baseline: Profile, other: Profile, is_alike: bool) -> list[str]:
    notes = ["each job was traced once: its times say nothing, its calls do"]
    if not is_alike:
        notes.append(
            "not the same number of ranks or nodes was traced in both: compare what a rank does, not the totals"
        )
    for words, side in (("the first job", baseline), ("the other job", other)):
        job = job_of(side)
        n_absent = job.absent.n or 0
        if n_absent or job.unreadable:
            notes.append(
                f"{words} lacks recordings: {n_absent} that should be there, {len(job.unreadable)} that can't be read"
            )
        if job.killed or job.failed:
            notes.append(f"{len(job.killed) + len(job.failed)} ranks of {words} were killed or failed")
    if any(row.fs_class == "image" for side in (baseline, other) for row in side.metrics.by_mount):
        notes.append(IMAGE_NOTE)
    if baseline.manifest.command != other.manifest.command:
        notes.append("the commands differ")
    return notes
