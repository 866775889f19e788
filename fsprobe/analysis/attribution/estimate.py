"""Imports without marks: what the paths tell of them, and what they don't.

What the import system looks up is known by its form: it asks the directories of the search path in turn, then for the files
of one module there, and opens one of these. Such lookups belong to the module that they end with. A search that ends with none is
an import that failed; its name is in no call. All else is what a module or the program does for itself:

- paths that are no environment's and no system's are the program's own data, wherever in the order they come;
- the metadata of installed distributions (`*.dist-info`) have a key of their own: whoever reads them, the paths are the same;
- what else lies between modules of one package, or looks at that package's own files, is taken for the former module's: right for the
  package, a guess for the module; but not many calls where another package has imported it, which may have gone on;
- anything else before a further module is loaded can't be told from the paths, and is put to no import;
- after the last module, it is the program's.

What is not known in this way is counted (`Notes.unsure`), so that the expected error can be said of each
recording. `reports/estimate.md` compares it with the true error.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Sequence

from fsprobe.analysis.attribution.module_names import SPELLINGS, chain, is_bytecode_being_written, is_same_directory
from fsprobe.analysis.attribution.program_images import NO_IMPORT, Attributed, Frame, Image, Notes
from fsprobe.events.strace.arguments import result_path
from fsprobe.model.events import Call, Op
from fsprobe.model.rows import FAILED_IMPORTS, INSTALLED, NO_MODULES, UNASSIGNED

MAX_HELD = 20_000
"""Calls of a thread that are held back until a further module is loaded; more than that are taken for the program's."""
MAX_BETWEEN = 100
"""Calls between two modules of a package that are taken for its own, if another package has imported it and may have gone on."""
Looked = tuple[Attributed, bytes]
"""A look at a directory, or a listing of it, and the directory as it was asked for: a listing names where its open led."""
_NO_LINK = b"AT_SYMLINK_NOFOLLOW"
_STAT, _OPEN, _LIST, _OTHER = Op.STAT, Op.OPEN, Op.LIST, Op.OTHER


class Estimate:
    """The imports of one thread. Takes its calls in turn, and gives them back in the same order when they are judged.

    Args:
        image: where it runs: what its interpreter has loaded.
        notes: imports and counts are added there.
        main: script or module that the interpreter was told to run: `p.py`, or `-m json.tool`; "" where not known.
    """

    def __init__(self, image: Image, notes: Notes, main: Sequence[str] = ()) -> None:
        self._names = image.names
        self._notes = notes
        self._script = os.fsencode(main[0]) if len(main) == 1 else b""
        self._module = main[1] if len(main) == 2 and main[0] == "-m" else ""
        self._last = NO_IMPORT
        self._last_is_library = False
        self._last_package = NO_IMPORT
        """The module that was loaded last and is none of the standard library: these rarely do anything for themselves."""
        self._outermost = ""
        """The package that was imported first: its modules import the others, and go on when these are done."""
        self._held: list[Attributed] = []
        """In their order: lookups of a search that has not ended yet, and what is not told yet."""
        self._sought: list[Looked] = []
        """Of `_held`: what may be a search, directories that were looked at or listed."""
        self._is_scan = False
        """Whether a directory was listed in the search that the import system has listed before: then it is somebody else's."""

    def take(self, row: Attributed) -> Sequence[Attributed]:
        """Take in the next call; gives the calls that are judged now."""
        call = row.call
        judged: Sequence[Attributed] = ()
        if call.op is _OTHER:
            self._held.append(row)
        elif (module := self._loaded(call)) is not None:
            judged = self._found(module, row)
            self._load(module, call)
        elif self._last_is_library and SPELLINGS[call.path].is_of_library or self._is_written(call):
            judged = self._add(row, self._last)
        elif self._may_be_search(call):
            place = self._sought[-1][1] if call.op is _LIST else call.path
            self._sought.append((row, place))
            self._held.append(row)
        elif (module := self._seeks(call)) is not None:
            judged = self._found(module, row)
        else:
            self._give_up_search()
            self._held.append(row)
            self._judge_own(row)
        return [*judged, *self.end()] if len(self._held) > MAX_HELD else judged

    def end(self) -> Sequence[Attributed]:
        """No module is loaded any more: what is not told is the program's."""
        self._give_up_search()
        held, self._held = self._held, []
        for row in held:
            if not row.is_judged:
                self._put(row, NO_IMPORT)
        return held

    # -- what a call is -----------------------------------------------------------------------------------------

    def _loaded(self, call: Call) -> str | None:
        if call.op is not _OPEN or call.error or b"O_WRONLY" in call.args or b"O_RDWR" in call.args:
            return None
        name = self._names.loads(call.path)
        return None if name is None or name in self._names.loaded else name

    def _seeks(self, call: Call) -> str | None:
        if call.op is _STAT:
            if _is_of_walk(call):
                return None
        elif not (call.op is _OPEN and call.error):
            return None
        name = self._names.seeks(call.path)
        return None if name is None or name in self._names.loaded else name

    def _may_be_search(self, call: Call) -> bool:
        """Whether a call looks at, or lists, a directory as the import system does when it searches."""
        path, op, names = call.path, call.op, self._names
        spelling = SPELLINGS[path]
        if spelling.is_metadata:
            return False
        if spelling.is_archive:
            if op is _OPEN:
                self._visit(path)
            return True
        if op is _STAT:
            return not _is_of_walk(call) and (names.is_root(path) or path in names.packages or b"S_IFDIR" in call.args)
        is_listed = op is _LIST or (op is _OPEN and not call.error and b"O_DIRECTORY" in call.args)
        if not is_listed or not self._sought or not is_same_directory(self._sought[-1][0].call, call):
            return False
        if op is _OPEN:
            self._visit(path)
        return True

    def _visit(self, path: bytes) -> None:
        """What is searched is opened: the import system does that once."""
        visited = self._names.visited
        self._is_scan = self._is_scan or path in visited
        visited.add(path)

    def _is_written(self, call: Call) -> bool:
        is_change = call.op is Op.CHANGE or (call.op is _OPEN and b"O_CREAT" in call.args)
        return is_change and self._last != NO_IMPORT and is_bytecode_being_written(call.path)

    def _is_main(self, module: str, path: bytes) -> bool:
        if module.endswith("__main__") and module.rpartition(".")[2] == "__main__":
            return True
        if module == self._module:
            # `-m PACKAGE` imports the package, and runs its __main__
            return not path.rpartition(b"/")[2].startswith(b"__init__.")
        return bool(self._script) and self._last == NO_IMPORT and path.rpartition(b"/")[2] == self._script

    # -- what it belongs to -------------------------------------------------------------------------------------

    def _found(self, module: str, row: Attributed) -> Sequence[Attributed]:
        """A search has ended with a file of `module`: what was held back before is told."""
        path = row.call.path
        owner = NO_IMPORT if self._is_main(module, path) else module
        if self._sought:
            *failed, found = self._searches()
            for search in failed:
                self._judge_failed(search)
            self._judge_found(found, module, owner, path)
            self._sought = []
        self._is_scan = False
        self._put(row, owner)
        self._held.append(row)
        return self._release(module) if owner == NO_IMPORT or not SPELLINGS[path].is_of_stdlib else ()

    def _release(self, following: str) -> Sequence[Attributed]:
        """Give what was held back, now that a module of a package follows."""
        held, self._held = self._held, []
        waiting = [row for row in held if not row.is_judged]
        if not waiting:
            return held
        former = self._last_package
        own = self._names.place_of.get(_top(former), b"\0") + b"/"
        is_between = _top(following) == _top(former) and (
            _top(former) == self._outermost or len(waiting) <= MAX_BETWEEN
        )
        is_former = is_between or any(row.call.path.startswith(own) for row in waiting)
        owner = former if is_former else UNASSIGNED
        for row in waiting:
            if row.call.op is _OTHER or self._last == NO_IMPORT:
                self._put(row, NO_IMPORT)
            elif SPELLINGS[row.call.path].is_metadata:
                self._put(row, INSTALLED)
            else:
                self._put(row, owner, is_sure=False)
        return held

    def _load(self, module: str, call: Call) -> None:
        path = call.path
        if self._is_main(module, path):
            self._names.add_root(path.rpartition(b"/")[0])
            return
        self._names.note(module, path, result_path(call))
        self._last, self._last_is_library = module, path.endswith(b".so")
        if not SPELLINGS[path].is_of_stdlib:
            self._last_package = module
            self._outermost = self._outermost or _top(module)
        package = module.rpartition(".")[0]
        self._notes.imports.setdefault(module, {package: 1} if package else {})
        self._notes.n_imports[module] = self._notes.n_imports.get(module, 0) + 1

    def _add(self, row: Attributed, owner: str) -> Sequence[Attributed]:
        """A call whose owner is known whatever follows."""
        self._give_up_search()
        self._put(row, owner)
        if not self._held:
            return (row,)
        self._held.append(row)
        return ()

    def _searches(self) -> list[list[Looked]]:
        """The searches that are held back: a directory that was looked at before begins a new one."""
        searches: list[list[Looked]] = []
        seen: set[bytes] = set()
        before = b""
        for row, place in self._sought:
            if not searches or (place in seen and place != before and row.call.op is _STAT):
                searches.append([])
                seen.clear()
            searches[-1].append((row, place))
            seen.add(place)
            before = place
        return searches

    def _judge_found(self, search: list[Looked], module: str, owner: str, file: bytes) -> None:
        """The search that found a file; what else is in it is somebody's own."""
        names = self._names
        directory = names.directory_of(file)
        if directory in names.packages:
            # a module of a package that is loaded is sought in the package alone: what was asked of the search path failed
            inside = [looked for looked in search if looked[1] == directory]
            if 0 < len(inside) < len(search):
                self._judge_failed([looked for looked in search if looked[1] != directory])
                search = inside
        known = [self._is_known(place, module) for _, place in search]
        visits = _first_visits(search)
        for at, (row, path) in enumerate(search):
            if known[at]:
                follows = search[at + 1] if at + 1 < len(search) else None
                is_again = follows is not None and follows[1] == path and follows[0].call.op is _STAT
                if is_again and row.call.op is _STAT and path in names.visited and path not in visits:
                    self._judge_own(row)  # the import system asks once for what it knows
                else:
                    self._put(row, owner)
            elif path in visits and (any(known[at:]) or file.startswith(path + b"/")):
                names.add_root(path)
                self._put(row, owner)
            else:
                self._judge_own(row)

    def _is_known(self, path: bytes, module: str) -> bool:
        if self._names.is_root(path) or path in self._names.packages:
            return True
        package = self._names.package_at(path)  # a namespace package has no file that is opened
        return package is not None and (module == package or module.startswith(package + "."))

    def _judge_failed(self, search: list[Looked]) -> None:
        names, is_scan = self._names, self._is_scan
        roots = {place for _, place in search if names.is_root(place)}
        is_import = len(roots) > 1 or any(place in names.packages for _, place in search)
        if len(roots) > 1 and not is_scan:
            for path in _first_visits(search):
                if path not in roots and path not in names.packages:
                    names.add_root(path)
                    roots.add(path)
        for row, path in search:
            if is_import and not is_scan and (path in roots or path in names.packages):
                self._put(row, FAILED_IMPORTS, is_sure=False)
            else:
                self._judge_own(row)

    def _give_up_search(self) -> None:
        """What follows is no part of a search: those that are held back have failed."""
        if self._sought:
            for search in self._searches():
                self._judge_failed(search)
            self._sought = []
        self._is_scan = False

    def _judge_own(self, row: Attributed) -> None:
        """What somebody does for himself: the program's own data are known by their place, all else waits for what is loaded next."""
        if not self._names.is_environment(row.call.path):
            self._put(row, NO_IMPORT)

    def _put(self, row: Attributed, owner: str, is_sure: bool = True) -> None:
        row.is_judged = True
        row.module = owner
        if owner == NO_IMPORT:
            row.phase, row.stack = "run", ()
            return
        row.phase = "import"
        row.stack = _stack_of(owner)
        op = row.call.op
        if op is not _OTHER:
            notes = self._notes
            notes.n_estimated += 1
            if not is_sure:
                notes.unsure[op.value] = notes.unsure.get(op.value, 0) + 1


@functools.lru_cache(maxsize=100_000)
def _stack_of(owner: str) -> tuple[Frame, ...]:
    """One value for all calls of a module: the fold takes calls of one stack together."""
    names = chain(owner) if owner not in NO_MODULES else [owner]
    return tuple(Frame(name, names[i - 1] if i else None, False) for i, name in enumerate(names))


def _is_of_walk(call: Call) -> bool:
    """Whether a look follows no link: a walk along links does so, the import system does not."""
    return _NO_LINK in call.args or call.syscall.startswith("lstat")


def _first_visits(search: list[Looked]) -> set[bytes]:
    """Directories that were looked at several times and listed: what the import system does when it meets one."""
    listed = {place for row, place in search if row.call.op is _LIST}
    if not listed:
        return listed
    n_looks = Counter(place for row, place in search if row.call.op is _STAT)
    return {path for path in listed if n_looks[path] >= 2}


def _top(module: str) -> str:
    return module.partition(".")[0]
