"""A fix before and after, on a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fsprobe.model.finding import Finding
from fsprobe.report import numbers
from fsprobe.report.terminal.console import clean

CURED = ("FSP001",)
"""Findings that an image answers, whatever its own run still shows."""


def draw_plan(
    console: Console,
    *,
    env: Path,
    command: Sequence[str],
    cwd: Path,
    image: Path,
    n_starts: int,
    cache: str,
    n_files: int,
    n_bytes: int,
    n_to_compile: int,
    estimate_s: float | None,
    warnings: Sequence[str],
) -> None:
    """What will be done, how often the command runs, how long it takes, and what it needs of the disk."""
    rows = [
        ("pack", f"{env}: {numbers.plural(n_files, 'file')}, {numbers.size_bytes(n_bytes)}; it is only read"),
        ("into", f"{image} (at most {numbers.size_bytes(n_bytes)}, as a rule a third of it)"),
        ("run", shlex.join(command)),
        ("in", str(cwd)),
        ("how often", f"{n_starts} times, {cache} cache, with no input, with today's environment variables"),
        (
            "takes",
            f"about {numbers.seconds(estimate_s)}"
            if estimate_s is not None
            else "not known: the recording has no wall time",
        ),
        ("then", "the image is kept if it is better; else nothing is left"),
    ]
    if n_to_compile:
        missing = (
            f"{numbers.plural(n_to_compile, 'module')} without valid byte code: it is written into the image alone"
        )
        rows.insert(1, ("compile", missing))
    for label, text in rows:
        console.print(Text(f"{label:10}", style="dim") + Text(clean(text)), soft_wrap=True)
    for line in warnings:
        console.print(Text(clean(f"warning: {line}"), style="yellow"), soft_wrap=True)


def draw_outcome(
    console: Console, image: Path | None, why: str, at: Path, usage: Mapping[str, Sequence[str]], changed: Sequence[str]
) -> None:
    """Whether the image is kept, the lines to use it by heading, and what the command did to its environment."""
    console.print()
    if image is None:
        console.print(Text(clean(f"Nothing is kept: {why}."), style="bold"), soft_wrap=True)
    else:
        console.print(Text(clean(f"Kept {image}: {why}."), style="bold green"), soft_wrap=True)
        for heading, lines in usage.items():
            console.print(Text(f"\nIn the job script, {heading}:"))
            for line in lines:
                console.print(Text("  " + clean(line)), soft_wrap=True)
    if changed:
        console.print(
            Text(
                clean(
                    f"\nThe command itself changed {numbers.plural(len(changed), 'name')} in {at}, the first is {changed[0]}."
                )
            )
        )


def draw_left(console: Console, left: Sequence[Finding]) -> None:
    """What only the program or its job script can change; nothing of it was applied."""
    shown = [finding for finding in left if finding.code not in CURED and finding.severity != "info"]
    if not shown:
        return
    console.print(Text("\nLeft for you to change (nothing of it was applied):"))
    for finding in shown:
        console.print(Text(f"  {finding.code} ", style="bold") + Text(clean(finding.title)), soft_wrap=True)
        for line in finding.commands[:1]:
            console.print(Text("    " + clean(line)), soft_wrap=True)
