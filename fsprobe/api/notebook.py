"""`%load_ext fsprobe` and `%%fsprobe`: the code of a cell in a fresh interpreter, and where its filesystem calls come from."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, Any

from fsprobe.api.profile import Profile
from fsprobe.api.runs import run
from fsprobe.errors import FsprobeError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise FsprobeError(f"%%fsprobe: {message}", self.format_usage().strip())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="%%fsprobe", add_help=False)
    parser.add_argument("-o", "--output", help="where the recording goes; without it, it is not kept")
    parser.add_argument("-s", "--save", metavar="NAME", help="the variable that the profile goes to")
    parser.add_argument("--backend", default="auto", help="auto, strace, ptrace, audit or inline")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs the cell")
    return parser


def cell(shell: InteractiveShell, line: str, code: str) -> Profile | None:
    """Run the code of a cell under fsprobe; its output appears as it comes, then the profile.

    The interpreter is a fresh one: it knows nothing of the notebook's variables, and what was imported before costs again.
    """
    try:
        given = _parser().parse_args(shlex.split(line))
        profile = run([given.python, "-"], given.output, backend=given.backend, stdin=code)
    except FsprobeError as error:
        print(f"fsprobe: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"fsprobe: hint: {error.hint}", file=sys.stderr)
        return None
    if given.save:
        shell.push({given.save: profile})  # type: ignore[no-untyped-call]
        from IPython.display import display

        display(profile)  # type: ignore[no-untyped-call]
        return None
    return profile


def load_ipython_extension(shell: InteractiveShell) -> None:
    """What `%load_ext fsprobe` calls."""

    def fsprobe(line: str, cell_code: str) -> Profile | None:
        return cell(shell, line, cell_code)

    fsprobe.__doc__ = f"{cell.__doc__}\n\n{_parser().format_help()}"
    shell.register_magic_function(fsprobe, "cell", "fsprobe")  # type: ignore[arg-type]
