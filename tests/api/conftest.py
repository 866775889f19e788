from __future__ import annotations

import sys
from pathlib import Path

import pytest

import fsprobe
from fsprobe.api.profile import Profile

PROGRAM = "import json, sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A run of a program that fails, kept."""
    place: Path = tmp_path_factory.mktemp("api") / "run.fsprobe"
    return fsprobe.run([sys.executable, "-c", PROGRAM], place)
