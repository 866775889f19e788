"""Where calls belong, as numbers: phase, import and process are the same for all calls of a thread between two marks."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from fsprobe.analysis.attribution.attribute import NO_IMPORT, Attributed, Frame, ProcessInfo
from fsprobe.model.events import Call


@dataclass(slots=True)
class Node:
    """A stack of imports: that of its parent, and one more."""

    number: int
    parent: Node | None
    frame: Frame | None
    children: dict[tuple[str, bool], Node] = field(default_factory=dict)
    known: dict[str, Node] = field(default_factory=dict)
    """The same for imports as the marks tell them."""
    settled: dict[int, int] = field(default_factory=dict)
    """Process -> the number of the context of what it does here, once it is past its start."""

    def stack(self) -> tuple[Frame, ...]:
        """Outermost first."""
        found: list[Frame] = []
        node: Node | None = self
        while node is not None and node.frame is not None:
            found.append(node.frame)
            node = node.parent
        return tuple(reversed(found))


@dataclass(slots=True)
class Contexts:
    """All contexts of a run, numbered as they come: process, phase, module with its stack of imports, fsprobe's own or not."""

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
    root: Node = field(init=False)

    def __post_init__(self) -> None:
        self.root = Node(0, None, None)
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
            phase_number = self._phases.setdefault(phase, len(self.phases))
            if phase_number == len(self.phases):
                self.phases.append(phase)
            self.phase_of.append(phase_number)
            import_number = self._imports.setdefault((module, node.number), len(self.imports))
            if import_number == len(self.imports):
                self.imports.append((module, node))
            self.import_of.append(import_number)
            self.own_of.append(own)
        return number

    def settled(self, process: int, node: Node) -> int:
        """That of a call of an interpreter that is past its start."""
        number = node.settled.get(process)
        if number is None:
            phase, module = ("run", NO_IMPORT) if node.frame is None else ("import", node.frame.name)
            number = node.settled[process] = self.number(process, phase, module, node, False)
        return number

    def of(self, row: Attributed) -> int:
        """That of an attributed call."""
        return self.number(self.process(row.process), row.phase, row.module, self.node(row.stack), row.own)

    def attributed(self, number: int, call: Call) -> Attributed:
        """A call with its place."""
        module, node = self.imports[self.import_of[number]]
        phase, process = self.phases[self.phase_of[number]], self.processes[self.process_of[number]]
        return Attributed(call, phase, module, node.stack(), process, bool(self.own_of[number]))
