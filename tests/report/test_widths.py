"""Screens of 60, 80, 120 and 200 columns: no word is broken, no command cut or wrapped."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fsprobe import pipeline
from fsprobe.cli import doctor
from fsprobe.model.answers import Fix
from fsprobe.model.comparison import Comparison
from fsprobe.model.profile import Profile
from fsprobe.recording.file import Recording
from fsprobe.recording.stored import stored
from fsprobe.report.terminal import comparison, first_screen, fix, run
from fsprobe.report.terminal.console import MAX_WIDTH, Screen
from tests.conftest import ROOT

CASE = ROOT / "reports" / "case" / "recordings"
PLAN = Fix(
    env=Path("/project/project1/environments/env"), command=("/project/project1/environments/env/bin/python", "-c", "import x"),
    cwd=Path("/project/project1"), image=Path("/project/project1/environments/env.sqsh"), n_runs=5, cache="cold", make_cold="",
    n_files=13_386, n_bytes=400 << 20, n_to_compile=3, estimate_s=93.0, warnings=("links lead out of the environment: " + "lib/x " * 20,),
)  # fmt: skip
CHECKS = {
    "backend": "ptrace",
    "why": "there is no strace on PATH",
    "checks": [
        {
            "check": "inline",
            "status": "ok",
            "found": "works here (--backend inline; `fsprobe doctor --selftest` compares it with strace), "
            "/home/somebody/.cache/fsprobe/fsprobe-inline-3ef1b7b707fd0/fsprobe-inline.so",
            "hint": "a container runtime can: `apptainer exec -B IMG:PATH:image-src=/ IMAGE CMD`",
        }
    ],
}


@functools.cache
def case() -> Profile:
    found = pipeline.analyse(str(CASE / "01.fsprobe"))
    return replace(found, manifest=replace(found.manifest, disclosed=False))  # as its user had it


def drawn_by_case(console: Console) -> None:
    first_screen.draw(console, case(), "recordings/slow.fsprobe")


def drawn_by_comparison(console: Console) -> None:
    found = stored(Recording(str(CASE / "02.fsprobe")))
    assert isinstance(found, Comparison)
    comparison.draw(console, found)


SCREENS: dict[str, Callable[[Console], None]] = {
    "first screen": drawn_by_case,
    "comparison": drawn_by_comparison,
    "fix": lambda console: fix.draw_plan(console, PLAN),
    "doctor": lambda console: doctor.draw(console, CHECKS),
}


def screen(draw: Callable[[Console], None], width: int) -> list[str]:
    out = io.StringIO()
    draw(Screen(file=out, width=min(width, MAX_WIDTH), color_system=None))
    return out.getvalue().splitlines()


def words(lines: list[str]) -> set[str]:
    """All words but those of bars and rules, without what stands around them."""
    return {word.strip("(),:;") for line in lines for word in re.findall(r"[^\s█▓░▒─━]+", line)}


@pytest.mark.parametrize("name", list(SCREENS))
@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_word_is_broken(name: str, width: int) -> None:
    wide, narrow = screen(SCREENS[name], 200), screen(SCREENS[name], width)
    said = set("no room here for".split())
    assert words(narrow) - said <= words(wide), "a word that no wide screen has is a piece of one"
    too_wide = [line for line in narrow if len(line) > width]
    assert not [
        line for line in too_wide if len(line.split()) > 1 and not line.startswith(("run ", "  $ ")) and "`" not in line
    ]
    assert all(line == line.rstrip() or "─" in line for line in narrow if name == "doctor")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_command_is_on_one_line(width: int) -> None:
    assert "  $ fsprobe fix recordings/slow.fsprobe" in screen(drawn_by_case, width)
    plan = screen(SCREENS["fix"], width)
    assert "run       /project/project1/environments/env/bin/python -c 'import x'" in plan
    checks = screen(SCREENS["doctor"], width)
    for command in ("`fsprobe doctor --selftest`", "`apptainer exec -B IMG:PATH:image-src=/ IMAGE CMD`"):
        assert sum(command in line for line in checks) == 1


@pytest.mark.parametrize("width", [40, 50, 60, 70])
def test_no_number_and_no_heading_of_a_table_is_cut(width: int) -> None:
    metrics = case().metrics
    root = replace(metrics.by_mount[0], key="/", fstype="ext4", fs_class="local")
    profile = replace(case(), metrics=replace(metrics, by_mount=(root,)))  # a name that is shorter than its heading
    shown = screen(lambda console: run.draw(console, profile, "slow.fsprobe"), width)
    pieces = [word for line in shown for word in line.split() if len(word) > 1 and word.endswith("…")]
    headings = ("mount", "type", "calls", "found", "median", "phase", "module", "package", "reason")
    assert not [word for word in pieces if word[:-1].replace(",", "").isdigit()]
    assert not [word for word in pieces if any(heading.startswith(word[:-1]) for heading in headings)]
