"""The report on other tools: the table of answers, their own words, a picture, from its JSON alone."""

from __future__ import annotations

import textwrap
from pathlib import Path

from benchmarks import evidence
from benchmarks.evidence import Json
from benchmarks.peers.tools import NO, QUESTIONS

N_USELESS_ENTRIES = 20
"""Directories on PYTHONPATH of which nothing comes."""
LIMITS = (
    " only", "guess", "to be counted", "not why", "not on what", "fstat among", "fstat of open files among", "nothing counted",
    "as function calls", "the same, as", "from Python code",
)  # fmt: skip
"""Words that say of an answer that it is one in part."""


def markdown(result: Json) -> str:
    """The table of answers, then every tool's own words."""
    # "stand-in" is the committed report's word; it changes with the next measurement
    served = result["served"]
    rows = []
    for row in result["peers"]:
        if "answers" not in row:
            rows.append([row["name"], *["not run"] * len(QUESTIONS)])
            continue
        rows.append([row["name"] + (" (root)" if row["needs_root"] else ""), *row["answers"].values()])
    parts = [
        "# What other tools say\n",
        evidence.about(result),
        f"The program: `import pandas`, PYTHONPATH of {N_USELESS_ENTRIES} directories with nothing in them. The environment lies "
        + (
            "on the stand-in file server (0.3 ms a request; warm but for the first run). What the server itself counted of a cold "
            f"run, untraced: {served['metadata']:,} metadata requests "
            f"({', '.join(f'{name} {n:,}' for name, n in served['requests'].items())})."
            if served
            else "on this machine's own disk: the simulated file server needs root and /dev/fuse."
        )
        + "\n",
        evidence.table(["tool", *QUESTIONS], rows),
        "`no`: nothing in its output says. Not tried: opensnoop and bpftrace (need root and the kernel's headers; opens or stats of "
        "the whole machine, by path), ltrace (library calls, slower), Darshan (jobs of a whole site, needs its library preloaded).\n",
    ]
    for row in result["peers"]:
        parts.append(f"## {row['name']}\n")
        if "command" in row:
            parts.append(f"`{row['command']}`\n")
        if "not_run" in row:
            parts.append(f"Not run: {row['not_run']}\n")
        else:
            shown = "\n".join(row["excerpt"])
            parts.append(f"{row['n_lines_of_output']:,} lines of output, of which:\n\n```\n{shown}\n```\n")
    return "\n".join(parts)


def picture(result: Json, path: Path) -> None:
    """Which tool answers which question: in full, in part, not."""
    from matplotlib.figure import Figure

    rows = [row for row in result["peers"] if "answers" in row]
    figure = Figure(figsize=(8.5, 0.9 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for y, row in enumerate(rows[::-1]):
        for x, answer in enumerate(row["answers"].values()):
            nothing = answer == NO or answer.startswith(("no:", "none:"))
            full = not nothing and not any(limit in answer for limit in LIMITS)
            axes.scatter(
                x, y, s=130, facecolors="#0d6468" if full else "none" if nothing else "#d69d3c", edgecolors="#b9b4aa"
            )
    axes.set_xticks(range(len(QUESTIONS)), [textwrap.fill(question, 16) for question in QUESTIONS], fontsize=8)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows[::-1]], fontsize=8)
    axes.xaxis.tick_top()
    axes.set_title("filled: answered; amber: in part, see the table; empty: not in its output", fontsize=8, y=-0.12)
    figure.savefig(path, dpi=130)
