"""What a client waits for one request of each kind, in a program that does what imports do.

A request costs less in a row of its like than after other work: there the caches hold what the client, the kernel and the
server need for it. Measured at 0.1 ms on two cores: a lookup 0.17 ms in a row and 0.22 ms in a program that computes after
each, an isatty 0.02 and 0.06 ms (the server still releases the file before). So modules are loaded here as Python loads them:
the source and the byte code are looked up, the latter is opened, read and closed, and a module of the standard library is
unmarshalled and executed before the next. Cold, the open comes right after two lookups; warm, it comes after the computing.
"""

from __future__ import annotations

import importlib.util
import itertools
import marshal
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

KINDS = ("lookup", "open", "read", "ioctl")
"""Requests that a call waits for. `lookup` stands for all metadata requests but OPEN; the wait for that holds the one for its
close. IOCTL (isatty of each opened file) has no latency set, but is a round trip all the same."""
CACHES = ("cold", "warm")
MODULES = (
    "argparse ast configparser dataclasses difflib functools inspect optparse pickle tarfile textwrap tokenize typing zipfile"
).split()
"""Some 0.6 ms each, which is about what a program computes between two files that it opens."""


class Work:
    """Computing as between two requests: the next module of the standard library is made once more."""

    def __init__(self) -> None:
        modules = [(name, _compiled(name)) for name in MODULES]
        self._next: Iterator[tuple[str, bytes]] = itertools.cycle(modules)
        for _ in modules:  # what they import themselves is there from now on
            self()

    def __call__(self) -> None:
        """Unmarshal and execute."""
        name, code = next(self._next)
        exec(marshal.loads(code), {"__name__": name})


def _compiled(name: str) -> bytes:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    code: CodeType = compile(Path(spec.origin).read_bytes(), name, "exec")
    return marshal.dumps(code)


def waits_s(
    modules: Sequence[tuple[bytes, bytes]], count: Callable[[], dict[str, int]], work: Callable[[], object]
) -> dict[str, float]:
    """Seconds that a client waited for one request, by "CACHE KIND".

    What is not asked when warm has the wait of an open there (a listing is asked for anew), or of a cold read.

    Args:
        modules: source and byte code, of one page, that the client does not know yet.
        count: reads the server's counters.
        work: what is computed after each.
    """
    found: dict[str, float] = {}
    for cache in CACHES:
        before = count()
        took_s = _load(modules, work)
        after = count()
        for kind in KINDS:
            n = after[kind] - before[kind]
            if n:
                found[f"{cache} {kind}"] = took_s[kind] / n
    return {"warm lookup": found["warm open"], "warm read": found["cold read"], **found}


def _load(modules: Sequence[tuple[bytes, bytes]], work: Callable[[], object]) -> dict[str, float]:
    took_s = dict.fromkeys(KINDS, 0.0)

    @contextmanager
    def timed(kind: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        took_s[kind] += time.perf_counter() - begin

    for source, byte_code in modules:
        for name in (source, byte_code):
            with timed("lookup"):
                os.stat(name)
        with timed("open"):
            descriptor = os.open(byte_code, os.O_RDONLY)
        try:
            os.fstat(descriptor)
            with timed("ioctl"):
                os.isatty(descriptor)
            with timed("read"):
                os.read(descriptor, 4096)
        finally:
            with timed("open"):
                os.close(descriptor)
        work()
    return took_s


def asked(row: dict[str, Any]) -> dict[str, float]:
    """Requests of one row of a comparison by kind of `KINDS`: medians of the servers' counters."""
    n = {name: float(row["server_requests"][name]["median"]) for name in ("metadata", "open", "read", "ioctl")}
    return {"lookup": n["metadata"] - n["open"], "open": n["open"], "read": n["read"], "ioctl": n["ioctl"]}
