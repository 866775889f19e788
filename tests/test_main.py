"""The command's own way to find its modules: the very modules that Python's own way finds."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import fsprobe
from fsprobe import __main__ as main

ROOT = Path(fsprobe.__file__).parent
MODULES = sorted(
    ".".join(["fsprobe", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if "hook" not in path.parts and path != ROOT / "__init__.py"
)


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> type[main.OwnModules]:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    main.find_own_modules()
    assert sys.meta_path[0] is main.OwnModules
    return main.OwnModules


def test_it_finds_what_python_finds(finder: type[main.OwnModules]) -> None:
    for name in MODULES:
        mine = finder.find_spec(name)
        sys.meta_path.remove(finder)
        theirs = importlib.util.find_spec(name)
        sys.meta_path.insert(0, finder)
        assert mine is not None
        assert theirs is not None
        assert (mine.origin, mine.cached, mine.has_location, mine.submodule_search_locations) == (
            theirs.origin,
            theirs.cached,
            theirs.has_location,
            theirs.submodule_search_locations,
        )
        assert type(mine.loader) is type(theirs.loader)


def test_what_is_not_there_is_left_to_the_others(finder: type[main.OwnModules]) -> None:
    assert finder.find_spec("json") is None
    assert finder.find_spec("fsprobe_more.x") is None
    assert finder.find_spec("fsprobe.no_such") is None


def test_the_target_has_none_of_it(tmp_path: Path) -> None:
    code = "import sys; print([str(one) for one in sys.meta_path])"
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    words = ["run", "-q", "--record-only", "-o", str(tmp_path / "x"), "--", sys.executable, "-c", code]
    done = subprocess.run([sys.executable, "-m", "fsprobe", *words], capture_output=True, check=True)
    assert done.stdout == plain.stdout
