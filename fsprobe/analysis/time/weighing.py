"""What the time account says about some mounts, for the verdict: what was waited for there, and what can't be told."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fsprobe import numbers
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
    return f"metadata calls {numbers.rounded_seconds(metadata_s)}, reads {numbers.rounded_seconds(reads_s)}"


def fault_s(account: TimeAccount, keys: Collection[str]) -> float:
    """Seconds that page faults on files of some mounts took: all other waiting, where their number fits it, else 0."""
    n = _n_faults(account, keys)
    least, most = FAULT_S
    return account.other_s if n and least * n <= account.other_s <= most * n else 0.0


def _n_faults(account: TimeAccount, keys: Collection[str]) -> int:
    """Major page faults, where there were enough of them, and enough was mapped, to have been waited for."""
    n = account.n_major_faults or 0
    mapped = [row.mapped_bytes for row in account.by_mount if row.key in keys and row.mapped_bytes is not None]
    return 0 if n < FEWEST_FAULTS or (mapped and sum(mapped) < LEAST_MAPPED_BYTES) else n


def untold(
    account: TimeAccount, n_opened: int, keys: Collection[str], n_written: int = 0, n_unseen: int = 0
) -> Iterator[tuple[float, str]]:
    """Seconds that may have been waiting for some mounts and were not told apart, each with what is to be said of them.

    Args:
        account: the run's.
        n_opened: files that were opened there.
        keys: the mounts.
        n_written: files there that were opened to be written: no backend times writing.
        n_unseen: programs that were started and not seen, whatever they waited for.
    """
    other_s = account.other_s
    rest = f"{numbers.rounded_seconds(other_s)}, {numbers.share(account.share(other_s))} of the wall time, were spent in {account.other_name}"
    if n_unseen:
        programs = f"{n_unseen:,} {'program was' if n_unseen == 1 else 'programs were'}"
        yield other_s, f"{rest}, and {programs} started that the recorder did not see (`--backend strace` may)"
        return
    if account.reads_s is None and n_opened:
        yield other_s, f"{rest}, which this recording does not tell apart (`--backend inline` does)"
        return
    if n_written:
        files = f"{n_written:,} {'file was' if n_written == 1 else 'files were'}"
        yield other_s, f"{rest}; {files} written there, and how long that took is not observed"
        return
    n = _n_faults(account, keys)
    most_s = FAULT_S[1] * n
    if n and other_s > most_s:
        yield (
            most_s,
            f"of {numbers.rounded_seconds(other_s)} of {account.other_name}, {n:,} major page faults may have taken "
            f"up to {numbers.rounded_seconds(most_s)}, {numbers.share(account.share(most_s))} of the wall time",
        )
