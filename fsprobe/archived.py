"""Modules out of the archive that fsprobe runs from, through one descriptor.

Python's own finder looks at the archive for each directory in it and opens it anew for each module: some 150 metadata calls
of a run that only records.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import sys
import zipimport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any

_LOCAL_HEADER = b"PK\3\4"
_LOCAL_HEADER_BYTES = 30
_STORED, _DEFLATED = 0, 8


class Archive:
    """Finds the modules of one archive; what it does not find, or can't read, is left to the finders after it."""

    def __init__(self, path: "str", entries: "dict[str, Any]", opened: "int") -> "None":
        self.path = path
        self.entries = entries
        """As Python has read its directory: name -> path, method, compressed size, size, place, ..."""
        self.opened = opened

    def find_spec(
        self, name: "str", path: "Sequence[str] | None" = None, target: "object" = None
    ) -> "ModuleSpec | None":
        """The module's place."""
        above = self.path if path is None else next(iter(path), "")
        if above != self.path and not above.startswith(self.path + os.sep):
            return None
        prefix = above[len(self.path) + 1 :] + os.sep if above != self.path else ""
        place = prefix + name.rpartition(".")[2]
        is_package = place + os.sep + "__init__.py" in self.entries
        if not is_package and place + ".py" not in self.entries:
            return None
        from importlib.machinery import ModuleSpec

        spec = ModuleSpec(name, Loader(self, prefix), is_package=is_package)  # type: ignore[arg-type]
        file = place + (os.sep + "__init__.py" if is_package else ".py")
        spec.origin, spec.has_location = self.path + os.sep + file, True
        if is_package:
            spec.submodule_search_locations = [self.path + os.sep + place]
        return spec

    def read(self, name: "str") -> "bytes":
        """What a file in it holds.

        Raises:
            OSError: it is not there, or not as an archive of ours has it.
        """
        if name not in self.entries:
            raise OSError("not in the archive: %s" % name)
        method, n_packed, n_bytes, place = self.entries[name][1:5]
        head = os.pread(self.opened, _LOCAL_HEADER_BYTES, place)
        if len(head) < _LOCAL_HEADER_BYTES or head[:4] != _LOCAL_HEADER or method not in (_STORED, _DEFLATED):
            raise OSError("can't be read in the archive: %s" % name)
        # of its own: the directory's name and extra field may be longer or shorter
        place += _LOCAL_HEADER_BYTES + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        data = os.pread(self.opened, n_packed, place)
        if method == _DEFLATED:
            import zlib  # the recorder that travels is stored, for interpreters without it

            try:
                data = zlib.decompress(data, -zlib.MAX_WBITS)
            except zlib.error as error:
                raise OSError("can't be read in the archive: %s: %s" % (name, error))
        if len(data) != n_bytes:
            raise OSError("can't be read in the archive: %s" % name)
        return data


class Loader(zipimport.zipimporter):
    """Python's, which reads through the descriptor that is there."""

    def __init__(self, whole: "Archive", prefix: "str") -> "None":
        # Python's own would look at the archive again
        self.whole = whole
        self.archive, self.prefix = whole.path, prefix
        self._files = whole.entries

    def create_module(self, spec: "ModuleSpec") -> "None":
        """As usual."""

    def exec_module(self, module: "ModuleType") -> "None":
        """Run it."""
        exec(self.get_code(module.__name__), module.__dict__)

    def get_data(self, pathname: "str") -> "bytes":
        """What a file in the archive holds."""
        start = self.archive + os.sep
        return self.whole.read(pathname[len(start) :] if pathname.startswith(start) else pathname)

    def get_code(self, fullname: "str") -> "CodeType":
        """A module's code."""
        file = self.get_filename(fullname)
        return compile(self.get_data(file), file, "exec", dont_inherit=True)

    def get_filename(self, fullname: "str") -> "str":
        """The path of a module."""
        place = self.prefix + fullname.rpartition(".")[2]
        for file in (place + os.sep + "__init__.py", place + ".py"):
            if file in self.whole.entries:
                return self.archive + os.sep + file
        raise zipimport.ZipImportError("not in the archive: %s" % fullname, name=fullname)

    def get_source(self, fullname: "str") -> "str":
        """A module's text: ours are all in UTF-8."""
        return self.get_data(self.get_filename(fullname)).decode("utf-8")


def install(loader: "Any") -> "None":
    """Have the modules of an archive found here, before Python's own finder looks for them.

    Args:
        loader: of a module of the archive. Where it is not as expected (another interpreter's, before Python 3.8), nothing
            changes.
    """
    path = getattr(loader, "archive", "")
    table = getattr(zipimport, "_zip_directory_cache", {}).get(path)
    if not isinstance(table, dict) or sys.version_info < (3, 8) or sys.path[:1] != [path]:
        return
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    finders = [getattr(finder, "__name__", "") for finder in sys.meta_path]
    at = finders.index("PathFinder") if "PathFinder" in finders else len(finders)
    sys.meta_path.insert(at, Archive(path, table, opened))
