"""Programs as they run: images, their threads, the imports under way in these, and the calls with their place in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fsprobe.analysis.attribution.module_names import ModuleNames
from fsprobe.model.events import Call
from fsprobe.model.rows import PROGRAM

NO_IMPORT = PROGRAM
PHASES = ("launch", "loader", "init", "site", "import", "run")
UNMARKED = ("options", "hidden", "environment", "lost", "importlib", "aside")
"""Why the imports of an interpreter are not marked. Without the hook: -E, -I or -S; the hook's directory is not there in its
namespace; it was started without PYTHONPATH. With it: its marks were lost; none came though modules were loaded; it did nothing."""


@dataclass(slots=True)
class Frame:
    """An import under way in a thread."""

    name: str
    parent: str | None
    recursive: bool
    """The same module is already being imported below: its cumulative counts are counted there."""


@dataclass(slots=True)
class ProcessInfo:
    """A process as the report shows it."""

    pid: int
    parent: int
    label: str = ""
    kind: str = "program"
    """python | launcher (before or around the interpreter) | program (started by it)"""

    @property
    def key(self) -> str:
        """Names the image in tables."""
        return image_key(self.pid, self.label, self.kind)


def image_key(pid: int, label: str, kind: str) -> str:
    """A program image's name in tables: a wrapper may be called as the interpreter that takes its place."""
    return f"{pid} {label}".strip() + (" (launcher)" if kind == "launcher" else "")


@dataclass(slots=True)
class Image:
    """A program image: what runs in a process between two execs. Forked processes get a copy."""

    process: ProcessInfo
    under_python: bool
    state: str = "unknown"  # unknown | loader | init | site | main | foreign
    hooked: bool = False
    in_hook: bool = False
    site_marks_left: tuple[str, ...] = ()
    seen_encodings: bool = False
    expects_hook: bool = False
    """The hook was put on PYTHONPATH, and the interpreter was not told to leave that or site alone."""
    why_unmarked: str = ""
    """Why its imports are not marked, one of `UNMARKED`; "" while nothing speaks against it."""
    has_marks: bool = False
    """Whether a mark of an import has come. The first is that of the user's own sitecustomize, right after the hook."""
    is_silent: bool = False
    """Its interpreter read the hook, and no mark came though a module was loaded: its imports are estimated."""
    has_read_hook: bool = False
    asked_for_hook: bool = False
    found_hook: bool = False
    """Whether it looked at the hook's directory, and that was there."""
    walks_up_to: bytes = b""
    """The directory that `zipimport` looks at next, after the hook's was not there: it searches for an archive above it."""
    names: ModuleNames = field(default_factory=ModuleNames)
    held: list[tuple[Call, Thread]] = field(default_factory=list)
    first_visit: list[tuple[Call, Thread]] = field(default_factory=list)
    """While site runs and no hook tells of its end: looks at a directory that may be the first of the program's own search path."""
    doubtful: list[Attributed] = field(default_factory=list)

    @property
    def is_settled(self) -> bool:
        """Whether it is an interpreter that is past its start and marks its imports: nothing is held back of its calls."""
        return (
            self.state == "main"
            and self.hooked
            and self.has_marks
            and not (self.is_silent or self.in_hook or self.walks_up_to)
        )


@dataclass(slots=True)
class Thread:
    image: Image
    stack: list[Frame] = field(default_factory=list)
    seen_stack: tuple[Frame, ...] = ()
    """The stack as the last call saw it: one value for all calls between two marks."""
    argv: list[bytes] = field(default_factory=list)
    """Arguments of the thread's last successful exec."""

    def stack_now(self) -> tuple[Frame, ...]:
        """The stack as a value: the same one for all calls between two marks."""
        stack, seen = self.stack, self.seen_stack
        if len(seen) != len(stack) or (stack and seen[-1] is not stack[-1]):
            seen = self.seen_stack = tuple(stack)
        return seen


@dataclass(slots=True)
class Attributed:
    """A call and where it belongs. `own` calls are fsprobe's: counted apart, in no grouping."""

    call: Call
    phase: str
    module: str
    stack: tuple[Frame, ...]
    """The imports under way, outermost first; empty outside any import."""
    process: ProcessInfo
    own: bool = False
    is_judged: bool = False
    """Without marks: whether the paths have told whose call it is."""


@dataclass(slots=True)
class Notes:
    """What the stream said besides calls."""

    n_own_marks: int = 0
    """Visible calls of the hook (anchors, access markers)."""
    imports: dict[str, dict[str, int]] = field(default_factory=dict)
    """module -> {parent: how often}"""
    n_imports: dict[str, int] = field(default_factory=dict)
    is_marked: bool = False
    """Whether a mark of an import has come from any process."""
    lazy: dict[str, str] = field(default_factory=dict)
    """module that was imported lazily -> `module:line` of its first use, which loaded it"""
    n_marks_lost: int = 0
    n_killed: int = 0
    n_unpaired_marks: int = 0
    hooked: bool = False
    n_estimated: int = 0
    """Calls whose import is estimated from the paths."""
    unsure: dict[str, int] = field(default_factory=dict)
    """op -> those of them of which the paths don't tell the module: a guess, a failed import, or not assigned at all."""
    first_site_done_ns: int | None = None
    ended_ns: dict[str, int] = field(default_factory=dict)
    """Interpreter, as `ProcessInfo.key` -> when its last thread ended"""
    unmarked: dict[str, int] = field(default_factory=dict)
    """reason (see `UNMARKED`) -> interpreters that imported something without the hook"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process that ran already when its log began."""

    pid: int
    tids: Sequence[int]
    label: str
    is_python: bool
