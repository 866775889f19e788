"""The lines under "Adopt" on a comparison's page, read off the page and typed as they stand there."""

from __future__ import annotations

import html as escapes
import re
import subprocess
from pathlib import Path

import pytest

from fsprobe.layouts.pack.usage import adoption_lines
from fsprobe.model.comparison import LayoutRow
from fsprobe.report import comparison_facts
from fsprobe.report.html import page
from tests.layouts.environments import clean_environment, fsprobe_argv, fsprobe_environment, make_venv, need, site_of
from tests.report.profiles import changed, comparison

CODE = "import apples.core; print(apples.core.kind, 'it''s')"


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment at a path that a shell would take apart."""
    need("mksquashfs", "unsquashfs", "squashfuse_ll", root=True)
    return make_venv(tmp_path / "my env & co")


def on_the_page(venv: Path, **of_the_row: object) -> dict[str, str]:
    """Heading -> lines, as a reader copies them from the page of a comparison of this environment."""
    row: LayoutRow = changed(comparison().rows[1], **of_the_row)
    compared = changed(
        comparison(),
        environment=str(venv),
        command=(f"{venv}/bin/python", "-c", CODE),
        rows=(comparison().rows[0], row),
    )
    winner = comparison_facts.winner(compared)
    assert winner is not None
    shown = page.render(compared, "c.fsprobe", adoption_lines(compared, winner))
    section = shown[shown.index('<section id="adopt"') : shown.index('<section id="numbers"')]
    found = re.findall(r"<h3>(.*?)</h3>.*?<pre[^>]*>(.*?)</pre>", section, re.DOTALL)
    return {escapes.unescape(heading): escapes.unescape(lines) for heading, lines in found}


def typed(lines: str, tmp_path: Path) -> str:
    """What a shell prints that gets these lines; `fsprobe` is this one."""
    program = tmp_path / "bin" / "fsprobe"
    program.parent.mkdir(exist_ok=True)
    words = " ".join(f"'{word}'" for word in fsprobe_argv())
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    env = fsprobe_environment()
    done = subprocess.run(
        ["sh", "-euc", lines],
        env={**env, "PATH": f"{program.parent}:{env['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_image_is_made_and_used_by_the_lines_of_the_page(venv: Path, tmp_path: Path) -> None:
    lines = on_the_page(venv, where=f"{venv}-fsprobe-0123456789abcdef/env.sqsh")  # it went with the comparison
    assert list(lines) == ["Once", "In the job script, with fsprobe", "In the job script, with apptainer"]
    typed(lines["Once"], tmp_path)
    # from now on the directory and the image differ
    (site_of(venv) / "apples" / "core.py").write_text("kind = 'directory'\n")
    assert typed(lines["In the job script, with fsprobe"], tmp_path) == "image its\n"


def test_a_copy_is_made_and_used_by_the_lines_of_the_page(venv: Path, tmp_path: Path) -> None:
    (tmp_path / "fl ash").mkdir()
    lines = on_the_page(venv, kind="copy", where=f"{tmp_path}/fl ash")
    once, run = lines.values()
    typed(once, tmp_path)
    (site_of(venv) / "apples" / "core.py").write_text("kind = 'directory'\n")
    assert typed(run, tmp_path) == "image its\n"
    mine = subprocess.run([str(venv / "bin" / "python"), "-c", CODE], env=clean_environment(), capture_output=True)
    assert mine.stdout == b"directory its\n", "the environment itself is as it was"
