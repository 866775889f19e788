"""fsprobe whatif: what start-up would take on other filesystems, and on many nodes at once."""

from __future__ import annotations

import json
import math
import os
import sys

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsprobe import pipeline
from fsprobe.analysis import whatif
from fsprobe.errors import BadInput
from fsprobe.model import FORMAT, JsonObject
from fsprobe.recording import Recording
from fsprobe.report import numbers
from fsprobe.report.terminal import WIDTH, clean

TRACED = (
    "CPU is that of the traced run, which is more than without the tracer; the image is a layout that was not run: see "
    "`fsprobe compare`."
)


@click.command("whatif", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path())
@click.option(
    "--env", type=click.Path(), help="The environment's path [default: the interpreter's prefix, as recorded]."
)
@click.option("--nodes", default=1, show_default=True, type=click.IntRange(1), help="Nodes that start at once.")
@click.option("--ranks-per-node", default=1, show_default=True, type=click.IntRange(1), help="Processes on each.")
@click.option(
    "--mds-rate",
    default=whatif.DEFAULT_RATE,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Requests/s that the metadata server answers.",
)
@click.option(
    "--latency-ms", type=click.FloatRange(min=0), help="Time of a request, instead of the table of filesystems."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--plot", type=click.Path(), help="Draw start-up over nodes to this file (.png or .svg).")
def command(
    file: str,
    env: str | None,
    nodes: int,
    ranks_per_node: int,
    mds_rate: float,
    latency_ms: float | None,
    as_json: bool,
    plot: str | None,
) -> None:
    """Estimate start-up for the recording or comparison FILE on other filesystems and on many nodes.

    t >= max(CPU + requests x latency, nodes x requests of a node / server rate). Estimates: latencies are published
    figures, and requests are a model.
    """
    demands = demands_of(file, env)
    latencies = (
        whatif.PROFILES
        if latency_ms is None
        else (whatif.Latency(name=f"{latency_ms:g} ms", ms=latency_ms, source="--latency-ms"),)
    )
    rows = whatif.table(demands, latencies, nodes=nodes, ranks_per_node=ranks_per_node, rate=mds_rate)
    curves = [row for demand in demands for row in whatif.curve(demand, latencies[-1].ms, ranks_per_node, mds_rate)]
    if plot:
        from fsprobe.report import plots

        plots.nodes_curve(curves, plot)
    if as_json:
        click.echo(json.dumps({"format": FORMAT, "kind": "whatif", "rows": rows, "curve": curves}, indent=1))
        return
    draw(
        Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH, highlight=False),
        rows,
        nodes,
        ranks_per_node,
        mds_rate,
        "" if Recording(file).kind == "comparison" else TRACED,
    )


def demands_of(file: str, env: str | None) -> list[whatif.Demand]:
    """What each layout asks of the server: a comparison's layouts, or a recording's environment plain and as one file."""
    recording = Recording(file)
    if recording.kind == "comparison":
        return demands_of_comparison(recording.manifest)
    analysis = pipeline.read(file)
    python = analysis.profile["manifest"].get("python") or {}
    prefix = env or python.get("prefix")
    if analysis.requests is None or not prefix:
        raise BadInput(f"{file} does not say which environment it is about", "name it with --env")
    counts = analysis.requests.environment(os.fsencode(os.path.abspath(str(prefix))))
    plain = whatif.from_profile(analysis.profile, "plain", counts)
    return [plain, whatif.one_file(plain)]


def demands_of_comparison(comparison: JsonObject) -> list[whatif.Demand]:
    """The layouts of a comparison, each with its own measured CPU."""
    demands: dict[str, whatif.Demand] = {}
    # the estimate is of a cold client: CPU of cold runs where there are any
    for row in sorted(comparison["rows"], key=lambda row: row["cache"] != "cold"):
        counts = row["requests"].get("environment_counts")
        if row["layout"] in demands or counts is None or not row["cpu_s"]:
            continue
        parts = [row["cpu_s"][name] for name in ("user", "sys", "around")]
        t_cpu_s = sum(part["median"] for part in parts if part is not None)
        demands[row["layout"]] = whatif.demand_of(
            row["layout"], t_cpu_s, counts, is_image=row["kind"] in ("squashfs", "overlay")
        )
    if not demands:
        raise BadInput(
            "this comparison has no timed runs, or its requests were not observed", "compare two layouts by --env"
        )
    order = list(dict.fromkeys(row["layout"] for row in comparison["rows"]))
    return sorted(demands.values(), key=lambda demand: order.index(demand.layout))


def draw(console: Console, rows: list[JsonObject], nodes: int, ranks_per_node: int, rate: float, notes: str) -> None:
    """The table, and what to mind."""
    console.print()
    many = nodes > 1 or ranks_per_node > 1
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    columns = ["layout", "filesystem", "a request", "requests", "alone"]
    if many:
        columns += [f"{nodes:,} x {ranks_per_node:,}", "knee"]
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < 2 else "right", no_wrap=True)
    last = ""
    for row in rows:
        cells = [
            clean(row["layout"], 16) if row["layout"] != last else "",
            row["latency"],
            numbers.milliseconds(row["latency_ms"]),
            numbers.count(row["requests"]),
            numbers.seconds(row["start_s"]),
        ]
        last = row["layout"]
        if many:
            cells += [numbers.seconds(row["job_s"]), knee(row["knee_nodes"])]
        table.add_row(*cells)
    console.print(table)
    console.print()
    text = "Estimates. Alone: CPU + requests x latency, on a cold client. "
    if many:
        text += (
            f"{numbers.plural(nodes, 'node')} with {numbers.plural(ranks_per_node, 'process', 'processes')} each: at least requests of a node "
            f"x nodes / {rate:,.0f} a second, which is what one metadata server answers; names are looked up once a node, opens are each "
            "process's own. Knee: the number of nodes from which on all wait for the server. "
        )
    text += (
        "An image is mounted once a node. Latencies are published figures (`--json` has their sources); reads of file contents are "
        "left out. "
    )
    text += notes
    console.print(Text(text, style="dim"))


def knee(n_nodes: float | None) -> str:
    """From how many nodes on; a start that asks for nothing never waits."""
    return "never" if n_nodes is None else numbers.count(max(1, math.ceil(n_nodes)))
