"""Rule on workers that each import what their program has imported: of multiprocessing (spawn, forkserver), dask, loky."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fsprobe.analysis.counting.tally import ProcessTally
from fsprobe.analysis.findings.environment import network_roots
from fsprobe.analysis.findings.evidence import Evidence, Seen, Watch, plural, version_of, weigh
from fsprobe.analysis.findings.watch import FORK_SERVER, LOKY, SPAWN, TRACKER

_NO_INPUT = os.fsencode(os.devnull)
_NOT_TO_PRELOAD = frozenset(
    {"multiprocessing", "encodings", "site", "sitecustomize", "usercustomize", "pkgutil", "runpy"}
)
_DASK_SPACE = (b"/dask-scratch-space", b"/dask-worker-space")
"""Where dask's workers keep their files; each makes it when it starts."""
_DASK_MODULES = frozenset({"dask.distributed", "distributed"})
_DASK = "export DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD="


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repeated:
    """Workers of one kind, and what to do about them."""

    n_workers: int
    what: str
    """What they are, in the plural."""
    calls: int
    """What the first command saves."""
    instead: str
    """How these calls are not made."""
    advice: str
    commands: Sequence[str]


def spawned_workers(evidence: Evidence) -> Seen | None:
    """Workers that each import the same modules again.

    Seen: several workers of multiprocessing (start methods spawn and forkserver), of dask or of joblib's loky, and what
    their starts and imports cost.

    Costs: each starts an interpreter and imports everything again, at the same time as the others; a data loader that
    makes its workers anew for each epoch does it each time. rslearn: from 4 s to 0.4 s a worker.

    Do: start method `fork`, or `forkserver` with `set_forkserver_preload`, after the imports; fewer workers;
    `persistent_workers=True` for PyTorch's DataLoader. dask reads its start method from its own configuration, joblib's
    backend `multiprocessing` forks. A process that has started threads, or uses a GPU, must not be forked.

    Saving: of the first line. By start method fork, with all imports done before: the calls of the workers' starts and
    imports, all of multiprocessing's resource tracker, and the parent's import of the spawn machinery; less one import of
    each module that only the workers imported. By a preload of forkserver: the workers' imports of the listed modules,
    less one import of each. Workers that a pool ended while they still started count with what they had done by then, so
    two runs of one program may differ.
    """
    if evidence.watch is None:
        return None
    found = [kind for kind in (_spawned(evidence), _of_server(evidence), _of_loky(evidence)) if kind is not None]
    if not found:
        return None
    most = max(found, key=lambda kind: kind.calls)
    severity = weigh(evidence, "same_processes", most.n_workers)
    if severity is None:
        return None
    return Seen(
        severity=severity if network_roots(evidence) else "info",
        evidence=f"{plural(most.n_workers, most.what[:-1], most.what)} imported the same modules: "
        f"{plural(most.calls, 'call')} that {most.instead}.",
        advice=most.advice,
        commands=most.commands,
        saves={"calls": most.calls} if most.calls > 0 else {},
    )


def _spawned(evidence: Evidence) -> _Repeated | None:
    watch = evidence.watch
    assert watch is not None
    everybody = list(evidence.tally.by_process.values())
    workers = [process for process in everybody if watch.first_import.get(process.key) == SPAWN]
    if not workers:
        return None
    parents = {worker.parent for worker in workers}
    images = Counter(process.pid for process in everybody)
    workers += [
        process
        for process in everybody
        if process.parent in parents and _is_cut_short(process, watch, images[process.pid])
    ]
    trackers = _trackers(evidence, parents)
    pids = {process.pid for process in (*workers, *trackers)}
    calls = sum(p.counts.n_metadata for p in everybody if p.pid in pids)
    calls -= sum(_own_work(evidence, worker) for worker in workers)
    calls += sum(watch.machinery.get(p.key, 0) for p in everybody if p.pid in parents - pids)
    keys = {p.key for p in (*workers, *trackers)}
    calls -= _only_in_workers(evidence, keys)
    calls -= len(workers) * _asks_for_threads(evidence)
    kept = _to_preload(evidence, keys)
    if _is_dask(watch, workers):
        advice = (
            "dask reads the start method from its configuration. It has threads by then: where a forked worker hangs, take "
            "forkserver in its place, which saves with many workers."
        )
        commands = [f"{_DASK}fork", "# or, where a forked worker hangs:", f"{_DASK}forkserver"]
    else:
        advice = (
            "Import first, then fork. Spawn is never the default on Linux: name fork where the program, or a package, names "
            "spawn (set_start_method, get_context, mp_context=, multiprocessing_context= of PyTorch's DataLoader); or "
            "forkserver with a preload, where threads or a GPU forbid a fork."
        )
        n_saved = _saved_by_preload(evidence, workers, kept) + _saved_starts(watch, workers)
        advice += f" The second line saves at least {n_saved:,} calls." if n_saved > 0 and kept else ""
        advice += _about_torch(watch, workers)
        commands = ['multiprocessing.set_start_method("fork")  # or get_context("fork"): where the program names spawn']
        if kept:
            line = f'multiprocessing.set_start_method("forkserver"); {_preload_line(kept)}'
            commands.append(f"{line}  # or, where threads or a GPU forbid a fork")
    return _Repeated(
        n_workers=len(workers),
        what="spawned workers",
        calls=calls,
        instead="a fork after the imports does not make",
        advice=advice,
        commands=commands,
    )


def _of_server(evidence: Evidence) -> _Repeated | None:
    watch = evidence.watch
    assert watch is not None
    servers = {p.pid for p in evidence.tally.by_process.values() if watch.first_import.get(p.key) == FORK_SERVER}
    workers = [
        process
        for process in evidence.tally.by_process.values()
        if process.parent in servers and process.pid not in servers and process.key in watch.worker_imports
    ]
    kept = _to_preload(evidence, {worker.key for worker in workers})
    calls = _saved_by_preload(evidence, workers, kept)
    # dask gives its server a list of its own
    is_dask = any(name in _DASK_MODULES for name in kept)
    if not kept or is_dask or evidence.thresholds["removable_calls"].level(calls) is None:
        return None
    return _Repeated(
        n_workers=len(workers),
        what="workers of multiprocessing's forkserver",
        calls=calls,
        instead="a server that has imported them first does not make",
        advice="Let the server import them once: its workers are forked from it." + _about_torch(watch, workers),
        commands=[f"{_preload_line(kept)}  # in Python, before the first worker"],
    )


def _of_loky(evidence: Evidence) -> _Repeated | None:
    watch = evidence.watch
    assert watch is not None
    workers = [process for process in evidence.tally.by_process.values() if process.label.endswith(LOKY)]
    if not workers:
        return None
    keys = {worker.key for worker in workers}
    calls = sum(w.counts.n_metadata - watch.phases.get(w.key, {}).get("run", 0) for w in workers)
    calls -= _only_in_workers(evidence, keys)
    is_joblib = any("joblib" in worker.label for worker in workers)
    commands = ['joblib.parallel_config(backend="multiprocessing")  # in Python, before the first Parallel']
    if version_of(evidence) >= (3, 14):
        commands.insert(0, 'multiprocessing.set_start_method("fork")  # in Python, before the first worker')
    return _Repeated(
        n_workers=len(workers),
        what="workers of loky",
        calls=calls,
        instead="forked workers do not make",
        advice="joblib's backend multiprocessing forks its workers after the imports. Keep loky where the program has started "
        "threads before (OpenMP, a GPU), and ask for fewer workers there."
        if is_joblib
        else "Ask for fewer workers, and keep one executor for the whole run (get_reusable_executor does).",
        commands=commands if is_joblib else [],
    )


def _preload_line(names: Sequence[str]) -> str:
    return f"multiprocessing.set_forkserver_preload({json.dumps(list(names))})"


def _about_torch(watch: Watch, workers: Iterable[ProcessTally]) -> str:
    if any("torch.utils.data" in watch.modules.get(worker.key, ()) for worker in workers):
        return " PyTorch's DataLoader makes its workers anew for each epoch: persistent_workers=True keeps them."
    return ""


def _is_dask(watch: Watch, workers: Iterable[ProcessTally]) -> bool:
    return any(
        word in path for worker in workers for path in watch.run_paths.get(worker.key, ()) for word in _DASK_SPACE
    )


def _trackers(evidence: Evidence, parents: set[int]) -> list[ProcessTally]:
    assert evidence.watch is not None
    firsts = evidence.watch.first_import
    return [p for p in evidence.tally.by_process.values() if firsts.get(p.key) == TRACKER and p.parent in parents]


def _is_cut_short(process: ProcessTally, watch: Watch, n_images: int) -> bool:
    """Whether a process was ended before its first import, or before its interpreter: a pool does so to workers that are late."""
    if "(multiprocessing)" in process.label:
        return process.kind == "python" and process.key not in watch.first_import
    return n_images == 1 and process.key in watch.launching


def _to_preload(evidence: Evidence, workers: set[str]) -> list[str]:
    """What the workers' program imported by itself, all of it; what those modules import comes with them."""
    assert evidence.watch is not None
    names = {name for key in workers for name in evidence.watch.worker_imports.get(key, ())}
    return sorted(
        name
        for name in names
        if name.partition(".")[0] not in _NOT_TO_PRELOAD and all(part.isidentifier() for part in name.split("."))
    )


def _saved_by_preload(evidence: Evidence, workers: Iterable[ProcessTally], names: Sequence[str]) -> int:
    """The workers' calls inside imports of these modules, less one import of each module in the server."""
    assert evidence.watch is not None
    total, once = 0, Counter[str]()
    for worker in workers:
        for name in names:
            for module, n in evidence.watch.worker_imports.get(worker.key, {}).get(name, {}).items():
                total += n
                once[module] = max(once[module], n)
    return total - sum(once.values())


def _saved_starts(watch: Watch, workers: Sequence[ProcessTally]) -> int:
    """The starts of all interpreters but one: the server's."""
    starts = [
        sum(watch.phases.get(worker.key, {}).get(phase, 0) for phase in ("launch", "loader", "init", "site"))
        for worker in workers
    ]
    return sum(starts) - max(starts, default=0)


def _own_work(evidence: Evidence, worker: ProcessTally) -> int:
    """What a worker did besides starting: a forked one does it too. Reading the main script again is a part of the start.

    Each worker opens /dev/null in place of its input before its first task. One that has not come so far was ended by its
    pool while it still started, so it did nothing of its own; a forked one comes so far.

    Source: multiprocessing.process, BaseProcess._bootstrap; multiprocessing.util, _close_stdin (CPython 3.6 to 3.13).
    """
    assert evidence.watch is not None
    scripts = {p.label.partition(" ")[2].encode() for p in evidence.tally.by_process.values() if p.pid == worker.parent}
    paths = evidence.watch.run_paths.get(worker.key, {})
    if _NO_INPUT not in paths:
        return 1
    return sum(n for path, n in paths.items() if path.rpartition(b"/")[2] not in scripts)


def _asks_for_threads(evidence: Evidence) -> bool:
    # from 3.12 on os.fork opens /proc/self/stat, to warn where there are threads
    return version_of(evidence) >= (3, 12)


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
