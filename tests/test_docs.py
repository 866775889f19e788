"""The documentation against the program: commands, options, help texts, findings, links."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fsprobe.analysis.findings.rules import RULES
from fsprobe.analysis.findings.thresholds import DEFAULTS
from fsprobe.cli import explain, group
from fsprobe.model.profile import LEVELS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = ROOT / "docs" / "commands.md"
METHOD = ROOT / "docs" / "method.md"
FINDINGS = ROOT / "docs" / "findings"


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


@pytest.mark.parametrize("name", group.COMMANDS)
def test_a_command_called_by_itself_has_the_same_help_option(name: str) -> None:
    """click keeps what it made at the first call, so a command without a setting of its own would differ by who called it first."""
    command = group.command.get_command(click.Context(group.command), name)
    assert command is not None
    assert command.context_settings["help_option_names"] == group.command.context_settings["help_option_names"]


def test_the_pages_of_findings_are_what_the_rules_say() -> None:
    made = explain.pages(DEFAULTS)
    if os.environ.get("UPDATE_GOLD"):
        for name, text in made.items():
            (FINDINGS / name).write_text(text)
    assert {page.name: page.read_text() for page in FINDINGS.glob("*.md")} == made


def test_each_finding_has_a_page_and_stands_in_the_contents() -> None:
    contents = (FINDINGS / "index.md").read_text()
    for rule in RULES:
        pages = [page.name for page in FINDINGS.glob("*.md") if f"## {rule.code}: " in page.read_text()]
        assert len(pages) == 1
        assert f"[{rule.code}]({pages[0]}#" in contents


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


def linked(page: Path) -> list[Path]:
    """The pages below docs/ that a page links to, in its order, each once."""
    targets = [
        (page.parent / target).resolve() for target in re.findall(r"\]\((?!https?:)([^)#]+\.md)", page.read_text())
    ]
    return list(dict.fromkeys(target for target in targets if (ROOT / "docs") in target.parents))


def test_readme_and_index_list_all_pages_in_one_order() -> None:
    index = ROOT / "docs" / "index.md"
    listed = linked(index)
    assert set(listed) == {*(ROOT / "docs").glob("*.md"), FINDINGS / "index.md"} - {index}
    assert [page for page in linked(ROOT / "README.md") if page != index] == listed


def test_the_levels_of_the_verdict_are_defined_in_one_place() -> None:
    defined = [page.name for page in PAGES if all(f"| **{level}** |" in page.read_text() for level in LEVELS)]
    assert defined == ["method.md"]
    for page in PAGES:
        listed = [level for level in LEVELS if re.search(rf"\b{level}\b", page.read_text(), re.IGNORECASE)]
        assert page.name == "method.md" or len(listed) < len(LEVELS), f"{page.name} lists the levels too"
    section = METHOD.read_text().partition("## The verdict\n")[2].partition("\n## ")[0]
    for name in ("share_time", "wait_s", "start_calls", "sustained_calls_per_s", "sustained_opens_per_s_process"):
        assert f"`{name}`" in section
        assert name in DEFAULTS


def anchors(page: Path) -> set[str]:
    """What a link into a page may name: its headings, as GitHub writes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading).replace("\\", "").lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
            place = page.parent / target if target else page
            assert place.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(place), f"{page.name}: {target}#{anchor}"


def test_nothing_names_a_path_of_a_developer_s_machine() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "reports").glob("*.md"))]:
        assert not re.search(r"/root/|/tmp/w/|/work/", page.read_text()), page
