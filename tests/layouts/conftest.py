"""Environments are made once per session and never written to: a test that changes one copies it first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.layouts.environments import make_venv


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_venv(tmp_path_factory.mktemp("pristine") / "venv")


@pytest.fixture
def venv(pristine: Path, tmp_path: Path) -> Path:
    """A copy that the test may change; times are kept, so every .pyc is valid."""
    copy = tmp_path / "venv"
    shutil.copytree(pristine, copy, symlinks=True)
    return copy


@pytest.fixture
def plant_file(venv: Path) -> Callable[[str, str], Path]:
    def make(name: str, content: str) -> Path:
        target = venv / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        return target

    return make
