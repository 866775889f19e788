"""fsprobe merge: the recordings of a job's ranks become one."""

from __future__ import annotations

import os
import sys

import click

from fsprobe import jobs
from fsprobe.cli.failures import say
from fsprobe.cli.report import FORMATS, json_blocks
from fsprobe.errors import EXIT_USAGE, FsprobeError
from fsprobe.jobs import executors
from fsprobe.report.terminal import job as report

FEW = 8
"""So few recordings are read faster than workers are started."""


@click.command("merge", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("places", nargs=-1, type=click.Path(), metavar="DIR|FILES...")
@click.option("-o", "--output", type=click.Path(), help="Write the job to this file, for `fsprobe report`.")
@click.option("--job", "job_id", default="", metavar="ID", help="Only this batch job (123, or 123.0 for a step).")
@click.option(
    "--executor", default="local", show_default=True, metavar="WHERE", help=f"Who reads: {executors.CHOICES}."
)
@click.option("--format", "style", type=click.Choice(list(FORMATS)), default="terminal", show_default=True)
def command(places: tuple[str, ...], output: str | None, job_id: str, executor: str, style: str) -> None:
    """Merge the recordings of a job's ranks: totals, how ranks and nodes differ, rates and requests of all together.

    What can't be read is named and left out.
    """
    if not places:
        raise FsprobeError("no recordings given", "`fsprobe merge DIR -o job.fsprobe`", EXIT_USAGE)
    files = jobs.gather(places, job_id)
    for path, why in files.unreadable:
        say(f"warning: left out: {why}" if path in why else f"warning: left out: {path}: {why}")
    for path, other in files.repeated:
        is_same = os.path.realpath(path) == os.path.realpath(other)
        say(f"{path} is named twice" if is_same else f"warning: left out: {path} is of the same run as {other}")
    if files.n_foreign:
        say(f"{files.n_foreign} other files are no recordings")
    where = "local=1" if executor == "local" and len(files.ranks) <= FEW else executor
    with executors.executor(where) as (pool, n_workers):
        profile = jobs.merge(files, pool, n_workers)
    known = {path for path, _ in files.unreadable}
    for row in profile.job.unreadable if profile.job is not None else ():
        if not any(path.endswith(row.file) for path in known):
            say(f"warning: left out: {row.why}")
    if output:
        jobs.write(output, profile)
        say(f"wrote {output}")
    if style == "terminal":
        report.show(profile, sys.stdout, recording=output or "")
    elif style == "json":
        for block in json_blocks(profile):
            click.echo(block, nl=False)
        click.echo()
    else:
        click.echo(FORMATS[style](profile, output or ""), nl=False)
