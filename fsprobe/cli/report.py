"""fsprobe report: show a recording."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from fsprobe import files, pipeline
from fsprobe.analysis.findings.thresholds import DEFAULTS
from fsprobe.analysis.findings.thresholds import read as read_thresholds
from fsprobe.errors import EXIT_BAD_INPUT, BadInput, FsprobeError
from fsprobe.model.formats import JsonObject
from fsprobe.recording.file import Recording
from fsprobe.report.terminal import comparison, job, run


def load(file: str, thresholds: str | None = None) -> JsonObject:
    """The profile of a recording, or a comparison or job as it stands in its file.

    Raises:
        BadInput: neither, or damaged; or thresholds for what has its findings already.
    """
    recording = Recording(file)
    if recording.kind in ("comparison", "job"):
        recording.verify()
        if thresholds:
            raise BadInput(
                f"{file} is a {recording.kind}: its findings were made with it, and other thresholds do not reach them",
                "--thresholds is for recordings"
                + ("; for one layout of it add --layout" if recording.kind == "comparison" else ""),
            )
        return recording.manifest
    return pipeline.analyse(file, read_thresholds(thresholds) if thresholds else DEFAULTS)


def load_layout(file: str, label: str, thresholds: str | None = None) -> JsonObject:
    """The profile of the traced run of one layout, from the comparison that holds it.

    Raises:
        BadInput: no comparison; it has no such layout (the hint names those it has).
    """
    from fsprobe import experiment

    with tempfile.TemporaryDirectory(prefix="fsprobe-report-") as scratch:
        recording = os.path.join(scratch, "layout.fsprobe")
        experiment.extract(file, label, recording)
        return load(recording, thresholds)


def to_terminal(profile: JsonObject, file: str) -> str:
    """The report as it would stand on a terminal, without colour."""
    if profile["kind"] == "comparison":
        return comparison.render(profile)
    if profile["kind"] == "job":
        return job.render(profile, recording=file)
    return run.render(profile, recording=file)


def to_json(profile: JsonObject, file: str) -> str:
    """The profile or comparison as JSON; valid UTF-8 whatever the command line held."""
    return json_text(profile) + "\n"


def json_text(value: JsonObject) -> str:
    """JSON that every reader accepts: a byte of an argument that is no UTF-8 becomes `\\xNN`, as in paths."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return text if text.isascii() else re.sub("[\udc80-\udcff]", lambda byte: rf"\\x{ord(byte[0]) - 0xDC00:02x}", text)


def to_html(profile: JsonObject, file: str) -> str:
    """One self-contained page."""
    from fsprobe.report.html import page

    return page.render(profile, recording=file)


def to_markdown(profile: JsonObject, file: str) -> str:
    """For a ticket, an issue or a merge request."""
    from fsprobe.report import markdown

    return markdown.render(profile, recording=file)


def _export(name: str) -> Callable[[JsonObject, str], str]:
    def to_export(profile: JsonObject, file: str) -> str:
        from fsprobe.report import exports

        if profile["kind"] == "comparison":
            raise BadInput(
                f"{file} is a comparison, which has no {name} export",
                "--layout LABEL exports one of its layouts; terminal, json, html and md show it whole",
            )
        text: str = getattr(exports, name)(profile)
        return text

    return to_export


FORMATS: dict[str, Callable[[JsonObject, str], str]] = {
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
@click.option("--layout", metavar="LABEL", help="Of a comparison: show the traced run of this layout.")
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
    profile = load(file, thresholds) if layout is None else load_layout(file, layout, thresholds)
    shown = file if layout is None else f"{file}, layout {layout}"
    suffix = Path(output or "").suffix.lower()
    if output is not None and style is None and suffix in PLOTS:
        plot(profile, output)
        return
    style = style or {".html": "html", ".htm": "html", ".md": "md", ".json": "json", ".csv": "csv"}.get(
        suffix, "terminal"
    )
    if style == "terminal" and output is None:
        if profile["kind"] == "comparison":
            comparison.show(profile, sys.stdout)
        elif profile["kind"] == "job":
            job.show(profile, sys.stdout, recording=shown)
        else:
            run.show(profile, sys.stdout, recording=shown)
        return
    text = FORMATS[style](profile, shown)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        files.write(output, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise cannot_write(output, error) from error


def plot(profile: JsonObject, output: str) -> None:
    """Draw a recording's timeline, or a comparison's times with their spread."""
    from fsprobe.report import plots

    try:
        (plots.comparison if profile["kind"] == "comparison" else plots.timeline)(profile, output)
    except OSError as error:
        raise cannot_write(output, error) from error


def cannot_write(output: str, error: OSError) -> FsprobeError:
    """The error of an output file that can't be written."""
    return FsprobeError(f"cannot write {output}: {error.strerror}", "name another place with -o", EXIT_BAD_INPUT)
