"""Where calls belong, as numbers: phase, import and process are the same for all calls of a thread between two marks."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from fsprobe.analysis.attribution.attribute import NO_IMPORT, Attributed, Frame, ProcessInfo
from fsprobe.analysis.columns.groups import ranked
from fsprobe.analysis.columns.slots import Ints
from fsprobe.model.events import Call

NODE_BITS = 32


@dataclass(slots=True)
class Node:
    """A stack of imports: that of its parent, and one more."""

    number: int
    parent: Node | None
    frame: Frame | None
    children: dict[tuple[str, bool], Node] = field(default_factory=dict)
    known: dict[str, Node] = field(default_factory=dict)
    """The same for imports as the marks tell them."""
    steps: dict[int, Node] = field(default_factory=dict)
    """Mark, as `walk.Words` numbers it -> the stack that it leaves."""
    depth: int = field(init=False)
    """How many imports it has."""

    def __post_init__(self) -> None:
        self.depth = 0 if self.parent is None else self.parent.depth + 1

    def stack(self) -> tuple[Frame, ...]:
        """Outermost first."""
        found: list[Frame] = []
        node: Node | None = self
        while node is not None and node.frame is not None:
            found.append(node.frame)
            node = node.parent
        return tuple(reversed(found))

    def has_names_of(self, other: Node) -> bool:
        """Whether the imports of another stack are the same."""
        return self is other or [one.name for one in self.stack()] == [one.name for one in other.stack()]


@dataclass(slots=True)
class Contexts:
    """All contexts of a run: process, phase, module with its stack of imports, fsprobe's own or not. Some may be there twice."""

    process_of: array[int] = field(default_factory=lambda: array("i"))
    """Of each context."""
    phase_of: array[int] = field(default_factory=lambda: array("i"))
    import_of: array[int] = field(default_factory=lambda: array("i"))
    own_of: array[int] = field(default_factory=lambda: array("b"))
    phases: list[str] = field(default_factory=list)
    imports: list[tuple[str, Node]] = field(default_factory=list)
    """Module and stack."""
    nodes: list[Node] = field(default_factory=list)
    processes: list[ProcessInfo] = field(default_factory=list)
    """As they were when their calls were attributed: a later one may know more of the same."""
    _numbers: dict[tuple[int, str, str, int, bool], int] = field(default_factory=dict)
    _phases: dict[str, int] = field(default_factory=dict)
    _imports: dict[tuple[str, int], int] = field(default_factory=dict)
    _processes: dict[tuple[int, str], int] = field(default_factory=dict)
    _alive: list[ProcessInfo] = field(default_factory=list)
    _of_place: dict[tuple[int, str, str, str, int, bool], int] = field(default_factory=dict)
    """Contexts by what an attributed call says of itself."""
    root: Node = field(init=False)
    _stack: tuple[Frame, ...] = ()
    _node: Node = field(init=False)
    """That of `_stack`."""

    def __post_init__(self) -> None:
        self.root = self._node = Node(0, None, None)
        self.nodes.append(self.root)

    def process(self, info: ProcessInfo) -> int:
        """The number of a process."""
        key = (id(info), info.kind)
        number = self._processes.get(key)
        if number is None:
            number = self._processes[key] = len(self.processes)
            self.processes.append(ProcessInfo(info.pid, info.parent, info.label, info.kind))
            self._alive.append(info)  # or its id would be another's
        return number

    def child(self, node: Node, name: str) -> Node:
        """The stack of a node when one more import begins."""
        found = node.known.get(name)
        if found is None:
            parent = node.frame.name if node.frame is not None else None
            is_again = any(frame.name == name for frame in node.stack())
            found = node.known[name] = self._child(node, Frame(name, parent, is_again))
        return found

    def _child(self, node: Node, frame: Frame) -> Node:
        key = (frame.name, frame.recursive)
        found = node.children.get(key)
        if found is None:
            found = node.children[key] = Node(len(self.nodes), node, frame)
            self.nodes.append(found)
        return found

    def node(self, stack: list[Frame] | tuple[Frame, ...]) -> Node:
        """The node of a stack."""
        node = self.root
        for frame in stack:
            node = self._child(node, frame)
        return node

    def number(self, process: int, phase: str, module: str, node: Node, own: bool) -> int:
        """The number of a context."""
        key = (process, phase, module, node.number, own)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.process_of)
            self.process_of.append(process)
            self.phase_of.append(self._phase(phase))
            self.import_of.append(self._import(module, node))
            self.own_of.append(own)
        return number

    def add_settled(self, pairs: Ints) -> Ints:
        """Add the contexts of interpreters that are past their start: those of pairs of process and node.

        Args:
            pairs: `process << NODE_BITS | node`; -1 for none.

        Returns:
            the number of the context of each; -1 for none.
        """
        n_nodes, is_any = len(self.nodes), pairs >= 0
        numbers = (pairs[is_any] >> NODE_BITS) * n_nodes + (pairs[is_any] & ((1 << NODE_BITS) - 1))
        distinct, which = ranked(numbers, len(self.processes) * n_nodes)
        phases, imports = [], []
        for node in self.nodes:
            phase, module = ("run", NO_IMPORT) if node.frame is None else ("import", node.frame.name)
            phases.append(self._phase(phase))
            imports.append(self._import(module, node))
        n_before = len(self.process_of)
        processes, nodes = np.divmod(distinct, n_nodes)
        self.process_of.extend(processes.tolist())
        self.phase_of.extend(np.array(phases)[nodes].tolist())
        self.import_of.extend(np.array(imports)[nodes].tolist())
        self.own_of.extend(bytes(len(distinct)))
        found = np.full(len(pairs), -1, dtype=np.int64)
        found[is_any] = which + n_before
        return found

    def _phase(self, phase: str) -> int:
        number = self._phases.setdefault(phase, len(self.phases))
        if number == len(self.phases):
            self.phases.append(phase)
        return number

    def _import(self, module: str, node: Node) -> int:
        number = self._imports.setdefault((module, node.number), len(self.imports))
        if number == len(self.imports):
            self.imports.append((module, node))
        return number

    def of(self, row: Attributed) -> int:
        """That of an attributed call."""
        if row.stack is not self._stack:  # the same one for all calls between two marks
            self._stack, self._node = row.stack, self.node(row.stack)
        place = (id(row.process), row.process.kind, row.phase, row.module, self._node.number, row.own)
        number = self._of_place.get(place)
        if number is None:
            number = self.number(self.process(row.process), row.phase, row.module, self._node, row.own)
            self._of_place[place] = number
        return number

    def attributed(self, number: int, call: Call) -> Attributed:
        """A call with its place."""
        module, node = self.imports[self.import_of[number]]
        phase, process = self.phases[self.phase_of[number]], self.processes[self.process_of[number]]
        if node is not self._node:  # as above
            self._stack, self._node = node.stack(), node
        return Attributed(call, phase, module, self._stack, process, bool(self.own_of[number]))
