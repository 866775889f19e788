"""Two jobs side by side on a terminal: the calls of all ranks, the requests of all nodes, and where they go."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsprobe.model.formats import JsonObject
from fsprobe.report import job_facts, numbers
from fsprobe.report.terminal.console import as_text, console_on
from fsprobe.report.terminal.run import clean

N_MOUNTS = 8
_COUNTS = (
    ("n_metadata", "metadata calls"),
    ("n_open", "  open"),
    ("n_stat", "  stat"),
    ("n_readlink", "  readlink"),
    ("n_list", "  list"),
    ("n_exec", "  exec"),
    ("n_change", "  change"),
    ("n_missing", "in vain"),
)


def show(comparison: JsonObject, out: TextIO) -> None:
    """Print the comparison of two jobs; with colour when `out` is a terminal."""
    draw(console_on(out), comparison)


def render(comparison: JsonObject) -> str:
    """The same as plain text, 80 columns wide."""
    return as_text(lambda console: draw(console, comparison))


def draw(console: Console, comparison: JsonObject) -> None:
    """The answer, then the numbers, then what to mind."""
    found = comparison["jobs"]
    labels = [clean(str(row["layout"]), 18) for row in comparison["rows"]]
    console.print()
    for sentence, style in sentences(comparison):
        console.print(Text(sentence, style=style))
    console.print()
    console.print(_numbers(found, comparison, labels))
    console.print()
    console.print(_mounts(found, labels))
    if found["by_package"] and found["alike"]:
        console.print()
        console.print(_packages(found, labels))
    console.print()
    for line in found["notes"]:
        console.print(Text("note: " + clean(line), style="yellow"))


def sentences(comparison: JsonObject) -> list[tuple[str, str]]:
    """What the two jobs come to: whether they made the same calls, and how many requests there are on either side."""
    found = comparison["jobs"]
    total = found["counts"]["n_metadata"]
    n_more = total["other"] - total["baseline"]
    made = []
    if found["same_calls"]:
        made.append(
            (f"The ranks of both jobs made the same {numbers.count(total['baseline'])} metadata calls.", "bold")
        )
    elif found["alike"]:
        share = f" ({numbers.share(abs(n_more) / total['baseline'])})" if total["baseline"] and n_more else ""
        made.append((f"The ranks made different calls: {n_more:+,} in all{share}.", "bold yellow"))
    else:
        a, b = found["per_rank"]["n_metadata"]
        made.append(
            (
                f"Other ranks were traced: a rank made {numbers.count(a)} calls here, {numbers.count(b)} there.",
                "bold yellow",
            )
        )
    requests = found["requests"]
    if requests is None:
        made.append((f"Requests: {numbers.NOT_OBSERVED}.", "bold"))
    elif not found["alike"]:
        here, there = (numbers.count(requests[name]) for name in ("baseline_node", "other_node"))
        made.append((f"Of a cold node: {here} requests here, {there} there.", "bold"))
    elif requests["ratio"] is not None:
        words = (
            f"{numbers.count(requests['baseline'])} requests from cold nodes become {numbers.count(requests['other'])}"
        )
        made.append((f"{words}: {change(requests['baseline'], requests['other'])}.", style_of(requests["ratio"])))
    return made


def style_of(ratio: float) -> str:
    """Green for fewer, red for more."""
    return "bold green" if ratio < 0.995 else "bold red" if ratio > 1.005 else "bold"


def change(before: float | None, after: float | None) -> str:
    """What became of a number, in words."""
    if before is None or after is None:
        return ""
    if before == after:
        return "the same"
    if not before or not after:
        return "none left" if before else "new"
    ratio = after / before
    if 0.9 < ratio < 1.1:
        return f"{after - before:+,.0f}"
    return f"{numbers.ratio(1 / ratio)} fewer" if ratio < 1 else f"{numbers.ratio(ratio)} as many"


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True, overflow="ellipsis")
    return table


def _numbers(found: JsonObject, comparison: JsonObject, labels: list[str]) -> Table:
    table = _table("all ranks together", *labels, "")
    for title, name, of in (("ranks", "n_ranks_traced", "n_ranks"), ("nodes", "n_nodes_traced", "n_nodes")):
        table.add_row(title, *(_of(row["job"][name], row["job"][of]) for row in comparison["rows"]), "")
    for name, title in _COUNTS:
        row = found["counts"][name]
        if row["baseline"] or row["other"]:
            values = (numbers.count(row["baseline"]), numbers.count(row["other"]))
            table.add_row(title, *values, change(row["baseline"], row["other"]))
    if not found["alike"]:
        per_rank = found["per_rank"]["n_metadata"]
        table.add_row("calls of a rank", *map(numbers.count, per_rank), change(*per_rank))
    requests = found["requests"]
    if requests is not None:
        for title, left, right in (("requests", "baseline", "other"), ("  of a node", "baseline_node", "other_node")):
            values = (numbers.count(requests[left]), numbers.count(requests[right]))
            table.add_row(title, *values, change(requests[left], requests[right]))
    rates = found["rates"]["peak_metadata_per_s"]
    table.add_row("calls, busiest 1 s", numbers.rate(rates["baseline"]), numbers.rate(rates["other"]), "traced")
    for name, title in (("startup_s", "start, median rank"), ("wall_s", "wall, median rank")):
        table.add_row(title, *(numbers.seconds(row["job"][name]) for row in comparison["rows"]), "traced")
    return table


def _of(n: int, size: int | None) -> str:
    return numbers.count(n) if size is None or size == n else f"{numbers.count(n)} of {numbers.count(size)}"


def _mounts(found: JsonObject, labels: list[str]) -> Table:
    table = _table("where", "type", "calls", "", "requests", "")
    for row in found["by_mount"][:N_MOUNTS]:
        left, right = row["baseline"], row["other"]
        table.add_row(
            clean(row["key"], 28),
            f"{row['fstype'] or '?'} ({row['fs_class'] or '?'})",
            numbers.count(left["n_metadata"]),
            numbers.count(right["n_metadata"]),
            numbers.count(left["n_requests"]) if left["n_requests"] is not None else "",
            numbers.count(right["n_requests"]) if right["n_requests"] is not None else "",
        )
    table.caption = f"each pair of columns: {labels[0]}, then {labels[1]}"
    table.caption_justify = "left"
    return table


def _packages(found: JsonObject, labels: list[str]) -> Table:
    table = _table("calls that differ, by package", *labels, "")
    for row in found["by_package"]:
        difference = f"{row['other'] - row['baseline']:+,}"
        table.add_row(clean(row["key"], 34), numbers.count(row["baseline"]), numbers.count(row["other"]), difference)
    return table


def row_of(profile: JsonObject) -> JsonObject:
    """What a row of the comparison says of its job."""
    job = profile["job"]
    spread = job["spread"]

    def median(name: str) -> float | None:
        found = spread.get(name)
        return None if found is None else float(found["median"])

    return {
        "who": job_facts.who(job),
        "job_id": profile["manifest"].get("job_id"),
        "n_ranks": job["n_ranks"],
        "n_ranks_traced": job["n_ranks_traced"],
        "n_nodes": job["n_nodes"],
        "n_nodes_traced": job["n_nodes_traced"],
        "wall_s": median("wall_s"),
        "startup_s": median("startup_s"),
        "verdict": (profile.get("verdict") or {}).get("level"),
    }
