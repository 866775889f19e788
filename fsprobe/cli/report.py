"""fsprobe report: show a recording."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click

from fsprobe import pipeline
from fsprobe.errors import FsprobeError
from fsprobe.model import JsonObject


def to_terminal(profile: JsonObject, file: str) -> str:
    """The report as it would stand on a terminal, without colour."""
    from fsprobe.report import terminal

    return terminal.render(profile, recording=file)


def to_json(profile: JsonObject, file: str) -> str:
    """The profile as JSON."""
    return json.dumps(profile, indent=1, ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[[JsonObject, str], str]] = {"terminal": to_terminal, "json": to_json}


@click.command("report", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path())
@click.option("--format", "style", type=click.Choice(list(FORMATS)), default="terminal", show_default=True)
@click.option("-o", "--output", type=click.Path(), help="Write to this file instead of stdout.")
def command(file: str, style: str, output: str | None) -> None:
    """Show the recording FILE."""
    profile = pipeline.analyse(file)
    if style == "terminal" and output is None:
        from fsprobe.report import terminal

        terminal.show(profile, sys.stdout, recording=file)
        return
    text = FORMATS[style](profile, file)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise FsprobeError(f"cannot write {output}: {error.strerror}", "name another place with -o", 3) from error
