"""fsprobe exec: run a command with an image mounted over a path, for that command alone.

The exit code is the command's, so what goes wrong on our side has codes that commands rarely use: 125, and 126 and 127 for a
command that can't be started.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from fsprobe.cli import hints
from fsprobe.cli.failures import say
from fsprobe.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_OWN_FAILURE, FsprobeError
from fsprobe.layouts.mount.namespace import run_inside
from fsprobe.layouts.mount.spec import Spec, checked
from fsprobe.layouts.mount.supervision import end_like
from fsprobe.layouts.pack.side_file import mismatches


class OwnFailures(click.Command):
    """A command whose own failures end with 125: wrong usage, bad input, a machine that can't."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)
        except click.UsageError as error:
            raise FsprobeError(hints.message_of(error), hints.for_usage(error), EXIT_OWN_FAILURE) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FsprobeError as error:
            if error.exit_code not in (EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND):
                error.exit_code = EXIT_OWN_FAILURE
            raise


@click.command(
    "exec",
    cls=OwnFailures,
    context_settings={
        "allow_interspersed_args": False,
        "help_option_names": ["-h", "--help"],
    },
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

    Exit codes besides CMD's: 125 fsprobe's own failure (wrong usage, no image, no way to mount it), 126 CMD is not
    executable, 127 CMD was not found.
    """
    if upper and not writable:
        raise FsprobeError("--upper needs --writable", "add --writable, or leave --upper out")
    spec = checked(Spec(kind="overlay" if writable else "squashfs", source=image, at=at, upper=upper or ""))
    for line in mismatches(image, at, os.environ):
        say(f"warning: {line}")
    ended, _ = run_inside(spec, cmd)
    if ended.n_left:
        say(f"ended {ended.n_left} processes that the command had left running")
    if ended.status < 0:
        end_like(ended.status)
    return ended.status
