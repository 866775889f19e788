"""Findings of a job: what each kind of ranks shows, weighed by how many ranks and nodes it has, and what only the whole shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fsprobe.analysis.counting.tally import ProcessTally
from fsprobe.analysis.findings.evidence import Evidence
from fsprobe.analysis.findings.rules import RULES, Rule, find
from fsprobe.analysis.findings.thresholds import SEVERITIES
from fsprobe.analysis.requests.rows import RequestCounts, Requests
from fsprobe.jobs.sums import OWN, SHARED
from fsprobe.model.finding import Finding

OF_THE_JOB = frozenset({"FSP018", "FSP019"})
"""Rules that are asked of the whole: its nodes, and its data files, of which each rank may read others."""
RANKS_RULE = "FSP017"
BECOMES_IMAGE = frozenset({"FSP001", "FSP017", "FSP019", "FSP020", "FSP021"})
"""Rules that advise one image in place of a tree: what is left of its requests are `IMAGE_REQUESTS`."""
IMAGE_REQUESTS = 2
"""A lookup and an open of the image, by each node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was found in the rank that stands for a kind."""

    key: str
    n_ranks: int
    n_nodes: int
    findings: Sequence[Finding]
    """Their calls are one rank's; their requests those of all ranks and nodes of the kind."""
    facts: Sequence[Mapping[str, Any]]
    """What its interpreters said of themselves."""
    processes: Mapping[str, ProcessTally] = field(default_factory=dict)
    """When they made their calls."""


def weighted(requests: Requests, *, n_nodes: int, n_ranks: int) -> Requests:
    """The requests of one rank as those of a kind: what a node shares by nodes, what each process asks by ranks."""
    many = Requests(mount_of=requests.mount_of, n_unplaced=requests.n_unplaced * n_ranks)
    many.per_path = {path: _times(row, n_nodes, n_ranks) for path, row in requests.per_path.items()}
    many.per_module = {name: _times(row, n_nodes, n_ranks) for name, row in requests.per_module.items()}
    return many


def _times(row: RequestCounts, n_nodes: int, n_ranks: int) -> RequestCounts:
    if row.operations:
        # an NFS or a Lustre client: a node's first process asks for everything, each further one again for what it must
        made, n_further = row.times(n_nodes), max(0, n_ranks - n_nodes)
        n_second = min(n_nodes, n_further)
        if row.further is not None and row.steady is not None:
            made.add(row.further.times(n_second))
            made.add(row.steady.times(n_further - n_second))
        else:
            made.other += row.again * n_further
        return made
    made = RequestCounts(again=row.again * n_nodes)
    for names, n in ((SHARED, n_nodes), (OWN, n_ranks)):
        for name in names:
            setattr(made, name, getattr(row, name) * n)
    return made


def weighted_count(
    count: Callable[[Callable[[bytes], bool]], Requests], *, n_nodes: int, n_ranks: int
) -> Callable[[Callable[[bytes], bool]], Requests]:
    """`RequestModel.count` with some paths left out, weighted as `weighted` does."""
    return lambda leave_out: weighted(count(leave_out), n_nodes=n_nodes, n_ranks=n_ranks)


def of_the_whole(evidence: Evidence) -> list[Finding]:
    """Ask the rules that need the whole job.

    Args:
        evidence: the merged tally and requests; the manifest's `job` tells processes and nodes.
    """
    return find(evidence, OF_THE_JOB)


def merge_findings(looks: Sequence[Look], whole: Iterable[Finding], *, n_ranks: int, n_nodes: int) -> list[Finding]:
    """One finding a code, in how many ranks it was seen, what it saves in all of them; the severest first.

    Args:
        looks: one for each kind of ranks, the largest first.
        whole: what `of_the_whole` found.
        n_ranks: traced ranks, those of no kind included.
        n_nodes: traced nodes.
    """
    by_code: dict[str, list[tuple[Look, Finding]]] = {}
    for look in looks:
        for finding in look.findings:
            if finding.code not in OF_THE_JOB:
                by_code.setdefault(finding.code, []).append((look, finding))
    found = [_merged(rows, looks, n_ranks) for rows in by_code.values()]
    found += [_less_images(finding, 1, n_nodes) for finding in whole]
    rules: dict[str, Rule] = {rule.code: rule for rule in RULES}
    return sorted(
        found,
        key=lambda finding: (
            -SEVERITIES.index(finding.severity),
            -max(finding.saves.values(), default=0),
            list(rules).index(finding.code),
        ),
    )


def _merged(rows: Sequence[tuple[Look, Finding]], looks: Sequence[Look], n_ranks: int) -> Finding:
    look, finding = rows[0]
    saves: dict[str, int] = {}
    for other, same in rows:
        for name, n in same.saves.items():
            saves[name] = saves.get(name, 0) + (n * other.n_ranks if name == "calls" else n)
    severity = max((same.severity for _, same in rows), key=SEVERITIES.index)
    merged = replace(finding, severity=severity, saves=saves)
    merged = _less_images(merged, len(rows), sum(other.n_nodes for other, _ in rows))
    if finding.code == RANKS_RULE:
        return merged  # it speaks of all processes already
    n_seen, n_looked = sum(other.n_ranks for other, _ in rows), sum(other.n_ranks for other in looks)
    return replace(merged, evidence=_in_how_many(n_seen, n_looked, n_ranks, look) + finding.evidence)


def _in_how_many(n_seen: int, n_looked: int, n_ranks: int, look: Look) -> str:
    if n_ranks == 1:
        return ""
    words = f"In all {n_seen:,} ranks" if n_seen == n_ranks else f"In {n_seen:,} of {n_looked:,} ranks"
    others = f" ({n_ranks - n_looked:,} more were not looked into)" if n_looked < n_ranks else ""
    return f"{words}{others}, each as in {look.key}: " if n_seen > 1 else f"{words}{others}, {look.key}: "


def _less_images(finding: Finding, n_counted: int, n_nodes: int) -> Finding:
    """A rule leaves the requests of one image; each node asks for its own.

    Args:
        finding: with the requests of `n_counted` findings added up.
        n_counted: so many images have been left already.
        n_nodes: so many it takes.
    """
    n = finding.saves.get("requests", 0) - IMAGE_REQUESTS * (n_nodes - n_counted)
    if finding.code not in BECOMES_IMAGE or "requests" not in finding.saves:
        return finding
    return replace(finding, saves={**finding.saves, "requests": n} if n > 0 else {})
