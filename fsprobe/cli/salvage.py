"""fsprobe salvage: make a recording of what a killed fsprobe left behind."""

from __future__ import annotations

import click

from fsprobe.capture import salvage
from fsprobe.cli.failures import say


@click.command("salvage", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("directory", type=click.Path())
@click.option("-o", "--output", type=click.Path(), default="", help="The recording [default: named as by `run`].")
@click.option("--force", is_flag=True, help="Replace what is there.")
def command(directory: str, output: str, force: bool) -> None:
    """Make a recording from the scratch directory DIRECTORY of a run whose fsprobe was killed."""
    path, running = salvage.salvage(directory, output, force)
    say(f"wrote {path}")
    if running:
        say("the command is still running: the recording holds what it did so far, and the scratch directory stays")
