"""What the time account says about some mounts, for the verdict: what was waited for there, and what can't be told."""

from __future__ import annotations

from collections.abc import Collection

from fsprobe.model.time.account import TimeAccount

FEWEST_FAULTS = 20
FAULT_S = (2e-5, 0.03)
"""What a major page fault takes at least and at most, on the average: below it nothing was fetched, above it something else was
waited for. Judgements: a server's read takes 0.2 to 20 ms."""
LEAST_MAPPED_BYTES = 1 << 20
MUCH = 0.4
"""Share of the wall time from which on waiting that is not told apart forbids an acquittal: a judgement."""


def waited_s(account: TimeAccount, keys: Collection[str]) -> float:
    """Seconds of waiting in metadata calls and reads on some mounts."""
    return sum(row.waited_s for row in account.by_mount if row.key in keys)


def kinds(account: TimeAccount, keys: Collection[str]) -> str:
    """The same in words: `metadata calls 0.1 s, reads 22 s`; "" where only one kind was observed."""
    rows = [row for row in account.by_mount if row.key in keys]
    if account.reads_s is None:
        return ""
    metadata_s, reads_s = sum(row.metadata_s or 0.0 for row in rows), sum(row.reads_s or 0.0 for row in rows)
    return f"metadata calls {metadata_s:.2g} s, reads {reads_s:.2g} s"


def fault_s(account: TimeAccount, keys: Collection[str]) -> float:
    """Seconds that page faults on files of some mounts may have taken: all other waiting, where their number fits it, else 0."""
    n = account.n_major_faults or 0
    mapped = [row.mapped_bytes for row in account.by_mount if row.key in keys and row.mapped_bytes is not None]
    if n < FEWEST_FAULTS or (mapped and sum(mapped) < LEAST_MAPPED_BYTES):
        return 0.0
    least, most = FAULT_S
    return account.other_s if least * n <= account.other_s <= most * n else 0.0


def untold_s(account: TimeAccount, n_opened: int) -> float:
    """Seconds of waiting that may have been reads of files on some mounts, of which `n_opened` were opened, and were not observed."""
    return account.other_s if account.reads_s is None and n_opened else 0.0
