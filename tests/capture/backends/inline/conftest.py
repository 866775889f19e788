"""The recorder, built once for all tests, and the tests' own C programs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.capture.backends.inline import recorded


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    recorded.need(not recorded.build.why_not(), recorded.build.why_not())
    out = tmp_path_factory.mktemp("inline") / recorded.build.NAME
    assert recorded.build.build(str(out)) == ""
    yield out
    shutil.rmtree(recorded.scratch(), ignore_errors=True)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Gives the path of a compiled program of `programs/`."""
    place = tmp_path_factory.mktemp("programs")
    made: dict[str, str] = {}

    def get(name: str, *more: str) -> str:
        key = " ".join((name, *more))
        if key not in made:
            made[key] = recorded.compiled(recorded.HERE / "programs" / f"{name}.c", place / f"{name}{len(made)}", *more)
        return made[key]

    return get
