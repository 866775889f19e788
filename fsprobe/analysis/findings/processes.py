"""Rules on processes that repeat one start: spawned workers, ranks, nodes."""

from __future__ import annotations

import json
import os
from collections import Counter

from fsprobe.analysis.counting.tally import ProcessTally
from fsprobe.analysis.findings.environment import network_roots
from fsprobe.analysis.findings.evidence import (
    SPAWN,
    TRACKER,
    Evidence,
    Seen,
    Watch,
    command_line,
    key_of,
    n_calls,
    n_nodes,
    n_ranks,
    n_requests_below,
    plural,
    quote,
    weigh,
)
from fsprobe.analysis.findings.images import container_image, image_commands, image_of, name_the_container
from fsprobe.foreign_numbers import count
from fsprobe.model.formats import text

_NO_INPUT = os.fsencode(os.devnull)
_NOT_TO_PRELOAD = frozenset({"multiprocessing", "encodings", "site", "sitecustomize", "usercustomize"})


def spawned_workers(evidence: Evidence) -> Seen | None:
    """Workers that are spawned, each with the same imports.

    Seen: several processes that multiprocessing started afresh (method spawn), and what their starts and imports cost.

    Costs: each starts an interpreter and imports everything again, at the same time as the others; a data loader that
    makes its workers anew for each epoch does it each time. rslearn: from 4 s to 0.4 s a worker.

    Do: start method `fork`, or `forkserver` with `set_forkserver_preload`, after the imports; fewer workers;
    `persistent_workers=True` for PyTorch's DataLoader.

    Saving: by start method fork, with all imports done before: the calls of the workers' starts and imports, all of
    multiprocessing's resource tracker, and the parent's import of the spawn machinery; less one import of each module
    that only the workers imported. Workers that a pool ended while they still started count with what they had done by
    then, so two runs of one program may differ.
    """
    watch = evidence.watch
    if watch is None:
        return None
    workers = [p for p in evidence.tally.by_process.values() if watch.first_import.get(key_of(p)) == SPAWN]
    parents = {worker.parent for worker in workers}
    images = Counter(process.pid for process in evidence.tally.by_process.values())
    workers += [
        process
        for process in evidence.tally.by_process.values()
        if process.parent in parents and _is_cut_short(process, watch, images[process.pid])
    ]
    trackers = [
        process
        for process in evidence.tally.by_process.values()
        if watch.first_import.get(key_of(process)) == TRACKER and process.parent in parents
    ]
    severity = weigh(evidence, "same_processes", len(workers))
    if severity is None:
        return None
    pids = {worker.pid for worker in workers}
    pids |= {tracker.pid for tracker in trackers}
    calls = sum(p.counts.n_metadata for p in evidence.tally.by_process.values() if p.pid in pids)
    calls -= sum(_own_work(evidence, worker) for worker in workers)
    calls += sum(
        watch.machinery.get(key_of(p), 0) for p in evidence.tally.by_process.values() if p.pid in parents - pids
    )
    keys = {key_of(p) for p in (*workers, *trackers)}
    calls -= _only_in_workers(evidence, keys)
    calls -= len(workers) * _asks_for_threads(evidence)
    roots = network_roots(evidence)
    if not roots and severity != "info":
        severity = "info"
    return Seen(
        severity=severity,
        evidence=f"{plural(len(workers), 'spawned worker')} started an interpreter and imported the same modules: "
        f"{plural(calls, 'call')} that a fork after the imports does not make.",
        advice="Import first, then fork: start method fork, or forkserver with a preload where threads or a GPU forbid it. "
        "In PyTorch: persistent_workers=True, and fewer workers.",
        commands=[
            'multiprocessing.set_start_method("fork")  # in Python, before the first worker',
            'multiprocessing.set_start_method("forkserver"); '
            f"multiprocessing.set_forkserver_preload({json.dumps(_to_preload(evidence, keys))})",
        ],
        saves={"calls": calls} if calls > 0 else {},
    )


def _is_cut_short(process: ProcessTally, watch: Watch, n_images: int) -> bool:
    """Whether a process was ended before its first import, or before its interpreter: a pool does so to workers that are late."""
    if "(multiprocessing)" in process.label:
        return process.kind == "python" and key_of(process) not in watch.first_import
    return n_images == 1 and key_of(process) in watch.launching


def _to_preload(evidence: Evidence, workers: set[str]) -> list[str]:
    """What the workers' program imported by itself, all of it; what those modules import comes with them."""
    assert evidence.watch is not None
    names = set().union(*(evidence.watch.modules.get(key, set()) for key in workers))
    return sorted(
        name
        for name in names
        if "" in evidence.notes.imports.get(name, {})
        and name.partition(".")[0] not in _NOT_TO_PRELOAD
        and all(part.isidentifier() for part in name.split("."))
    )


def _own_work(evidence: Evidence, worker: ProcessTally) -> int:
    """What a worker did besides starting: a forked one does it too. Reading the main script again is a part of the start.

    Each worker opens /dev/null in place of its input before its first task. One that has not come so far was ended by its
    pool while it still started, so it did nothing of its own; a forked one comes so far.

    Source: multiprocessing.process, BaseProcess._bootstrap; multiprocessing.util, _close_stdin (CPython 3.6 to 3.13).
    """
    assert evidence.watch is not None
    scripts = {p.label.partition(" ")[2].encode() for p in evidence.tally.by_process.values() if p.pid == worker.parent}
    paths = evidence.watch.run_paths.get(key_of(worker), {})
    if _NO_INPUT not in paths:
        return 1
    return sum(n for path, n in paths.items() if path.rpartition(b"/")[2] not in scripts)


def _asks_for_threads(evidence: Evidence) -> bool:
    # from 3.12 on os.fork opens /proc/self/stat, to warn where there are threads
    versions = [str(fact.get("version") or "0").split(".")[:2] for fact in evidence.facts]
    return any(len(v) == 2 and (count(v[1]) or 0) >= 12 for v in versions)


def _only_in_workers(evidence: Evidence, workers: set[str]) -> int:
    """One import of each module that no other process than the workers imported: the parent has to do it once."""
    assert evidence.watch is not None
    elsewhere: set[str] = set()
    in_workers: set[str] = set()
    for key, names in evidence.watch.modules.items():
        (in_workers if key in workers else elsewhere).update(names)
    total = 0
    for name in in_workers - elsewhere:
        module, n = evidence.tally.by_module.get(name), evidence.notes.n_imports.get(name, 0)
        if module is not None and n:
            total += module.own.n_metadata // n
    return total


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
        + name_the_container(evidence),
        commands=_commands_of_ranks(evidence, roots[0].path),
        saves={} if not requests or requests <= 2 else {"requests": (requests - 2) * n_nodes(evidence)},
    )


def _commands_of_ranks(evidence: Evidence, root: bytes) -> list[str]:
    if n_ranks(evidence) < _n_alike(evidence):
        return image_commands(evidence, root)  # the command itself starts the ranks
    return [image_commands(evidence, root)[0], _srun_line(evidence, image_of(evidence, root), root)]


def _srun_line(evidence: Evidence, image: bytes, root: bytes) -> str:
    where = quote(b"%b:%b:image-src=/" % (image, root))
    return f"srun singularity exec -B {where} {container_image(evidence)} {command_line(evidence)}"


def _n_alike(evidence: Evidence) -> int:
    """The most interpreters of one program that one process started, workers of multiprocessing left out."""
    table: dict[tuple[int, str], int] = {}
    for process in evidence.tally.by_process.values():
        if process.kind == "python" and "(multiprocessing)" not in process.label and process.parent:
            key = (process.parent, process.label)
            table[key] = table.get(key, 0) + 1
    return max(table.values(), default=1)


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
            f"sbcast {quote(image)} {quote(local)}",
            _srun_line(evidence, local, roots[0].path),
        ],
    )
