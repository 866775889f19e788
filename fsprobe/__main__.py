"""`python -m fsprobe` and the command `fsprobe`."""

import os
import sys

import fsprobe

TYPE_CHECKING = False  # typing is not loaded beside the target
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

# what `importlib.machinery` and `importlib.util` offer, without loading either
_machinery = sys.modules["_frozen_importlib_external"]


class OwnModules:
    """Finds fsprobe's modules by their names alone: 3 metadata calls for a module and 4 for a package.

    The usual finder lists each package's directory and tries the suffixes of extension modules, which makes 14 of a package:
    on a slow filesystem the rooms of this house would cost more than what is in them.
    """

    @staticmethod
    def find_spec(name: str, path: "Sequence[str] | None" = None, target: object = None) -> "ModuleSpec | None":
        """The module's place; None leaves it to the finders after this one."""
        if path is None or not name.startswith("fsprobe."):
            return None
        place = path[0] + "/" + name.rpartition(".")[2]
        for file, inside in ((place + ".py", None), (place + "/__init__.py", [place])):
            if os.path.isfile(file):
                loader = _machinery.SourceFileLoader(name, file)
                spec: ModuleSpec = _machinery.spec_from_file_location(
                    name, file, loader=loader, submodule_search_locations=inside
                )
                return spec
        return None


def main() -> int:
    """Run the command line; interrupted while it is still being loaded, it ends with one line."""
    try:
        if OwnModules not in sys.meta_path and type(fsprobe.__spec__.loader) is _machinery.SourceFileLoader:
            sys.meta_path.insert(0, OwnModules)
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
    from fsprobe.cli import group

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
