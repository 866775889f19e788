"""fsprobe attach: trace a running program for a while."""

from __future__ import annotations

import sys

import click

from fsprobe.capture import attach as attaching
from fsprobe.capture.options import parse_size
from fsprobe.cli import amounts
from fsprobe.cli.failures import say
from fsprobe.cli.shared_options import is_forced
from fsprobe.report.terminal.live import LiveLine


@click.command("attach", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pid", type=amounts.Whole(1))
@click.option(
    "--for",
    "seconds",
    type=amounts.Amount(min=0.1),
    default=10.0,
    metavar="SECONDS",
    help="How long to trace it [default: 10].",
)
@click.option("-o", "--output", type=click.Path(), default="", help="The recording [default: named as by `run`].")
@click.option("--record-only", is_flag=True, help="Write the recording, don't analyse it.")
@click.option("--label", default="", help="A word for this run in reports.")
@click.option(
    "--tmp-dir",
    type=click.Path(),
    default="",
    metavar="DIR",
    help="Where the log is kept meanwhile [default: /dev/shm, $TMPDIR or /tmp].",
)
@click.option("--max-log", default="2G", metavar="SIZE", help="Bound of the log, as 500M or 2G [default: 2G].")
@click.option("-q", "--quiet", is_flag=True, help="No report: only errors.")
@click.option("--live", "is_live", is_flag=True, help="Show calls and imports meanwhile, on one line of the terminal.")
@click.option("--full", is_flag=True, help="The whole report at the end, as `fsprobe report` shows it.")
def command(
    pid: int,
    seconds: float,
    output: str,
    record_only: bool,
    label: str,
    tmp_dir: str,
    max_log: str,
    quiet: bool,
    is_live: bool,
    full: bool,
) -> None:
    """Trace the running process PID, with all its threads and what they start, then let it go.

    The program runs slower meanwhile and is not changed. Children that it has already are not traced. Imports are estimated.
    """
    live = LiveLine(sys.stderr) if is_live and not quiet and sys.stderr is not None and sys.stderr.isatty() else None
    done = attaching.attach(
        pid,
        seconds,
        output,
        label,
        tmp_dir,
        parse_size(max_log),
        is_forced(),
        on_start=(lambda _, log: live.start(log)) if live else None,
        on_tick=live.tick if live else None,
    )
    if live:
        live.end()
    for line in [*done.losses, *(done.warnings if not quiet else ())]:
        say(line)
    if quiet:
        return
    if record_only:
        say(f"wrote {done.path}")
        return
    from fsprobe import pipeline
    from fsprobe.report.terminal import first_screen, run

    show = run.show if full else first_screen.show
    show(pipeline.analyse(done.path), sys.stdout, recording=done.path)
