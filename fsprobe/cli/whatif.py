"""fsprobe whatif: what start-up would take on other filesystems, and on many nodes at once."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass

import click
from rich.console import Console
from rich.text import Text

from fsprobe import numbers, pipeline
from fsprobe.analysis import whatif
from fsprobe.analysis.counting.tally import opens_below
from fsprobe.cli import amounts
from fsprobe.cli.report import json_text
from fsprobe.errors import EXIT_USAGE, BadInput, FsprobeError
from fsprobe.model.answers import Estimate, WhatIf
from fsprobe.model.comparison import IMAGE_KINDS, Comparison
from fsprobe.model.events import is_under
from fsprobe.model.profile import Profile
from fsprobe.recording.file import Recording
from fsprobe.recording.stored import stored
from fsprobe.report.terminal.console import NOTE, clean, console_on, print_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What FILE says of each storage layout, and what it can't say."""

    demands: list[whatif.Demand]
    requests_of: str
    """what the requests are for, in words"""
    notes: list[str]
    nodes: int = 1
    ranks_per_node: int = 1
    """where the user names none"""


@click.command("whatif", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path())
@click.option(
    "--env",
    type=click.Path(),
    help="Of a recording: the environment's path [default: the interpreter's prefix, as recorded].",
)
@click.option(
    "--nodes", type=amounts.Whole(1), metavar="N", help="Nodes that start at once [default: 1, of a job its own]."
)
@click.option(
    "--ranks-per-node", type=amounts.Whole(1), metavar="R", help="Processes on each [default: 1, of a job its own]."
)
@click.option(
    "--mds-rate",
    default=whatif.DEFAULT_RATE,
    type=amounts.Amount(min=1),
    metavar="OPS",
    help=f"Requests/s that the metadata server answers [default: {whatif.DEFAULT_RATE:,.0f}].",
)
@click.option(
    "--latency-ms",
    type=amounts.Amount(min=0),
    metavar="MS",
    help="Time of a request, instead of the table of filesystems.",
)
@click.option("--json", "as_json", is_flag=True, help="As --format json.")
@click.option("--plot", type=click.Path(), help="Draw start-up over nodes to this file (.png or .svg).")
def command(
    file: str,
    env: str | None,
    nodes: int | None,
    ranks_per_node: int | None,
    mds_rate: float,
    latency_ms: float | None,
    as_json: bool,
    plot: str | None,
) -> None:
    """Estimate start-up for FILE on other filesystems and on many nodes.

    FILE is a comparison (each of its layouts), a recording (as it is, and with its environment as one image) or a job.

    A start alone takes CPU + requests x latency, or CPU + open calls x latency where that is what was published. Many
    nodes at once take that long, or nodes x requests of a node / server rate where this is longer. All are estimates:
    latencies are published figures, requests are a model. The curve of --plot is for a quiet Lustre (0.5 ms), or for
    --latency-ms.
    """
    question = question_of(file, env)
    nodes, ranks_per_node = nodes or question.nodes, ranks_per_node or question.ranks_per_node
    given = None if latency_ms is None else whatif.Latency(name="as given", ms=latency_ms, source="--latency-ms")
    rows = whatif.table(
        question.demands,
        whatif.PROFILES if given is None else (given,),
        nodes=nodes,
        ranks_per_node=ranks_per_node,
        rate=mds_rate,
    )
    of_curve = given or whatif.CURVE
    if plot:
        draw_curve(question.demands, of_curve, ranks_per_node, mds_rate, plot)
    if as_json:
        curve = [row for demand in question.demands for row in whatif.curve(demand, of_curve, ranks_per_node, mds_rate)]
        notes = (f"requests: {question.requests_of}", *question.notes)
        click.echo(json_text(WhatIf(rows=tuple(rows), curve=tuple(curve), notes=notes)))
        return
    draw(console_on(sys.stdout), question, rows)


def question_of(file: str, env: str | None) -> Question:
    """What each layout asks of the server.

    Raises:
        FsprobeError: --env for what has no need of it.
        BadInput: requests were not predicted, or nothing says for which environment.
    """
    recording = Recording(file)
    if recording.kind != "recording" and env:
        raise FsprobeError(f"{file} is a {recording.kind}: --env is for a recording", "leave it out", EXIT_USAGE)
    if recording.kind != "recording":
        found = stored(recording)
        return question_of_comparison(found) if isinstance(found, Comparison) else question_of_job(found)
    analysis = pipeline.read(file)
    manifest = analysis.profile.manifest
    prefix = env or (manifest.python.prefix if manifest.python is not None else None)
    if analysis.requests is None:
        raise BadInput(f"the requests of {file} were not predicted", "they need a log: record without --stream")
    if not prefix:
        raise BadInput(f"{file} does not say which environment it is about", "name it with --env")
    place = os.fsencode(os.path.abspath(prefix))
    counts = analysis.requests.environment(place)
    layout = manifest.layout
    label = (layout.label if layout is not None else "") or "plain"
    inside = _inside_images(analysis, place)
    n_opened = opens_below(analysis.tally, place)
    plain = whatif.from_profile(manifest, label, counts, n_opened - inside)
    if not counts.n_metadata and inside:
        notes = [
            f"{prefix} was read from an image: its mounting is taken for 2 requests a node, a recording does not hold it"
        ]
        of_image = whatif.one_file(plain, label)
        return Question(demands=[of_image], requests_of="for the image", notes=notes)
    notes = []
    if not counts.n_metadata:
        notes = [
            f"{numbers.plural(n_opened, 'open')} at or below {prefix}, and no request to a server is predicted for them"
            if n_opened
            else f"nothing at or below {prefix} was looked up: another --env may be meant"
        ]
    demands = [plain]
    if layout is None or layout.kind not in IMAGE_KINDS:
        demands.append(whatif.one_file(plain))
        notes.append("squashfs was not run: it is the same program with 2 requests a node; `fsprobe compare` runs it")
    return Question(demands=demands, requests_of=f"for {prefix} and what is below it", notes=notes)


def _inside_images(analysis: pipeline.Analysis, place: bytes) -> int:
    """Of the opens at or below a path, those on a mounted image: no server is asked for these, also where latencies are per open."""
    images = [os.fsencode(row.key) for row in analysis.profile.metrics.by_mount if row.fs_class == "image"]
    if any(is_under(place, image) for image in images):
        return opens_below(analysis.tally, place)
    return sum(opens_below(analysis.tally, image) for image in images if is_under(image, place))


def question_of_job(profile: Profile) -> Question:
    """An average rank of a job, on an average node."""
    job = profile.job
    assert job is not None
    n_nodes = max(1, job.n_nodes or job.n_nodes_traced or len(job.nodes))
    n_ranks = max(1, job.n_ranks or job.n_recordings)
    return Question(
        demands=[whatif.from_job(profile, "as recorded")],
        requests_of="for all files, whether of the environment or not: mean of the nodes and ranks that were traced",
        notes=[
            "what the environment as an image would change: see `whatif` of one rank's recording, or of a comparison"
        ],
        nodes=n_nodes,
        ranks_per_node=math.ceil(n_ranks / n_nodes),
    )


def question_of_comparison(comparison: Comparison) -> Question:
    """The layouts of a comparison, each with its own measured CPU."""
    demands: dict[str, whatif.Demand] = {}
    why_not: dict[str, str] = {}
    notes = []
    # the estimate is of a cold client: CPU of cold runs where there are any
    for row in sorted(comparison.rows, key=lambda row: row.cache != "cold"):
        label, counts = row.layout, row.environment_requests
        cpu_s = row.cpu_s.total_s if row.cpu_s is not None else None
        if counts is None:
            why_not[label] = "its server requests were not observed"
        elif row.cpu_s is None or row.cpu_s.user is None or cpu_s is None:
            why_not[label] = "it has no timed runs"
        elif label not in demands:
            state = f"{row.cache} " if row.cache in ("cold", "warm") else ""
            demands[label] = whatif.demand_of(
                label,
                cpu_s,
                counts,
                is_image=row.kind in IMAGE_KINDS,
                n_open_calls=row.n_environment_opens,
                cpu_source=f"median of {numbers.plural(len(row.cpu_s.user.runs), f'untraced {state}run')}",
            )
            if row.is_failed:
                notes.append(f"the command failed in {label}: its numbers are not those of a whole start")
    if not demands:
        raise BadInput(
            "this comparison has no timed runs, or its requests were not observed", "compare two layouts by --env"
        )
    notes += [f"{label} is left out: {reason}" for label, reason in why_not.items() if label not in demands]
    order = list(dict.fromkeys(row.layout for row in comparison.rows))
    return Question(
        demands=sorted(demands.values(), key=lambda demand: order.index(demand.layout)),
        requests_of=f"for {comparison.environment or 'the environment'} and what is below it, or for mounting its image",
        notes=[*notes, "each layout is taken as if it lay on the filesystem of the line, wherever it lay when it ran"],
    )


FILESYSTEM, REQUEST, ALONE, JOB, NARROW_JOB = 19, 15, 10, 16, 11
"""Widths of columns, in characters."""
FULL_WIDTH = 79
"""Columns of a screen that all of them need."""
NARROW_WIDTH, ALONE_WIDTH = 59, FILESYSTEM + REQUEST + ALONE
"""Columns that all but the latency need; and those of a start alone."""


def draw(console: Console, question: Question, rows: list[Estimate]) -> None:
    """The answer, a table for each layout, and what is measured, predicted and assumed."""
    first = rows[0]
    many = first.n_nodes > 1 or first.n_ranks_per_node > 1
    console.print()
    print_words(console, answer(question, rows, many), "bold")
    job = f"{first.n_nodes:,} x {first.n_ranks_per_node:,}"
    # a column less before a line wraps
    has_latency = console.width >= (FULL_WIDTH if many else ALONE_WIDTH)
    has_saturation = many and console.width >= NARROW_WIDTH
    job_width = JOB if has_latency else NARROW_JOB
    for demand in question.demands:
        own = [row for row in rows if row.layout == demand.layout]
        asked = numbers.plural(own[0].n_requests, "request")
        if many and own[0].n_requests_node != own[0].n_requests:
            asked += f" alone, {numbers.count(own[0].n_requests_node)} a node"
        console.print()
        cpu = numbers.NOT_OBSERVED if own[0].cpu_s is None else numbers.seconds(own[0].cpu_s)
        console.print(Text.assemble((clean(demand.layout, 24), "bold"), f"  {asked}, CPU {cpu}"))
        head = f"{'if the server takes':{FILESYSTEM + REQUEST * has_latency}}{'alone':>{ALONE}}"
        console.print(Text(head + f"{job:>{job_width}}" * many + "   server saturates" * has_saturation, style="bold"))
        for row in own:
            wait = f"{numbers.milliseconds(row.latency_ms)}/{row.latency_per.removesuffix(' call')}"
            line = f"{row.latency:{FILESYSTEM}}" + (f"{wait:>{REQUEST}}" if has_latency else "")
            line += f"{numbers.seconds(row.start_s):>{ALONE}}"
            if many:
                line += f"{numbers.seconds(row.job_s):>{job_width}}" + f"   {saturation(row)}" * has_saturation
            console.print(Text(line.rstrip()))
    left_out = ["the latency of each"] * (not has_latency) + ["where the server saturates"] * (
        many and not has_saturation
    )
    if left_out:
        print_words(console, f"no room here for: {', '.join(left_out)} (80 columns show all)")
    console.print()
    for note in question.notes:
        print_words(console, f"note: {note}", marks=NOTE)
    for line in explained(question, first, many):
        console.print(Text(line))


def answer(question: Question, rows: list[Estimate], many: bool) -> str:
    """Each layout's start on the fastest and on the slowest of the filesystems, in one sentence; with empty caches."""
    told = []
    for demand in question.demands:
        cold = [row for row in rows if row.layout == demand.layout and not is_hot(row)]
        times = sorted(row.job_s if many else row.start_s for row in cold)
        ends = dict.fromkeys((numbers.seconds(times[0]), numbers.seconds(times[-1])))
        told.append(f"{clean(demand.layout, 24)} {' to '.join(ends)}")
    nodes, ranks = numbers.plural(rows[0].n_nodes, "node"), rows[0].n_ranks_per_node
    which = "One start with empty caches takes"
    if many:
        processes = numbers.plural(ranks, "process", "processes") + " each" * (rows[0].n_nodes > 1)
        which = f"A start with empty caches on {nodes} with {processes} takes at least"
    return f"{which}: {', '.join(told)} (estimates)."


def explained(question: Question, row: Estimate, many: bool) -> list[str]:
    """What each number is: measured, predicted or assumed; and what is in none of them."""
    sources = ", ".join(dict.fromkeys(demand.cpu_source for demand in question.demands if demand.cpu_s is not None))
    cpu = "CPU + " if sources else ""
    lines = [
        f"All times are estimates. alone: one process on a node with empty caches (hot: with full ones), {cpu}requests x latency, or {cpu}open "
        "calls x latency where that is known per open call, with its lookups and reads in it.",
        f"measured: CPU ({sources})" if sources else "not observed: CPU, so the times are those of waiting alone",
        f"predicted: server requests, cold cache, {clean(question.requests_of)}, from the calls of a traced run "
        "(by the rules of each mount's own client where they are known, else by FUSE's)",
        "assumed: the latency, "
        + (
            "as given"
            if row.latency_source == "--latency-ms"
            else "from published start-up times (per open call) and mdtest (per request); --json has the sources"
        ),
    ]
    if many:
        rate = f"{row.requests_per_s:,.0f} requests/s"
        if row.requests_per_s == whatif.DEFAULT_RATE:
            rate += f" ({whatif.DEFAULT_RATE_SOURCE})"
        lines += [
            f"assumed: a metadata server that answers {rate}",
            f"{row.n_nodes:,} x {row.n_ranks_per_node:,}: that many nodes and processes on each start at once; at least "
            "the larger of alone and nodes x requests of a node / rate. A node asks for names, listings and links once, "
            "each of its processes for its opens; an image is mounted once a node.",
            "server saturates: from that many nodes on, the server is the bottleneck; each further node makes every start longer. "
            "A local SSD is each node's own; with full caches it is not known how much still reaches the server.",
        ]
    return [
        *lines,
        "left out: reads of file contents (where the latency is per request), what other jobs ask meanwhile, and that a program "
        "computes slower after each wait",
    ]


def is_hot(row: Estimate) -> bool:
    """Whether an estimate is for full caches."""
    return any(latency.is_hot and latency.name == row.latency for latency in whatif.PROFILES)


def saturation(row: Estimate) -> str:
    """From how many nodes on the server is what a start waits for; one that asks for nothing never waits."""
    if is_hot(row):
        return "not known"
    if row.saturates_at_n_nodes is None:
        return "never"
    return f"at {numbers.plural(max(1, math.ceil(row.saturates_at_n_nodes)), 'node')}"


def draw_curve(
    demands: list[whatif.Demand], latency: whatif.Latency, ranks_per_node: int, rate: float, picture: str
) -> None:
    """The time over the number of nodes, close enough that each bend is where it belongs."""
    from fsprobe.report import plots

    rows = []
    for demand in demands:
        at = {float(n) for n in whatif.DEFAULT_NODES}
        bend = whatif.saturates_at_n_nodes(demand, latency, ranks_per_node, rate)
        at |= {bend} if whatif.DEFAULT_NODES[0] < bend < whatif.DEFAULT_NODES[-1] else set()
        rows += whatif.curve(demand, latency, ranks_per_node, rate, sorted(at))
    name = f"{latency.name}, " if latency.source != "--latency-ms" else ""
    plots.nodes_curve(
        rows,
        picture,
        title=f"Start-up over nodes, {numbers.plural(ranks_per_node, 'process', 'processes')} on each: an estimate",
        subtitle=f"{name}{numbers.milliseconds(latency.ms)} a request, a metadata server of {rate:,.0f} requests/s",
    )
