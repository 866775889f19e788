"""How fsprobe was started is how its printed commands begin."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fsprobe.capture import shipped


@pytest.mark.parametrize(
    ("argv", "orig_argv", "typed"),
    [
        (["/opt/x/fsprobe/__main__.py", "run"], ["python3.12", "-m", "fsprobe", "run"], "python3.12 -m fsprobe"),
        (["/opt/x/fsprobe/__main__.py"], ["/a dir/python", "-m", "fsprobe"], "'/a dir/python' -m fsprobe"),
        (["/opt/x/pytest/__main__.py"], ["python", "-m", "pytest"], "fsprobe"),
        (["-c"], ["python", "-c", "..."], "fsprobe"),
    ],
)
def test_a_command_begins_as_it_was_started(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], orig_argv: list[str], typed: str
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert shipped.typed() == typed
    assert shipped.started("fsprobe fix x.fsprobe") == f"{typed} fix x.fsprobe"
    assert shipped.started("export A=fsprobe ") == "export A=fsprobe "
    assert shipped.retyped("see `fsprobe doctor`, or fsprobe's page") == f"see `{typed} doctor`, or fsprobe's page"


def test_one_file_is_named_as_typed_and_whole_in_scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["fsprobe.pyz", "pack"])
    monkeypatch.setattr(sys, "orig_argv", ["python3", "fsprobe.pyz", "pack"])
    monkeypatch.setattr(shipped, "archive", lambda: str(tmp_path / "fsprobe.pyz"))
    assert shipped.typed() == "python3 fsprobe.pyz"
    assert shipped.typed(is_whole=True) == f"python3 {tmp_path}/fsprobe.pyz"


def test_of_two_installations_the_one_that_runs_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for place in ("first", "second"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "fsprobe").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}/first")
    monkeypatch.setattr(sys, "argv", [f"{tmp_path}/first/fsprobe"])
    assert shipped.typed() == "fsprobe"
    monkeypatch.setattr(sys, "argv", [f"{tmp_path}/second/fsprobe"])
    assert shipped.typed() == f"{tmp_path}/second/fsprobe"


def test_in_a_directory_that_is_gone_it_is_named_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a recording that can't be written there, nor the command's exit code, may be lost to it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "fsprobe").touch()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(sys, "argv", [f"{tmp_path}/bin/fsprobe"])
    assert shipped.typed() == f"{tmp_path}/bin/fsprobe"
