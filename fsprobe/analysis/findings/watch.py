"""What some rules need of a run and the tally does not keep: noted while the tally is folded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fsprobe.analysis.attribution.attribute import Attributed, Frame
from fsprobe.model.events import Call, Op

SPAWN = "multiprocessing.spawn"
FORK_SERVER = "multiprocessing.forkserver"
FONT_MANAGER = "matplotlib.font_manager"
TRACKER = "multiprocessing.resource_tracker"
LOKY = "loky.backend.popen_loky_posix"
_SPAWN_MACHINERY = frozenset({SPAWN, TRACKER, "multiprocessing.popen_spawn_posix", "runpy", "pkgutil"})
_FORK = "multiprocessing.popen_fork"
_REFUSALS = frozenset({"EACCES", "EROFS", "EPERM", "EDQUOT", "ENOSPC"})
TEMPORARY_PYC = re.compile(rb"^(.*\.pyc)\.\d+$", re.DOTALL)
_SEMAPHORE = b"/dev/shm/sem.mp-"
_LSTATS = frozenset({"lstat", "lstat64", "oldlstat"})
_STAT, _OPEN, _OTHER = Op.STAT, Op.OPEN, Op.OTHER  # a member of an enumeration takes longer to look up than a name
_NO_FILES = (b"/dev/", b"/proc/", b"/sys/")


@dataclass(slots=True)
class Watch:
    """What some rules need and the tally does not keep. `watch` fills it while the tally is folded.

    A process is named as in the tally: `pid label`.
    """

    phases: dict[str, dict[str, int]] = field(default_factory=dict)
    """Process -> {phase: metadata calls}"""
    first_import: dict[str, str] = field(default_factory=dict)
    """Process -> its first outermost import of multiprocessing: it tells spawned workers from the resource tracker."""
    modules: dict[str, set[str]] = field(default_factory=dict)
    """Process -> the imports that made calls, those of the spawn machinery left out."""
    worker_imports: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    """Worker of multiprocessing or loky -> {outermost import: {module: its own metadata calls}}"""
    machinery: dict[str, int] = field(default_factory=dict)
    """Process -> metadata calls of imports that only the start method spawn needs."""
    run_paths: dict[str, dict[bytes, int]] = field(default_factory=dict)
    """Spawned worker -> {path: metadata calls outside any import}; without the semaphores that it was handed."""
    spans: dict[str, list[int]] = field(default_factory=dict)
    """Process -> [when its first metadata call started, when its last one did], in ns on the log's axis."""
    launching: set[str] = field(default_factory=set)
    """Processes that listed their open files, as those do that are about to become another program."""
    n_searches: int = 0
    """Lookups of interpreters for their own name along PATH, the successful ones included."""
    font_paths: dict[bytes, int] = field(default_factory=dict)
    """Path -> metadata calls that matplotlib.font_manager itself made while it was imported."""
    scanners: dict[str, int] = field(default_factory=dict)
    """Module that was being imported, "" outside imports -> opens of entry_points.txt."""
    foreign_scanners: dict[str, int] = field(default_factory=dict)
    """Program that is no interpreter -> opens of files in *.dist-info."""
    import_stats: dict[bytes, int] = field(default_factory=dict)
    """Path -> stats while something was imported: of the import system, and of what modules do when they are loaded."""
    components: dict[str, dict[bytes, int]] = field(default_factory=dict)
    """Module -> {path: lstat and readlink calls while it was imported}, as os.path.realpath makes them."""
    refused: dict[bytes, int] = field(default_factory=dict)
    """Path -> attempts to make a directory or a temporary .pyc there that the filesystem refused."""
    written: dict[bytes, int] = field(default_factory=dict)
    """File -> successful opens that may create or empty it, bytecode left out."""


def watch(rows: Iterable[Attributed], seen: Watch) -> Iterator[Attributed]:
    """Pass a stream of attributed calls on, and note what passes."""
    # written out: this is done for each call of a run. Calls that follow each other mostly are of one process and one import
    process, kind, key, is_python = None, "", "", False
    phases: dict[str, int] = {}
    span: list[int] | None = None
    plain: tuple[Frame, ...] = ()
    module = ""
    import_stats = seen.import_stats
    for row in rows:
        call = row.call
        op = call.op
        if row.own or op is _OTHER:
            yield row
            continue
        if row.process is not process or row.process.kind != kind:
            process, kind, key = row.process, row.process.kind, row.process.key
            is_python = kind == "python"
            phases = seen.phases.setdefault(key, {})
            span = seen.spans.get(key)
            plain = ()
        phase, path = row.phase, call.path
        phases[phase] = phases.get(phase, 0) + 1
        t_ns = call.t_ns
        if t_ns is not None:
            if span is None:
                span = seen.spans[key] = [t_ns, t_ns]
            elif t_ns > span[1]:
                span[1] = t_ns
        if op is _OPEN:
            _note_open(row, seen, is_python)
        if call.error in _REFUSALS and (call.syscall.startswith("mkdir") or TEMPORARY_PYC.match(path)):
            seen.refused[path] = seen.refused.get(path, 0) + 1
        if phase == "import":
            if op is _STAT:
                import_stats[path] = import_stats.get(path, 0) + 1
            if row.stack is not plain or row.module != module:
                module = row.module
                plain = row.stack if _note_import(row, seen, key) else ()
            if row.module == FONT_MANAGER:
                seen.font_paths[path] = seen.font_paths.get(path, 0) + 1
            if _is_of_real_path(call):
                components = seen.components.setdefault(row.module, {})
                components[path] = components.get(path, 0) + 1
        elif phase == "run":
            # a forked worker has its parent's semaphores open; a spawned one opens them by name
            if seen.first_import.get(key) == SPAWN and not (op is _OPEN and path.startswith(_SEMAPHORE)):
                paths = seen.run_paths.setdefault(key, {})
                paths[path] = paths.get(path, 0) + 1
            if path == b"/proc/self/fd":
                seen.launching.add(key)
        elif phase == "init" and op is _STAT and is_python:
            directory, _, name = path.rpartition(b"/")
            if name == row.process.label.partition(" ")[0].encode() and not directory.endswith((b"/lib", b"/lib64")):
                seen.n_searches += 1
        yield row


def is_worth_a_look(call: Call) -> bool:
    """Whether a call may tell more than its path, phase, process and time, wherever it is made."""
    path, error = call.path, call.error
    if call.op is _OPEN and (
        b".dist-info/" in path
        or path.endswith(b"info/entry_points.txt")
        or (not error and _makes(call.syscall, call.args) and not _is_no_file(path))
    ):
        return True
    return (
        _is_of_real_path(call)
        or path == b"/proc/self/fd"
        or (error in _REFUSALS and (call.syscall.startswith("mkdir") or TEMPORARY_PYC.match(path) is not None))
    )


def counts_each(module: str, stack: tuple[Frame, ...]) -> bool:
    """Whether each call of an import is counted by itself, in any process."""
    return module == FONT_MANAGER or not _SPAWN_MACHINERY.isdisjoint(frame.name for frame in stack)


def is_worker(label: str) -> bool:
    """Whether a process is one that another has made to work for it: of its calls each is looked at."""
    return "(multiprocessing)" in label or label.endswith(LOKY)


def _note_open(row: Attributed, seen: Watch, is_python: bool) -> None:
    call, process = row.call, row.process
    path = call.path
    if not is_python:
        if b".dist-info/" in path:
            seen.foreign_scanners[process.label] = seen.foreign_scanners.get(process.label, 0) + 1
    elif path.endswith(b"info/entry_points.txt"):
        scanner = row.module if row.phase == "import" else ""
        seen.scanners[scanner] = seen.scanners.get(scanner, 0) + 1
    if not call.error and _makes(call.syscall, call.args) and not _is_no_file(path):
        seen.written[path] = seen.written.get(path, 0) + 1


def _note_import(row: Attributed, seen: Watch, key: str) -> bool:
    """Note what a call tells of its imports; True where the next one of the same imports would tell nothing more."""
    label = row.process.label
    outermost = row.stack[0].name
    if outermost.startswith("multiprocessing"):
        seen.first_import.setdefault(key, outermost)
    names = [frame.name for frame in row.stack]
    if not (_SPAWN_MACHINERY.isdisjoint(names) or _FORK in names):
        seen.machinery[key] = seen.machinery.get(key, 0) + 1
        return False
    if key in seen.first_import or "(multiprocessing)" not in label:
        # what a worker imports before is its own start (`python -c`, from 3.13 on)
        seen.modules.setdefault(key, set()).add(row.module)
    is_worker = "(multiprocessing)" in label and (
        key in seen.first_import or "init" not in seen.phases[key]  # a forked one has no start of its own
    )
    if is_worker or label.endswith(LOKY):
        own = seen.worker_imports.setdefault(key, {}).setdefault(outermost, {})
        own[row.module] = own.get(row.module, 0) + 1
        return False
    return "(multiprocessing)" not in label


def _is_no_file(path: bytes) -> bool:
    """Whether a path is a device or the kernel's, or bytecode, which has rules of its own."""
    return path.startswith(_NO_FILES) or TEMPORARY_PYC.match(path) is not None


def _makes(syscall: str, args: bytes) -> bool:
    """Whether an open may create a file or empty it."""
    return syscall == "creat" or b"O_CREAT" in args or b"O_TRUNC" in args


def _is_of_real_path(call: Call) -> bool:
    """Whether a call asks for a path itself and not for where it leads: the import system never does."""
    if call.op is _STAT:
        return call.syscall in _LSTATS or b"AT_SYMLINK_NOFOLLOW" in call.args
    return call.op is Op.READLINK
