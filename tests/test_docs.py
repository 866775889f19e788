"""The documentation against the program: commands, options, help texts, findings, links."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from fsprobe.cli import group

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = ROOT / "docs" / "commands.md"


def help_of(*words: str) -> str:
    result = CliRunner().invoke(group.command, [*words, "--help"], prog_name="fsprobe", terminal_width=100)
    assert result.exit_code == 0, result.output
    return result.output.rstrip() + "\n"


def all_help() -> str:
    parts = [
        "# Commands\n\nWhat `--help` of each command prints; made by `UPDATE_GOLD=1 pytest tests/test_docs.py`.\n",
        f"```\n{help_of()}```\n",
    ]
    for name in group.COMMANDS:
        parts.append(f"## fsprobe {name}\n\n```\n{help_of(name)}```\n")
    return "\n".join(parts)


def test_the_page_of_commands_is_what_help_prints() -> None:
    text = all_help()
    if os.environ.get("UPDATE_GOLD"):
        COMMANDS.write_text(text)
    assert COMMANDS.read_text() == text


def lines_of_commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in re.findall(r"```[a-z]*\n(.*?)```", page.read_text(), re.DOTALL):
            joined = block.replace("\\\n", " ")
            found += [
                (page.name, line.strip())
                for line in joined.splitlines()
                if re.search(r"(?:^|\s)fsprobe [a-z]+ ", line.strip() + " ")
            ]
    return found


@pytest.mark.parametrize(("page", "line"), [pair for pair in lines_of_commands() if pair[0] != "commands.md"])
def test_every_command_line_in_the_documentation_exists(page: str, line: str) -> None:
    found = re.search(r"(?:^|[\s/])fsprobe ([a-z]+)\s(.*)", line.partition(" #")[0] + " ")
    assert found is not None
    name, options = found.group(1), found.group(2).split()
    assert name in group.COMMANDS, line
    if "--" in options:
        options = options[: options.index("--")]
    known = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", help_of(name)))
    for word in options:
        if word.startswith("-") and word != "-":
            assert word.partition("=")[0] in known, f"{page}: fsprobe {name} has no {word}: {line}"


def test_the_readme_names_each_command_or_the_page_that_does() -> None:
    text = (ROOT / "README.md").read_text()
    assert "docs/commands.md" in text
    for page in ("docs/method.md", "docs/troubleshooting.md", "docs/jobs.md", "docs/findings/index.md"):
        assert page in text, page


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_nothing_names_a_path_of_a_developer_s_machine() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "reports").glob("*.md"))]:
        assert not re.search(r"/root/|/tmp/w/|/work/", page.read_text()), page
