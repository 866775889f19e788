"""`python -m fsprobe` and the command `fsprobe`."""

import os
import sys

import fsprobe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import Any


def main() -> int:
    """Run the command line; `run` takes a short way that does not import click."""
    words = sys.argv[1:]
    # the directory of the script is searched for each module, and never holds one: a stat per import less
    if sys.path and sys.path[0] and sys.argv[0].startswith(sys.path[0] + "/"):
        del sys.path[0]
    if words[:1] == ["run"]:
        find_own_modules()
        if any(word.startswith("--ranks") for word in words):
            from fsprobe.cli import untraced

            status = untraced.main(words[1:])
            if status is not None:
                return status
        from fsprobe.cli import run

        return run.main(words[1:])
    from fsprobe.cli import group

    return group.main(words)


def find_own_modules() -> None:
    """Find fsprobe's own modules where they are: one look at the file, no list of its directory, no other suffix tried.

    Python's own way asks the filesystem three times as often, and this one is the one under suspicion.
    """
    try:
        from _frozen_importlib_external import SourceFileLoader, spec_from_file_location
    except ImportError:
        return
    if type(getattr(fsprobe.__spec__, "loader", None)) is SourceFileLoader and len(fsprobe.__path__) == 1:
        OwnModules.place = fsprobe.__path__[0]
        OwnModules.make = spec_from_file_location
        sys.meta_path.insert(0, OwnModules)


class OwnModules:
    """A finder of `fsprobe.*`; whatever it does not find is left to the others."""

    place = ""
    make: "Any" = None

    @classmethod
    def find_spec(cls, name: str, path: "Any" = None, target: "Any" = None) -> "ModuleSpec | None":
        """The module's place, as `importlib.abc.MetaPathFinder` has it."""
        if not name.startswith("fsprobe."):
            return None
        stem = os.path.join(cls.place, *name.split(".")[1:])
        if os.path.isfile(stem + ".py"):
            return cls.make(name, stem + ".py")  # type: ignore[no-any-return]
        if os.path.isfile(stem + "/__init__.py"):
            return cls.make(name, stem + "/__init__.py", submodule_search_locations=[stem])  # type: ignore[no-any-return]
        return None


if __name__ == "__main__":
    sys.exit(main())
