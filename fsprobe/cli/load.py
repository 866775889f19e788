"""fsprobe load: make a recording of strace logs that somebody made elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from fsprobe import files, loading, numbers
from fsprobe.cli.failures import say
from fsprobe.errors import BadInput

MAX_MOUNTS_BYTES = 64 << 20
"""Of a mountinfo: a line of some 200 bytes a mount."""


@click.command("load", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("logs", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="The recording.")
@click.option(
    "--cwd", default="", metavar="DIR", help="Working directory of the first process, for logs made without -y."
)
@click.option(
    "--mounts", type=click.Path(), help="A copy of /proc/self/mountinfo of the machine where the log was made."
)
@click.option("--label", default="", help="A word for this run in reports.")
def command(logs: tuple[str, ...], output: str, cwd: str, mounts: str | None, label: str) -> None:
    """Make a recording of the strace LOGS: one of -f, or all of a -ff family; plain, gzip or zstd.

    What a log cannot tell (times, processes, mounts) is "not observed"; imports are estimated from the order of the paths.
    """
    try:
        table = files.read(mounts, MAX_MOUNTS_BYTES, streams=True) if mounts else b""
    except OSError as error:
        raise BadInput(f"can't read {mounts}: {error.strerror}") from error
    quality = loading.load_logs([Path(log) for log in logs], output, cwd=cwd, mounts=table, label=label)
    if quality.n_unparsed:
        say(f"{quality.n_unparsed:,} of {quality.n_lines:,} lines were not understood; the first:")
        for line in quality.unparsed_examples:
            say("  " + line[:200].decode("utf-8", "backslashreplace"))
    missing = [
        what
        for what, there in (
            ("times", quality.has_times),
            ("durations", quality.has_durations),
            ("process ids", quality.has_tids),
        )
        if not there
    ]
    if missing:
        say(f"the log has no {', no '.join(missing)}: not observed")
    if quality.n_steps_back:
        say("the log's clock was set back meanwhile: how long the run took is not observed")
    if quality.set_ahead_ns:
        say(
            f"by its wall clock the log takes {numbers.seconds(quality.set_ahead_ns / 1e9)} more than by the stamps of -r: the clock "
            "was set ahead meanwhile, or lines are missing. How long the run took is not observed"
        )
    say(f"wrote {output}")
