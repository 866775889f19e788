"""`python -m fsprobe` and the command `fsprobe`."""

import _imp
import marshal
import os
import sys

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType
    from typing import Any

# what `importlib.machinery` and `importlib.util` offer, without loading either
_machinery = sys.modules["_frozen_importlib_external"]
LIBRARY = os.path.dirname(os.__file__)
PACKAGE = os.path.dirname(os.path.abspath(__file__))
MODULE, IS_PACKAGE, EXTENSION = range(3)
SNAPSHOT_MAGIC = b"fsprobe snapshot 3\n"
MAX_SNAPSHOT_BYTES = 16 << 20
_HASH_KEY = 0x66737072
_HEAD = len(SNAPSHOT_MAGIC) + 8


class Loader(_machinery.SourceFileLoader):  # type: ignore[misc,name-defined]
    """Python's, which also has the files in the snapshot that an installed package brings beside its modules."""

    def get_data(self, path: str) -> bytes:
        """As Python has it; noted for the snapshot."""
        if path in Shortcut.files:
            return Shortcut.files[path]
        data: bytes = super().get_data(path)
        if path != self.path and path.startswith(PACKAGE + "/") and not path.endswith(".pyc"):
            Shortcut.read[path] = data
        return data


class SeenSource(Loader):
    """Loads a source that was looked at when it was found, without looking at it again."""

    def __init__(self, name: str, path: str, found: os.stat_result) -> None:
        super().__init__(name, path)
        self.found = found

    def path_stats(self, path: str) -> "dict[str, float]":
        """What byte code is checked against."""
        return {"mtime": self.found.st_mtime, "size": self.found.st_size}

    def get_code(self, fullname: str) -> "CodeType | None":
        """As Python has it; noted for the snapshot."""
        code: CodeType | None = super().get_code(fullname)
        if code is not None:
            Shortcut.loaded[fullname] = self, code
        return code


class KeptCode(Loader):
    """Loads a module whose code is in the snapshot; its source is there for whoever asks for it."""

    def __init__(self, name: str, path: str, code: bytes) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> "CodeType":
        """What its byte code holds."""
        code: CodeType = marshal.loads(self.code)
        return code


class Shortcut:
    """Finds fsprobe's modules and the standard library's by their names alone, or in the snapshot.

    The usual finder looks at each directory of sys.path, lists those of packages, and tries the suffixes of extension
    modules, which makes 4 metadata calls of a module and 14 of a package: on a slow filesystem the rooms of this house would
    cost more than what is in them. By name it is 2 for a module, 3 for a package, and 1 or none where the snapshot has it. A
    module of the standard library is the interpreter's own, whatever PYTHONPATH holds.
    """

    library = LIBRARY
    finds_own = True
    """Whether fsprobe lies in files of its own, and in no archive."""
    kept: "dict[str, tuple[str, int, int, int, bytes]]" = {}
    """What the snapshot holds: name -> file, kind, time and size of the source, code."""
    is_installed = False
    """Whether the snapshot is of an installed package, which is replaced as a whole; else each source is looked at."""
    files: "dict[str, bytes]" = {}
    """What it holds besides, of an installed package: path -> content."""
    loaded: "dict[str, tuple[Any, CodeType | None]]" = {}
    """What was loaded from files of its own: name -> loader, code; None for an extension module."""
    read: "dict[str, bytes]" = {}
    """What was read besides."""

    @classmethod
    def find_spec(cls, name: str, path: "Sequence[str] | None" = None, target: object = None) -> "ModuleSpec | None":
        """The module's place; None leaves it to the finders after this one."""
        if name in cls.kept:
            spec = cls._in_snapshot(name, path)
            if spec is not None:
                return spec
        last = name.rpartition(".")[2]
        if name == "fsprobe" and cls.finds_own:  # the command loads this module before its package
            found = _stat(PACKAGE + "/__init__.py")
            return found and _spec(name, SeenSource(name, PACKAGE + "/__init__.py", found), [PACKAGE])
        if path is None:
            if name not in sys.stdlib_module_names:
                return None
            place = cls.library + "/" + last
        elif (cls.finds_own and name.startswith("fsprobe.")) or path[0].startswith(cls.library + "/"):
            place = path[0] + "/" + last
        else:
            return None
        found = _stat(place + ".py")
        if found is not None:
            return _spec(name, SeenSource(name, place + ".py", found))
        if path is None:
            shared = "%s/lib-dynload/%s%s" % (cls.library, last, _machinery.EXTENSION_SUFFIXES[0])
            if _stat(shared) is not None:
                cls.loaded[name] = _machinery.ExtensionFileLoader(name, shared), None
                return _spec(name, cls.loaded[name][0])
        found = _stat(place + "/__init__.py")
        if found is not None:
            return _spec(name, SeenSource(name, place + "/__init__.py", found), [place])
        return None

    @classmethod
    def _in_snapshot(cls, name: str, path: "Sequence[str] | None") -> "ModuleSpec | None":
        file, kind, mtime_ns, size, code = cls.kept[name]
        place = os.path.dirname(file)
        if kind == EXTENSION:
            return _spec(name, _machinery.ExtensionFileLoader(name, file))
        is_ours = name.partition(".")[0] == "fsprobe"
        above = path[0] if path is not None else os.path.dirname(PACKAGE) if is_ours else cls.library
        if (os.path.dirname(place) if kind == IS_PACKAGE else place) != above:
            return None
        if is_ours and not cls.is_installed:
            found = _stat(file)
            if found is None or (found.st_mtime_ns, found.st_size) != (mtime_ns, size):
                return None
        return _spec(name, KeptCode(name, file, code), [place] if kind == IS_PACKAGE else None)


class SiteLater:
    """The last finder of an interpreter that was started without the module `site`: the first module that nobody finds calls for it."""

    def __init__(self, place: str) -> None:
        self.place = place
        """Of fsprobe itself: where its interpreter finds it only by something that -I leaves out (`pip install --user`)."""

    def find_spec(self, name: str, path: "Sequence[str] | None" = None, target: object = None) -> "ModuleSpec | None":
        """The module's place, by all that `site` adds to sys.path."""
        if path is not None or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        import site

        site.main()
        if self.place not in sys.path:
            site.addsitedir(self.place)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, None)
            if spec is not None:
                return spec
        return None


def snapshot_path() -> str:
    """Beside fsprobe's own byte code, for this interpreter alone; "" where that has no place."""
    try:
        cached: str = _machinery.cache_from_source(PACKAGE + "/__init__.py")
    except NotImplementedError:
        return ""
    return "%s/start%s.snapshot" % (os.path.dirname(cached), cached[cached.rfind("/__init__") + 9 : -4])


def snapshot_key(info: bytes) -> "tuple[bytes, bool, int]":
    """What a snapshot is good for: this interpreter, its library, this package as it is installed.

    Args:
        info: the name of the package's metadata directory.

    Returns:
        The key; whether the package is an installed one, whose RECORD holds a checksum of each of its files; the owner of that.
    """
    record, owner = b"", -1
    if info[:8] == b"fsprobe-" and info[-10:] == b".dist-info" and not set(info) & set(b"/\0\n"):
        try:
            record, found = _read(os.fsencode(os.path.dirname(PACKAGE)) + b"/" + info + b"/RECORD")
            owner = found.st_uid
        except OSError:
            pass
    # the interpreter has looked at its library already, for its first import
    time = getattr(sys.path_importer_cache.get(LIBRARY), "_path_mtime", -1)
    if not isinstance(time, float):
        looked = _stat(LIBRARY)
        time = looked.st_mtime if looked is not None else None
    key = repr((sys.version, sys.flags.optimize, LIBRARY, time, PACKAGE, sealed(record)[:_HEAD]))
    return info + b"\n" + key.encode("utf-8", "backslashreplace") + b"\n", bool(record), owner


def sealed(data: bytes) -> bytes:
    """With the checksum that Python's own byte code can have."""
    return SNAPSHOT_MAGIC + _imp.source_hash(_HASH_KEY, data) + data


def load_snapshot() -> None:
    """Take the code of modules from one file, in place of some two for each; whatever speaks against it, it is left alone.

    It is read as byte code is, with two conditions more: it belongs to the user, to root or to who owns the package, and nobody
    else can write to it.
    """
    try:
        data, found = _read(snapshot_path(), os.O_NOFOLLOW)
        rest = data[_HEAD:]
        # its first line is no more than where to look
        key, Shortcut.is_installed, owner = snapshot_key(rest.partition(b"\n")[0])
        if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid(), owner):
            return
        if data == sealed(rest) and rest.startswith(key):
            Shortcut.kept, files = marshal.loads(rest[len(key) :])
            Shortcut.files = files if Shortcut.is_installed else {}
    except (OSError, ValueError, EOFError, TypeError):
        pass


def _read(path: "str | bytes", flags: int = 0) -> "tuple[bytes, os.stat_result]":
    """A regular file and its status, in two metadata calls; `open` makes two or three more."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | flags)
    try:
        found = os.fstat(fd)
        if found.st_mode & 0o170000 != 0o100000 or found.st_size > MAX_SNAPSHOT_BYTES:
            raise OSError("no file, or too large")
        data = b""
        while len(data) <= found.st_size:
            block = os.read(fd, found.st_size + 1 - len(data))
            if not block:
                break
            data += block
        return data, found
    finally:
        os.close(fd)


def keep_snapshot() -> None:
    """Write down what this run of the recorder had to load from files, for the next ones; one process of a job does."""
    is_new = bool(Shortcut.loaded or (Shortcut.read and Shortcut.is_installed))
    if not is_new or sys.dont_write_bytecode or "fsprobe.analysis" in sys.modules:
        return
    from fsprobe import __version__, files
    from fsprobe.capture.machine import ranks

    rank = ranks.identify(os.environ)
    path = snapshot_path()
    if (rank is not None and rank.number != 0) or not os.access(os.path.dirname(path), os.W_OK):
        return
    table = dict(Shortcut.kept)
    for name, (loader, code) in Shortcut.loaded.items():
        if code is None:
            table[name] = loader.path, EXTENSION, 0, 0, b""
        else:
            kind = IS_PACKAGE if loader.path.endswith("/__init__.py") else MODULE
            table[name] = loader.path, kind, loader.found.st_mtime_ns, loader.found.st_size, marshal.dumps(code)
    try:
        with files.Replacing(path, 0o644) as out:
            key, is_installed, _ = snapshot_key(b"fsprobe-%s.dist-info" % __version__.encode())
            contents = {**Shortcut.files, **Shortcut.read} if is_installed else {}
            out.write(sealed(key + marshal.dumps((table, contents))))
    except OSError:
        pass


def _stat(path: str) -> "os.stat_result | None":
    try:
        return os.stat(path)
    except OSError:
        return None


def _spec(name: str, loader: "Any", inside: "list[str] | None" = None) -> "ModuleSpec":
    spec: ModuleSpec = _machinery.spec_from_file_location(
        name, loader.path, loader=loader, submodule_search_locations=inside
    )
    return spec


def main() -> int:
    """Run the command line; interrupted while it is still being loaded, it ends with one line."""
    try:
        Shortcut.finds_own = type(globals()["__loader__"]) is _machinery.SourceFileLoader
        if Shortcut not in sys.meta_path:
            # before what searches sys.path; after what is built in or frozen
            at = sys.meta_path.index(_machinery.PathFinder) if _machinery.PathFinder in sys.meta_path else 0
            sys.meta_path.insert(at, Shortcut)
            if Shortcut.finds_own and sys.argv[1:2] == ["run"]:
                load_snapshot()
        status = command_line()
    except KeyboardInterrupt:
        from fsprobe.cli.failures import report_interrupted

        status = report_interrupted()
    if sys.flags.inspect:
        from fsprobe.cli.ending import end_without_prompt

        end_without_prompt(status)
    return status


def command_line() -> int:
    """Run what the command line says; `run` takes a short way that does not import click."""
    words = sys.argv[1:]
    if words[:1] in (["--tracer"], ["--own"]):
        return own_program(words)
    if words[:1] == ["--"] or (words and words[0].endswith(".py") and os.path.isfile(words[0])):
        words = ["run", *words]  # what else could be meant
    if words[:1] == ["run"] and any(word.startswith("--ranks") for word in words):
        from fsprobe.cli import untraced

        status = untraced.main(words[1:])
        if status is not None:
            return status
    from fsprobe.cli import failures

    failures.end_when_interrupted()
    if words[:1] == ["run"]:
        from fsprobe.cli import run

        status = run.main(words[1:])
        if Shortcut.finds_own:
            keep_snapshot()
        return status
    try:
        from fsprobe.cli import group
    except ModuleNotFoundError as error:
        return failures.report_missing(error)
    return group.main(words)


def own_program(words: "list[str]") -> int:
    """Be a program that fsprobe starts out of an archive: see `capture.shipped.program` and `ptrace.entry.command`."""
    if words[0] == "--tracer":
        from fsprobe.capture import backends

        os._exit(backends.trace(words[1:]))
    sys.argv[1:] = words[2:]
    if words[1] == "fsprobe.capture.process.timed":
        from fsprobe.capture.process import timed

        return timed.main()
    from fsprobe.experiment import janitor

    janitor.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
