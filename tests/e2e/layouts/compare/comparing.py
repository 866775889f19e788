"""Run `fsprobe compare` as users type it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsprobe.recording.file import Recording
from tests.layouts.environments import fsprobe

CODE = "import pears, sys; print(sys.prefix)"


def compare(tmp_path: Path, env: Path, *words: str, code: str = CODE, status: int = 0) -> dict[str, Any]:
    """Run `fsprobe compare`; the comparison as the file has it, which is also what --json printed."""
    file = tmp_path / "c.fsprobe"
    done = fsprobe(
        "compare",
        "--env",
        str(env),
        *words,
        "--json",
        "--force",
        "-o",
        str(file),
        "--",
        "python",
        "-c",
        code,
        cwd=tmp_path,
    )
    assert done.returncode == status, done.stderr.decode()
    recording = Recording(str(file))
    recording.verify()
    printed: dict[str, Any] = json.loads(done.stdout)
    assert printed == recording.manifest
    return printed


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.02)
