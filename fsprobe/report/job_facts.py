"""A job in words: what the terminal, the HTML page and the Markdown say of its ranks and nodes. Their rows: `job_rows`."""

from __future__ import annotations

from fsprobe import capabilities, numbers
from fsprobe.model.job import Job, RankSpread
from fsprobe.model.manifest import signal_name
from fsprobe.model.profile import LEVELS, Profile
from fsprobe.report import facts
from fsprobe.report.job_rows import Format, named


def times_note(profile: Profile) -> str:
    """By which clocks nodes are compared, where there are several; and `rates_note`."""
    job = profile.job
    clock = [job.clock] if job is not None and job.n_nodes_traced > 1 else []
    return " ".join([*clock, rates_note(profile)])


def rates_note(profile: Profile) -> str:
    """What was there while the calls were counted, and slowed them."""
    manifest = profile.manifest
    if manifest.shows(capabilities.TRUE_DURATIONS):
        return "Rates are those under the inline recorder, which slows every call a little."
    if manifest.lacks(capabilities.FOREIGN_PROGRAMS):
        return "Rates are those under the hooks, which slow every call."
    return "Rates are those under tracing, which slows every call."


def who(job: Job) -> str:
    """How many ranks were traced, of how many."""
    words = numbers.plural(job.n_ranks_traced, "rank")
    if job.n_ranks is not None and job.n_ranks != job.n_ranks_traced:
        words = f"{numbers.count(job.n_ranks_traced)} of {numbers.plural(job.n_ranks, 'rank')}"
    nodes = numbers.plural(job.n_nodes_traced, "node")
    if job.n_nodes is not None and job.n_nodes != job.n_nodes_traced:
        nodes = f"{numbers.count(job.n_nodes_traced)} of {numbers.plural(job.n_nodes, 'node')}"
    return f"{words} on {nodes}"


def warnings(job: Job) -> list[str]:
    """What is missing or went wrong, one sentence each."""
    lines = []
    absent = job.absent
    if absent.ranks:
        which = named(map(str, absent.ranks))
        n = len(absent.ranks)
        lines.append(f"no recording of {f'rank {which}' if n == 1 else f'{numbers.count(n)} ranks: {which}'}")
    elif absent.n:
        lines.append(f"no recording of {numbers.plural(absent.n, 'node')}")
    if job.unreadable:
        n_files = numbers.plural(len(job.unreadable), "file")
        lines.append(f"{n_files} left out: {named(row.file for row in job.unreadable)}")
    if job.killed:
        lines.append("killed: " + named(f"{row.of} ({signal_name(row.signal or 0)})" for row in job.killed))
    if job.failed:
        lines.append("failed: " + named(f"{row.of} (exit code {row.exit_code})" for row in job.failed))
    if job.incomplete:
        lines.append("not complete: " + named(job.incomplete))
    if job.repeated:
        lines.append("more than one recording: " + named(job.repeated))
    if job.n_without_requests:
        lines.append(f"requests not observed in {numbers.plural(job.n_without_requests, 'recording')}")
    if job.n_mounts_differ:
        lines.append("the nodes have different filesystems at one place: the first one met names it")
    if job.tracers:
        started = (f"{name} in {numbers.plural(n, 'rank')}" for name, n in job.tracers.items())
        lines.append(f"programs that would trace others, which a traced program can't: {named(started)}")
    return lines


def notes(job: Job) -> list[str]:
    """The same in one line at most, for the top of a page that says more below."""
    found = warnings(job)
    return ["; ".join(found)] if found else []


def estimate(job: Job, asked: str) -> tuple[str, str] | None:
    """The whole job where only some ranks were traced: (numbers in words, that they are an estimate and of what).

    Args:
        job: the job.
        asked: what its requests are called; see `request_facts.name_of`.
    """
    scaled = job.scaled
    if scaled is None:
        return None
    metrics, requests = scaled.metrics, scaled.requests
    words = f"{numbers.count(metrics.n_metadata)} metadata calls, {numbers.count(metrics.n_open)} opens"
    if requests is not None and scaled.n_nodes is not None:
        words += f", {numbers.count(requests.n_metadata)} {asked} from {numbers.plural(scaled.n_nodes, 'node')}"
    return words, scaled.label


def headline(profile: Profile) -> str:
    """One sentence: what all ranks together did, and how fast at the worst moment."""
    metrics = profile.metrics
    parts = [f"{numbers.count(metrics.n_metadata)} metadata calls by {who(profile.of_job)}"]
    parts.append(f"{numbers.plural(metrics.n_not_found, 'failed lookup')} (not found)")
    if metrics.rates.peak_metadata_per_s is not None:
        parts.append(f"{numbers.rate(metrics.rates.peak_metadata_per_s)} in the busiest second of all ranks together")
    return ", ".join(parts) + "."


def reasons(profile: Profile) -> list[str]:
    """Why the verdict on a job is as it is, without what its sentence says already."""
    verdict = profile.verdict
    if verdict is None:
        return []
    return list(verdict.reasons if verdict.level == LEVELS[0] else verdict.reasons[1:])


def head(profile: Profile, recording: str | None) -> list[tuple[str, str]]:
    """Label and text of what stands at the top of a job's report."""
    manifest, job = profile.manifest, profile.of_job
    name = " ".join(part for part in (manifest.job_id, manifest.job_name) if part)
    rows = [("Job", name or "not of a batch system"), ("Traced", who(job)), ("Ranks selected", job.selection)]
    usual = [row for row in facts.head(profile, recording) if row[0] not in ("Host", "Python", "Job", "Recording")]
    renamed = {"Exit code": "Exit code, the highest"}
    rows += [(renamed.get(label, label), value) for label, value in usual]
    if recording:
        rows.append(("File", recording))
    return rows


def figures(profile: Profile) -> list[facts.Figure]:
    """The key figures of a job: all ranks together, and what one of them comes to."""
    metrics, job = profile.metrics, profile.of_job
    rates, spread = metrics.rates, job.spread
    n_nodes = numbers.plural(job.n_nodes_traced, "node")
    requests = profile.n_requests
    known = [row.n_requests for row in job.nodes if row.n_requests is not None]
    startup = spread.startup_s
    guess = job.scaled
    return [
        facts.Figure(
            label="Metadata calls, all ranks",
            value=numbers.count(metrics.n_metadata),
            note=f"{_median(spread.n_metadata, numbers.count)} a rank; {numbers.count(metrics.n_open)} open, "
            f"{numbers.count(metrics.n_stat)} stat",
        ),
        facts.Figure(
            label="Failed lookups (not found)",
            value=numbers.count(metrics.n_not_found),
            note=f"{numbers.part_of(metrics.n_not_found, metrics.n_metadata)} of the metadata calls",
        ),
        facts.Figure(
            label=facts.requests_label(profile),
            value=numbers.count(requests),
            note=f"predicted; {numbers.count(max(known))} of the busiest of {n_nodes}"
            if known
            else f"predicted, of {n_nodes}"
            if requests is not None
            else "no prediction for this job",
        ),
        facts.Figure(
            label="Calls in the busiest second",
            value=numbers.rate(rates.peak_metadata_per_s),
            note=f"all ranks together; {numbers.rate(rates.sustained_metadata_per_s)} on average of the busiest 10 s",
        ),
        facts.Figure(
            label="Opens in the busiest second",
            value=numbers.rate(rates.peak_open_per_s),
            note=f"all ranks together; {numbers.rate(rates.peak_open_per_s_process)} in one process",
        ),
        facts.Figure(
            label="Wall time of the job, traced",
            value=numbers.seconds(profile.manifest.wall_s),
            note=f"first start to last end; a rank {_median(spread.wall_s, numbers.seconds)}",
        ),
        facts.Figure(
            label="Start and import of a rank",
            value=_median(spread.startup_s, numbers.seconds),
            note=f"median; the slowest {numbers.seconds(startup.max)}" if startup is not None else "",
        ),
        facts.Figure(
            label="Whole job, estimated",
            value=numbers.count(guess.metrics.n_metadata),
            note=f"metadata calls, scaled from {numbers.count(guess.n_traced)} to {numbers.plural(guess.n_ranks, 'rank')}",
        )
        if guess is not None
        else facts.time_in_calls(profile, "of all ranks' wall time together"),
    ]


def _median(spread: RankSpread | None, show: Format) -> str:
    return show(spread.median) if spread is not None else numbers.NOT_OBSERVED
