"""The report on reading logs: tables and a picture, from its JSON alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import evidence
from benchmarks.evidence import Json
from benchmarks.parse_speed.hostile import HOSTILE_NAMES

QUOTED = {
    "gitlab strace-parser (Rust)": "2.2-3.5 M lines/s",
    "a split/partition loop in C, 54 lines": "5-7 M lines/s",
}
"""Figures from this project's requirements; not measured here."""


def markdown(result: Json) -> str:
    """The report's tables."""
    hostile = {
        row["reader"]: row for row in result["hostile"] if row["log"].startswith("strace") or row["reader"] == "awk"
    }
    rows = []
    for row in result["speed"]:
        base = "fsprobe" if row["reader"].startswith("fsprobe") else row["reader"]
        right = hostile.get(base)
        rows.append(
            [
                row["reader"], f"{row['n_lines']:,}", row.get("n_runs", result["n_runs"]), f"{row['n_bytes'] / 1e6:.1f}",
                f"{row['s']['median']:.2f} ({row['s']['min']:.2f}-{row['s']['max']:.2f})", f"{row['lines_per_s']:,}",
                f"{row['peak_mib']:.0f}", f"{right['n_right']:,} of {right['n_expected']:,}" if right else "-",
            ]
        )  # fmt: skip
    stages = result["stages"]
    total = sum(stage["median"] for stage in stages["cpu_s"].values())
    parse = stages["cpu_s"]["parse"]["median"]
    return "\n".join(
        [
            "# Reading logs\n",
            evidence.about(result),
            f"awk is {result['versions'].get('awk')}. Time is of the reading, with the import of modules for it, whose byte code is there "
            "(awk: of the whole process); memory is the peak of the process. The last column is what the reader made of a hostile log (below).\n",
            evidence.table(["reader", "lines", "runs", "MB", "s, median (min-max)", "lines/s", "peak MiB", "hostile calls right"], rows),
            "Published or noted elsewhere, not measured here: "
            + "; ".join(f"{name} {figure}" for name, figure in QUOTED.items())
            + ".\n",
            *_rings(result.get("rings", ())),
            "## A hostile log\n",
            f"Eight threads stat and open {len(HOSTILE_NAMES)} names that are there and as many that are not: names with quotes, line "
            "ends, ` = `, `) = 0`, `<unfinished ...>`, bytes that are no UTF-8. What must come out is known from the program. Right "
            "means kind of call, path and success, all three. stracetools and awk leave escapes to their users, and are not "
            "charged for that: they are undone for them.\n",
            evidence.table(
                ["reader", "log", "lines", "calls in two halves", "expected", "right", "lost", "wrong"],
                [
                    [row["reader"], row["log"], f"{row['n_lines']:,}", row["n_in_two_halves"], row["n_expected"], row["n_right"],
                     row["n_lost"], row["n_wrong"]]
                    for row in result["hostile"]
                ],
            ),
            "## Where fsprobe's time goes after a run, and what a compiled core would bring\n",
            f"`{stages['workload']}`: {stages['n_lines']:,} lines, {stages['n_calls']:,} metadata calls of the target.\n",
            evidence.table(
                ["stage", "CPU s, median (min-max)", "share"],
                [
                    [name, f"{stage['median']:.3f} ({stage['min']:.3f}-{stage['max']:.3f})", f"{stage['median'] / total:.0%}"]
                    for name, stage in stages["cpu_s"].items()
                ],
            ),
            f"A compiled parser at 5 M lines/s would read this log in {stages['n_lines'] / 5e6 * 1e3:.0f} ms instead of "
            f"{parse * 1e3:.0f} ms: {max(0.0, parse - stages['n_lines'] / 5e6) / total:.0%} of the time after a run. The rest makes and "
            "looks at Python values call by call, so a core that pays has to hold parsing, attribution, tally and request model "
            "together. Its price: wheels for each platform and libc, or a compiler on the login node, instead of one file of "
            "pure Python that runs in any container; and a second implementation to keep equal to the first. For logs of "
            "1e7 lines and more it would be worth it; `run --stream` folds while the "
            "program runs: no waiting where a core is free, but no CPU saved.\n",
        ]
    )  # fmt: skip


def _rings(rows: Sequence[Json]) -> list[str]:
    """The inline recorder's slots, where they were measured."""
    if not rows:
        return []
    tells_paths = all("n_paths" in row for row in rows)
    cells = [
        [
            row["reader"], f"{row['n_slots']:,}", *([f"{row['n_paths']:,}"] if tells_paths else []), row["n_runs"],
            f"{row['s']['median']:.2f} ({row['s']['min']:.2f}-{row['s']['max']:.2f})", f"{row['slots_per_s']:,}",
            f"{row['peak_mib']:.0f}",
        ]
        for row in rows
    ]  # fmt: skip
    about = "computes. The ring is one of `import pandas`, repeated as other processes at later times"
    about += (
        ": all at the same paths, or each in a tree of its own, whose paths come in no other. In full, large rings are read as columns: "
        "what is alike is parsed once. Events alone are made one by one.\n"
        if tells_paths
        else ".\n"
    )
    return [
        "## Recordings of the inline recorder\n",
        "A slot is a call, an import's mark or a process's note; unpacking the file is in the time. In full: all that `fsprobe report` "
        + about,
        evidence.table(
            [
                "reader",
                "slots",
                *(["distinct paths"] if tells_paths else []),
                "runs",
                "s, median (min-max)",
                "slots/s",
                "peak MiB",
            ],
            cells,
        ),
    ]


def picture(result: Json, path: Path) -> None:
    """Lines per second, and memory against lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    most = max(row["n_lines"] for row in result["speed"])
    rows = {row["reader"]: row for row in result["speed"]}
    names = list(rows)[::-1]
    colours = ["#0d6468" if name.startswith("fsprobe") else "#a09a8e" for name in names]
    left.barh(names, [rows[name]["lines_per_s"] for name in names], color=colours)
    left.set(xscale="log", xlabel=f"lines per second (up to {most:,} lines)")
    for name in rows:
        points = sorted((row["n_lines"], row["peak_mib"]) for row in result["speed"] if row["reader"] == name)
        if len(points) > 1:
            right.plot(*zip(*points, strict=True), marker="o", label=name)
    right.set(xscale="log", yscale="log", xlabel="lines", ylabel="peak MiB")
    if right.lines:
        right.legend(frameon=False, fontsize=8)
    else:
        right.set_visible(False)
    figure.savefig(path, dpi=130)
