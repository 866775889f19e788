"""The report of `benchmarks.layouts`: Markdown and pictures from its JSON alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.layouts.scatter import predicted_and_measured
from fsprobe import numbers
from fsprobe.model import serial
from fsprobe.model.comparison import Comparison
from fsprobe.model.formats import JsonObject
from fsprobe.recording import format1
from fsprobe.report import plots

LAYOUTS = ("plain", "native", "flash-like", "squashfs", "squashfuse", "overlay")
IMAGES = ("squashfs", "squashfuse", "overlay")
LOCAL = "local "
"""What the name of a layout begins with whose image lies on the local disk."""
TOLERANCE = 0.15
"""A measured gain this close to the predicted one counts as predicted."""


def render(report: JsonObject, output: Path) -> None:
    """Markdown and pictures from the JSON."""
    clear = sum(bool(row["clear"]) for row in report["alike"])
    report["short"] = [
        *in_short(report["cells"]),
        f"Plain against its own copy on the same filesystem: a clear difference in {clear} of {len(report['alike'])} tries (ratios "
        + ", ".join(f"{row['ratio_wall']:.2f}" for row in report["alike"])
        + ").",
    ]
    output.with_suffix(".md").write_text(markdown(report))
    points = [
        {
            "series": row["layout"],
            "group": row["cache"],
            "predicted": row["predicted_with_slowdown_s"],
            "measured": row["measured_s"],
            "low": row["measured_low_s"],
            "high": row["measured_high_s"],
        }
        for cell in report["cells"]
        for row in cell["gains"]
    ]
    predicted_and_measured(points, output.with_suffix(".png"), what="time gained against plain, s", band=TOLERANCE)
    for cell in report["cells"]:
        if cell["latency_ms"] == 1.0:
            name = cell["workload"].replace("+", "-")
            served_rows = [row for row in cell["comparison"]["rows"] if row["layout"] in LAYOUTS]
            shown = {**cell["comparison"], "rows": served_rows}
            plots.comparison(
                serial.from_json(Comparison, format1.comparison(shown) if shown["format"] == 1 else shown),
                output.with_name(f"{output.stem}-{name}.png"),
            )
    print("\n".join(report["short"]))


def markdown(report: JsonObject) -> str:
    """The tables, from the JSON alone."""
    lines = [
        "# Before and after on the stand-in file server",  # the committed report's word, until it is measured again
        "",
        f"Made by {', '.join(f'`{line}`' for line in report['made_by'])}.",
        "",
    ]
    lines += [*report["conditions"], ""]
    for cell in report["cells"]:
        lines += [
            f"## {cell['workload']}, {cell['latency_ms']:g} ms a metadata request, {cell['read_ms']:g} ms a read",
            "",
            "Seconds are medians of {n} runs; in brackets least and most. Requests: medians of the servers' own counters. "
            "{meanwhile}".format(n=cell["n_runs"], meanwhile=meanwhile(cell)),
            "",
            "| layout | cold s | warm s | CPU cold s | CPU warm s | of which mount server | calls | metadata requests cold | READs cold | "
            "metadata requests warm |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        rows = {(row["layout"], row["cache"]): row for row in cell["comparison"]["rows"]}
        for label in (*LAYOUTS, *(LOCAL + name for name in IMAGES)):
            cold, warm = rows[label, "cold"], rows[label, "warm"]
            around = cold["cpu_s"]["around"]
            lines.append(
                f"| {label} | {spread_of(cold)} | {spread_of(warm)} | {cpu_s(cold):.2f} | {cpu_s(warm):.2f} | "
                f"{around['median'] if around else 0:.2f} | {numbers.count(cold['metrics']['n_metadata'])} | "
                f"{numbers.count(round(served(cold, 'metadata')))} | {numbers.count(round(served(cold, 'read')))} | "
                f"{numbers.count(round(served(warm, 'metadata')))} |"
            )
        lines += [
            "",
            f"{waits_of(cell)} {slowdown_of(cell)}",
            "",
            "| against plain | cache | gained s (95 % interval) | requests x latency s | (metadata + reads + ioctl) | ratio | "
            "within 15 % | own time s | ratio with it | within 15 % | slowdown s | ratio with it too | within 15 % |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for row in cell["gains"]:
            lines.append(
                f"| {row['layout']} | {row['cache']} | {row['measured_s']:.2f} ({row['measured_low_s']:.2f} to "
                f"{row['measured_high_s']:.2f}) | {row['predicted_s']:.2f} | "
                f"{row['predicted_metadata_s']:.2f} + {row['predicted_read_s']:.2f} + {row['predicted_ioctl_s']:.2f} | "
                f"{ratio_of(row['error'])} | {yes(row['is_within'])} | {row['own_s']:+.2f} | {ratio_of(row['error_with_own'])} | "
                f"{yes(row['is_within_with_own'])} | "
                f"{row['slowdown_s']:+.2f} | {ratio_of(row['error_with_slowdown'])} | {yes(row['is_within_with_slowdown'])} |"
            )
        lines.append("")
    lines += ["## In short", "", *[f"- {line}" for line in report["short"]], ""]
    return "\n".join(lines)


def runs_of(runs: Sequence[float]) -> str:
    """Median (least-most)."""
    return f"{statistics.median(runs):.2f} ({min(runs):.2f}-{max(runs):.2f})"


def meanwhile(cell: JsonObject) -> str:
    """What the machine was doing besides."""
    said = f"Measured on {cell['date']} at commit {cell['commit']}. "
    said += "Load average meanwhile {:.1f} to {:.1f}".format(*cell["load"])
    if cell.get("share_cpu_stalled") is not None:
        said += f"; in {cell['share_cpu_stalled']:.0%} of the time some process waited for a CPU"
    return said + "."


def waits_of(cell: JsonObject) -> str:
    """What a client waits for one request of each kind."""
    ms = cell["wait_ms"]
    return (
        f"A cold client that loads modules waits {ms['cold lookup']:.3f} ms for a lookup or another metadata request, "
        f"{ms['cold open']:.3f} ms for an open with its close (warm {ms['warm open']:.3f}), {ms['cold read']:.3f} ms for a read "
        f"and {ms['cold ioctl']:.3f} ms (warm {ms['warm ioctl']:.3f}) for an ioctl, which has no latency but its way "
        "(measured, medians)."
    )


def slowdown_of(cell: JsonObject) -> str:
    """What waiting costs the program beside the wait, with sleeps in place of the plain environment's requests."""
    said = [
        f"{row['cache']} {row['slowdown_s']:.2f} s ({row['n_waits']:,.0f} times {row['wait_ms']:.2f} ms)"
        for row in cell["slowdowns"]
        if row["layout"] == "plain"
    ]
    return (
        f"With sleeps in place of the plain environment's requests the program itself takes longer: {', '.join(said)}."
    )


def ratio_of(error: float | None) -> str:
    """Measured to predicted."""
    return "" if error is None else f"{1 + error:.2f}"


def yes(value: object) -> str:
    """yes or no."""
    return "yes" if value else "no"


def is_in_interval(row: JsonObject) -> bool:
    """Whether the last prediction lies in what the runs leave open."""
    return bool(row["measured_low_s"] <= row["predicted_with_slowdown_s"] <= row["measured_high_s"])


def spread_of(row: JsonObject) -> str:
    """Median (least-most)."""
    return runs_of(row["wall_s"]["runs"])


def in_short(cells: Sequence[JsonObject]) -> list[str]:
    """The claims, each with what it rests on."""
    rows = [(cell, row) for cell in cells for row in cell["gains"]]
    cold = [(cell, row) for cell, row in rows if row["cache"] == "cold"]
    image = [row["ratio_metadata_requests"] for _, row in cold if row["layout"] in IMAGES]
    reads = [
        row["server_requests"]["read"]["median"]
        for cell in cells
        for row in cell["comparison"]["rows"]
        if row["cache"] == "cold" and row["layout"] in IMAGES
    ]
    left = [row for _, row in rows if not row["is_within_with_slowdown"]]
    lines = [
        f"Requests x latency alone: the gain is within {TOLERANCE:.0%} of it in {of_all(rows, 'is_within')}.",
        f"With what each layout takes of itself on the local disk (t_own + requests x latency): {of_all(rows, 'is_within_with_own')}.",
        "With that and what waiting costs a program beside the wait, measured with sleeps in place of requests: "
        f"{of_all(rows, 'is_within_with_slowdown')}; of the other {len(left)}, {sum(is_in_interval(row) for row in left)} lie in the 95 % interval "
        "of the measured gain.",
        f"An image asks {min(image):g} to {max(image):g} times fewer metadata requests of a cold client than the plain environment.",
        f"A cold image is read: {min(reads):g} to {max(reads):g} READs.",
    ]
    for latency_ms in sorted({cell["latency_ms"] for cell in cells}):
        at = [(cell, row) for cell, row in rows if cell["latency_ms"] == latency_ms]
        loads = [load for cell, _ in at for load in cell["load"]]
        parts = []
        for cache in ("cold", "warm"):
            those = [row for _, row in at if row["cache"] == cache]
            n = [
                sum(bool(row[key]) for row in those)
                for key in ("is_within", "is_within_with_own", "is_within_with_slowdown")
            ]
            parts.append(f"{cache} {n[0]}, {n[1]} and {n[2]} of {len(those)}")
        lines.append(
            f"{latency_ms:g} ms, in this order: {'; '.join(parts)}; load average {min(loads):.1f} to {max(loads):.1f}."
        )
    lines += [
        f"Outside: {cell['workload']}, {cell['latency_ms']:g} ms, {row['layout']}, {row['cache']}: {row['measured_s']:.2f} s gained "
        f"({row['measured_low_s']:.2f} to {row['measured_high_s']:.2f}), {row['predicted_with_slowdown_s']:.2f} s predicted."
        for cell, row in rows
        if not row["is_within_with_slowdown"]
    ]
    return lines


def of_all(rows: Sequence[tuple[JsonObject, JsonObject]], key: str) -> str:
    """How many cases are as predicted, cold ones first."""
    cold = [row for _, row in rows if row["cache"] == "cold"]
    every = [row for _, row in rows]
    return f"{sum(bool(r[key]) for r in cold)} of {len(cold)} cold cases, {sum(bool(r[key]) for r in every)} of {len(every)} in all"


def served(row: JsonObject, name: str) -> float:
    """Median of what the servers counted."""
    return float(row["server_requests"][name]["median"])


def cpu_s(row: JsonObject) -> float:
    """Median user and system time, with that of the mount's server."""
    cpu = row["cpu_s"]
    return float(sum(cpu[name]["median"] for name in ("user", "sys", "around") if cpu[name] is not None))
