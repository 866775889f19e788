"""`python -m fsprobe` and the command `fsprobe`."""

import os
import sys

import fsprobe

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any

# what `importlib.machinery` and `importlib.util` offer, without loading either
_machinery = sys.modules["_frozen_importlib_external"]


class SeenSource(_machinery.SourceFileLoader):  # type: ignore[misc,name-defined]
    """Loads a source that was looked at when it was found, without looking at it again."""

    def __init__(self, name: str, path: str, found: os.stat_result) -> None:
        super().__init__(name, path)
        self.found = found

    def path_stats(self, path: str) -> "dict[str, float]":
        """What byte code is checked against."""
        return {"mtime": self.found.st_mtime, "size": self.found.st_size}


class Shortcut:
    """Finds fsprobe's modules and the standard library's by their names alone: 2 metadata calls for a module, 3 for a package.

    The usual finder looks at each directory of sys.path, lists those of packages, and tries the suffixes of extension
    modules, which makes 4 of a module and 14 of a package: on a slow filesystem the rooms of this house would cost more
    than what is in them. A module of the standard library is the interpreter's own, whatever PYTHONPATH holds.
    """

    library = os.path.dirname(os.__file__)

    @classmethod
    def find_spec(cls, name: str, path: "Sequence[str] | None" = None, target: object = None) -> "ModuleSpec | None":
        """The module's place; None leaves it to the finders after this one."""
        last = name.rpartition(".")[2]
        if path is None:
            if name not in sys.stdlib_module_names:
                return None
            place = cls.library + "/" + last
        elif name.startswith("fsprobe.") or path[0].startswith(cls.library + "/"):
            place = path[0] + "/" + last
        else:
            return None
        found = _stat(place + ".py")
        if found is not None:
            return _spec(name, SeenSource(name, place + ".py", found))
        if path is None:
            shared = "%s/lib-dynload/%s%s" % (cls.library, last, _machinery.EXTENSION_SUFFIXES[0])
            if _stat(shared) is not None:
                return _spec(name, _machinery.ExtensionFileLoader(name, shared))
        found = _stat(place + "/__init__.py")
        if found is not None:
            return _spec(name, SeenSource(name, place + "/__init__.py", found), [place])
        return None


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
        if Shortcut not in sys.meta_path and type(fsprobe.__spec__.loader) is _machinery.SourceFileLoader:
            # before what searches sys.path; after what is built in or frozen
            at = sys.meta_path.index(_machinery.PathFinder) if _machinery.PathFinder in sys.meta_path else 0
            sys.meta_path.insert(at, Shortcut)
        return command_line()
    except KeyboardInterrupt:
        from fsprobe.cli.failures import EXIT_INTERRUPTED, say

        say("interrupted")
        return EXIT_INTERRUPTED


def command_line() -> int:
    """Run what the command line says; `run` takes a short way that does not import click."""
    words = sys.argv[1:]
    # the directory of the script is searched for each module, and never holds one: a stat per import less
    if sys.path and sys.path[0] and sys.argv[0].startswith(sys.path[0] + "/"):
        del sys.path[0]
    if words[:1] in (["--tracer"], ["--own"]):
        return own_program(words)
    if words[:1] == ["run"] and any(word.startswith("--ranks") for word in words):
        from fsprobe.cli import untraced

        status = untraced.main(words[1:])
        if status is not None:
            return status
    from fsprobe.cli import failures

    failures.end_when_interrupted()
    if words[:1] == ["run"]:
        from fsprobe.cli import run

        return run.main(words[1:])
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
