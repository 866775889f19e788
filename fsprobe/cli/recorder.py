"""fsprobe recorder: write the recorder that travels, one file that needs nothing but a Python."""

from __future__ import annotations

import ast
import importlib.resources
import os
import posixpath
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

import fsprobe
from fsprobe import files
from fsprobe.capture import backends, injection
from fsprobe.cli.failures import say
from fsprobe.errors import EXIT_BAD_INPUT, FsprobeError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MAIN = "fsprobe.cli.travel"
DATA = tuple(posixpath.normpath(f"fsprobe/capture/{name}") for name in (*injection.DATA_FILES, *backends.data_files()))
"""Read as text at run time, imported by nobody."""
_SHEBANG = b"#!/usr/bin/env python3\n"
FINDER = "fsprobe.archived"
_START = (
    f"import sys\n\nfrom {FINDER} import install\n\ninstall(__loader__)\n\n"
    f"from {MAIN} import main\n\nsys.exit(main(sys.argv[1:]))\n"
)
_DATE = (1980, 1, 1, 0, 0, 0)
"""The same fsprobe makes the same file, byte for byte."""


def module_file(root: Traversable, name: str) -> str:
    """The file of a module of ours, named from the directory that holds the package, `root`; "" where there is none."""
    stem = name.replace(".", "/")
    return next((file for file in (f"{stem}.py", f"{stem}/__init__.py") if at(root, file).is_file()), "")


def at(root: Traversable, name: str) -> Traversable:
    """A file of ours, also where fsprobe is one archive."""
    return root.joinpath(*name.split("/")[1:])


def imported(tree: ast.AST) -> Iterator[str]:
    """Names of fsprobe's modules that a module imports anywhere but for type checking alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "fsprobe")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fsprobe":
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imported(node)


def recorder_files(root: Traversable) -> list[str]:
    """The recorder's own modules and data, as names below the directory that holds the package `root`: whatever its main
    module and its finder lead to."""
    found: dict[str, str] = {}
    waiting = [MAIN, FINDER]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        file = module_file(root, name)
        if not file:
            continue  # a name within a module
        found[name] = file
        waiting.extend(imported(ast.parse(at(root, file).read_bytes())))
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return sorted([*found.values(), *(name for name in DATA if at(root, name).is_file())])


def build(target: Path) -> list[str]:
    """Write the recorder to `target`, complete or not at all, and return the names of what is in it.

    Stored, not compressed: an interpreter without zlib reads it too. Source, no bytecode: it has to run on any version.

    Raises:
        FsprobeError: it can't be written.
    """
    root = importlib.resources.files(fsprobe)
    names = recorder_files(root)
    try:
        with files.Replacing(str(target)) as out:
            os.fchmod(out.fileno(), 0o755)
            out.write(_SHEBANG)
            with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(zipfile.ZipInfo("__main__.py", _DATE), _START)
                for name in names:
                    archive.writestr(zipfile.ZipInfo(name, _DATE), at(root, name).read_bytes())
    except OSError as error:
        raise FsprobeError(
            f"cannot write {target}: {error.strerror}", "name another place with -o", EXIT_BAD_INPUT
        ) from error
    return names


@click.command("recorder", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-o", "--output", type=click.Path(), default="fsprobe-rec.pyz", show_default=True, help="The file to write."
)
def command(output: str) -> None:
    """Write the recorder as one file that travels.

    It needs CPython 3.6 or later and nothing else, takes the options of `fsprobe run`, and only records. Bind it into
    a container or copy it into a job; fsprobe reads what it writes.
    """
    names = build(Path(output))
    say(f"wrote {output}: {len(names)} files of fsprobe in {Path(output).stat().st_size >> 10} KiB")
