"""One backend protocol: nobody outside of `capture/backends` asks for a backend's name or reaches into its folder."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import fsprobe
from fsprobe.capture import backends
from fsprobe.capture.options import BACKENDS

ROOT = Path(fsprobe.__file__).parent
CAPTURE = ROOT / "capture"
KNOWS_NAMES = {ROOT / "recording" / "format1.py": "recordings of format 1 say what made them, not what they show"}
ASKS_CAPABILITIES = [
    path for path in ROOT.rglob("*.py") if CAPTURE / "backends" not in path.parents and path not in KNOWS_NAMES
]
"""Code that must do without the names of backends."""
ASKING_METHODS = ("startswith", "endswith", "get", "index", "count")
MAX_FILES, MAX_LINES, MAX_OF_ONE_BEGINNING = 12, 400, 2


def compared_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each backend whose name is compared with, looked up, or matched."""
    for node in ast.walk(tree):
        places: list[ast.AST | None] = []
        if isinstance(node, ast.Compare):
            places = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            places = [*node.keys]
        elif isinstance(node, ast.Subscript):
            places = [node.slice]
        elif isinstance(node, ast.MatchValue):
            places = [node.value]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ASKING_METHODS:
            places = [*node.args]
        for place in places:
            for one in ast.walk(place) if place is not None else ():
                if isinstance(one, ast.Constant) and one.value in backends.TABLE:
                    yield one.lineno, str(one.value)


@pytest.mark.parametrize("path", ASKS_CAPABILITIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_asks_for_a_backends_name(path: Path) -> None:
    assert list(compared_names(ast.parse(path.read_bytes()))) == []


@pytest.mark.parametrize(
    "code",
    [
        "backend == 'strace'",
        "backend in ('x', 'ptrace')",
        "{'audit': 1}[backend]",
        "table['audit']",
        "backend.startswith('strace')",
        "match backend:\n    case 'audit': pass",
    ],
)
def test_the_grep_finds_them(code: str) -> None:
    assert list(compared_names(ast.parse(code)))


def imported_by(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_process_control_knows_no_backend() -> None:
    for path in (CAPTURE / "process").glob("*.py"):
        assert not [name for name in imported_by(path) if "backends" in name], path


def test_only_the_table_reaches_into_a_backends_folder() -> None:
    folders = tuple(f"fsprobe.capture.backends.{name}" for name in backends.TABLE)
    for path in ROOT.rglob("*.py"):
        if CAPTURE / "backends" not in path.parents:
            assert not [name for name in imported_by(path) if name.startswith(folders)], path


def test_every_backend_is_where_its_name_says() -> None:
    assert list(BACKENDS) == ["auto", *backends.TABLE]
    for name, one in zip(backends.TABLE, backends.every(), strict=True):
        assert one.name == name
        assert type(one).__module__ == f"fsprobe.capture.backends.{name}.backend"


def test_folders_and_modules_are_small() -> None:
    for folder in [CAPTURE, *(path for path in CAPTURE.rglob("*") if path.is_dir() and path.name != "__pycache__")]:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= MAX_FILES, folder
        beginnings = Counter(path.stem.split("_")[0] for path in files if "_" in path.stem)
        assert all(n <= MAX_OF_ONE_BEGINNING for n in beginnings.values()), (folder, beginnings)
        for path in files:
            assert len(path.read_bytes().splitlines()) <= MAX_LINES, path
