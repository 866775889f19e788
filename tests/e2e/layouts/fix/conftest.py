"""An environment and a recording of a command of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layouts.environments import fsprobe, left_behind, make_venv, need


@pytest.fixture
def env(tmp_path: Path) -> Iterator[Path]:
    need("strace", "mksquashfs", root=True)
    yield make_venv(tmp_path / "lies" / "venv")
    assert left_behind(str(tmp_path)) == []


def recorded(file: Path, env: Path, code: str) -> None:
    done = fsprobe(
        "run", "-q", "--force", "-o", str(file), "--", str(env / "bin" / "python"), "-c", code, cwd=file.parent
    )
    assert done.returncode == 0, done.stderr.decode()
