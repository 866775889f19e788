"""fsprobe diff: what two recordings have in common, and what not."""

from __future__ import annotations

import click

from fsprobe.cli.compare import compare_recordings


@click.command("diff", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("first", type=click.Path(), metavar="A.fsprobe")
@click.argument("second", type=click.Path(), metavar="B.fsprobe")
@click.option("--json", "as_json", is_flag=True, help="As --format json.")
def command(first: str, second: str, as_json: bool) -> int:
    """Compare two recordings, or two merged jobs: the calls that differ, and the requests. The same as `fsprobe compare A B`.

    Exit code 1: they made different calls.
    """
    return compare_recordings(first, second, as_json)
