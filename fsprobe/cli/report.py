"""fsprobe report: show a recording."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fsprobe import files, pipeline
from fsprobe.analysis.findings.thresholds import DEFAULTS
from fsprobe.analysis.findings.thresholds import read as read_thresholds
from fsprobe.errors import EXIT_BAD_INPUT, BadInput, FsprobeError
from fsprobe.model import serial
from fsprobe.model.comparison import Comparison
from fsprobe.model.profile import Profile
from fsprobe.recording.file import Recording
from fsprobe.recording.stored import stored
from fsprobe.report.terminal import comparison, job, run

Shown = Profile | Comparison


def load(file: str, thresholds: str | None = None) -> Shown:
    """The profile of a recording, or a comparison or job as it stands in its file.

    Raises:
        BadInput: neither, or damaged; or thresholds for what has its findings already.
    """
    recording = Recording(file)
    if recording.kind in ("comparison", "job"):
        if thresholds:
            raise BadInput(
                f"{file} is a {recording.kind}: its findings were made with it, and other thresholds do not reach them",
                "--thresholds is for recordings"
                + ("; for one layout of it add --layout" if recording.kind == "comparison" else ""),
            )
        return stored(recording)
    return pipeline.analyse(file, read_thresholds(thresholds) if thresholds else DEFAULTS)


def load_layout(file: str, label: str, thresholds: str | None = None) -> Shown:
    """The profile of the traced run of one layout, from the comparison that holds it.

    Raises:
        BadInput: no comparison; it has no such layout (the hint names those it has).
    """
    from fsprobe import experiment

    with tempfile.TemporaryDirectory(prefix="fsprobe-report-") as scratch:
        recording = os.path.join(scratch, "layout.fsprobe")
        experiment.extract(file, label, recording)
        return load(recording, thresholds)


def to_terminal(shown: Shown, file: str) -> str:
    """The report as it would stand on a terminal, without colour."""
    if isinstance(shown, Comparison):
        return comparison.render(shown)
    return run.render(shown, recording=file) if shown.job is None else job.render(shown, recording=file)


def to_json(shown: Shown, file: str) -> str:
    """The profile or comparison as JSON; valid UTF-8 whatever the command line held."""
    return json_text(shown) + "\n"


def json_text(value: Any) -> str:
    """A value as JSON that every reader accepts: a byte of an argument that is no UTF-8 becomes `\\xNN`, as in paths."""
    text = json.dumps(serial.to_json(value), indent=1, ensure_ascii=False)
    # the controls past ASCII (and DEL) may stand as they are in JSON, but a terminal would obey some of them
    text = re.sub("[\x7f-\x9f]", lambda control: rf"\u{ord(control[0]):04x}", text)
    return text if text.isascii() else re.sub("[\udc80-\udcff]", lambda byte: rf"\\x{ord(byte[0]) - 0xDC00:02x}", text)


def to_html(shown: Shown, file: str) -> str:
    """One self-contained page."""
    from fsprobe.report.html import page

    return page.render(shown, recording=file)


def to_markdown(shown: Shown, file: str) -> str:
    """For a ticket, an issue or a merge request."""
    from fsprobe.report import markdown

    return markdown.render(shown, recording=file)


def _export(name: str) -> Callable[[Shown, str], str]:
    def to_export(shown: Shown, file: str) -> str:
        from fsprobe.report import exports

        if isinstance(shown, Comparison):
            raise BadInput(
                f"{file} is a comparison, which has no {name} export",
                "--layout LABEL exports one of its layouts; terminal, json, html and md show it whole",
            )
        text: str = getattr(exports, name)(shown)
        return text

    return to_export


FORMATS: dict[str, Callable[[Shown, str], str]] = {
    "terminal": to_terminal,
    "json": to_json,
    "html": to_html,
    "md": to_markdown,
    "csv": _export("csv"),
    "folded": _export("folded"),
    "speedscope": _export("speedscope"),
    "chrome": _export("chrome_trace"),
}
PLOTS = (".png", ".svg")


@click.command("report", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path())
@click.option(
    "--format", "style", type=click.Choice(list(FORMATS)), help="[default: from the name after -o, else terminal]"
)
@click.option("--layout", metavar="LABEL", help="Of a comparison: show the traced run of this storage layout.")
@click.option(
    "--thresholds",
    type=click.Path(),
    help="From which numbers on a finding is one (JSON or TOML); see `fsprobe explain`.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="Write to this file; .html, .md, .json, .csv, .png and .svg say which format.",
)
def command(file: str, style: str | None, layout: str | None, thresholds: str | None, output: str | None) -> None:
    """Show FILE: a recording, a comparison or a job."""
    shown = load(file, thresholds) if layout is None else load_layout(file, layout, thresholds)
    name = file if layout is None else f"{file}, layout {layout}"
    suffix = Path(output or "").suffix.lower()
    if output is not None and style is None and suffix in PLOTS:
        plot(shown, output)
        return
    style = style or {".html": "html", ".htm": "html", ".md": "md", ".json": "json", ".csv": "csv"}.get(
        suffix, "terminal"
    )
    if style == "terminal" and output is None:
        if isinstance(shown, Comparison):
            comparison.show(shown, sys.stdout)
        elif shown.job is not None:
            job.show(shown, sys.stdout, recording=name)
        else:
            run.show(shown, sys.stdout, recording=name)
        return
    text = FORMATS[style](shown, name)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        files.write(output, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise cannot_write(output, error) from error


def plot(shown: Shown, output: str) -> None:
    """Draw a recording's timeline, or a comparison's times with their spread."""
    from fsprobe.report import plots

    try:
        if isinstance(shown, Comparison):
            plots.comparison(shown, output)
        else:
            plots.timeline(shown, output)
    except OSError as error:
        raise cannot_write(output, error) from error


def cannot_write(output: str, error: OSError) -> FsprobeError:
    """The error of an output file that can't be written."""
    return FsprobeError(f"cannot write {output}: {error.strerror}", "name another place with -o", EXIT_BAD_INPUT)
