"""A disk that can be too small, read-only or full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty tmpfs; its size is set by `resize`."""
    need(os.geteuid() == 0, "mounting needs root")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "fsprobe-test", str(place)], capture_output=True, check=False
    )
    need(done.returncode == 0, f"no tmpfs can be mounted: {done.stderr!r}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
