"""fsprobe pack: make a SquashFS image of a virtual environment."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from fsprobe.cli.failures import printable, say
from fsprobe.layouts.pack.build import Packed, Progress, pack
from fsprobe.layouts.pack.mksquashfs import COMPRESSORS
from fsprobe.layouts.pack.usage import usage_lines
from fsprobe.report.terminal.console import console_on, print_command


@click.command("pack", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("venv", metavar="VENV")
@click.option("-o", "--output", "image", required=True, metavar="IMG", help="The image to make, e.g. env.sqsh.")
@click.option("--compile", "compile_missing", is_flag=True, help="Compile what has no valid .pyc, in a copy.")
@click.option("--force", is_flag=True, help="Replace IMG if it is there.")
@click.option("--comp", type=click.Choice(COMPRESSORS), default="zstd", show_default=True, help="Compressor.")
@click.option("--staging", metavar="DIR", help="Where --compile makes its copy (default: the temporary directory).")
def command(venv: str, image: str, compile_missing: bool, force: bool, comp: str, staging: str | None) -> None:
    """Pack VENV into a SquashFS image.

    VENV is only read. The image is checked against it, name by name, and appears complete or not at all.
    IMG.json beside it says which interpreter and container it is for.
    """
    with _progress_bar() as progress:
        packed = pack(
            venv,
            image,
            compile_missing=compile_missing,
            force=force,
            comp=comp,
            staging=staging,
            progress=progress,
        )
    for line in packed.warnings:
        say(f"warning: {line}")
    _show(packed)


@contextmanager
def _progress_bar() -> Iterator[Progress | None]:
    """A bar on stderr where that is a terminal, else None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from fsprobe.report.terminal.console import Screen

    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Screen(stderr=True), transient=True) as bar:
        tasks = {}

        def show(stage: str, n_done: int, n_all: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=n_all or None)
            bar.update(tasks[stage], completed=n_done)

        yield show


def _show(packed: Packed) -> None:
    mib = 1024 * 1024
    compiled = f", {packed.n_compiled} of them compiled for it" if packed.n_compiled else ""
    click.echo(printable(f"packed    {packed.at}"))
    click.echo(printable(f"into      {packed.image}"))
    click.echo(
        f"holds     {packed.n_files:,} files, {packed.n_directories:,} directories, {packed.n_symlinks:,} symlinks"
    )
    click.echo(f"size      {packed.n_bytes / mib:.1f} MiB of files in {packed.n_image_bytes / mib:.1f} MiB")
    seconds = "" if packed.to_the_second else " (times to the minute: this unsquashfs shows no seconds)"
    click.echo(f"verified  every name, size, time and link{seconds}; {packed.n_pycs:,} .pyc files valid{compiled}")
    console = console_on(sys.stdout)
    for heading, lines in usage_lines(packed.image, packed.at).items():
        click.echo(f"\n{heading}:")
        for line in lines:
            print_command(console, line, "  ")
