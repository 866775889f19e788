"""fsprobe report: show a recording."""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from fsprobe import files, pipeline
from fsprobe.analysis.findings.thresholds import DEFAULTS
from fsprobe.analysis.findings.thresholds import read as read_thresholds
from fsprobe.capture.options import RECORDING, SUFFIXES
from fsprobe.cli.failures import say
from fsprobe.errors import EXIT_BAD_INPUT, EXIT_USAGE, BadInput, FsprobeError
from fsprobe.layouts.pack.usage import adoption_lines
from fsprobe.model import serial
from fsprobe.model.comparison import Comparison
from fsprobe.model.profile import Profile
from fsprobe.recording.file import Recording
from fsprobe.recording.stored import stored
from fsprobe.report import comparison_facts
from fsprobe.report.terminal import comparison, first_screen, job, run

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
    return "".join(json_blocks(value))


def json_blocks(value: Any) -> Iterator[str]:
    """The text of `json_text`, one block after the other."""
    for text in serial.encoded(value, ensure_ascii=False):
        # the controls past ASCII (and DEL) may stand as they are in JSON, but a terminal would obey some of them
        block = re.sub("[\x7f-\x9f]", lambda control: rf"\u{ord(control[0]):04x}", text)
        yield (
            block
            if block.isascii()
            else re.sub("[\udc80-\udcff]", lambda byte: rf"\\x{ord(byte[0]) - 0xDC00:02x}", block)
        )


def to_html(shown: Shown, file: str) -> str:
    """One self-contained page."""
    from fsprobe.report.html import page

    return page.render(shown, recording=file, adopt=adoption(shown))


def adoption(shown: Shown) -> dict[str, list[str]]:
    """The lines to have the winner of a comparison from now on, by heading."""
    winner = comparison_facts.winner(shown) if isinstance(shown, Comparison) else None
    return adoption_lines(shown, winner) if isinstance(shown, Comparison) and winner is not None else {}


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
PLOT = "plot"


@click.command("report", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("places", nargs=-1, type=click.Path(), metavar="[FILE|DIR]...")
@click.option(
    "--format", "style", type=click.Choice(list(FORMATS)), help="[default: from the name after -o, else terminal]"
)
@click.option("--short", is_flag=True, help="The first screen alone, as at the end of a run.")
@click.option("--full", is_flag=True, hidden=True, help="What `run --full` shows: it always does.")
@click.option("--layout", metavar="LABEL", help="Of a comparison: show the traced run of this storage layout.")
@click.option(
    "--thresholds",
    type=click.Path(),
    help="A file (JSON or TOML) with other thresholds for findings; see `fsprobe explain`.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="Write to this file; .html, .md, .json, .csv, .txt, .png and .svg say which format.",
)
def command(
    places: tuple[str, ...],
    style: str | None,
    short: bool,
    full: bool,
    layout: str | None,
    thresholds: str | None,
    output: str | None,
) -> None:
    """Show FILE: a recording, a comparison or a job; without FILE the newest recording in this directory.

    Several files, or a directory, that hold ranks of one job are shown as the job; other files one after the other.
    """
    style = style or (style_of(output) if output is not None else "terminal")
    files_shown = chosen(places)
    if len(files_shown) > 1 and layout is None and thresholds is None:
        job_of_ranks = as_job(files_shown)
        if job_of_ranks is not None:
            give_out(job_of_ranks, ", ".join(places), output, style, short)
            return
    if len(files_shown) > 1 and (output is not None or style != "terminal"):
        raise FsprobeError(
            f"{len(files_shown)} files that are no ranks of one job are not one report",
            "name one of them; `fsprobe diff A B` compares two",
            EXIT_USAGE,
        )
    for file in files_shown:
        shown = load(file, thresholds) if layout is None else load_layout(file, layout, thresholds)
        give_out(shown, file if layout is None else f"{file}, layout {layout}", output, style, short)


def chosen(places: tuple[str, ...]) -> list[str]:
    """The files that are meant: those that were named, recordings in directories that were; else the newest one here.

    Raises:
        FsprobeError: there is none.
    """
    if not places:
        newest = recordings_in(".")[-1:]
        if not newest:
            raise FsprobeError(
                "there is no recording of yours in this directory",
                "`fsprobe report FILE`; `fsprobe run -- CMD` makes one",
                EXIT_USAGE,
            )
        say(f"the newest recording here: {newest[0]}")
        return newest
    found = []
    for place in places:
        if os.path.isdir(place):
            inside = recordings_in(place)
            if not inside:
                raise BadInput(f"there is no recording of yours in {place}", f"they are named NAME{RECORDING}")
            found += inside
        else:
            found.append(place)
    return found


def recordings_in(directory: str) -> list[str]:
    """The caller's own recordings in a directory, by their names' ending, oldest first; links are left out."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                is_own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
                if entry.name.endswith(RECORDING) and is_own:
                    found.append((status.st_mtime_ns, os.path.normpath(entry.path)))
    except OSError as error:
        raise BadInput(f"cannot read {directory}: {error.strerror}") from error
    return [path for _, path in sorted(found)]


def as_job(paths: Sequence[str]) -> Profile | None:
    """Recordings of ranks of one job as that job; None where they are anything else."""
    from fsprobe import jobs

    try:
        found = jobs.gather(tuple(paths))
    except FsprobeError:
        return None  # several jobs
    numbers = [file.rank for file in found.ranks]
    if found.unreadable or None in numbers or len(set(numbers)) < len(paths):
        return None
    return jobs.merge(found)


def style_of(output: str) -> str:
    """The format that a file's name says: `plot` for a picture, `terminal` for plain text or a name without a suffix.

    Raises:
        FsprobeError: it says none that fsprobe knows.
    """
    suffix = Path(output).suffix.lower()
    if suffix in ("", ".txt") or files.is_stream(output):
        return "terminal"
    if suffix not in SUFFIXES:
        raise FsprobeError(
            f"{output}: a name that ends in {suffix} says no format",
            f"one of {', '.join(SUFFIXES)}, .txt, or add --format",
            EXIT_USAGE,
        )
    return SUFFIXES[suffix]


def give_out(shown: Shown, name: str, output: str | None, style: str, short: bool = False) -> None:
    """Print a report, or write it to a file."""
    if output is not None:
        write(shown, name, output, style)
        return
    if style != "terminal":
        click.echo(FORMATS[style](shown, name), nl=False)
    elif isinstance(shown, Comparison):
        comparison.show(shown, sys.stdout)
    elif shown.job is not None:
        job.show(shown, sys.stdout, recording=name)
    elif short:
        first_screen.show(shown, sys.stdout, recording=name)
    else:
        run.show(shown, sys.stdout, recording=name)


def write(shown: Shown, name: str, output: str, style: str = "", is_quiet: bool = False) -> None:
    """Write a report to a file, in the format that was asked for or that the file's name says.

    Raises:
        FsprobeError: it can't be written.
    """
    style = style or style_of(output)
    if style == PLOT:
        plot(shown, output)
    else:
        try:
            files.write(output, FORMATS[style](shown, name).encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise cannot_write(output, error) from error
    if not is_quiet and not files.is_stream(output):
        say(f"wrote {output}")


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
