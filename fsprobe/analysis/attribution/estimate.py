"""Imports without marks: what the paths tell of them, and what they don't.

What the import system looks up is known by its form: it asks the directories of the search path in turn, then for the files
of one module there, and opens one of these. Such lookups belong to the module that they end with. A search that ends with none is
an import that failed; its name is in no call. All else is what a module or the program does for itself:

- paths that are no environment's and no system's are the program's own data, wherever in the order they come;
- the metadata of installed distributions (`*.dist-info`) have a key of their own: whoever reads them, the paths are the same;
- what else lies between modules of one package, or looks at that package's own files, is taken for the former module's: right for the
  package, a guess for the module;
- anything else before a further module is loaded can't be told from the paths, and is put to no import;
- after the last module, it is the program's.

What is not known in this way is counted (`Notes.unsure`), so that the expected error can be said of each
recording. `reports/estimate.md` compares it with the true error.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterator, Sequence

from fsprobe.analysis.attribution.module_names import (
    chain,
    is_bytecode_being_written,
    is_metadata,
    is_of_library,
    is_same_directory,
)
from fsprobe.analysis.attribution.program_images import NO_IMPORT, Attributed, Frame, Image, Notes
from fsprobe.events.strace.arguments import result_path
from fsprobe.model.events import Call, Op
from fsprobe.model.rows import FAILED_IMPORTS, INSTALLED, NO_MODULES, UNASSIGNED

MAX_HELD = 20_000
"""Calls of a thread that are held back until a further module is loaded; more than that are taken for the program's."""
Looked = tuple[Attributed, bytes]
"""A look at a directory, or a listing of it, and the directory as it was asked for: a listing names where its open led."""
_NO_LINK = b"AT_SYMLINK_NOFOLLOW"


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
        self._held: list[Attributed] = []
        """In their order: lookups of a search that has not ended yet, and what is not told yet."""
        self._sought: list[Looked] = []
        """Of `_held`: what may be a search, directories that were looked at or listed."""
        self._is_scan = False
        """Whether a directory was listed in the search that the import system has listed before: then it is somebody else's."""

    def take(self, row: Attributed) -> Iterator[Attributed]:
        """Take in the next call; gives the calls that are judged now."""
        call = row.call
        if call.op is Op.OTHER:
            self._held.append(row)
        elif (loaded := self._loaded(call)) is not None:
            yield from self._found(loaded, row)
            self._load(loaded, call)
        elif self._last_is_library and is_of_library(call.path) or self._is_written(call):
            yield from self._add(row, self._last)
        elif not is_metadata(call.path) and self._may_be_search(call):
            place = self._sought[-1][1] if call.op is Op.LIST else call.path
            self._sought.append((row, place))
            self._held.append(row)
        elif (sought := self._seeks(call)) is not None:
            yield from self._found(sought, row)
        else:
            self._give_up_search()
            self._held.append(row)
            self._judge_own(row)
        if len(self._held) > MAX_HELD:
            yield from self.end()

    def end(self) -> Iterator[Attributed]:
        """No module is loaded any more: what is not told is the program's."""
        self._give_up_search()
        held, self._held = self._held, []
        for row in held:
            if not row.is_judged:
                self._put(row, NO_IMPORT)
            yield row

    # -- what a call is -----------------------------------------------------------------------------------------

    def _loaded(self, call: Call) -> str | None:
        if call.op is not Op.OPEN or call.error or b"O_WRONLY" in call.args or b"O_RDWR" in call.args:
            return None
        name = self._names.loads(call.path)
        return None if name is None or name in self._names.loaded else name

    def _seeks(self, call: Call) -> str | None:
        if call.op is Op.STAT:
            if _NO_LINK in call.args or call.syscall.startswith("lstat"):
                return None  # a walk along links: the import system follows them
        elif not (call.op is Op.OPEN and call.error):
            return None
        name = self._names.seeks(call.path)
        return None if name is None or name in self._names.loaded else name

    def _may_be_search(self, call: Call) -> bool:
        """Whether a call looks at, or lists, a directory as the import system does when it searches."""
        path = call.path
        if self._names.is_archive(path):
            self._is_scan = self._is_scan or (call.op is Op.OPEN and path in self._names.visited)
            if call.op is Op.OPEN:
                self._names.visited.add(path)
            return True
        if call.op is Op.STAT:
            if _NO_LINK in call.args or call.syscall.startswith("lstat"):
                return False
            return self._names.is_root(path) or path in self._names.packages or b"S_IFDIR" in call.args
        is_listed = call.op is Op.LIST or (call.op is Op.OPEN and not call.error and b"O_DIRECTORY" in call.args)
        if not is_listed or not self._sought or not is_same_directory(self._sought[-1][0].call, call):
            return False
        if call.op is Op.OPEN:
            self._is_scan = self._is_scan or path in self._names.visited
            self._names.visited.add(path)
        return True

    def _is_written(self, call: Call) -> bool:
        is_change = call.op is Op.CHANGE or (call.op is Op.OPEN and b"O_CREAT" in call.args)
        return is_change and self._last != NO_IMPORT and is_bytecode_being_written(call.path)

    def _is_main(self, module: str, path: bytes) -> bool:
        if module.rpartition(".")[2] == "__main__":
            return True
        name = path.rpartition(b"/")[2]
        if module == self._module:
            return not name.startswith(b"__init__.")  # `-m PACKAGE` imports the package, and runs its __main__
        return bool(self._script) and name == self._script and self._last == NO_IMPORT

    # -- what it belongs to -------------------------------------------------------------------------------------

    def _found(self, module: str, row: Attributed) -> Iterator[Attributed]:
        """A search has ended with a file of `module`: what was held back before is told."""
        owner = NO_IMPORT if self._is_main(module, row.call.path) else module
        *failed, found = self._searches() or [[]]
        is_scan, self._is_scan, self._sought = self._is_scan, False, []
        for search in failed:
            self._judge_failed(search, is_scan)
        self._judge_found(found, module, owner, row.call.path, is_scan)
        self._put(row, owner)
        self._held.append(row)
        if owner == NO_IMPORT or not self._names.is_of_stdlib(row.call.path):
            yield from self._release(module)

    def _release(self, following: str) -> Iterator[Attributed]:
        """Give what was held back, now that a module of a package follows."""
        held, self._held = self._held, []
        former = self._last_package
        own = self._names.place_of.get(_top(former), b"\0") + b"/"
        is_former = _top(following) == _top(former) or any(
            row.call.path.startswith(own) for row in held if not row.is_judged
        )
        owner = former if is_former else UNASSIGNED
        for row in held:
            if not row.is_judged:
                if row.call.op is Op.OTHER or self._last == NO_IMPORT:
                    self._put(row, NO_IMPORT)
                elif is_metadata(row.call.path):
                    self._put(row, INSTALLED)
                else:
                    self._put(row, owner, is_sure=False)
            yield row

    def _load(self, module: str, call: Call) -> None:
        path = call.path
        if self._is_main(module, path):
            self._names.add_root(path.rpartition(b"/")[0])
            return
        self._names.note(module, path, result_path(call))
        self._last, self._last_is_library = module, path.endswith(b".so")
        if not self._names.is_of_stdlib(path):
            self._last_package = module
        package = module.rpartition(".")[0]
        self._notes.imports.setdefault(module, {package: 1} if package else {})
        self._notes.n_imports[module] = self._notes.n_imports.get(module, 0) + 1

    def _add(self, row: Attributed, owner: str) -> Iterator[Attributed]:
        """A call whose owner is known whatever follows."""
        self._give_up_search()
        self._put(row, owner)
        if self._held:
            self._held.append(row)
        else:
            yield row

    def _searches(self) -> list[list[Looked]]:
        """The searches that are held back: a directory that was looked at before begins a new one."""
        searches: list[list[Looked]] = []
        seen: set[bytes] = set()
        before = b""
        for row, place in self._sought:
            if not searches or (row.call.op is Op.STAT and place in seen and place != before):
                searches.append([])
                seen.clear()
            searches[-1].append((row, place))
            seen.add(place)
            before = place
        return searches

    def _judge_found(self, search: list[Looked], module: str, owner: str, file: bytes, is_scan: bool) -> None:
        """The search that found a file; what else is in it is somebody's own."""
        names = self._names
        directory = names.directory_of(file)
        if directory in names.packages and any(place == directory for _, place in search):
            # a module of a package that is loaded is sought in the package alone: what was asked of the search path failed
            before = [looked for looked in search if looked[1] != directory]
            search = [looked for looked in search if looked[1] == directory]
            self._judge_failed(before, is_scan)
        known = {at for at, (_, place) in enumerate(search) if self._is_known(place, module)}
        last_known = max(known, default=-1)
        visits = _first_visits(search)
        for at, (row, path) in enumerate(search):
            if at in known:
                follows = search[at + 1] if at + 1 < len(search) else None
                is_again = follows is not None and follows[0].call.op is Op.STAT and follows[1] == path
                if is_again and path in names.visited and row.call.op is Op.STAT and path not in visits:
                    self._judge_own(row)  # the import system asks once for what it knows
                else:
                    self._put(row, owner)
            elif path in visits and (at < last_known or file.startswith(path + b"/")):
                names.add_root(path)
                self._put(row, owner)
            else:
                self._judge_own(row)

    def _is_known(self, path: bytes, module: str) -> bool:
        if self._names.is_root(path) or path in self._names.packages:
            return True
        package = self._names.package_at(path)  # a namespace package has no file that is opened
        return package is not None and (module == package or module.startswith(package + "."))

    def _judge_failed(self, search: list[Looked], is_scan: bool) -> None:
        names = self._names
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
                self._judge_failed(search, self._is_scan)
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
        if row.call.op is not Op.OTHER:
            op = row.call.op.value
            self._notes.n_estimated += 1
            if not is_sure:
                self._notes.unsure[op] = self._notes.unsure.get(op, 0) + 1


@functools.lru_cache(maxsize=100_000)
def _stack_of(owner: str) -> tuple[Frame, ...]:
    """One value for all calls of a module: the fold takes calls of one stack together."""
    names = chain(owner) if owner not in NO_MODULES else [owner]
    return tuple(Frame(name, names[i - 1] if i else None, False) for i, name in enumerate(names))


def _first_visits(search: list[Looked]) -> set[bytes]:
    """Directories that were looked at several times and listed: what the import system does when it meets one."""
    listed = {place for row, place in search if row.call.op is Op.LIST}
    n_looks = Counter(place for row, place in search if row.call.op is Op.STAT)
    return {path for path in listed if n_looks[path] >= 2}


def _top(module: str) -> str:
    return module.partition(".")[0]
