"""Generated trees: what fsprobe counts and predicts is what arithmetic over the import rules says, exactly."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.accuracy import pynamic
from benchmarks.accuracy.pynamic import Shape
from tests.conftest import INTERPRETERS

PURE = Shape(n_modules=17, n_libraries=0, n_levels=3, n_path_entries=4)
MIXED = Shape(n_modules=12, n_libraries=5, n_levels=2, n_path_entries=3)


def make(root: Path, shape: Shape, python: str = sys.executable) -> str:
    try:
        return pynamic.generate(root, shape, python)
    except pynamic.NoCompiler as error:
        pytest.skip(str(error))


def test_arithmetic_of_the_smallest_tree() -> None:
    # entry: hook 2, time 1; package: hook 2, time 1, E + 1 for __init__, 1 for its .pyc; module: 2
    expected = pynamic.expect(Shape(n_modules=1, n_libraries=0, n_levels=1, n_path_entries=1), 3)
    assert (expected.n_open, expected.n_stat, expected.n_list, expected.n_not_found) == (4, 13, 4, 3)


def test_a_tree_that_the_arithmetic_does_not_hold_for_is_refused(tmp_path: Path) -> None:
    for n_modules, n_entries in ((600, 1), (2, 3)):
        with pytest.raises(ValueError, match="needs"):
            pynamic.generate(tmp_path, Shape(n_modules=n_modules, n_libraries=0, n_levels=1, n_path_entries=n_entries))


@pytest.mark.parametrize("backend", ["strace", "ptrace"])
@pytest.mark.parametrize("shape", [PURE, MIXED], ids=["pure", "with libraries"])
def test_counts_and_requests_are_those_of_the_arithmetic(
    shape: Shape, backend: str, tmp_path: Path, strace_program: str
) -> None:
    root = tmp_path / "tree"
    code = make(root, shape)
    found = pynamic.compare(root, shape, code, tmp_path / "x.fsprobe", sys.executable, ["--backend", backend])
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}
    assert len(found) == 10
    assert found["n_stat"][0] > 60


def test_each_module_has_its_own_calls(tmp_path: Path, strace_program: str) -> None:
    root = tmp_path / "tree"
    analysis = pynamic.record(make(root, MIXED), tmp_path / "x.fsprobe")
    modules = analysis.tally.by_module
    first_in_package = dict.fromkeys({name.rpartition(".")[0] for _, name in pynamic.names(MIXED)}, True)
    for _, name in pynamic.names(MIXED):
        own = modules[name].own
        is_library = name.rpartition(".")[2].startswith("x")
        is_first = first_in_package.pop(name.rpartition(".")[0], False)
        assert own.n_open == 1 + is_first, name
        assert own.n_stat == (2 if is_library else 3) + 2 * is_first, name
        assert own.n_not_found == 0, name


# the arithmetic is for the import system of 3.10 and later
@pytest.mark.parametrize("version", [name for name in INTERPRETERS if int(name.split(".")[1]) >= 10])
def test_the_rules_hold_for_other_interpreters(version: str, tmp_path: Path, strace_program: str) -> None:
    root, python = tmp_path / "tree", INTERPRETERS[version]
    code = make(root, PURE, python)
    found = pynamic.compare(root, PURE, code, tmp_path / "x.fsprobe", python)
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}
