"""docs/python.md does what it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from fsprobe.api.profile import Profile

PAGE = Path(__file__).parent.parent.parent / "docs" / "python.md"


def test_its_code_runs(ran: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ran.path is not None
    shutil.copy(ran.path, tmp_path / "run.fsprobe")
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), space)
    assert (tmp_path / "run.html").stat().st_size > 10_000


def test_its_tables_are_those_of_a_profile(ran: Profile) -> None:
    named = {
        name
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `.")
        for name in re.findall(r"`\.(\w+)`", line)
    }
    for name in named:
        assert getattr(ran, name).index.name
    assert named == {
        "modules",
        "packages",
        "mounts",
        "requests",
        "phases",
        "processes",
        "paths",
        "not_found",
        "findings",
    }
