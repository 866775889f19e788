"""What a job's findings and verdict are made of: one rank of each kind is looked into, and the whole.

Rules look at one start: at its interpreters, its search paths, its files. The merged tables have lost what belongs to one
process, and asking the rules of every rank would cost more than reading it. So a rank that stands for its kind is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

from fsprobe import pipeline
from fsprobe.analysis.attribution.ownership import Mounts, Owners
from fsprobe.analysis.counting.profile import make_profile
from fsprobe.analysis.findings.evidence import Evidence
from fsprobe.analysis.findings.rules import find
from fsprobe.analysis.interpreters import told_by_paths
from fsprobe.analysis.manifest import is_observed
from fsprobe.jobs.alike_ranks import kinds, launched
from fsprobe.jobs.executors import result
from fsprobe.jobs.findings import Look, merge_findings, of_the_whole, weighted, weighted_count
from fsprobe.jobs.rank_rows import RankFile
from fsprobe.jobs.reading.chunks import Part
from fsprobe.jobs.reading.rank import Reading, read_rank
from fsprobe.jobs.verdict import job_verdict
from fsprobe.model.finding import Finding
from fsprobe.model.profile import Profile, Verdict


def judge(
    files: Sequence[RankFile],
    total: Part,
    profile: Profile,
    mounts: Mounts,
    *,
    executor: Executor | None = None,
) -> tuple[tuple[Finding, ...], Verdict | None]:
    """Find what to do in a job, and judge it.

    Args:
        files: the recordings; those that stand for their kind are read again.
        total: the sum of all.
        profile: the job's profile so far, with its section `job`.
        mounts: finds the mount of a path.
        executor: where recordings are read; here and now without one.

    Returns:
        The findings, and the verdict; None where nothing of the job was observed.
    """
    job = profile.job
    assert job is not None
    n_processes = job.n_ranks or job.n_recordings
    by_name = {file.name + file.path.rpartition("/")[2]: file for file in files}
    wanted = [(by_name[kind.key + kind.file], kind.n_ranks, len(kind.nodes), n_processes) for kind in kinds(total.rows)]
    if executor is None:
        looks = [look(*words) for words in wanted]
    else:
        looks = [result(future) for future in [executor.submit(look, *words) for words in wanted]]
    is_predicted = job.n_without_requests < len(total.rows)
    variables = launched(n_processes=n_processes, n_nodes=job.n_nodes or job.n_nodes_traced)
    whole = Evidence(
        tally=total.tally,
        notes=total.notes,
        profile=replace(profile, manifest=replace(profile.manifest, job=variables)),
        facts=looks[0].facts,
        mounts_of=mounts.of,
        requests=total.requests.requests if is_predicted else None,
    )
    found = merge_findings(looks, of_the_whole(whole), n_ranks=len(total.rows), n_nodes=job.n_nodes_traced)
    return tuple(found), job_verdict(whole, looks[0].processes) if is_observed(profile.manifest, total.tally) else None


def look(file: RankFile, n_ranks: int, n_nodes: int, n_processes: int) -> Look:
    """Find in one rank what its whole kind has; runs in a worker.

    Args:
        file: the rank that stands for its kind.
        n_ranks: how many ranks the kind has.
        n_nodes: how many nodes count for it.
        n_processes: of the job, those included that were not traced.
    """
    read = read_rank(file.path, lookups_of=file.lookups_of, is_watched=True)
    evidence = _evidence(read, n_ranks, n_nodes, n_processes)
    return Look(
        key=file.name,
        n_ranks=n_ranks,
        n_nodes=n_nodes,
        findings=tuple(find(evidence)),
        facts=evidence.facts,
        processes=read.tally.by_process,
    )


def _evidence(read: Reading, n_ranks: int, n_nodes: int, n_processes: int) -> Evidence:
    recording, model = read.recording, read.model
    facts = list(read.hooks.facts.values()) or told_by_paths(read.tally, read.manifest.environment)
    owners = Owners(facts, read.lookups.get("distributions", {}), pipeline.cwd_of(recording), read.tally.by_path)
    table = pipeline.mount_finder(read.mounts, read.tally)
    profile = make_profile(
        kind=recording.kind,
        manifest=replace(read.manifest, job=launched(n_processes=n_processes)),
        tally=read.tally,
        notes=read.notes,
        quality=read.quality,
        mounts=table,
        owners=owners,
    )
    return Evidence(
        tally=read.tally,
        notes=read.notes,
        profile=profile,
        facts=facts,
        mounts_of=table.of,
        requests=weighted(model.count(), n_nodes=n_nodes, n_ranks=n_ranks) if model is not None else None,
        count_without=weighted_count(model.count, n_nodes=n_nodes, n_ranks=n_ranks) if model is not None else None,
        watch=read.seen,
    )
