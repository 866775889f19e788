"""Attribute each call: which phase, which import, which process, or fsprobe's own doing.

A stream of events goes in, a stream of `Attributed` calls comes out, in the same order per thread. What can't be known
at once (whether a program is an interpreter, whether a look-up in the hook's directory was the import system's) holds
that program's calls back until it is; at most `MAX_HELD` of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fsprobe.analysis.segments import ModuleNames, belongs_to_last, chain
from fsprobe.model import Call, Event, Mark, Op, Process
from fsprobe.parse.arguments import exec_argv

NO_IMPORT = "(not in an import)"
PHASES = ("launch", "loader", "init", "site", "import", "run")
MAX_HELD = 8_000
UNMARKED = ("options", "hidden", "environment")
"""Why an interpreter runs without the hook: -E, -I or -S; the hook's directory is not there in its namespace; it was
started without PYTHONPATH."""

_INTERPRETER_SIGN = re.compile(rb"/(?:pyvenv\.cfg|encodings(?:/.*)?|python3\d*\.zip|lib-dynload)$")
_SHARED_OBJECT = re.compile(rb"\.so(?:\.[0-9.]+)?$")
_LOADER = re.compile(rb"^/etc/ld[.-]|/glibc-hwcaps/|/ld-linux|\.so(?:\.[0-9.]+)?$|/(?:tls|haswell|x86_64)(?:/|$)")
_SITE = re.compile(
    rb"/(?:site|dist)-packages(?:/|$)|/site\.(?:py|cpython.*)$|/pyvenv\.cfg$|\.pth$|/(?:site|user)customize"
)
_SITE_MODULES = re.compile(
    rb"/encodings/|/(?:__pycache__/)?(?:site|sitecustomize|usercustomize|os|stat|posixpath|genericpath|_collections_abc|abc|"
    rb"codecs|io|_sitebuiltins|_bootlocale|_weakrefset)\.[^/]*$"
)
_SHELLS = (b"sh", b"bash", b"dash", b"zsh", b"ksh")
_PYTHON_NAME = re.compile(rb"^(?:python|pypy)[0-9.]*$")


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
        """Names the image in tables: a wrapper may be called as the interpreter that takes its place."""
        return f"{self.pid} {self.label}".strip() + (" (launcher)" if self.kind == "launcher" else "")


@dataclass(slots=True)
class _Image:
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
    """Why the hook can't run in it, one of `UNMARKED`; "" while nothing speaks against it."""
    asked_for_hook: bool = False
    found_hook: bool = False
    """Whether it looked at the hook's directory, and that was there."""
    walks_up_to: bytes = b""
    """The directory that `zipimport` looks at next, after the hook's was not there: it searches for an archive above it."""
    names: ModuleNames = field(default_factory=ModuleNames)
    held: list[tuple[Call, _Thread]] = field(default_factory=list)
    doubtful: list[Attributed] = field(default_factory=list)


@dataclass(slots=True)
class _Thread:
    image: _Image
    stack: list[Frame] = field(default_factory=list)
    seen_stack: tuple[Frame, ...] = ()
    """The stack as the last call saw it: one value for all calls between two marks."""
    argv: list[bytes] = field(default_factory=list)
    """Arguments of the thread's last successful exec."""
    segment: list[Attributed] = field(default_factory=list)
    """Without markers: calls since the last load, which belong to the next one."""
    last_module: str = ""
    last_stack: tuple[Frame, ...] = ()
    """Without markers: what was loaded last."""


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


@dataclass(slots=True)
class Notes:
    """What the stream said besides calls."""

    n_own_marks: int = 0
    """Visible calls of the hook (anchors, access markers)."""
    imports: dict[str, dict[str, int]] = field(default_factory=dict)
    """module -> {parent: how often}"""
    n_imports: dict[str, int] = field(default_factory=dict)
    n_marks_lost: int = 0
    n_killed: int = 0
    n_unpaired_marks: int = 0
    hooked: bool = False
    n_estimated: int = 0
    """Calls whose import is estimated from the paths."""
    first_site_done_ns: int | None = None
    unmarked: dict[str, int] = field(default_factory=dict)
    """reason (see `UNMARKED`) -> interpreters that imported something without the hook"""


def label_of(program: bytes, argv: Sequence[bytes]) -> str:
    """How a report names a program image: the program and, of an interpreter, what it was told to run; nothing more.

    Further arguments may hold what is nobody else's business.
    """
    words = [os.path.basename(program)]
    is_python = _PYTHON_NAME.match(words[0]) is not None
    if is_python or words[0] in _SHELLS or words[0] == b"env":
        rest = iter(argv[1:])
        for word in rest:
            if word == b"-m" and is_python:
                words += [word, next(rest, b"")]
            elif is_python and word[:2] in (b"-W", b"-X"):
                if len(word) == 2:
                    next(rest, None)
                continue
            elif word.startswith(b"-") and not word.startswith(b"--") and b"c" in word and words[0] != b"env":
                words.append(b"-c")  # alone or among others (-ec): code follows
            elif (word.startswith(b"-") and len(word) > 1) or (words[0] == b"env" and b"=" in word):
                continue
            else:
                # `env -S` holds a whole command line in one word
                words.append(os.path.basename(word.split()[0] if word.split() else b""))
            break
        if any(b"multiprocessing" in word for word in argv[1:]):
            words.append(b"(multiprocessing)")
    return b" ".join(words).decode("utf-8", "backslashreplace")


def without_hook(argv: Sequence[bytes]) -> bool:
    """Whether an interpreter's options keep PYTHONPATH or site from it: -E, -I, -S, alone or among others."""
    rest = iter(argv[1:])
    for word in rest:
        if word in (b"-W", b"-X"):
            next(rest, None)
        elif not word.startswith(b"-") or word[:2] in (b"--", b"-m", b"-c") or word == b"-":
            return False
        elif set(word[1:]) & set(b"EIS") and word[1:2] not in (b"W", b"X"):
            return True
    return False


class _Attributor:
    def __init__(self, hook_dir: bytes, marks_dir: bytes, notes: Notes) -> None:
        self.hook_dir = hook_dir
        self.hook_prefix = hook_dir + b"/" if hook_dir else b"\0"
        self.marks_prefix = marks_dir + b"/marks." if marks_dir else b"\0"
        self.notes = notes
        self.threads: dict[int, _Thread] = {}

    def thread(self, tid: int) -> _Thread:
        thread = self.threads.get(tid)
        if thread is None:
            process = ProcessInfo(tid, 0)
            thread = self.threads[tid] = _Thread(_Image(process, under_python=False))
        return thread

    def begin(self, running: Running) -> None:
        """All threads of a process that is past its start."""
        process = ProcessInfo(running.pid, 0, running.label, "python" if running.is_python else "program")
        image = _Image(process, under_python=True, state="main" if running.is_python else "foreign")
        for tid in running.tids:
            self.threads[tid] = _Thread(image)

    # -- events -------------------------------------------------------------------------------------------------

    def process(self, event: Process) -> Iterator[Attributed]:
        if event.kind in ("fork", "thread"):
            self._fork(event)
        elif event.kind == "exec":
            yield from self._exec(event)
        else:
            if event.kind == "killed":
                self.notes.n_killed += 1
            thread = self.threads.pop(event.tid, None)
            if thread is not None:
                yield from self._end_segment(thread)
            if thread is not None and not any(other.image is thread.image for other in self.threads.values()):
                yield from self._close(thread.image)

    def _fork(self, event: Process) -> None:
        if not event.child or event.child in self.threads:
            return
        parent = self.thread(event.tid)
        image = parent.image
        if event.kind == "fork":
            process = ProcessInfo(event.child, image.process.pid, image.process.label, image.process.kind)
            state = image.state if image.state not in ("loader", "init", "site") else "main"
            image = _Image(process, image.under_python, state, hooked=image.hooked, site_marks_left=())
        self.threads[event.child] = _Thread(image, list(parent.stack))

    def _exec(self, event: Process) -> Iterator[Attributed]:
        old = self.thread(event.tid)
        # all other threads of the process are gone with the exec; what goes on has the process's own id
        for tid in [tid for tid, other in self.threads.items() if other.image is old.image]:
            yield from self._end_segment(self.threads.pop(tid))
        under_python = old.image.under_python or old.image.state in ("loader", "init", "site", "main")
        yield from self._close(old.image)
        label = label_of(event.detail, old.argv) or old.image.process.label
        kind = "program" if under_python else "launcher"
        tid = event.child or event.tid
        process = ProcessInfo(tid, old.image.process.parent, label, kind)
        image = _Image(process, under_python)
        image.expects_hook = bool(self.hook_dir) and not without_hook(old.argv)
        image.why_unmarked = "" if image.expects_hook or not self.hook_dir else "options"
        self.threads[tid] = _Thread(image)

    def mark(self, event: Mark) -> Iterator[Attributed]:
        thread = self.thread(event.tid)
        if event.kind == "note":
            self.notes.n_own_marks += 1
            yield from self._note(event, thread)
            return
        name = event.name.decode("utf-8", "backslashreplace")
        stack = thread.stack
        if event.kind == "begin":
            parent = stack[-1].name if stack else None
            stack.append(Frame(name, parent, any(frame.name == name for frame in stack)))
            parents = self.notes.imports.setdefault(name, {})
            parents[parent or ""] = parents.get(parent or "", 0) + 1
            self.notes.n_imports[name] = self.notes.n_imports.get(name, 0) + 1
            return
        for depth in range(len(stack) - 1, -1, -1):
            if stack[depth].name == name:
                self.notes.n_unpaired_marks += len(stack) - depth - 1
                del stack[depth:]
                break
        else:
            self.notes.n_unpaired_marks += 1
        left = thread.image.site_marks_left
        if left and not stack and name in left:
            thread.image.site_marks_left = tuple(other for other in left if other != name)
            if not thread.image.site_marks_left and thread.image.state == "site":
                thread.image.state = "main"
                if self.notes.first_site_done_ns is None:
                    self.notes.first_site_done_ns = event.t_ns

    def _note(self, event: Mark, thread: _Thread) -> Iterator[Attributed]:
        image = thread.image
        word, _, rest = event.name.partition(b" ")
        if word == b"begin":
            yield from self._decide(image, python=True)
            image.in_hook = True
            image.state = "site"
        elif word == b"ready":
            self.notes.hooked = True
            image.hooked, image.in_hook = True, False
            image.state = "site"
            user_site = rest.split()[-1:] == [b"1"]
            image.site_marks_left = ("sitecustomize", "usercustomize") if user_site else ("sitecustomize",)
            for doubtful in image.doubtful:
                doubtful.own = True
                yield doubtful
            image.doubtful = []
        elif word == b"lost":
            self.notes.n_marks_lost += 1

    # -- calls --------------------------------------------------------------------------------------------------

    def call(self, call: Call) -> Iterator[Attributed]:
        thread = self.thread(call.tid)
        image = thread.image
        if call.op is Op.EXEC and not call.error:
            thread.argv = exec_argv(call)
        if image.state == "unknown":
            image.held.append((call, thread))
            if _INTERPRETER_SIGN.search(call.path) and call.op is not Op.EXEC:
                yield from self._decide(image, python=True)
            elif len(image.held) >= MAX_HELD:
                yield from self._decide(image, python=False)
            return
        yield from self._place(call, thread)

    def _decide(self, image: _Image, python: bool) -> Iterator[Attributed]:
        """Now it is known whether an image is an interpreter: let go of what was held back."""
        if image.state != "unknown":
            return
        image.state = "loader" if python else "foreign"
        if python:
            image.process.kind = "python"
        held, image.held = image.held, []
        for call, thread in held:
            yield from self._place(call, thread)

    def _place(self, call: Call, thread: _Thread) -> Iterator[Attributed]:
        image = thread.image
        stack = thread.seen_stack
        if len(stack) != len(thread.stack) or (stack and stack[-1] is not thread.stack[-1]):
            stack = thread.seen_stack = tuple(thread.stack)
        module = stack[-1].name if stack else NO_IMPORT
        phase = self._phase(call, image, stack)
        row = Attributed(call, phase, module, stack, image.process)
        if image.in_hook or (
            call.op is Op.OPEN and call.path.startswith(self.marks_prefix) and b"O_APPEND" in call.args
        ):
            row.own = True
        elif not image.hooked and (call.path == self.hook_dir or call.path.startswith(self.hook_prefix)):
            # the import system's look-ups in the hook's directory come before the hook runs; a program that lists
            # the directory for itself does so after it, or is no interpreter
            image.asked_for_hook = True
            image.found_hook = image.found_hook or not call.error
            if call.path == self.hook_dir and call.error and call.op is Op.STAT:
                image.walks_up_to = os.path.dirname(call.path)
            image.doubtful.append(row)
            return
        elif image.walks_up_to and call.path == image.walks_up_to and call.op is Op.STAT:
            image.walks_up_to = os.path.dirname(call.path) if call.error else b""
            image.doubtful.append(row)
            return
        if image.state == "main" and not image.hooked and not row.own:
            yield from self._segment(row, thread)
        else:
            yield row

    def _segment(self, row: Attributed, thread: _Thread) -> Iterator[Attributed]:
        """Without markers: hold a call back until it is known what is loaded next."""
        call = row.call
        loaded = (
            thread.image.names.of(call.path)
            if call.op is Op.OPEN and not call.error and b"O_WRONLY" not in call.args
            else None
        )
        if loaded is None and thread.last_module and belongs_to_last(call.path):
            yield self._estimated(row, thread)
            return
        thread.segment.append(row)
        if loaded is not None:
            thread.last_module = loaded
            package = loaded.rpartition(".")[0]
            self.notes.imports.setdefault(loaded, {package: 1} if package else {})
            self.notes.n_imports[loaded] = self.notes.n_imports.get(loaded, 0) + 1
            names = chain(loaded)
            thread.last_stack = tuple(Frame(name, names[i - 1] if i else None, False) for i, name in enumerate(names))
            for held in thread.segment:
                yield self._estimated(held, thread)
            thread.segment = []
        elif len(thread.segment) >= MAX_HELD:
            yield from self._end_segment(thread)

    def _estimated(self, row: Attributed, thread: _Thread) -> Attributed:
        row.module, row.phase, row.stack = thread.last_module, "import", thread.last_stack
        self.notes.n_estimated += 1
        return row

    def _end_segment(self, thread: _Thread) -> Iterator[Attributed]:
        """Nothing more is loaded: what was held back is in no import."""
        yield from thread.segment
        thread.segment = []

    def _phase(self, call: Call, image: _Image, stack: tuple[Frame, ...]) -> str:
        state = image.state
        if state == "main":
            return "import" if stack else "run"
        if state == "foreign":
            return "run" if image.under_python else "launch"
        if state == "loader":
            if _LOADER.search(call.path):
                return "loader"
            if call.op is Op.EXEC:
                return "launch"
            if call.op is Op.STAT and b"S_IFDIR" in call.args and not _INTERPRETER_SIGN.search(call.path):
                return "loader"  # ld.so looks whether a search directory exists
            image.state = state = "init"
        if state == "init":
            if b"/encodings" in call.path:
                if not image.seen_encodings and image.expects_hook and not image.found_hook:
                    # the first import searches sys.path from its begin, where the hook's directory would be
                    image.expects_hook = False
                    image.why_unmarked = "hidden" if image.asked_for_hook else "environment"
                image.seen_encodings = True
            elif image.seen_encodings and _SITE.search(call.path):
                image.state = "site"
                return "site"
            elif image.seen_encodings and not image.expects_hook and self._leaves_site(call):
                image.state = "main"  # -S: there is no site
                return "import" if stack else "run"
            return "init"
        if not image.hooked and not image.expects_hook and self._leaves_site(call):
            image.state = "main"
            return "import" if stack else "run"
        return "site"

    def _leaves_site(self, call: Call) -> bool:
        # only where no hook tells: the first file that is opened for anything but site's own business
        return (
            call.op is Op.OPEN
            and not call.error
            and b"O_DIRECTORY" not in call.args
            and not _SITE.search(call.path)
            and not _SITE_MODULES.search(call.path)
            and not (self.hook_dir and call.path.startswith(self.hook_prefix))
        )

    def _close(self, image: _Image) -> Iterator[Attributed]:
        """An image has ended: what is still in doubt is decided."""
        python = bool(_PYTHON_NAME.match(image.process.label.partition(" ")[0].encode())) and any(
            self.hook_dir and call.path.startswith(self.hook_dir) for call, _ in image.held
        )
        yield from self._decide(image, python)
        for row in image.doubtful:
            row.own = image.process.kind == "python"
            yield row
        image.doubtful = []
        if image.state == "main" and image.why_unmarked and not image.hooked:
            self.notes.unmarked[image.why_unmarked] = self.notes.unmarked.get(image.why_unmarked, 0) + 1

    def close(self) -> Iterator[Attributed]:
        seen: set[int] = set()
        for thread in self.threads.values():
            yield from self._end_segment(thread)
            if id(thread.image) not in seen:
                seen.add(id(thread.image))
                yield from self._close(thread.image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process that ran already when its log began."""

    pid: int
    tids: Sequence[int]
    label: str
    is_python: bool


def attribute(
    events: Iterable[Event],
    notes: Notes,
    *,
    hook_dir: bytes = b"",
    marks_dir: bytes = b"",
    running: Running | None = None,
) -> Iterator[Attributed]:
    """Attribute every call of a stream.

    Args:
        events: parsed events with the marks merged in.
        notes: filled while the iterator is consumed.
        hook_dir: the directory that fsprobe put first on PYTHONPATH; b"" when there was none.
        marks_dir: where the hooks wrote.
        running: the process that the tracer was attached to, for a log that does not begin with its start.
    """
    attributor = _Attributor(hook_dir, marks_dir, notes)
    if running is not None:
        attributor.begin(running)
    for event in events:
        if isinstance(event, Call):
            yield from attributor.call(event)
        elif isinstance(event, Mark):
            yield from attributor.mark(event)
        else:
            yield from attributor.process(event)
    yield from attributor.close()
