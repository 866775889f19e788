"""Where work is done: processes of this machine, MPI ranks, or a Dask cluster, all as a `concurrent.futures.Executor`."""

from __future__ import annotations

import importlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from fsprobe.errors import EXIT_USAGE, FsprobeError, MachineCannot
from fsprobe.foreign_numbers import count

CHOICES = "local, local=N, mpi or dask=ADDRESS"
MAX_WORKERS = 1024
T = TypeVar("T")


@contextmanager
def executor(name: str) -> Iterator[tuple[Executor | None, int]]:
    """Open what `--executor NAME` says and close it in the end.

    Args:
        name: `local` (as many processes as this one may use processors), `local=N`, `mpi`, `dask=ADDRESS`.

    Yields:
        The executor and its number of workers; None for one local process, which needs none.

    Raises:
        FsprobeError: no such executor.
        MachineCannot: what it needs is not installed, or does not answer.
    """
    kind, _, value = name.partition("=")
    n_workers = count(value) if value else len(os.sched_getaffinity(0))
    if kind == "local" and n_workers is not None:
        if n_workers > MAX_WORKERS:
            raise FsprobeError(f"{name}: {MAX_WORKERS} processes at most", f"one of {CHOICES}", EXIT_USAGE)
        if n_workers < 2:
            yield None, 1
            return
        with _local(n_workers) as pool:
            yield pool, n_workers
    elif name == "mpi":
        with _mpi() as (pool, n_workers):
            yield pool, n_workers
    elif kind == "dask" and value:
        with _dask(value) as (pool, n_workers):
            yield pool, n_workers
    else:
        raise FsprobeError(f"{name!r} is no executor", f"one of {CHOICES}", EXIT_USAGE)


def result(future: Future[T]) -> T:
    """What a worker found.

    Raises:
        MachineCannot: it has ended before that.
        Exception: as the task.
    """
    dask: Any = sys.modules.get("distributed")
    lost = (BrokenExecutor, CancelledError, *(() if dask is None else (dask.scheduler.KilledWorker,)))
    try:
        return future.result()
    except lost:
        raise MachineCannot(
            "a worker process has ended before its recordings were read: killed, perhaps for want of memory",
            "fewer processes need less memory: --executor local=1",
        ) from None


@contextmanager
def _local(n_workers: int) -> Iterator[Executor]:
    pool = ProcessPoolExecutor(n_workers, _Forking(), initializer=_begin_worker)
    try:
        yield pool
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.kill()  # nobody waits for what they are reading
        with suppress(RuntimeError):  # interrupted before its thread was started, it can't wait for that
            pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown(cancel_futures=True)


_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Worker(multiprocessing.context.ForkProcess):
    """Forked off with the interrupts held back: what comes to the whole group before its first line waits until that."""

    def start(self) -> None:
        self.held = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.held)


class _Forking(multiprocessing.context.ForkContext):
    """Forks its workers, on CPython 3.14 and later too: others would load fsprobe once more before they could keep silent."""

    Process = _Worker


def _begin_worker() -> None:
    """Set up a worker: it ends when the process that it works for has ended, however that was, and without a word."""
    # what comes to the group comes to each worker: the handlers that it has from its parent raise, and it would tell of that
    for number in _INTERRUPTS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    worker = multiprocessing.current_process()
    if isinstance(worker, _Worker):
        signal.pthread_sigmask(signal.SIG_SETMASK, worker.held)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _mpi() -> Iterator[tuple[Executor, int]]:
    try:
        from mpi4py import MPI  # type: ignore[import-not-found,unused-ignore]
        from mpi4py.futures import MPIPoolExecutor  # type: ignore[import-not-found,unused-ignore]
    except (ImportError, RuntimeError) as error:
        raise MachineCannot(
            f"no MPI for Python: {error}", "pip install 'fsprobe[mpi]', with the MPI module of this site loaded"
        ) from error
    if not _has_workers(MPI):
        raise MachineCannot(
            "there are no MPI workers", "mpiexec -n 8 python -m mpi4py.futures -m fsprobe merge DIR --executor mpi"
        )
    with MPIPoolExecutor() as pool:
        yield pool, max(1, int(pool.num_workers))


def _has_workers(mpi: object) -> bool:
    # started by `python -m mpi4py.futures`, the first process runs this and the others wait for it
    from mpi4py.futures import _core  # type: ignore[import-not-found,unused-ignore]

    return bool(getattr(_core, "SharedPool", None))


@contextmanager
def _dask(address: str) -> Iterator[tuple[Executor, int]]:
    try:
        distributed: Any = importlib.import_module("distributed")  # by name: only a part of it has types
    except ImportError as error:
        raise MachineCannot(f"no Dask here: {error}", "pip install 'fsprobe[dask]'") from error
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise MachineCannot(
            f"no Dask scheduler answers at {address}: {error}", "start one with `dask scheduler`, and workers"
        ) from error
    with client:
        n_workers = sum(client.nthreads().values())
        if not n_workers:
            raise MachineCannot(f"the Dask scheduler at {address} has no workers", f"start some: dask worker {address}")
        yield client.get_executor(), int(n_workers)
