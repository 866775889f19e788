"""Rules on a job's processes: ranks and nodes that start from one environment."""

from __future__ import annotations

import os

from fsprobe.analysis.counting.tally import ProcessTally
from fsprobe.analysis.findings.environment import network_roots
from fsprobe.analysis.findings.evidence import (
    Evidence,
    Seen,
    Watch,
    command_line,
    n_calls,
    n_nodes,
    n_ranks,
    n_requests_below,
    plural,
    quote,
    weigh,
)
from fsprobe.analysis.findings.images import (
    choose_a_line,
    container_image,
    container_program,
    image_commands,
    image_of,
    name_the_container,
)
from fsprobe.analysis.findings.watch import FORK_SERVER, TRACKER
from fsprobe.model.formats import text

_START = ("loader", "init", "site")
_HELPERS = (FORK_SERVER, TRACKER)
"""What multiprocessing starts besides workers."""


def ranks(evidence: Evidence) -> Seen | None:
    """Many processes of a job start from one environment on a network filesystem.

    Seen: several ranks (by the job's variables, or several interpreters of one program in the recording), each with its
    own imports from a network filesystem.

    Costs: ranks x calls arrive in the same seconds. One metadata server of a LUMI filesystem serves about 75,000
    operations a second to all users. Ranks of a node share its cache, so most lookups are sent once a node, but
    every successful open is a request of each rank.

    Do: one image per node, mounted at the environment's path; Spindle, Copper or mpi-bcast where that can't be.

    Saving: the requests of the environment as they were predicted for this run, once for each node of the job: the least it
    can be. Each further rank of a node opens its files again (`fsprobe merge` of their recordings counts that), and ranks
    that ask for the same name in the same moment may each be sent on.
    """
    roots = network_roots(evidence)
    n = max(n_ranks(evidence), _n_alike(evidence))
    if not roots or n < 2:
        return None
    calls = sum(n_calls(root.rows) for root in roots)
    one = calls if n_ranks(evidence) >= _n_alike(evidence) else calls // n
    severity = weigh(evidence, "start_calls", one * n)
    if severity is None:
        return None
    requests = n_requests_below(evidence, roots[0].path)
    return Seen(
        severity=severity,
        evidence=f"{plural(n, 'process', 'processes')} x {plural(one, 'call')} on {text(roots[0].path)} ({roots[0].fstype}) = "
        f"{one * n:,} calls when the job starts.",
        advice="Serve the environment from one image per node; on very many nodes, Spindle or Copper."
        + (choose_a_line(evidence) if _starts_its_ranks(evidence) else name_the_container(evidence)),
        commands=_commands_of_ranks(evidence, roots[0].path),
        saves={} if not requests or requests <= 2 else {"requests": (requests - 2) * n_nodes(evidence)},
    )


def _starts_its_ranks(evidence: Evidence) -> bool:
    """Whether the command itself starts the ranks."""
    return n_ranks(evidence) < _n_alike(evidence)


def _commands_of_ranks(evidence: Evidence, root: bytes) -> list[str]:
    if _starts_its_ranks(evidence):
        return image_commands(evidence, root)
    return [image_commands(evidence, root)[0], _srun_line(evidence, image_of(evidence, root), root)]


def _srun_line(evidence: Evidence, image: bytes, root: bytes) -> str:
    where = quote(b"%b:%b:image-src=/" % (image, root))
    return f"srun {container_program(evidence)} exec -B {where} {container_image(evidence)} {command_line(evidence)}"


def _n_alike(evidence: Evidence) -> int:
    """The most interpreters of one program that one process started, workers of multiprocessing left out."""
    table: dict[tuple[int, str], int] = {}
    for process in evidence.tally.by_process.values():
        if process.kind == "python" and "(multiprocessing)" not in process.label and process.parent:
            key = (process.parent, process.label)
            table[key] = table.get(key, 0) + 1
    return max(table.values(), default=1)


def restarted(evidence: Evidence) -> Seen | None:
    """Workers are started again and again.

    Seen: interpreters of one program of which one ended before the next began, each with its own start and imports.

    Costs: a start and the imports for each piece of work. Where they come from a network filesystem, each open is a request
    again.

    Do: start the workers once and give them the pieces one after the other: a pool that lives as long as the program
    (without maxtasksperchild), a worker that reads its work from standard input or a queue, several files in one call.

    Saving: the calls of all starts and imports, less those of as many interpreters as ran at the same time. Interpreters
    that did less than a bare start takes are another finding's (FSP014).
    """
    watch = evidence.watch
    if watch is None:
        return None
    groups: dict[str, list[ProcessTally]] = {}
    for process in evidence.tally.by_process.values():
        phases = watch.phases.get(process.key, {})
        n_bare = phases.get("loader", 0) + phases.get("init", 0)
        is_short = n_bare > phases.get("import", 0) + phases.get("run", 0)
        # one that was forked starts nothing
        is_started = process.kind == "python" and phases.get("init") and process.key in watch.spans
        if is_started and not is_short and watch.first_import.get(process.key) not in _HELPERS:
            groups.setdefault(process.label, []).append(process)
    best: tuple[int, str, int, int] | None = None
    for label, group in groups.items():
        # without its end in the log a process may have lived until the end
        ends = [evidence.notes.ended_ns.get(process.key, evidence.tally.last_ns or 0) for process in group]
        n_alive = _n_alive([(watch.spans[p.key][0], end) for p, end in zip(group, ends, strict=True)])
        costs = sorted((_cost(watch, process) for process in group), reverse=True)
        found = (sum(costs[n_alive:]), label, len(group), n_alive)
        best = found if best is None or (found[2] - found[3], found) > (best[2] - best[3], best) else best
    if best is None:
        return None
    calls, label, n, n_alive = best
    severity = weigh(evidence, "restarts", n - n_alive)
    if severity is None:
        return None
    return Seen(
        severity=severity if network_roots(evidence) else "info",
        evidence=f"{plural(n, 'interpreter')} of {label} started, at most {n_alive:,} of them at the same time: {plural(calls, 'call')} "
        f"for the starts and imports of {n - n_alive:,} of them.",
        advice="Start the workers once and keep them: a pool for the whole run (without maxtasksperchild; persistent_workers=True in "
        "PyTorch), or several pieces of work for each start.",
        commands=[],
        saves={"calls": calls} if calls else {},
    )


def _n_alive(spans: list[tuple[int, int]]) -> int:
    """How many were there at the same time, at most."""
    events = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    n = most = 0
    for _, step in events:
        n += step
        most = max(most, n)
    return max(1, most)


def _cost(watch: Watch, process: ProcessTally) -> int:
    phases = watch.phases.get(process.key, {})
    return sum(phases.get(phase, 0) for phase in (*_START, "launch", "import"))


def stage_to_nodes(evidence: Evidence) -> Seen | None:
    """Several nodes start from one shared environment.

    Seen: a job on several nodes whose environment lies on a network filesystem.

    Costs: nodes do not share their caches: each asks for everything again.

    Do: send an image to each node before the start. On LUMI /tmp is memory: the image counts against the job's memory.

    Saving: not computed: it needs the requests of the other nodes.
    """
    roots = network_roots(evidence)
    if not roots or weigh(evidence, "environment_files", roots[0].n_files) is None:
        return None
    severity = weigh(evidence, "nodes", n_nodes(evidence))
    if severity is None:
        return None
    image = image_of(evidence, roots[0].path)
    local = b"/tmp/" + os.path.basename(image)
    return Seen(
        severity=severity,
        evidence=f"{n_nodes(evidence)} nodes each open {plural(roots[0].n_files, 'file')} of {text(roots[0].path)} ({roots[0].fstype}).",
        advice="Make the image once; in each job send it to the nodes, then bind it from there."
        + name_the_container(evidence),
        commands=[
            image_commands(evidence, roots[0].path)[0],
            f"sbcast -f {quote(image)} {quote(local)}",  # -f: that of an earlier job may be there still
            _srun_line(evidence, local, roots[0].path),
        ],
    )
