"""Kinds of ranks: most ranks of a job make the very same calls, so that one of each kind shows what all of it do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fsprobe.model.job import RankRow

MAX_KINDS = 6
"""So many are looked into, the most frequent ones. A judgement: each costs as much as reading a few more ranks."""
ALIKE_SHARE = 0.01
"""Up to this difference in each number two ranks are of one kind: process ids in names and races for a file of byte code
make such differences. A judgement."""
ALIKE_CALLS = 5
"""... or up to so many calls."""
_NUMBERS = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Ranks that made the same calls, or nearly."""

    file: str
    """The recording of the one that stands for them."""
    key: str
    """... and its name."""
    keys: frozenset[str]
    """Files of all of them, that one included."""
    nodes: frozenset[str]
    """Nodes that count for this kind: a node with ranks of several kinds counts for the one that has most of them."""

    @property
    def n_ranks(self) -> int:
        """How many ranks it has."""
        return len(self.keys)


def kinds(rows: Sequence[RankRow]) -> list[Kind]:
    """Sort ranks into kinds, the largest first; ranks beyond `MAX_KINDS` kinds are in none.

    Args:
        rows: as `rank_rows.rank_row` makes them.
    """
    exact: dict[tuple[int, ...], list[RankRow]] = {}
    for row in rows:
        exact.setdefault(tuple(getattr(row, name) for name in _NUMBERS), []).append(row)
    ordered = sorted(exact.items(), key=lambda item: -len(item[1]))
    grouped: list[tuple[tuple[int, ...], list[RankRow]]] = []
    for numbers, members in ordered:
        near = next((group for group in grouped if _are_alike(group[0], numbers)), None)
        if near is not None:
            near[1].extend(members)
        else:
            grouped.append((numbers, list(members)))
    grouped.sort(key=lambda group: -len(group[1]))
    chosen = [members for _, members in grouped[:MAX_KINDS]]
    owners = _owners(chosen)
    return [
        Kind(
            file=members[0].file,
            key=members[0].key,
            keys=frozenset(row.file for row in members),
            nodes=frozenset(node for node, owner in owners.items() if owner == number),
        )
        for number, members in enumerate(chosen)
    ]


def _are_alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= max(ALIKE_CALLS, ALIKE_SHARE * a) for a, b in zip(one, other, strict=True))


def _owners(groups: Sequence[Sequence[RankRow]]) -> Mapping[str, int]:
    votes: dict[str, dict[int, int]] = {}
    for number, members in enumerate(groups):
        for row in members:
            table = votes.setdefault(row.node, {})
            table[number] = table.get(number, 0) + 1
    return {node: max(table, key=lambda number: (table[number], -number)) for node, table in votes.items()}


def launched(*, n_processes: int, n_nodes: int = 1) -> dict[str, str]:
    """A launcher's variables as rules and verdict read them, whoever launched the job: so many processes on so many nodes."""
    return {
        "SLURM_PROCID": "0",
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": str(n_processes),
        "SLURM_NNODES": str(n_nodes),
    }
