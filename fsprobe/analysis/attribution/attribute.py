"""Attribute each call: which phase, which import, which process, or fsprobe's own doing.

A stream of events goes in, a stream of `Attributed` calls comes out, in the same order per thread. What can't be known
at once (whether a program is an interpreter, whether a lookup in the hook's directory was the import system's) holds
that program's calls back until it is; at most `MAX_HELD` of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from fsprobe.analysis.attribution.estimate import Estimate
from fsprobe.analysis.attribution.phases import INTERPRETER_SIGN, may_begin_program, phase_of
from fsprobe.analysis.attribution.program_images import (
    NO_IMPORT,
    PHASES,
    UNMARKED,
    Attributed,
    Frame,
    Image,
    Notes,
    ProcessInfo,
    Running,
    Thread,
)
from fsprobe.analysis.attribution.program_names import PYTHON_NAME, label_of, without_hook
from fsprobe.events.strace.arguments import exec_argv
from fsprobe.model.events import Call, Event, Mark, Op, Process

__all__ = [
    "NO_IMPORT",
    "PHASES",
    "UNMARKED",
    "Attributed",
    "Frame",
    "Notes",
    "ProcessInfo",
    "Running",
    "attribute",
    "label_of",
    "without_hook",
]

_OPEN, _EXEC = Op.OPEN, Op.EXEC
MAX_HELD = 8_000
_DIGITS = re.compile(rb"/(?:[0-9a-f]/)+(?=hook\Z)")
"""Names of links to the directory that they lie in; see `capture.directories.hook_place`."""


class Attributor:
    """What is known of the programs that run; for a whole stream use `attribute`.

    Args:
        hook_dir: the directory that fsprobe put first on PYTHONPATH; b"" when there was none.
        marks_dir: where the hooks wrote.
        notes: filled with what the stream says besides calls.
        running: the process that the tracer was attached to, for a log that does not begin with its start.
    """

    def __init__(self, hook_dir: bytes, marks_dir: bytes, notes: Notes, running: Running | None = None) -> None:
        self.hook_dir = hook_dir
        # by its name on PYTHONPATH, and by where it lies, which is what a descriptor of it shows
        self.hook_dirs = (hook_dir, _DIGITS.sub(b"/", hook_dir)) if hook_dir else ()
        self.hook_prefixes = tuple(place + b"/" for place in self.hook_dirs)
        self.marks_prefix = marks_dir + b"/marks." if marks_dir else b"\0"
        self.marks_dirs = (marks_dir, os.path.dirname(marks_dir)) if marks_dir else ()
        self.notes = notes
        self.threads: dict[int, Thread] = {}
        self.names: dict[bytes, str] = {}
        """Names of modules, as text."""
        self.estimates: dict[int, tuple[Image, Estimate]] = {}
        """Thread -> what estimates its imports, while nothing marks them."""
        if running is not None:
            self._begin(running)

    def thread(self, tid: int) -> Thread:
        thread = self.threads.get(tid)
        if thread is None:
            process = ProcessInfo(tid, 0)
            thread = self.threads[tid] = Thread(Image(process, under_python=False))
        return thread

    def _begin(self, running: Running) -> None:
        """All threads of a process that is past its start."""
        process = ProcessInfo(running.pid, 0, running.label, "python" if running.is_python else "program")
        image = Image(process, under_python=True, state="main" if running.is_python else "foreign")
        for tid in running.tids:
            self.threads[tid] = Thread(image)

    # -- events -------------------------------------------------------------------------------------------------

    def process(self, event: Process) -> Sequence[Attributed]:
        if event.kind in ("fork", "thread"):
            self._fork(event)
            return ()
        if event.kind == "exec":
            return self._exec(event)
        if event.kind == "killed":
            self.notes.n_killed += 1
        thread = self.threads.pop(event.tid, None)
        if thread is None:
            return ()
        told = [*self._end_estimate(event.tid)]
        if not any(other.image is thread.image for other in self.threads.values()):
            told += self._close(thread.image)
            if event.t_ns is not None and thread.image.process.kind == "python":
                self.notes.ended_ns[thread.image.process.key] = event.t_ns
        return told

    def _fork(self, event: Process) -> None:
        if not event.child or event.child in self.threads:
            return
        parent = self.thread(event.tid)
        image = parent.image
        if event.kind == "fork":
            process = ProcessInfo(event.child, image.process.pid, image.process.label, image.process.kind)
            state = image.state if image.state not in ("loader", "init", "site") else "main"
            child = Image(process, image.under_python, state, hooked=image.hooked, site_marks_left=())
            child.names = image.names.copy()
            child.has_marks, child.is_silent, child.why_unmarked = image.has_marks, image.is_silent, image.why_unmarked
            image = child
        self.threads[event.child] = Thread(image, list(parent.stack))

    def _exec(self, event: Process) -> Sequence[Attributed]:
        told: list[Attributed] = []
        old = self.thread(event.tid)
        # all other threads of the process are gone with the exec; what goes on has the process's own id
        for tid in [tid for tid, other in self.threads.items() if other.image is old.image]:
            told += self._end_estimate(tid)
            del self.threads[tid]
        under_python = old.image.under_python or old.image.state in ("loader", "init", "site", "main")
        told += self._close(old.image)
        label = label_of(event.detail, old.argv) or old.image.process.label
        kind = "program" if under_python else "launcher"
        tid = event.child or event.tid
        process = ProcessInfo(tid, old.image.process.parent, label, kind)
        image = Image(process, under_python)
        image.expects_hook = bool(self.hook_dir) and not without_hook(old.argv)
        image.why_unmarked = "" if image.expects_hook or not self.hook_dir else "options"
        self.threads[tid] = Thread(image)
        return told

    def mark(self, event: Mark) -> Sequence[Attributed]:
        thread = self.thread(event.tid)
        if event.kind in ("note", "memo"):
            self.notes.n_own_marks += event.kind == "note"
            return self._note(event, thread)
        self.notes.is_marked = thread.image.has_marks = True
        told: Sequence[Attributed] = ()
        if thread.image.is_silent:
            thread.image.is_silent, thread.image.why_unmarked = False, ""
            told = self._end_estimate(event.tid)
        name = self.names.get(event.name)
        if name is None:
            name = self.names[event.name] = event.name.decode("utf-8", "backslashreplace")
        stack = thread.stack
        if event.kind == "begin":
            parent = stack[-1].name if stack else None
            stack.append(Frame(name, parent, name in [frame.name for frame in stack]))
            parents = self.notes.imports.setdefault(name, {})
            parents[parent or ""] = parents.get(parent or "", 0) + 1
            self.notes.n_imports[name] = self.notes.n_imports.get(name, 0) + 1
            return told
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
        return told

    def _note(self, event: Mark, thread: Thread) -> Sequence[Attributed]:
        image = thread.image
        told: Sequence[Attributed] = ()
        word, _, rest = event.name.partition(b" ")
        if word == b"begin":
            told = self._decide(image, python=True)
            image.in_hook = True
            image.state = "site"
        elif word == b"ready":
            self.notes.hooked = True
            image.hooked, image.has_read_hook, image.in_hook = True, True, False
            image.state = "site"
            user_site = rest.split()[-1:] == [b"1"]
            image.site_marks_left = ("sitecustomize", "usercustomize") if user_site else ("sitecustomize",)
            told = self._end_doubt(image, own=True)
        elif word == b"lazy":
            words = rest.decode("utf-8", "backslashreplace").split(" ", 5)
            if len(words) == 6:
                self.notes.lazy.setdefault(words[5], f"{words[4]}:{words[3]}")
        elif word == b"lost":
            self.notes.n_marks_lost += 1
            image.why_unmarked = "lost"
        return told

    # -- calls --------------------------------------------------------------------------------------------------

    def settled(self, call: Call) -> Attributed | None:
        """The same as `call` for what most calls are: of an interpreter that is past its start and marks its imports.

        Nothing is held back of it. None for any other call.
        """
        thread = self.threads.get(call.tid)
        if thread is None:
            return None
        image = thread.image
        if not image.is_settled:
            return None
        op = call.op
        if op is _EXEC or (op is _OPEN and self.is_of_marks(call)):
            return None
        stack = thread.stack_now()
        if stack:
            return Attributed(call, "import", stack[-1].name, stack, image.process)
        return Attributed(call, "run", NO_IMPORT, stack, image.process)

    def call(self, call: Call) -> Sequence[Attributed]:
        thread = self.thread(call.tid)
        image = thread.image
        if call.op is _EXEC and not call.error:
            thread.argv = exec_argv(call)
        if image.state == "main":
            return self._place(call, thread)
        if image.state == "unknown":
            image.held.append((call, thread))
            if INTERPRETER_SIGN.search(call.path) and call.op is not _EXEC:
                return self._decide(image, python=True)
            return self._decide(image, python=False) if len(image.held) >= MAX_HELD else ()
        if image.state in ("init", "site"):
            image.names.watch(call)
        told: list[Attributed] = []
        if image.state == "site" and (image.is_silent or not (image.hooked or image.expects_hook)):
            visit = image.first_visit
            if may_begin_program(call, visit[-1][0] if visit else None, self.hook_prefixes):
                visit.append((call, thread))
                return ()
            is_followed = call.op is Op.STAT and image.names.is_root(call.path) and not call.path.endswith(b"-packages")
            if visit and visit[-1][0].op is Op.LIST and is_followed:
                image.state = "main"  # the search path goes on: what site adds stands after site-packages, at its end
            told += self._place_visit(image)
            if image.state == "site" and may_begin_program(call, None, self.hook_prefixes):
                image.first_visit.append((call, thread))
                return told
        told += self._place(call, thread)
        return told

    def _place_visit(self, image: Image) -> Sequence[Attributed]:
        visit, image.first_visit = image.first_visit, []
        return [row for call, thread in visit for row in self._place(call, thread)]

    def _decide(self, image: Image, python: bool) -> Sequence[Attributed]:
        """Now it is known whether an image is an interpreter: let go of what was held back."""
        if image.state != "unknown":
            return ()
        image.state = "loader" if python else "foreign"
        if python:
            image.process.kind = "python"
        held, image.held = image.held, []
        return [row for call, thread in held for row in self._place(call, thread)]

    def _place(self, call: Call, thread: Thread) -> Sequence[Attributed]:
        """The place of a call, now that it is known whether its image is an interpreter; and calls that it settles."""
        image = thread.image
        if (
            image.has_read_hook
            and not (image.has_marks or image.is_silent or image.in_hook)
            and self._loads(call, image)
        ):
            # the hook tells of itself as soon as it is read, and the first import after it is that of the user's sitecustomize
            image.is_silent = True
            image.why_unmarked = image.why_unmarked or ("importlib" if image.hooked else "aside")
        stack = thread.stack_now()
        phase = phase_of(call, image, stack, self.hook_prefixes)
        row = Attributed(call, phase, stack[-1].name if stack else NO_IMPORT, stack, image.process)
        if image.in_hook or (call.op is _OPEN and self.is_of_marks(call)):
            row.own = True
            return (row,)
        if self.hook_dirs and not image.hooked and self._is_for_hook(call, image):
            image.doubtful.append(row)
            return ()
        if image.walks_up_to and call.path == image.walks_up_to and call.op is Op.STAT:
            image.walks_up_to = os.path.dirname(call.path) if call.error else b""
            image.doubtful.append(row)
            return ()
        if image.state == "main" and (not image.hooked or image.is_silent):
            return self._estimated(row, image)
        return (row,)

    def _is_for_hook(self, call: Call, image: Image) -> bool:
        """Whether a call looks into the hook's directory before the hook has run, as the import system does.

        A program that lists the directory for itself does so after it, or is no interpreter.
        """
        if call.path not in self.hook_dirs and not call.path.startswith(self.hook_prefixes):
            return False
        image.asked_for_hook = True
        image.found_hook = image.found_hook or not call.error
        image.has_read_hook = image.has_read_hook or (
            call.op is _OPEN and b"/sitecustomize." in call.path and not call.error
        )
        if call.path == self.hook_dir and call.error and call.op is Op.STAT:
            image.walks_up_to = os.path.dirname(call.path)
        return True

    def is_of_marks(self, call: Call) -> bool:
        """Whether the hook opens its file of marks, or the directory of these or its status by flags that nobody else uses there."""
        if call.path == b"/proc/self/status":
            return b"O_NOCTTY" in call.args and b"O_NOFOLLOW" in call.args
        if call.path in self.marks_dirs:
            return b"O_PATH" in call.args and b"O_NOFOLLOW" in call.args
        return call.path.startswith(self.marks_prefix) and b"O_APPEND" in call.args

    def _loads(self, call: Call, image: Image) -> str | None:
        """The module that a call loads, by its path."""
        if call.op is Op.OPEN and not call.error and b"O_WRONLY" not in call.args:
            return image.names.loads(call.path)
        return None

    def _estimated(self, row: Attributed, image: Image) -> Sequence[Attributed]:
        """Without marks: hold a call back until the paths have told whose it is."""
        tid = row.call.tid
        known = self.estimates.get(tid)
        if known is None or known[0] is not image:
            known = self.estimates[tid] = (image, Estimate(image, self.notes, image.process.label.split(" ")[1:3]))
        return known[1].take(row)

    def _end_estimate(self, tid: int) -> Sequence[Attributed]:
        """No more is loaded in a thread: what was held back is the program's."""
        known = self.estimates.pop(tid, None)
        return () if known is None else known[1].end()

    def _end_doubt(self, image: Image, *, own: bool) -> Sequence[Attributed]:
        """Now it is known whose lookups in the hook's directory were."""
        told, image.doubtful = image.doubtful, []
        for row in told:
            row.own = own
        return told

    def _close(self, image: Image) -> Sequence[Attributed]:
        """An image has ended: what is still in doubt is decided."""
        python = bool(PYTHON_NAME.match(image.process.label.partition(" ")[0].encode())) and any(
            self.hook_dir and call.path.startswith(self.hook_dir) for call, _ in image.held
        )
        told = [*self._decide(image, python), *self._place_visit(image)]
        told += self._end_doubt(image, own=image.process.kind == "python")
        if image.state == "main" and image.why_unmarked and (not image.hooked or image.is_silent):
            self.notes.unmarked[image.why_unmarked] = self.notes.unmarked.get(image.why_unmarked, 0) + 1
        return told

    def close(self) -> Iterator[Attributed]:
        seen: set[int] = set()
        for tid in list(self.estimates):
            yield from self._end_estimate(tid)
        for thread in self.threads.values():
            if id(thread.image) not in seen:
                seen.add(id(thread.image))
                yield from self._close(thread.image)


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
    attributor = Attributor(hook_dir, marks_dir, notes, running)
    settled = attributor.settled
    for event in events:
        if type(event) is Call:
            row = settled(event)
            if row is not None:
                yield row
            else:
                yield from attributor.call(event)
        elif type(event) is Mark:
            yield from attributor.mark(event)
        elif type(event) is Process:
            yield from attributor.process(event)
    yield from attributor.close()
