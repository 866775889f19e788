"""The house: how many files share a folder, what they are called, how long a test module is. Each check is itself checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT

MAX_FILES = 12
LARGER = {"fsprobe/cli": "a file a command", "fsprobe/analysis/findings": "a file a family of rules"}
"""Folders that may hold more, and why."""
MAX_TEST_LINES = 500
SAYS_NOTHING = frozenset(
    "sides ways kinds looks parts whole conduct names places fields cuts labels table bench said made held cover".split()
)
"""Words that do not say alone what a file holds."""


def folders_past_their_bound(files: Iterable[Path]) -> dict[str, int]:
    """Folders with too many files, `__init__.py` and `__main__.py` left out."""
    n_files = Counter(str(file.parent) for file in files if not file.name.startswith("__"))
    return {folder: n for folder, n in n_files.items() if n > MAX_FILES and folder not in LARGER}


def families_in_a_folder(files: Iterable[Path]) -> dict[tuple[str, str], list[str]]:
    """(folder, word) -> three files or more whose names begin with that word: they are a folder of their own."""
    families: dict[tuple[str, str], list[str]] = {}
    for file in files:
        if not file.name.startswith("__"):
            word = file.name.partition(".")[0].partition("_")[0]
            families.setdefault((str(file.parent), word), []).append(file.name)
    return {key: sorted(names) for key, names in families.items() if len(names) > 2}


def files_that_say_nothing(files: Iterable[Path]) -> list[str]:
    """Files named by a word that says nothing alone; a test goes by what it tests."""
    return [str(file) for file in files if file.name.partition(".")[0].removeprefix("test_") in SAYS_NOTHING]


def long_test_modules(n_lines: Mapping[Path, int]) -> dict[str, int]:
    """Test modules past `MAX_TEST_LINES`."""
    return {
        str(file): n
        for file, n in n_lines.items()
        if n > MAX_TEST_LINES and file.parts[0] == "tests" and file.suffix == ".py"
    }


def files_of(folder: str) -> list[Path]:
    """What lies in a folder and below, relative to the repository; Python's caches left out."""
    found = [
        file.relative_to(ROOT)
        for file in sorted((ROOT / folder).rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts and not any(part.startswith(".") for part in file.parts)
    ]
    assert len(found) > 20
    return found


def test_no_folder_holds_too_many_files() -> None:
    assert folders_past_their_bound(files_of("fsprobe") + files_of("benchmarks")) == {}


@pytest.mark.parametrize("folder", sorted(LARGER))
def test_a_folder_that_may_hold_more_is_there(folder: str) -> None:
    assert (ROOT / folder).is_dir()


def test_three_files_that_begin_alike_are_a_folder() -> None:
    assert families_in_a_folder(files_of("fsprobe") + files_of("benchmarks")) == {}


def test_no_file_is_named_by_a_word_that_says_nothing_alone() -> None:
    assert files_that_say_nothing(files_of("fsprobe") + files_of("benchmarks") + files_of("tests")) == []


def test_no_test_module_is_past_500_lines() -> None:
    n_lines = {file: len((ROOT / file).read_bytes().splitlines()) for file in files_of("tests") if file.suffix == ".py"}
    assert long_test_modules(n_lines) == {}


def test_the_checks_of_the_house_see_what_they_are_for() -> None:
    crowd = [Path("fsprobe/room") / f"{letter}.py" for letter in "abcdefghijkl"]
    assert folders_past_their_bound([*crowd, Path("fsprobe/room/__init__.py")]) == {}
    assert folders_past_their_bound([*crowd, Path("fsprobe/room/m.html")]) == {"fsprobe/room": 13}
    assert folders_past_their_bound([Path("fsprobe/cli") / file.name for file in [*crowd, Path("m.py")]]) == {}

    two = [Path("fsprobe/room/job.css"), Path("fsprobe/room/job_sums.py"), Path("fsprobe/other/job.py")]
    assert families_in_a_folder([*two, Path("fsprobe/room/jobs.py")]) == {}
    assert families_in_a_folder([*two, Path("fsprobe/room/job.html.j2")]) == {
        ("fsprobe/room", "job"): ["job.css", "job.html.j2", "job_sums.py"]
    }

    named = [
        Path("fsprobe/a/names.py"),
        Path("fsprobe/a/path_names.py"),
        Path("tests/a/test_ways.py"),
        Path("tests/a/test_names_kept.py"),
    ]
    assert files_that_say_nothing(named) == ["fsprobe/a/names.py", "tests/a/test_ways.py"]

    lengths = {
        Path("tests/a/test_x.py"): 500,
        Path("tests/a/test_y.py"): 501,
        Path("tests/data/log.txt"): 900,
        Path("fsprobe/x.py"): 501,
    }
    assert long_test_modules(lengths) == {"tests/a/test_y.py": 501}
