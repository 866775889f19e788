"""The time account of several runs as one: wall times and their parts summed, as of a job's ranks.

A part that one of them did not observe is unknown of all; its time is in the rest then, as it is in a single account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fsprobe.analysis.time.account import MAX_ROWS, by_package
from fsprobe.model.time.account import PARTLY, MountTime, TimeAccount, TimeRow, TimeSplit

_PARTS = ("cpu_s", "metadata_s", "reads_s", "both_s")
_OF_A_SPLIT = ("wall_s", *_PARTS, "other_s")
_CUMULATIVE = ("wall_cum_s", "cpu_cum_s", "metadata_cum_s", "reads_cum_s")
_OF_AN_ACCOUNT = ("traced_wall_s", "overhead_s", "cpu_total_s")
_COUNTS = ("n_major_faults", "read_bytes", "n_reads", "n_read_bytes")


@dataclass(slots=True)
class _Sums:
    """Sums of fields, and which of them somebody did not observe."""

    values: dict[str, float] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)

    def take(self, source: object, names: Iterable[str]) -> None:
        values = self.values
        for name in names:
            value = getattr(source, name)
            if value is None:
                self.absent.add(name)
            else:
                values[name] = values.get(name, 0.0) + value

    def join(self, other: _Sums) -> None:
        for name, value in other.values.items():
            self.values[name] = self.values.get(name, 0.0) + value
        self.absent |= other.absent

    def seconds(self, name: str) -> float | None:
        return None if name in self.absent else round(self.values.get(name, 0.0), 6)

    def known_s(self, name: str) -> float:
        return round(self.values.get(name, 0.0), 6)

    def count(self, name: str) -> int | None:
        return None if name in self.absent or name not in self.values else int(self.values[name])

    @property
    def other_s(self) -> float:
        """The rest, with what only some have told apart."""
        return round(sum(self.values.get(name, 0.0) for name in ("other_s", *(self.absent & set(_PARTS)))), 6)


@dataclass(slots=True)
class TimeSums:
    """Accounts added up so far; sums add too."""

    n: int = 0
    total: _Sums = field(default_factory=_Sums)
    guesses: Counter[str] = field(default_factory=Counter)
    mounts: dict[str, tuple[MountTime, _Sums]] = field(default_factory=dict)
    imports: dict[str, _Sums] = field(default_factory=dict)
    slowest: TimeRow | None = None

    def add(self, account: TimeAccount, name: str) -> None:
        """Add a run's account; `name` is whose it is."""
        self.n += 1
        self.total.take(account, (*_OF_A_SPLIT, *_OF_AN_ACCOUNT, *_COUNTS))
        self.guesses[account.cache_guess] += 1
        for mount in account.by_mount:
            self.mounts.setdefault(mount.key, (mount, _Sums()))[1].take(
                mount, ("metadata_s", "reads_s", "mapped_bytes")
            )
        for row in account.by_import or ():
            self.imports.setdefault(row.key, _Sums()).take(row, (*_OF_A_SPLIT, *_CUMULATIVE, "n_major_faults"))
        self._keep_slowest(_row_of(account, name))

    def join(self, other: TimeSums) -> None:
        """Add other sums."""
        self.n += other.n
        self.total.join(other.total)
        self.guesses.update(other.guesses)
        for key, (mount, sums) in other.mounts.items():
            self.mounts.setdefault(key, (mount, _Sums()))[1].join(sums)
        for key, sums in other.imports.items():
            self.imports.setdefault(key, _Sums()).join(sums)
        if other.slowest is not None:
            self._keep_slowest(other.slowest)

    def _keep_slowest(self, row: TimeRow) -> None:
        if self.slowest is None or (-row.wall_s, row.key) < (-self.slowest.wall_s, self.slowest.key):
            self.slowest = row

    def account(self) -> TimeAccount | None:
        """The account of all of them together; None where there is none."""
        if not self.n:
            return None
        total = self.total
        rows = sorted(
            (_import_row(key, sums) for key, sums in self.imports.items()), key=lambda row: (-row.wall_s, row.key)
        )
        by_import = tuple(rows[:MAX_ROWS]) if rows else None
        mounts = [
            replace(
                mount,
                metadata_s=sums.seconds("metadata_s"),
                reads_s=sums.seconds("reads_s"),
                mapped_bytes=sums.count("mapped_bytes"),
            )
            for mount, sums in self.mounts.values()
        ]
        return TimeAccount(
            wall_s=total.known_s("wall_s"),
            cpu_s=total.seconds("cpu_s"),
            metadata_s=total.seconds("metadata_s"),
            reads_s=total.seconds("reads_s"),
            both_s=total.known_s("both_s"),
            other_s=total.other_s,
            traced_wall_s=total.known_s("traced_wall_s"),
            overhead_s=total.known_s("overhead_s"),
            cpu_total_s=total.seconds("cpu_total_s"),
            n_major_faults=total.count("n_major_faults"),
            read_bytes=total.count("read_bytes"),
            n_reads=total.count("n_reads"),
            n_read_bytes=total.count("n_read_bytes"),
            cache_guess=_guess(self.guesses),
            by_mount=tuple(sorted(mounts, key=lambda row: (-row.waited_s, row.key))),
            by_import=by_import,
            by_package=by_package(by_import),
            n_ranks=self.n,
            slowest=self.slowest if self.n > 1 else None,
        )


def average(account: TimeAccount) -> TimeAccount:
    """An account of several ranks as that of one of them, on the average: for rules about what one process waits for."""
    n = account.n_ranks

    def part(value: float | None) -> float | None:
        return None if value is None else value / n

    def whole(value: int | None) -> int | None:
        return None if value is None else round(value / n)

    return replace(
        account,
        wall_s=account.wall_s / n,
        cpu_s=part(account.cpu_s),
        metadata_s=part(account.metadata_s),
        reads_s=part(account.reads_s),
        both_s=account.both_s / n,
        other_s=account.other_s / n,
        traced_wall_s=account.traced_wall_s / n,
        overhead_s=account.overhead_s / n,
        cpu_total_s=part(account.cpu_total_s),
        n_major_faults=whole(account.n_major_faults),
        read_bytes=whole(account.read_bytes),
        n_reads=whole(account.n_reads),
        n_read_bytes=whole(account.n_read_bytes),
        by_mount=tuple(
            replace(
                row, metadata_s=part(row.metadata_s), reads_s=part(row.reads_s), mapped_bytes=whole(row.mapped_bytes)
            )
            for row in account.by_mount
        ),
        by_import=None,
        by_package=None,
        n_ranks=1,
        slowest=None,
    )


def _row_of(account: TimeSplit, name: str) -> TimeRow:
    return TimeRow(key=name, **{part: getattr(account, part) for part in _OF_A_SPLIT})


def _import_row(key: str, sums: _Sums) -> TimeRow:
    return TimeRow(
        key=key,
        wall_s=sums.known_s("wall_s"),
        cpu_s=sums.seconds("cpu_s"),
        metadata_s=sums.seconds("metadata_s"),
        reads_s=sums.seconds("reads_s"),
        both_s=sums.known_s("both_s"),
        other_s=sums.other_s,
        wall_cum_s=sums.known_s("wall_cum_s"),
        cpu_cum_s=sums.seconds("cpu_cum_s"),
        metadata_cum_s=sums.seconds("metadata_cum_s"),
        reads_cum_s=sums.seconds("reads_cum_s"),
        n_major_faults=sums.count("n_major_faults"),
    )


def _guess(guesses: Counter[str]) -> str:
    """What all that could be guessed have in common; of different ones that they were partly warm."""
    said = {guess for guess in guesses if guess}
    return said.pop() if len(said) == 1 else PARTLY if said else ""
