"""What completes commands, and the man page: as the command line is, and as a shell understands them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from fsprobe.cli import completion, group, manual, shared_options
from tests.conftest import ROOT

SHARE = ROOT / "share"


def test_what_is_installed_is_what_the_command_line_says() -> None:
    made = manual.files()
    for name, text in made.items():
        assert (SHARE / name).read_text() == text, "make share"
    assert {path.relative_to(SHARE).as_posix() for path in SHARE.rglob("*") if path.is_file()} == set(made)


def completed(*words: str) -> list[str]:
    """What bash offers for the last word."""
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        f"source {SHARE}/bash-completion/completions/fsprobe; COMP_WORDS=(fsprobe {quoted}); COMP_CWORD={len(words)}"
    )
    done = subprocess.run(
        ["bash", "-c", script + '; _fsprobe; printf "%s\\n" "${COMPREPLY[@]}"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["rep"], ["report"]),
        (["he"], ["help"]),
        (["help", "wh"], ["whatif"]),
        (["report", "--fo"], ["--format", "--force"]),
        (["report", "--format", "j"], ["json"]),
        (["run", "--color", "n"], []),
        (["run", "--li"], ["--live"]),
        (["run", "--", "python", "--li"], []),
        (["report", "file"], []),
        (["completion", "f"], ["fish"]),
    ],
)
def test_bash_completes(words: list[str], offered: list[str]) -> None:
    assert completed(*words) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_a_shell_reads_its_own(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (tmp_path / "x").write_text(completion.SHELLS[shell]())
    subprocess.run([shell, "-n", str(tmp_path / "x")], check=True, timeout=20)


def test_the_man_page_names_every_command_and_option() -> None:
    text = manual.man_page()
    for name in group.COMMANDS:
        assert f"\n.SS fsprobe {name} " in text
        for option in completion.options_of(name):
            assert option.replace("-", "\\-") in text, f"{name} {option}"


@pytest.mark.parametrize(
    "line", [line for lines in shared_options.EXAMPLES.values() for line in lines if not line.startswith("!")]
)
def test_each_example_of_a_help_text_is_a_command_line(line: str) -> None:
    name, *words = shlex.split(line)
    command = group.command.get_command(click.Context(group.command), name)
    assert command is not None
    command.make_context(name, words)  # raises what a user would see
    assert f"fsprobe {line}" in command.get_help(click.Context(command, info_name=name))


def test_help_shows_every_command_once() -> None:
    assert sorted(name for names in group.SECTIONS.values() for name in names) == sorted(group.COMMANDS)
