"""A tree of generated modules and shared libraries whose metadata calls can be worked out beforehand.

    python -m benchmarks.accuracy.pynamic DIR --modules 200 --libraries 40 --levels 3 --path-entries 5

makes the tree and prints what importing all of it must cost; the generator of our own is in the spirit of Pynamic (LLNL),
whose modules differ from run to run in ways that leave nothing to calculate. `expect` is arithmetic over CPython's import
rules (Lib/importlib/_bootstrap_external.py, 3.10 to 3.13), `count` is what fsprobe saw below the tree; they must be equal.

The rules, with E extension suffixes (`importlib.machinery.EXTENSION_SUFFIXES`):

- A directory that is searched for the first time: 2 stats (zipimport's hook, then the path finder's), 1 stat for its time,
  1 open and getdents until nothing comes to list it. Each later search in it: 1 stat for its time. Names that are not in
  the listing are not asked for.
- A package: E failed stats for `__init__` as an extension, 1 of `__init__.py`, then as a module.
- A module: 1 stat of the .py (is it a file), 1 stat of it for the .pyc's check, 1 open of the .pyc.
- An extension: 1 stat, 1 open by the loader (it needs no other library).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fsprobe import pipeline
from fsprobe.analysis.counting.tally import Tally
from fsprobe.model.rows import Counts

MAX_IN_PACKAGE = 500
"""So that one getdents lists a package and a second one ends it (32 KiB hold 800 such names)."""

_SOURCE = "#include <Python.h>\nstatic struct PyModuleDef d={{PyModuleDef_HEAD_INIT,\"{0}\",0,-1}};\n" \
          "PyMODINIT_FUNC PyInit_{0}(void){{return PyModule_Create(&d);}}\n"  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large a tree is."""

    n_modules: int
    n_libraries: int
    n_levels: int
    """Packages inside one another, in each sys.path entry; modules and libraries lie in the innermost."""
    n_path_entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Calls below the tree, and what a file server that holds the tree is asked by a cold client."""

    n_open: int
    n_stat: int
    n_list: int
    n_not_found: int
    lookup: int
    negative: int
    open: int
    opendir: int
    readdir: int


class NoCompiler(Exception):
    """Shared libraries can't be made here."""


def expect(shape: Shape, n_suffixes: int) -> Expected:
    """What importing everything costs, by the rules above.

    Args:
        shape: of the tree.
        n_suffixes: how many extension suffixes the interpreter knows.
    """
    entries, modules, libraries = shape.n_path_entries, shape.n_modules, shape.n_libraries
    packages = entries * shape.n_levels
    directories = entries + packages  # each is listed once
    searches = (
        entries * (entries + 1) // 2  # the outer package of entry i is looked for in i entries
        + (packages - entries)
        + modules
        + libraries
    )
    return Expected(
        n_open=directories + packages + modules + libraries,
        n_stat=2 * directories + searches + packages * (n_suffixes + 2) + 2 * modules + libraries,
        n_list=2 * directories,
        n_not_found=packages * n_suffixes,
        # names: entries, packages, then in a package E missing, __init__.py, __pycache__, the .pyc; a module's .py and .pyc
        lookup=entries + packages * (1 + n_suffixes + 3) + 2 * modules + libraries,
        negative=packages * n_suffixes,
        open=packages + modules + libraries,
        opendir=directories,
        readdir=2 * directories,
    )


def names(shape: Shape) -> list[tuple[int, str]]:
    """(entry, dotted name) of every module and library, in the order of their import."""
    found = []
    for kind, n in (("m", shape.n_modules), ("x", shape.n_libraries)):
        for number in range(n):
            entry = number % shape.n_path_entries
            found.append((entry, f"{package_of(shape, entry)}.{kind}{number:05}"))
    return sorted(found)


def package_of(shape: Shape, entry: int) -> str:
    """The innermost package of a sys.path entry."""
    return ".".join([f"pynamic{entry:03}", *(f"level{level}" for level in range(1, shape.n_levels))])


def generate(root: Path, shape: Shape, python: str = sys.executable) -> str:
    """Make the tree.

    Returns:
        The program that imports all of it, for `python -c`.

    Raises:
        NoCompiler: libraries are wanted and there is no cc or no Python.h.
        ValueError: a package would be too large for the arithmetic, or too few modules to import every package.
    """
    per_package = -(-(shape.n_modules + shape.n_libraries) // shape.n_path_entries)
    if (
        per_package > MAX_IN_PACKAGE
        or shape.n_modules < shape.n_path_entries
        or min(shape.n_levels, shape.n_modules) < 1
    ):
        raise ValueError(f"{shape}: needs at least one module and at most {MAX_IN_PACKAGE} files in each package")
    for entry in range(shape.n_path_entries):
        directory = root / f"entry{entry:03}"
        for part in package_of(shape, entry).split("."):
            directory /= part
            directory.mkdir(parents=True)
            (directory / "__init__.py").touch()
    suffix = json.loads(_ask(python, "sysconfig.get_config_var('EXT_SUFFIX')"))
    include = json.loads(_ask(python, "sysconfig.get_paths()['include']"))
    for entry, name in names(shape):
        place = root / f"entry{entry:03}" / name.replace(".", "/")
        if place.name[0] == "m":
            place.with_suffix(".py").touch()
        else:
            _compile(place, suffix, include)
    # by the interpreter that will read them
    subprocess.run([python, "-m", "compileall", "-q", str(root)], check=True, env={**os.environ, "PYTHONPATH": ""})
    entries = [str(root / f"entry{entry:03}") for entry in range(shape.n_path_entries)]
    return (
        f"import sys; sys.path[:0] = {entries!r}\nfor name in {[name for _, name in names(shape)]!r}: __import__(name)"
    )


def _ask(python: str, expression: str) -> str:
    code = f"import json, sysconfig, importlib.machinery; print(json.dumps({expression}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout


def n_suffixes_of(python: str) -> int:
    """How many extension suffixes an interpreter knows."""
    return int(_ask(python, "len(importlib.machinery.EXTENSION_SUFFIXES)"))


def _compile(place: Path, suffix: str, include: str) -> None:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or not os.path.exists(f"{include}/Python.h"):
        raise NoCompiler("shared libraries need cc and Python.h")
    with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
        source.write(_SOURCE.format(place.name))
        source.flush()
        words = [compiler, "-shared", "-fPIC", "-O0", f"-I{include}", source.name, "-o", f"{place}{suffix}"]
        subprocess.run(words, check=True)


def below(tally: Tally, root: Path) -> Counts:
    """What a run did below a tree."""
    total, head = Counts(), os.fsencode(root) + b"/"
    for path, row in tally.by_path.items():
        if path.startswith(head):
            for name in Counts.__slots__:
                setattr(total, name, getattr(total, name) + getattr(row.counts, name))
    return total


def record(code: str, output: Path, python: str = sys.executable, options: Sequence[str] = ()) -> pipeline.Analysis:
    """Run the program that `generate` returned under fsprobe and read the recording."""
    words = [
        sys.executable,
        "-m",
        "fsprobe",
        "run",
        "--record-only",
        "-q",
        *options,
        "--force",
        "-o",
        str(output),
        "--",
        python,
        "-c",
        code,
    ]
    repository = str(Path(__file__).resolve().parent.parent)
    subprocess.run(words, check=True, cwd="/", env={**os.environ, "PYTHONPATH": repository})
    return pipeline.read(output)


def compare(
    root: Path, shape: Shape, code: str, output: Path, python: str, options: Sequence[str] = ()
) -> dict[str, list[int]]:
    """name of a count -> [expected, counted], for calls and for predicted requests below the tree."""
    analysis = record(code, output, python, options)
    expected, counted = asdict(expect(shape, n_suffixes_of(python))), below(analysis.tally, root)
    found = {name: [expected[name], getattr(counted, name)] for name in ("n_open", "n_stat", "n_list", "n_not_found")}
    others = counted.n_readlink + counted.n_exec + counted.n_change + counted.n_other
    found["other calls"] = [0, others]
    if analysis.requests is not None:
        head = os.fsencode(root) + b"/"
        total = analysis.requests.total(lambda path: path.startswith(head))
        for name in ("lookup", "negative", "open", "opendir", "readdir"):
            found[f"{name} requests"] = [expected[name], getattr(total, name)]
    return found


def main() -> int:
    """Make a tree, run it, print expected and counted; 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--modules", type=int, default=200)
    parser.add_argument("--libraries", type=int, default=40)
    parser.add_argument("--levels", type=int, default=3)
    parser.add_argument("--path-entries", type=int, default=5)
    parser.add_argument("--python", default=sys.executable)
    words = parser.parse_args()
    shape = Shape(
        n_modules=words.modules, n_libraries=words.libraries, n_levels=words.levels, n_path_entries=words.path_entries
    )
    root = words.directory.absolute()
    code = generate(root, shape, words.python)
    with tempfile.TemporaryDirectory() as scratch:
        found = compare(root, shape, code, Path(scratch) / "x.fsprobe", words.python)
    print(f"{'':20}{'expected':>10}{'counted':>10}")
    for name, (expected, counted) in found.items():
        print(f"{name:20}{expected:10,}{counted:10,}{'' if expected == counted else '   differs'}")
    return int(any(a != b for a, b in found.values()))


if __name__ == "__main__":
    sys.exit(main())
