"""How imports nest, of a ring that is read as columns: each mark is noted as the stack of imports that it leaves its thread in.

What depends on the marks before and after it (which import used a time, which mark began what another ends) is found at the
end, of all marks at once.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from fsprobe.analysis.columns.contexts import Contexts, Node
from fsprobe.analysis.columns.groups import group
from fsprobe.analysis.columns.slots import Columns, Ints
from fsprobe.analysis.columns.timed import Lives
from fsprobe.model.events import Process

NOT_KNOWN = -1
_ROW_BITS = 31


@dataclass(slots=True)
class Nesting:
    """The marks of a run in the order of the slots, and what its threads were in."""

    contexts: Contexts
    lives: Lives
    rows: array[int] = field(default_factory=lambda: array("q"))
    """Of each mark its row."""
    nodes: array[int] = field(default_factory=lambda: array("q"))
    """... the stack that it leaves."""
    spells: array[int] = field(default_factory=lambda: array("q"))
    """... the spell of its thread."""
    life_of: list[int] = field(default_factory=list)
    """Of each spell, a time in which a thread's process does not change: its life, as `Lives` has it."""
    process_of: list[int] = field(default_factory=list)
    """... and its process; `NOT_KNOWN` where each call has to be attributed by itself."""
    node_of: dict[int, Node] = field(default_factory=dict)
    """Life -> the imports that it has begun and not ended, where a mark went by itself."""
    _begun_rows: list[int] = field(default_factory=list)
    _begun_tids: list[int] = field(default_factory=list)
    _begun_nodes: list[int] = field(default_factory=list)
    _begun_spells: list[int] = field(default_factory=list)
    _n_counted: int = 0
    _n_begun: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Of each stack how often it has begun since it was told of."""
    _is_told: np.ndarray[tuple[int], np.dtype[np.bool_]] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def spell(self, life: int, process: int) -> int:
        """The number of a new spell."""
        self.life_of.append(life)
        self.process_of.append(process)
        return len(self.life_of) - 1

    @property
    def has_begun(self) -> bool:
        """Whether marks have come since `count_begun`; it is asked for each call that is attributed by itself."""
        return len(self.rows) != self._n_counted

    def begin(self, row: int, tid: int, node: Node, spell: int) -> None:
        """From this row on a thread's calls are in a place that no mark said."""
        self._begun_rows.append(row)
        self._begun_tids.append(tid)
        self._begun_nodes.append(node.number)
        self._begun_spells.append(spell)

    def mark(self, row: int, tid: int, kind: str, name: str) -> None:
        """Note a mark of a thread that is not known, or that does not simply begin or end an import."""
        life = self.lives.life(tid)
        node = self.node_of.get(life, self.contexts.root)
        if kind == "begin":
            node = self.contexts.child(node, name)
        elif kind == "end":
            ended: Node | None = node
            while ended is not None and ended.frame is not None and ended.frame.name != name:
                ended = ended.parent
            if ended is not None and ended.parent is not None:
                node = ended.parent
        self.node_of[life] = node
        self.rows.append(row)
        self.nodes.append(node.number)
        self.spells.append(self.spell(life, NOT_KNOWN))

    def process(self, event: Process) -> None:
        """A thread or a program has ended."""
        self.lives.process(event)

    def count_begun(self, is_begin: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[tuple[Node, int]]:
        """Count the imports that have begun in known places since the last time.

        Args:
            is_begin: of each row whether it is a mark that begins an import.

        Returns:
            the stacks that have come for the first time, in their order, and how often each; of all others see `begun_again`.
        """
        since, self._n_counted = self._n_counted, len(self.rows)
        spells = np.array(self.spells[since:])
        distinct, which = np.unique(spells, return_inverse=True)
        is_known = np.array([self.process_of[spell] >= 0 for spell in distinct.tolist()], dtype=bool)[which]
        nodes = np.array(self.nodes[since:])[is_known & is_begin[np.array(self.rows[since:])]]
        if not len(nodes):
            return []
        n_nodes = len(self.contexts.nodes)
        if n_nodes > len(self._n_begun):
            self._n_begun = np.concatenate((self._n_begun, np.zeros(2 * n_nodes - len(self._n_begun), dtype=np.int64)))
            self._is_told = np.concatenate(
                (self._is_told, np.zeros(len(self._n_begun) - len(self._is_told), dtype=bool))
            )
        new = nodes[~self._is_told[nodes]]
        self._n_begun[:n_nodes] += np.bincount(nodes[self._is_told[nodes]], minlength=n_nodes)
        self._is_told[new] = True
        found = group(new, n_nodes)
        return [
            (self.contexts.nodes[number], n)
            for number, n in zip(found.keys.tolist(), found.counts.tolist(), strict=True)
        ]

    def begun_again(self) -> list[tuple[Node, int]]:
        """How often imports have begun that `count_begun` had told of before."""
        numbers = np.flatnonzero(self._n_begun)
        return [
            (self.contexts.nodes[number], n)
            for number, n in zip(numbers.tolist(), self._n_begun[numbers].tolist(), strict=True)
        ]

    def places(self, columns: Columns, calls: Ints, node_bits: int) -> tuple[Ints, Ints]:
        """Where calls are that stand in no odd place.

        Args:
            columns: the ring.
            calls: their rows.
            node_bits: how many bits a stack takes.

        Returns:
            of each `process << node_bits | stack`, -1 where it was attributed by itself; and the time between two marks that it
            is in, as `Lives.between` has it.
        """
        process_of, life_of = np.array(self.process_of, dtype=np.int64), np.array(self.life_of, dtype=np.int64)
        spells = np.array(self.spells, dtype=np.int64)
        by_mark = np.flatnonzero(process_of[spells] >= 0) if len(spells) else spells
        rows = np.array(self.rows, dtype=np.int64)[by_mark]
        begun = np.array(self._begun_rows, dtype=np.int64)
        spells = np.concatenate((spells[by_mark], np.array(self._begun_spells, dtype=np.int64)))
        nodes = np.array(self.nodes, dtype=np.int64)[by_mark]
        nodes = np.concatenate((nodes, np.array(self._begun_nodes, dtype=np.int64)))
        tids = np.concatenate((columns.tid[rows].astype(np.int64), np.array(self._begun_tids, dtype=np.int64)))
        between = np.concatenate((by_mark, self.between(begun, life_of[spells[len(by_mark) :]])))
        keys = tids << _ROW_BITS | np.concatenate((rows, begun))
        order = np.argsort(keys, kind="stable")
        sought = columns.tid[calls].astype(np.int64) << _ROW_BITS | calls
        stretch = order[np.searchsorted(keys[order], sought, side="right") - 1] if len(calls) else calls
        process = process_of[spells]
        return np.where(process < 0, -1, process << node_bits | nodes)[stretch], between[stretch]

    def between(self, rows: Ints, lives: Ints) -> Ints:
        """Of calls by row and life: the mark before each in its life, or -1 less the number of the life."""
        if not len(self.rows) or not len(rows):
            return -1 - lives
        life_of = self._lives_of_marks()
        keys = life_of << _ROW_BITS | np.array(self.rows, dtype=np.int64)
        order = np.argsort(keys, kind="stable")
        at = np.searchsorted(keys[order], lives << _ROW_BITS | rows) - 1
        mark = order[np.maximum(at, 0)]
        return np.where((at >= 0) & (life_of[mark] == lives), mark, -1 - lives)

    def _lives_of_marks(self) -> Ints:
        return np.array(self.life_of, dtype=np.int64)[np.array(self.spells, dtype=np.int64)]

    def close(self) -> None:
        """Tell `Lives` of all marks, as if it had noted each."""
        lives, nodes = self.lives, self.contexts.nodes
        if not self.rows:
            return
        life_of, node = self._lives_of_marks(), np.array(self.nodes, dtype=np.int64)
        n = len(node)
        order = np.argsort(life_of, kind="stable")
        is_first = np.diff(life_of[order], prepend=-1) != 0
        node_before = np.where(is_first, 0, np.concatenate(([0], node[order][:-1])))
        before = np.empty(n, dtype=np.int64)
        before[order] = np.where(is_first, -1, np.concatenate(([-1], order[:-1])))
        lives.rows, lives.before = array("q", self.rows), array("i", before.astype(np.int32).tobytes())
        lives.life_of = array("i", life_of.astype(np.int32).tobytes())
        tops = np.empty(n, dtype=np.int32)
        names = np.array([-1 if one.frame is None else lives.name(one.frame.name) for one in nodes], dtype=np.int64)
        tops[order] = names[node_before]
        lives.tops = array("i", tops.tobytes())
        is_last = np.append(is_first[1:], True)
        begun, ended = _pairs(np.array([one.depth for one in nodes], dtype=np.int64), node[order], node_before, is_last)
        is_again = np.array([one.frame is not None and one.frame.recursive for one in nodes], dtype=bool)
        begun, ended = order[begun], order[ended]
        told = ~is_again[node[begun]]
        begun, ended = begun[told], ended[told]
        lives.spans = np.column_stack((names[node[begun]], begun, ended))


def _pairs(
    depth_of: Ints, node: Ints, node_before: Ints, is_last: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[Ints, Ints]:
    """Which mark ends what another began; the last one of a life ends all that is left.

    Args:
        depth_of: of each stack how many imports it has.
        node: of each mark, life after life, the stack that it leaves.
        node_before: ... and the one that it found.
        is_last: ... whether it is the last one of its life.
    """
    n = len(node)
    depth, depth_before = depth_of[node], depth_of[node_before]
    begun = np.flatnonzero(depth > depth_before)
    n_ended = np.maximum(depth_before - depth, 0)
    ended = np.repeat(np.arange(n), n_ended)
    within = np.arange(len(ended)) - np.repeat(np.cumsum(n_ended) - n_ended, n_ended)
    levels = np.concatenate((depth[begun], depth_before[ended] - within))
    marks = np.concatenate((begun, ended))
    order = np.argsort(levels * n + marks, kind="stable")
    # at one depth of a life, beginnings and ends take turns
    is_begin = order < len(begun)
    at = np.flatnonzero(is_begin)
    after = np.minimum(at + 1, len(order) - 1)
    last = np.flatnonzero(is_last)
    last = last[np.searchsorted(last, marks[order[at]])]
    ends = np.where(
        (after > at) & ~is_begin[after] & (levels[order[after]] == levels[order[at]]), marks[order[after]], last
    )
    return marks[order[at]], ends
