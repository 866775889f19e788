"""Estimated imports: how sure their modules are, and the grouping by package where that is not enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.counting.tally import ModuleTally, Tally, add
from fsprobe.model.requests import RequestCounts, RequestRow, Requests, total_of
from fsprobe.model.rows import NO_MODULES, Counts

MOST = 0.05
"""Modules are named where the paths leave at most this share of opens, and of stats, open. A judgement."""


def expected_error(tally: Tally, notes: Notes) -> float | None:
    """The share of the imports' opens, or stats if it is larger, of which the paths don't tell the module.

    None where every import was timed. Compared with exact timing of the same runs: `reports/estimate.md`.
    """
    if not notes.n_estimated:
        return None
    counts = tally.by_phase.get("import", Counts())
    shares = [notes.unsure.get(op, 0) / n for op, n in (("open", counts.n_open), ("stat", counts.n_stat)) if n]
    return round(min(1.0, max(shares, default=0.0)), 4)


def by_package(modules: Mapping[str, ModuleTally]) -> dict[str, ModuleTally]:
    """The same calls by the imports' top-level packages; what is in no import stays by itself."""
    table: dict[str, ModuleTally] = {}
    for name, module in modules.items():
        row = table.setdefault(package_of(name), ModuleTally())
        add(row.own, module.own)
        if module.first_ns is not None:
            row.first_ns = module.first_ns if row.first_ns is None else min(row.first_ns, module.first_ns)
    for name, row in table.items():
        # estimated imports count for their packages already; of timed ones more may be known
        known = modules[name].cumulative if name in modules else row.own
        row.cumulative = known if known.n_metadata >= row.own.n_metadata else row.own
    return table


def requests_by_package(requests: Requests) -> Requests:
    """The same requests by the imports' top-level packages."""
    table: dict[str, list[RequestRow]] = {}
    for row in requests.by_module:
        table.setdefault(package_of(row.key), []).append(row)
    names = [field.name for field in fields(RequestCounts)]
    sums = {key: total_of(rows) for key, rows in table.items()}
    rows = [RequestRow(key=key, **{name: getattr(total, name) for name in names}) for key, total in sums.items()]
    return replace(requests, by_module=tuple(sorted(rows, key=lambda row: (-row.n_metadata, row.key))))


def package_of(module: str) -> str:
    """The top-level package of a module; the module itself where it is a key for what is in none."""
    return module if module in NO_MODULES else module.partition(".")[0]
