"""README and the quick start are typed, line by line, where their files are: each command that starts no program of the user's."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from fsprobe.cli import group
from tests.conftest import ROOT

RECORDED = ROOT / "tests" / "data" / "format1"
STARTS_SOMETHING = ("run", "fix", "compare", "exec", "pack", "recorder", "attach")
"""Commands that start a program or pack an environment: end-to-end tests of their own run these."""


def lines() -> list[str]:
    """The commands in the blocks of both pages, without comments, each once."""
    found = []
    for page in (ROOT / "README.md", ROOT / "docs" / "quick-start.md"):
        for block in re.findall(r"^```\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            found += [line.partition("  #")[0].strip() for line in block.splitlines() if line.startswith("fsprobe ")]
    return [line for line in dict.fromkeys(found) if line.split()[1] in group.COMMANDS]


def test_the_pages_have_commands_of_most_kinds() -> None:
    assert {
        "run",
        "report",
        "fix",
        "diff",
        "explain",
        "doctor",
        "scan",
        "compare",
        "whatif",
        "pack",
        "exec",
        "ticket",
    } <= {line.split()[1] for line in lines()}


def test_each_line_does_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("slow", "other", "last_week"):
        shutil.copy(RECORDED / "run-time.fsprobe", tmp_path / f"{name}.fsprobe")
    shutil.copy(RECORDED / "comparison.fsprobe", tmp_path / "layouts.fsprobe")
    shutil.copytree(RECORDED / "ranks1", tmp_path / "rec")
    (tmp_path / "strace.log").write_text(
        '1 1.000000 openat(AT_FDCWD, "/etc/x", O_RDONLY) = -1 ENOENT (No such file) <0.1>\n'
    )
    (tmp_path / "myenv" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    (tmp_path / "myenv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.2\n")
    monkeypatch.chdir(tmp_path)
    typed = [line for line in lines() if line.split()[1] not in STARTS_SOMETHING]
    assert len(typed) > 10
    for line in typed:
        code = group.main(shlex.split(line)[1:])
        said = capsys.readouterr()
        assert code == 0, f"{line}: {code}\n{said.err}"
        assert said.out or "wrote " in said.err, line
    for name in ("slow.html", "ticket.zip", "theirs.fsprobe"):
        assert (tmp_path / name).stat().st_size
