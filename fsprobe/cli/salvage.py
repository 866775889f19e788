"""fsprobe salvage: make a recording of what a killed fsprobe left behind."""

from __future__ import annotations

import os
import shlex
import textwrap
import time

import click

from fsprobe.capture import salvage, shipped
from fsprobe.cli.failures import say
from fsprobe.report.foreign import visible


@click.command("salvage", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("directory", type=click.Path(), required=False)
@click.option("-o", "--output", type=click.Path(), default="", help="The recording [default: named as by `run`].")
@click.option("--force", is_flag=True, help="Replace what is there.")
def command(directory: str | None, output: str, force: bool) -> None:
    """Make a recording from the scratch directory DIRECTORY of a run whose fsprobe was killed.

    Without DIRECTORY: list what such runs of yours left behind on this node.
    """
    if directory is None:
        if output or force:
            raise click.UsageError("name the DIRECTORY too; without one, salvage lists what there is")
        list_left_behind()
        return
    path, running = salvage.salvage(directory, output, force)
    say(f"wrote {path}")
    if running:
        say("the command is still running: the recording holds what it did so far, and the scratch directory stays")


def list_left_behind() -> None:
    """Print the line that salvages each run that was left behind, and on the next one what the run was."""
    left = salvage.left_behind(os.environ)
    if not left:
        click.echo("No run of yours was left behind on this node.")
    for begun_s, path, words in left:
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(begun_s))
        command = textwrap.shorten(visible(shlex.join(words)), 56, placeholder=" ...")
        click.echo(f"{shipped.typed()} salvage {shlex.quote(path)}\n    {began}  {command}")
