"""What the tests of the simulated file server share. It needs /dev/fuse and root; where CI=true, missing ones are a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fileserver.kernel.mounting import device_at


def is_mounted(mnt: Path) -> bool:
    """Tell whether a simulated file server is mounted over `mnt`, without looking at it."""
    return device_at(os.fsencode(os.path.realpath(mnt.parent) + "/" + mnt.name)) is not None


@pytest.fixture(scope="session")
def fuse() -> None:
    """Require what a simulated file server needs."""
    missing = []
    if os.geteuid() != 0:
        missing.append("root")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        missing.append("/dev/fuse")
    if not missing:
        return
    reason = f"the simulated file server needs {' and '.join(missing)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    path = tmp_path / "src"
    path.mkdir()
    return path


@pytest.fixture
def mnt(fuse: None, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    assert not is_mounted(path), "a test left its mount behind"
