"""Two jobs side by side: did their ranks make the same calls, and what do their nodes ask the file servers for."""

from __future__ import annotations

from dataclasses import replace

from fsprobe.model.comparison import JobsComparison, JobSide, MountPair, MountSide, PackagePair, RequestPair
from fsprobe.model.profile import Profile
from fsprobe.model.rows import sum_of

N_PACKAGES = 10
IMAGE_NOTE = (
    "what an image answers is no request to a server: only the image is opened there, and its blocks are read, by the node's "
    "mount (2 metadata requests a node, in neither number)"
)


def compare_jobs(baseline: Profile, other: Profile) -> JobsComparison:
    """Compare two profiles of kind "job"; each ratio is the other's over the baseline's."""
    made = JobsComparison(
        baseline=_side(baseline),
        other=_side(other),
        requests=_requests(baseline, other),
        by_mount=_mounts(baseline, other),
        by_package=_packages(baseline, other),
    )
    return replace(made, notes=tuple(_notes(baseline, other, made.same_size)))


def _side(profile: Profile) -> JobSide:
    job = profile.of_job
    return JobSide(
        calls=sum_of([profile.metrics]),
        n_recordings=job.n_recordings,
        n_nodes=job.n_nodes_traced,
        rates=profile.metrics.rates,
    )


def _requests(baseline: Profile, other: Profile) -> RequestPair | None:
    left, right = baseline.n_requests, other.n_requests
    if left is None or right is None:
        return None
    return RequestPair(
        baseline=left,
        other=right,
        ratio=round(right / left, 6) if left else None,
        baseline_node=round(left / max(1, baseline.of_job.n_nodes_traced)),
        other_node=round(right / max(1, other.of_job.n_nodes_traced)),
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


def _notes(baseline: Profile, other: Profile, is_same_size: bool) -> list[str]:
    notes = ["each job was traced once: its times say nothing, its calls do"]
    if not is_same_size:
        notes.append(
            "not the same number of ranks or nodes was traced in both: compare what a rank does, not the totals"
        )
    for words, side in (("the first job", baseline), ("the other job", other)):
        job = side.of_job
        n_absent = job.absent.n or 0
        if n_absent or job.unreadable:
            lacking = [f"{n_absent:,} that should be there"] if n_absent else []
            lacking += [f"{len(job.unreadable):,} that can't be read"] if job.unreadable else []
            notes.append(f"{words} lacks recordings: {', '.join(lacking)}")
        if job.killed or job.failed:
            notes.append(f"{len(job.killed) + len(job.failed)} ranks of {words} were killed or failed")
    if any(row.fs_class == "image" for side in (baseline, other) for row in side.metrics.by_mount):
        notes.append(IMAGE_NOTE)
    if baseline.manifest.command != other.manifest.command:
        notes.append("the commands differ")
    return notes
