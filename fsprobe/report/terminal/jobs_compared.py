"""Two jobs side by side on a terminal: the calls of all ranks, the requests of all nodes, and where they go."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.table import Table

from fsprobe import numbers
from fsprobe.model.comparison import Comparison, JobsComparison, JobSummary
from fsprobe.model.profile import Profile
from fsprobe.report import facts, job_facts, request_facts
from fsprobe.report.foreign import visible_in
from fsprobe.report.terminal.console import BAD, GOOD, NOTE, as_text, clean, console_on, print_table, print_words

N_MOUNTS = 8
_COUNTS = (
    ("n_metadata", "metadata calls"),
    ("n_open", "  open"),
    ("n_stat", "  stat"),
    ("n_readlink", "  readlink"),
    ("n_list", "  list"),
    ("n_exec", "  exec"),
    ("n_change", "  change"),
    ("n_not_found", "failed lookups"),
)


def show(comparison: Comparison, out: TextIO) -> None:
    """Print the comparison of two jobs; with colour when `out` is a terminal."""
    draw(console_on(out), comparison)


def render(comparison: Comparison) -> str:
    """The same as plain text, 80 columns wide."""
    return as_text(lambda console: draw(console, comparison))


def draw(console: Console, comparison: Comparison) -> None:
    """The answer, then the numbers, then what to mind."""
    comparison = visible_in(comparison)
    found = jobs_of(comparison)
    labels = [clean(row.layout, 18) for row in comparison.rows]
    console.print()
    for sentence, marks in sentences(found):
        print_words(console, sentence, "bold", marks=marks)
    console.print()
    print_table(console, _numbers(found, comparison, labels))
    console.print()
    print_table(console, _mounts(found, labels))
    if found.by_package and found.same_size:
        console.print()
        print_table(console, _packages(found, labels))
    console.print()
    for line in found.notes:
        print_words(console, "note: " + line, marks=NOTE)


def jobs_of(comparison: Comparison) -> JobsComparison:
    """The section `jobs` of a comparison of jobs."""
    assert comparison.jobs is not None
    return comparison.jobs


def sentences(found: JobsComparison) -> list[tuple[str, dict[str, str]]]:
    """What the two jobs come to: whether they made the same calls, and how many requests there are on either side."""
    before, after = found.baseline.calls.n_metadata, found.other.calls.n_metadata
    n_more = after - before
    made: list[tuple[str, dict[str, str]]] = []
    if found.same_calls:
        made.append((f"The ranks of both jobs made the same {numbers.count(before)} metadata calls.", {}))
    elif found.same_size:
        share = f" ({numbers.share(abs(n_more) / before)})" if before and n_more else ""
        made.append((f"The ranks made different calls: {n_more:+,} in total{share}.", {}))
    else:
        here, there = (numbers.count(side.n_metadata_per_rank) for side in (found.baseline, found.other))
        made.append(
            (
                f"Other ranks were traced: a rank made {here} metadata calls here, {there} there.",
                {},
            )
        )
    requests, asked = found.requests, requests_name(found)
    if requests is None:
        made.append((f"{facts.sentence_case(asked)}: {numbers.NOT_OBSERVED}.", {}))
    elif not found.same_size:
        here, there = numbers.count(requests.baseline_node), numbers.count(requests.other_node)
        made.append((f"{facts.sentence_case(asked)} of a node, cold cache: {here} here, {there} there.", {}))
    elif requests.ratio is not None:
        words = f"{numbers.count(requests.baseline)} {asked} (cold cache) become {numbers.count(requests.other)}"
        changed = change(requests.baseline, requests.other)
        made.append((f"{words}: {changed}.", {changed: style_of(requests.ratio)}))
    return made


def requests_name(found: JobsComparison) -> str:
    """What the requests of both jobs are called; see `request_facts.name_for`."""
    return request_facts.name_for(
        {row.fs_class for row in found.by_mount if row.baseline.n_requests or row.other.n_requests}
    )


def style_of(ratio: float) -> str:
    """Green for fewer, red for more."""
    return GOOD if ratio < 0.995 else BAD if ratio > 1.005 else "bold"


def change(before: float | None, after: float | None) -> str:
    """What became of a number, in words."""
    if before is None or after is None:
        return ""
    if before == after:
        return "same"
    if not before or not after:
        return "none left" if before else "new"
    ratio = after / before
    if 0.9 < ratio < 1.1:
        return f"{after - before:+,.0f}"
    return f"{numbers.ratio(1 / ratio)} fewer" if ratio < 1 else f"{numbers.ratio(ratio)} as many"


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True, overflow="ellipsis")
    return table


def _numbers(found: JobsComparison, comparison: Comparison, labels: list[str]) -> Table:
    table = _table("all ranks together", *labels, "")
    jobs = [row.job for row in comparison.rows if row.job is not None]
    table.add_row("ranks", *(_of(job.n_ranks_traced, job.n_ranks) for job in jobs), "")
    table.add_row("nodes", *(_of(job.n_nodes_traced, job.n_nodes) for job in jobs), "")
    for name, title in _COUNTS:
        before, after = (getattr(side.calls, name) for side in (found.baseline, found.other))
        if before or after:
            table.add_row(title, numbers.count(before), numbers.count(after), change(before, after))
    if not found.same_size:
        a_rank = (found.baseline.n_metadata_per_rank, found.other.n_metadata_per_rank)
        table.add_row("calls of a rank", *map(numbers.count, a_rank), change(*a_rank))
    requests = found.requests
    if requests is not None:
        for title, left, right in (
            (requests_name(found), requests.baseline, requests.other),
            ("  of a node", requests.baseline_node, requests.other_node),
        ):
            table.add_row(title, numbers.count(left), numbers.count(right), change(left, right))
    rates = (side.rates.peak_metadata_per_s for side in (found.baseline, found.other))
    table.add_row("calls, busiest 1 s", *map(numbers.rate, rates), "traced")
    table.add_row("start, median rank", *(numbers.seconds(job.startup_s) for job in jobs), "traced")
    table.add_row("wall, median rank", *(numbers.seconds(job.wall_s) for job in jobs), "traced")
    return table


def _of(n: int, size: int | None) -> str:
    return numbers.count(n) if size is None or size == n else f"{numbers.count(n)} of {numbers.count(size)}"


def _mounts(found: JobsComparison, labels: list[str]) -> Table:
    table = _table("where", "type", "calls", "", "requests", "")
    for row in found.by_mount[:N_MOUNTS]:
        table.add_row(
            clean(row.key, 28),
            f"{row.fstype or '?'} ({row.fs_class or '?'})",
            numbers.count(row.baseline.n_metadata),
            numbers.count(row.other.n_metadata),
            *(
                numbers.count(side.n_requests) if side.n_requests is not None else ""
                for side in (row.baseline, row.other)
            ),
        )
    table.caption = f"each pair of columns: {labels[0]}, then {labels[1]}"
    table.caption_justify = "left"
    return table


def _packages(found: JobsComparison, labels: list[str]) -> Table:
    table = _table("calls that differ, by package", *labels, "")
    for row in found.by_package:
        difference = f"{row.other - row.baseline:+,}"
        table.add_row(clean(row.key, 34), numbers.count(row.baseline), numbers.count(row.other), difference)
    return table


def summary_of(profile: Profile) -> JobSummary:
    """What a row of the comparison says of its job."""
    job = profile.of_job
    wall, startup = job.spread.wall_s, job.spread.startup_s
    return JobSummary(
        who=job_facts.who(job),
        job_id=profile.manifest.job_id,
        n_ranks=job.n_ranks,
        n_ranks_traced=job.n_ranks_traced,
        n_nodes=job.n_nodes,
        n_nodes_traced=job.n_nodes_traced,
        wall_s=None if wall is None else wall.median,
        startup_s=None if startup is None else startup.median,
        verdict=None if profile.verdict is None else profile.verdict.level,
    )
