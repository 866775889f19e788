"""The whole job: parts are added in the order of nodes and ranks, and the sum becomes a profile."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from fsprobe import pipeline
from fsprobe.analysis.attribution.ownership import Mounts, Owners
from fsprobe.analysis.counting.profile import make_profile
from fsprobe.analysis.garbage import SELDOM, seldom_collected
from fsprobe.analysis.manifest import mount_facts, with_open_names
from fsprobe.analysis.requests.rows import CAVEAT, most_first
from fsprobe.analysis.time.account import with_time
from fsprobe.errors import BadInput
from fsprobe.jobs.clock import job_rates, make_slots
from fsprobe.jobs.evidence import judge
from fsprobe.jobs.node_counters import joined
from fsprobe.jobs.node_requests import NodeRequests
from fsprobe.jobs.rank_rows import section, sum_over
from fsprobe.jobs.reading.chunks import Part, read_all
from fsprobe.jobs.reading.recordings import Files
from fsprobe.model.job import Job, JobTimeline
from fsprobe.model.manifest import Manifest
from fsprobe.model.profile import Profile
from fsprobe.model.requests import Requests
from fsprobe.recording import file as recording
from fsprobe.recording.stored import as_section

REQUESTS = (
    "A node asks for names, listings and links once for all its ranks, and for every open of every process; an NFS or a Lustre "
    "client asks once more for what it must. " + CAVEAT
)


@dataclass(slots=True)
class Whole:
    """The sum of all parts."""

    total: Part = field(default_factory=Part)
    _node: str = ""
    _asked: NodeRequests = field(default_factory=NodeRequests)

    def add(self, part: Part) -> None:
        """Add a part; the parts of a node come one after the other."""
        for node, asked in part.asked.items():
            if node != self._node:
                self.close()
                self._node = node
            self._asked.add(asked)
        self.total.add(part)

    def close(self) -> None:
        """Add what the node that is under way asks for: nothing more of it will come."""
        if self._node:
            self.total.requests.close(self._node, self._asked)
        self._node, self._asked = "", NodeRequests()


def merge(files: Files, executor: Executor | None = None, n_workers: int = 1) -> Profile:
    """Merge the recordings of a job: its profile, of kind "job", with a section "job".

    Args:
        files: as `gather` gave them.
        executor: where chunks are read; here and now without one.
        n_workers: how many the executor has.

    Raises:
        BadInput: not one of them could be read.
    """
    whole = Whole()
    with seldom_collected(SELDOM):
        for part in read_all(files.ranks, executor, n_workers):
            whole.add(part)
    whole.close()
    total = whole.total
    if not total.rows:
        raise BadInput(
            f"none of {len(files.ranks)} recordings can be read ({total.failed[0][1]})", "see `fsprobe salvage --help`"
        )
    profile, mounts = _profile(files, total)
    findings, verdict = judge(files.ranks, total, profile, mounts, executor=executor)
    return replace(profile, findings=findings, verdict=verdict)


def _profile(files: Files, total: Part) -> tuple[Profile, Mounts]:
    tally = total.tally
    for name, value in job_rates(total.clocks.values()).items():
        tally.settled_rates[name] = max(value, tally.settled_rates.get(name, 0))
    table = pipeline.mount_finder(total.mounts.values(), tally)
    owners = Owners(
        [{"path": list(total.path_entries)}], total.distributions, next(iter(total.cwds), None), tally.by_path
    )
    profile = make_profile(
        kind="job",
        manifest=_manifest(files, total),
        tally=tally,
        notes=total.notes,
        quality=total.quality,
        mounts=table,
        owners=owners,
        requests=_requests(total, owners) if total.n_without_requests < len(total.rows) else None,
        marks_unread=total.marks_unread,
        # the calls' share of the time: of all ranks' time together
        traced_s=sum_over(total.rows, "wall_s"),
    )
    job = section(
        files.ranks,
        total.rows,
        total.requests,
        tally.total,
        unreadable=[*files.unreadable, *total.failed],
        n_without_requests=total.n_without_requests,
    )
    tracers = dict(sorted(total.tracers.items()))
    job = replace(job, n_foreign=files.n_foreign, n_mounts_differ=total.n_mounts_differ, tracers=tracers)
    job = _with_times(job, total)
    metrics = replace(
        profile.metrics,
        by_process=total.processes.rows(profile.metrics.by_process, total.quality.has_durations),
        processes=dict(total.processes.kinds),
        n_processes_at_least=total.processes.is_at_least,
    )
    profile = with_open_names(profile, {site: total.open_names(site) for site in total.undecided})
    return with_time(replace(profile, metrics=metrics, job=job), total.times.account()), table


def _requests(total: Part, owners: Owners) -> Requests:
    asked = total.requests
    return Requests(
        by_mount=most_first(row.row(*key, asked.served.get(key)) for key, row in asked.by_mount.items()),
        by_package=most_first(row.row(key) for key, row in asked.requests.by_package(owners).items()),
        n_unplaced=asked.requests.n_unplaced,
        caveat=REQUESTS,
    )


def _with_times(job: Job, total: Part) -> Job:
    """When the nodes made their calls: slots of the common clock, for each node and for all."""
    slots = make_slots(total.tally)
    calls = {node: slots.sums(clock.calls()) for node, clock in total.clocks.items()} if slots is not None else {}
    nodes = tuple(replace(row, **total.clocks[row.key].rates(), timeline=calls.get(row.key)) for row in job.nodes)
    if slots is None:
        return replace(job, nodes=nodes)
    sums = tuple(sum(column) for column in zip(*calls.values(), strict=True))
    timeline = JobTimeline(start_s=round(slots.start_s, 3), slot_s=slots.slot_s, n_metadata=sums)
    return replace(job, nodes=nodes, timeline=timeline)


def _manifest(files: Files, total: Part) -> Manifest:
    """What the ranks' manifests have in common."""
    first = total.first
    assert first is not None
    rows = total.rows
    starts = [row.started_s for row in rows if row.started_s is not None]
    ends = [row.started_s + row.wall_s for row in rows if row.started_s is not None and row.wall_s is not None]
    codes = {row.exit_code for row in rows}
    return Manifest(
        command=first.command,
        label=first.label,
        cwd=first.cwd,
        lookups_left=files.lacks_lookups,
        backend=first.backend,
        backend_version=first.backend_version,
        capabilities=first.capabilities,
        markers=first.markers,
        fsprobe_version=first.fsprobe_version,
        environment=first.environment,
        cache=first.cache,
        layout=first.layout,
        started_s=min(starts, default=None),
        wall_s=round(max(ends) - min(starts), 6) if ends else None,
        user_s=sum_over(rows, "user_s"),
        sys_s=sum_over(rows, "sys_s"),
        read_bytes=sum_over(rows, "read_bytes"),
        exit_code=codes.pop() if len(codes) == 1 else max((code for code in codes if code is not None), default=None),
        tracers=tuple(sorted(total.tracers)),
        counters=joined(total.counters.values()),
        mounts=mount_facts(total.mounts.values()),
        job_id=files.ranks[0].job or None,
        job_name=first.job.get("SLURM_JOB_NAME"),
    )


def write(path: str, profile: Profile) -> None:
    """Write a job's file: the profile itself, so that what comes later needs no recording of a rank.

    Raises:
        FsprobeError: it can't be written.
    """
    recording.write(path, "job", [("manifest", as_section(profile))])
