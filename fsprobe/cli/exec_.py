"""fsprobe exec: run a command with an image mounted over a path, for that command alone."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from fsprobe.cli.failures import say
from fsprobe.errors import EXIT_USAGE, FsprobeError
from fsprobe.layouts.namespace import Spec, checked, run_inside
from fsprobe.layouts.sidefile import mismatches
from fsprobe.layouts.supervision import end_like


@click.command(
    "exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="--image IMG --at PATH [OPTIONS]",
)
@click.option("--image", required=True, metavar="IMG", help="A SquashFS image, made by `fsprobe pack`.")
@click.option("--at", required=True, metavar="PATH", help="The directory that the image is mounted over.")
@click.option("--writable", is_flag=True, help="Let CMD change files below PATH; the image stays as it is.")
@click.option(
    "--upper", metavar="DIR", help="With --writable: keep the changes in DIR (default: in memory, then gone)."
)
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED, metavar="CMD...")
def command(image: str, at: str, writable: bool, upper: str | None, cmd: Sequence[str]) -> int:
    """Run CMD with an image mounted over PATH.

    CMD alone sees the mount, and keeps its input, output, exit code and signals. When CMD ends, whatever it left
    running is ended too, and nothing stays mounted.
    """
    if upper and not writable:
        raise FsprobeError("--upper needs --writable", exit_code=EXIT_USAGE)
    spec = checked(Spec(kind="overlay" if writable else "squashfs", source=image, at=at, upper=upper or ""))
    for line in mismatches(image, at, os.environ):
        say(f"warning: {line}")
    ended, _ = run_inside(spec, cmd)
    if ended.n_left:
        say(f"ended {ended.n_left} processes that the command had left running")
    if ended.status < 0:
        end_like(ended.status)
    return ended.status
