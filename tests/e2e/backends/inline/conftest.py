"""The recorder's .so beside its sources, as an editable install leaves it, and short ways to record with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.capture.backends.inline import build
from fsprobe.model.profile import Profile
from tests.conftest import need


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """Built again where it is older than what it is made of."""
    need(not build.why_not(), build.why_not())
    out = Path(build.HERE) / build.NAME
    sources = [
        Path(build.__file__),
        *(path for folder in build.FOLDERS for path in Path(folder).iterdir() if path.is_file()),
    ]
    if not out.exists() or out.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        assert build.build(str(out)) == ""


@dataclass(frozen=True, slots=True)
class Ran:
    """A run of `fsprobe run --backend inline`."""

    status: int
    out: str
    err: str
    path: Path

    @property
    def profile(self) -> Profile:
        """What the recording means."""
        return pipeline.analyse(self.path)


Record = Callable[..., Ran]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Record a command; a mapping of variables may be changed (None takes one away)."""
    n = 0

    def run(
        command: list[str],
        *words: str,
        environment: Mapping[str, str | None] | None = None,
        backend: str = "inline",
        quiet: bool = True,
    ) -> Ran:
        nonlocal n
        n += 1
        path = tmp_path / f"run{n}.fsprobe"
        changed = {name: value for name, value in {**os.environ, **(environment or {})}.items() if value is not None}
        options = ["--backend", backend, "--record-only", *(["-q"] if quiet else []), *words]
        done = subprocess.run(
            [sys.executable, "-m", "fsprobe", "run", *options, "--force", "-o", str(path), "--", *command],
            capture_output=True,
            text=True,
            env=changed,
            timeout=300,
        )
        return Ran(done.returncode, done.stdout, done.stderr, path)

    return run
