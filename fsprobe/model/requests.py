"""Server requests that a client with a cold cache would send, predicted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from fsprobe.model.rows import OURS

_LUSTRE = "mdc.stats:"
_LUSTRE_NAMES = {"ldlm_ibits_enqueue": "enqueue", "mds_close": "close", "mds_readpage": "readpage"}
"""As `mdc.*.stats` names them -> as Lustre's own rules do."""
_LEFT_OUT = frozenset(["metadata", "null", "read", "write", "commit", "read_plus"])
"""The sum, and what moves data: no prediction has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCounts:
    """Requests by kind."""

    DERIVED: ClassVar[tuple[str, ...]] = ("n_metadata",)

    lookup: int = 0
    """All LOOKUPs, the negative ones included."""
    negative: int = 0
    """The part of `lookup` that found nothing."""
    open: int = 0
    opendir: int = 0
    readdir: int = 0
    readlink: int = 0
    other: int = 0
    """What only the clients of NFS and Lustre ask for: rights, attributes, closes."""
    change: int = 0
    """Requests that create, remove or rename; in no total."""
    again: int | None = None
    """Metadata requests of each further process of a node that does the same; in no total. By FUSE's rules `open` + `opendir`.
    Of a job: on all its nodes together. None where nobody said."""
    settling: int = 0
    """What a node's second process asks beyond `again`, by the rules of NFS 4 and Lustre; in no total."""
    read_max: int | None = None
    """Upper bound of READs; None where the size of an opened file was not observed."""

    @property
    def n_metadata(self) -> int:
        """lookup + open + opendir + readdir + readlink + other."""
        return self.lookup + self.open + self.opendir + self.readdir + self.readlink + self.other

    @property
    def n_again(self) -> int:
        """`again`, or what FUSE's rules have for it."""
        return self.open + self.opendir if self.again is None else self.again

    @property
    def n_second(self) -> int:
        """What a node's second process asks."""
        return self.n_again + self.settling


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a mount's client: predicted, and counted; None where nobody predicted or counted it."""

    name: str
    predicted: int | None = None
    counted: float | None = None
    doubt: str = ""
    """Why its number is not predictable; "" where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow(RequestCounts):
    """Requests of one mount, package or import."""

    key: str
    fs_class: str | None = None
    """Of a mount: as in its row of calls."""
    fstype: str | None = None
    protocol: str | None = None
    """Of a mount: by whose rules it was counted, where it has a client with rules of its own; None: by FUSE's, which are its own."""
    operations: Mapping[str, int] = field(default_factory=dict)
    """The same requests by the names of the mount's own client; empty by FUSE's rules."""
    warm: Mapping[str, int] = field(default_factory=dict)
    """What a second process of the node asks, by the same names: `again` + `settling` in all."""
    steady: Mapping[str, int] = field(default_factory=dict)
    """What each one after that asks: `again` in all."""
    not_predictable: Mapping[str, str] = field(default_factory=dict)
    """Of a mount: operation (or `all`) -> why its number is uncertain, or is left out."""

    @property
    def reaches_server(self) -> bool:
        """Whether these requests leave the node: not those that an image, memory or a pseudo filesystem answers."""
        return self.fs_class not in OURS

    def beside(self, counted: Mapping[str, float] | None = None) -> tuple[Operation, ...]:
        """By the client's own names, the most frequent first, beside what it counted itself; empty by FUSE's rules.

        Args:
            counted: the client's counters, in its own words; None where nobody read them.
        """
        if not self.operations and counted is None:
            return ()
        return side_by_side(self.operations, self.not_predictable, counted)


def total_of(rows: Iterable[RequestCounts]) -> RequestCounts:
    """The sum of rows; `read_max` is known where each row's is, `again` where one row's is."""
    rows = list(rows)
    reads = [row.read_max for row in rows]
    names = ("lookup", "negative", "open", "opendir", "readdir", "readlink", "other", "change", "settling")
    return RequestCounts(
        **{name: sum(getattr(row, name) for row in rows) for name in names},
        again=sum(row.n_again for row in rows) if any(row.again is not None for row in rows) else None,
        read_max=None if None in reads else sum(read for read in reads if read is not None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """The predicted requests of a run or job."""

    DERIVED: ClassVar[tuple[str, ...]] = ("at_servers",)

    by_mount: tuple[RequestRow, ...] = ()
    by_package: tuple[RequestRow, ...] = ()
    """What leaves the node: images, memory and pseudo mounts left out. Sums to `at_servers`."""
    by_module: tuple[RequestRow, ...] = ()
    """The same by import; empty for a job, whose ranks share what their node asks for."""
    n_unplaced: int = 0
    """Calls whose path could not be placed; they are in no row."""
    caveat: str = ""

    @property
    def at_servers(self) -> RequestCounts:
        """What leaves the node, each mount by its own protocol: images, memory and pseudo mounts left out. Each view shows this one."""
        return total_of(row for row in self.by_mount if row.reaches_server)

    @property
    def total(self) -> RequestCounts:
        """All mounts, what the node answers itself included."""
        return total_of(self.by_mount)

    @property
    def served(self) -> tuple[RequestRow, ...]:
        """The mounts that were counted by other rules than FUSE's, or whose own rules are not known, and that reach a server."""
        return tuple(row for row in self.by_mount if row.protocol is not None and row.reaches_server)

    def of_mount(self, key: str) -> RequestCounts:
        """What is asked of a mount; zeros where nothing is. In a job, nodes may have several filesystems at one place."""
        return total_of(row for row in self.by_mount if row.key == key)

    def n_at_server(self, key: str) -> int:
        """Metadata requests of a mount that reach a file server or disk; none of an image, of memory or of /proc do."""
        return sum(row.n_metadata for row in self.by_mount if row.key == key and row.reaches_server)


def named(counted: Mapping[str, float]) -> dict[str, float] | None:
    """Counters by the names of predictions: sums, data and what never occurred left out; None where they count no requests."""
    if any(":" in word for word in counted):
        # Lustre: mdc.*.stats counts requests, its other counters do not
        of_servers = {word[len(_LUSTRE) :]: n for word, n in counted.items() if word.startswith(_LUSTRE)}
        return (
            {_LUSTRE_NAMES[word]: n for word, n in of_servers.items() if word in _LUSTRE_NAMES and n}
            if of_servers
            else None
        )
    return {word.upper(): n for word, n in counted.items() if word not in _LEFT_OUT and n}


def _is_counted(name: str) -> bool:
    """Whether the counters that are read hold it: of Lustre's, what object servers are asked for is in others."""
    return name.isupper() or name in _LUSTRE_NAMES.values()


def side_by_side(
    predicted: Mapping[str, int] | None, doubts: Mapping[str, str], counted: Mapping[str, float] | None
) -> tuple[Operation, ...]:
    """Operations predicted and counted, the most frequent first.

    Args:
        predicted: operation -> how often; None where nobody predicted.
        doubts: operation -> why its number is not predictable.
        counted: the client's counters, in its own words; None where nobody counted.
    """
    found = None if counted is None else named(counted)
    asked = predicted or {}
    rows = [
        Operation(
            name=name,
            predicted=None if predicted is None else asked.get(name, 0),
            counted=found.get(name, 0) if found is not None and _is_counted(name) else None,
            doubt=doubts.get(name, ""),
        )
        for name in {**asked, **dict.fromkeys(found or ())}
    ]
    return tuple(sorted(rows, key=lambda row: (-max(row.predicted or 0, row.counted or 0), row.name)))
