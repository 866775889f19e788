"""An environment for each comparison."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layouts.environments import left_behind, make_venv


@pytest.fixture
def env(pristine_env: Path, tmp_path: Path) -> Iterator[Path]:
    """An environment that the test may change; in the end nothing may be mounted from it."""
    copy = tmp_path / "venv"
    shutil.copytree(pristine_env, copy, symlinks=True)
    yield copy
    assert left_behind(str(tmp_path)) == []


@pytest.fixture(scope="module")
def pristine_env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_venv(tmp_path_factory.mktemp("pristine") / "venv")
