"""fsprobe fix: from diagnosis to cure."""

from __future__ import annotations

import signal
import sys

import click

from fsprobe import experiment
from fsprobe.cli import amounts
from fsprobe.cli.failures import say
from fsprobe.cli.report import load
from fsprobe.errors import EXIT_NO, EXIT_USAGE, BadInput, FsprobeError
from fsprobe.experiment import fix
from fsprobe.layouts.pack.usage import usage_lines
from fsprobe.model.answers import Fix
from fsprobe.model.comparison import Comparison
from fsprobe.report.terminal import comparison as comparison_report
from fsprobe.report.terminal import fix as report
from fsprobe.report.terminal.console import console_on


@click.command("fix", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path())
@click.option("--env", metavar="VENV", help="The environment [default: that of the recorded Python].")
@click.option("--image", metavar="IMG", help="Where the image goes [default: VENV.sqsh, beside the environment].")
@click.option("--runs", default=5, show_default=True, type=amounts.Whole(1, 1000), help="Timed runs of each layout.")
@click.option(
    "--cache", type=click.Choice(["cold", "warm"]), help="[default: cold where caches can be emptied, else warm]"
)
@click.option("--make-cold", default="", metavar="CMD", help="Shell command that empties them, where you are not root.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("-o", "--output", type=click.Path(), help="Write the comparison, with its traced runs, to this file.")
@click.argument("words", nargs=-1, metavar="[-- CMD...]")
def command(
    file: str,
    env: str | None,
    image: str | None,
    runs: int,
    cache: str | None,
    make_cold: str,
    yes: bool,
    dry_run: bool,
    output: str | None,
    words: tuple[str, ...],
) -> int:
    """Try the cure for FILE, a recording: pack its environment into an image, run the command again from both, keep the better.

    The environment is only read. What will run, where, how often and how long is said first, and asked for. Where the image is
    no better, or anything goes wrong, or on Ctrl-C, nothing is left. What the program itself would have to change is
    printed, and not applied.

    Exit code 0: the image is kept. 1: it is no better, or the answer was no.
    """
    shown = load(file)
    if isinstance(shown, Comparison):
        raise BadInput(f"{file} is a comparison", "fix takes the recording of one run")
    with comparison_report.progress(sys.stderr) as progress:
        planned = fix.prepare(
            shown,
            command=words,
            env=env,
            image=image,
            n_runs=runs,
            cache=cache or "",
            make_cold=make_cold,
            progress=progress,
        )
    console = console_on(sys.stdout)
    report.draw_plan(console, planned)
    if dry_run:
        return 0
    if not yes and not asked():
        say("nothing was done")
        return EXIT_NO
    try:
        with comparison_report.progress(sys.stderr) as progress:
            outcome = fix.carry_out(planned, progress=progress)
    except experiment.Interrupted as error:
        say(f"interrupted ({error}): nothing is left")
        return 128 + error.number
    comparison_report.show(outcome.comparison, sys.stdout)
    report.draw_outcome(console, outcome, planned.env, usage(planned))
    report.draw_left(console, outcome.left)
    if output:
        experiment.write(output, outcome.comparison, outcome.recordings)
        say(f"wrote {output}")
    if outcome.comparison.interrupted:
        return 128 + signal.Signals[outcome.comparison.interrupted]
    return 0 if outcome.image is not None else EXIT_NO


def usage(planned: Fix) -> dict[str, list[str]]:
    """The lines to run the command from the image, in a job script."""
    program, inside = planned.words
    lines = usage_lines(planned.image, str(planned.env), [inside, *planned.command[1:]], program)
    return {heading: lines[heading] for heading in ("with fsprobe", "with apptainer")}


def asked() -> bool:
    """Whether the person at the terminal wants it.

    Raises:
        FsprobeError: nobody is there to be asked.
    """
    if not (sys.stdin and sys.stdin.isatty()):
        raise FsprobeError("nobody can be asked here", "add --yes, or --dry-run to see the plan alone", EXIT_USAGE)
    try:
        return click.confirm("Go on?", default=False, err=True)
    except click.Abort:
        return False
