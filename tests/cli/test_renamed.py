"""Options that were renamed: the former name does the same, and no help shows it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from fsprobe.cli import group
from fsprobe.cli.renamed import Renamed

VALUES = {"--max-not-found": "3", "--mount-method": "user+fuse"}
"""A value for each of them."""
ARGUMENTS = {"check": ["x.fsprobe"], "compare": ["--env", "env", "true"]}
"""What the command can't do without."""


def renamed() -> Iterator[tuple[str, str, str]]:
    for name in group.COMMANDS:
        command = importlib.import_module(f"fsprobe.cli.{group.COMMANDS[name][0]}").command
        for option in command.params:
            if isinstance(option, Renamed):
                yield from ((name, option.opts[0], former) for former in option.formerly)


ALL = list(renamed())


def test_these_are_all() -> None:
    assert ALL == [("compare", "--mount-method", "--way"), ("check", "--max-not-found", "--max-missing")]


@pytest.mark.parametrize(("name", "option", "former"), ALL)
def test_the_former_name_does_the_same_and_is_in_no_help(name: str, option: str, former: str) -> None:
    command = group.command.get_command(click.Context(group.command), name)
    assert command is not None
    made = [command.make_context(name, [word, VALUES[option], *ARGUMENTS[name]]).params for word in (option, former)]
    assert made[0] == made[1]
    assert VALUES[option] in {str(value) for value in made[0].values()}
    shown = CliRunner().invoke(command, ["--help"]).output
    assert option in shown
    assert former not in shown.replace(option, "")
