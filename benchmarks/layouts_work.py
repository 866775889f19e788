"""What a request costs a program that computes between its requests: more than its wait.

After each wait the processor works slower for a while, as it does after a sleep of the same length without any file
system, and a server that was left alone for longer answers later. So a request is also timed between pieces of a
computation: before every other piece, then before those that had none. What it costs is its wait and what the pieces
behind a request take more than the others. The computation is what an import mostly does itself: byte code becomes
objects (`marshal.loads`), over some megabytes of modules.
"""

from __future__ import annotations

import functools
import gc
import itertools
import marshal
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

WORK_MS = (0.1, 0.5, 1.2)
"""Computation between two requests, roughly; what it really took is measured."""
MAX_SOURCE_BYTES, N_MODULES = 40_000, 150

Costs = dict[str, list[list[tuple[float, float]]]]
"""By kind of request, for each of `WORK_MS`: (s of computation a request, s that a request cost) of each measurement."""


@functools.cache
def modules() -> tuple[tuple[bytes, ...], float]:
    """Byte code of modules of the standard library, and s that one byte of it takes."""
    sources = sorted(Path(os.__file__).parent.glob("*.py"))
    small = [path for path in sources if 2000 < path.stat().st_size < MAX_SOURCE_BYTES][:N_MODULES]
    codes = tuple(marshal.dumps(compile(path.read_bytes(), path.name, "exec")) for path in small)
    begin = time.perf_counter()
    kept = [marshal.loads(code) for code in codes]
    took = time.perf_counter() - begin
    del kept
    return codes, took / sum(map(len, codes))


def pieces(work_ms: float, n: int) -> list[list[bytes]]:
    """`n` pieces of computation of about `work_ms` each, one after another through all modules."""
    codes, s_per_byte = modules()
    found: list[list[bytes]] = []
    at = 0
    for _ in range(n):
        piece: list[bytes] = []
        while sum(map(len, piece)) * s_per_byte < work_ms / 1000:
            piece.append(codes[at % len(codes)])
            at += 1
        found.append(piece)
    return found


def cost_s(work: Sequence[Sequence[bytes]], ask: Callable[[int], object]) -> tuple[float, float]:
    """(s of a piece of computation, s that one request costs): each piece once behind a request and once alone.

    Args:
        ask: makes request number n, of as many as there are pieces.
    """
    behind = alone = waited = 0.0
    asked = itertools.count()
    collects = gc.isenabled()
    gc.disable()  # how much there is to collect is our own affair
    try:
        kept = []
        for parity in (0, 1):
            for number, piece in enumerate(work):
                asks = number % 2 == parity
                begin = time.perf_counter()
                if asks:
                    ask(next(asked))
                middle = time.perf_counter()
                for code in piece:
                    kept.append(marshal.loads(code))
                end = time.perf_counter()
                if asks:
                    waited += middle - begin
                    behind += end - middle
                else:
                    alone += end - middle
    finally:
        if collects:
            gc.enable()
    return alone / len(work), (waited + behind - alone) / len(work)


def cost_at(measured: Sequence[Sequence[tuple[float, float]]], wait_s: float, work_s: float) -> float:
    """What a request costs when `work_s` of computation lie between two: medians, joined by straight lines.

    Args:
        measured: of one kind of request, as `Costs` has it.
        wait_s: what one costs with nothing in between.
    """
    points = [(statistics.median(w for w, _ in step), statistics.median(c for _, c in step)) for step in measured]
    points = sorted([(0.0, wait_s), *points])
    return float(np.interp(work_s, [w for w, _ in points], [c for _, c in points]))
