"""A fix before and after, on a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fsprobe import numbers
from fsprobe.capture import shipped
from fsprobe.model.answers import Fix, Outcome
from fsprobe.model.finding import Finding
from fsprobe.report.facts import CURED
from fsprobe.report.terminal.console import GOOD, MIND, broken, clean, print_command, print_words

INDENT = 10
"""Columns of a plan's labels."""


def draw_plan(console: Console, plan: Fix) -> None:
    """What will be done, how often the command runs, how long it takes, and what it needs of the disk."""
    size = numbers.size_bytes(plan.n_bytes)
    took = "not known: the recording has no wall time"
    if plan.estimate_s is not None:
        handing_out = f"to hand out {numbers.plural(plan.n_files, 'file')}"
        took = f"about {numbers.seconds(plan.estimate_s)}, and what the filesystem takes {handing_out}"
    rows = [
        ("pack", f"{plan.env}: {numbers.plural(plan.n_files, 'file')}, {size}; it is only read"),
        ("into", f"{plan.image} (at most {size}, as a rule a third of it)"),
        ("run", shlex.join(plan.command)),
        ("in", str(plan.cwd)),
        ("how often", f"{plan.n_starts} times, {plan.cache} cache, with no input, with today's environment variables"),
        ("takes", took),
        ("then", "the image is kept if it is better; else nothing is left"),
    ]
    if plan.n_to_compile:
        missing = numbers.plural(plan.n_to_compile, "module")
        rows.insert(1, ("compile", f"{missing} without valid byte code: it is written into the image alone"))
    for label, text in rows:
        begin = Text.assemble((f"{label:{INDENT}}", "bold"))
        whole = Text(clean(text))
        if label == "run":  # there to be read and copied
            print_command(console, text, begin.plain, "bold")
            continue
        for line in broken(whole, max(30, console.width - INDENT)):
            console.print(begin + line, soft_wrap=True)
            begin = Text(" " * INDENT)
    for warning in plan.warnings:
        print_words(console, f"warning: {warning}", marks={"warning:": MIND})


def draw_outcome(console: Console, outcome: Outcome, at: Path, usage: Mapping[str, Sequence[str]]) -> None:
    """Whether the image is kept, the lines to use it by heading, and what became of the environment meanwhile."""
    console.print()
    if outcome.image is None:
        print_words(console, f"Nothing is kept: {outcome.why}.", "bold")
    else:
        print_words(console, f"Kept {outcome.image}: {outcome.why}.", "bold", marks={"Kept": GOOD})
        for heading, lines in usage.items():
            console.print(Text(f"\nIn the job script, {heading}:"))
            for line in lines:
                print_command(console, line, "  ")
    if outcome.changed:
        names = numbers.plural(len(outcome.changed), "name")
        said = f"In {at} {names} changed meanwhile, and not by fsprobe; the first is {outcome.changed[0]}."
        console.print()
        print_words(console, said)


def draw_left(console: Console, left: Sequence[Finding]) -> None:
    """What only the program or its job script can change; nothing of it was applied."""
    shown = [finding for finding in left if finding.code not in CURED and finding.severity != "info"]
    if not shown:
        return
    console.print(Text("\nLeft for you to change (nothing of it was applied):"))
    for finding in shown:
        console.print(Text.assemble((f"  {finding.code} ", "bold"), clean(finding.title)), soft_wrap=True)
        for line in finding.commands[:1]:
            print_command(console, shipped.started(line), "    ")
