"""The report of `benchmarks.layouts`: Markdown and pictures from its JSON alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fsprobe.model import JsonObject
from fsprobe.report import numbers, plots

LAYOUTS = ("plain", "native", "flash-like", "squashfs", "squashfuse", "overlay")
IMAGES = ("squashfs", "squashfuse", "overlay")
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
            "predicted": row["predicted_s"],
            "measured": row["measured_s"],
        }
        for cell in report["cells"]
        for row in cell["gains"]
    ]
    plots.predicted_and_measured(
        points, output.with_suffix(".png"), what="time gained against plain, s", band=TOLERANCE
    )
    for cell in report["cells"]:
        if cell["latency_ms"] == 1.0:
            name = cell["workload"].replace("+", "-")
            plots.comparison(cell["comparison"], output.with_name(f"{output.stem}-{name}.png"))
    print("\n".join(report["short"]))


def markdown(report: JsonObject) -> str:
    """The tables, from the JSON alone."""
    lines = ["# Before and after on the stand-in file server", "", f"Made by `{report['made_by']}`.", ""]
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
        for label in LAYOUTS:
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
            f"A client waits {cell['wait_ms']['metadata']:.3f} ms for a metadata request, {cell['wait_ms']['read']:.3f} ms for a read and "
            f"{cell['wait_ms']['ioctl']:.3f} ms for an ioctl, which has no latency but its way (measured, medians).",
            "",
            "| against plain | cache | gained s | requests x latency s | (metadata + reads + ioctl) | CPU less s | ratio | within 15 % | "
            "unpacking s | ratio with it |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for row in cell["gains"]:
            lines.append(
                f"| {row['layout']} | {row['cache']} | {row['measured_s']:.2f} | {row['predicted_s']:.2f} | "
                f"{row['predicted_metadata_s']:.2f} + {row['predicted_read_s']:.2f} + {row['predicted_ioctl_s']:.2f} | "
                f"{row['cpu_difference_s']:.2f} | "
                f"{'' if row['error'] is None else format(1 + row['error'], '.2f')} | {'yes' if row['is_within'] else 'no'} | "
                f"{'' if (took := unpacking_s(cell, row)) is None else format(took, '.2f')} | "
                f"{'' if took is None else format(ratio_with(row, took), '.2f')} |"
            )
        lines.append("")
        for earlier in cell.get("earlier", []):
            lines += [
                f"Measured before at a load average of {earlier['load'][0]:.1f} to {earlier['load'][1]:.1f}: within 15 % in "
                f"{n_within(earlier['gains'])} of {len(earlier['gains'])}, here in {n_within(cell['gains'])} "
                f"(ratios then: {ratios(earlier['gains'])}).",
                "",
            ]
    lines += ["## In short", "", *[f"- {line}" for line in report["short"]], ""]
    return "\n".join(lines)


def meanwhile(cell: JsonObject) -> str:
    """What the machine was doing besides."""
    said = "Load average meanwhile {:.1f} to {:.1f}".format(*cell["load"])
    if cell.get("share_cpu_stalled") is not None:
        said += f"; in {cell['share_cpu_stalled']:.0%} of the time some process waited for a CPU"
    return said + "."


def n_within(gains: Sequence[JsonObject]) -> int:
    """How many gains are as predicted."""
    return sum(bool(row["is_within"]) for row in gains)


def ratios(gains: Sequence[JsonObject]) -> str:
    """Measured to predicted, one after another."""
    return ", ".join(
        f"{row['layout']} {row['cache']} {1 + row['error']:.2f}" for row in gains if row["error"] is not None
    )


def unpacking_s(cell: JsonObject, gain: JsonObject) -> float | None:
    """CPU that an image takes over what the program takes on the local disk: unpacking, and serving what is unpacked.

    It is in the time that an image takes, and in no request. None for what is no image. What the plain environment's slow
    mount costs in CPU is no such thing: it is within what a client waits for a request.
    """
    if gain["layout"] not in IMAGES:
        return None
    rows = {row["layout"]: row for row in cell["comparison"]["rows"] if row["cache"] == gain["cache"]}
    return cpu_s(rows[gain["layout"]]) - cpu_s(rows["native"])


def ratio_with(gain: JsonObject, took_s: float) -> float:
    """Measured gain to the predicted one less what unpacking takes."""
    return float(gain["measured_s"] / (gain["predicted_s"] - took_s))


def spread_of(row: JsonObject) -> str:
    """Median (least-most)."""
    wall = row["wall_s"]
    return f"{wall['median']:.2f} ({wall['min']:.2f}-{wall['max']:.2f})"


def in_short(cells: Sequence[JsonObject]) -> list[str]:
    """The claims, each with what it rests on."""
    rows = [(cell, row) for cell in cells for row in cell["gains"]]
    cold = [(cell, row) for cell, row in rows if row["cache"] == "cold"]
    image = [row["ratio_metadata_requests"] for _, row in cold if row["layout"] in IMAGES]
    own = [(row, took) for cell, row in cold if (took := unpacking_s(cell, row)) is not None]
    reads = [
        row["server_requests"]["read"]["median"]
        for cell in cells
        for row in cell["comparison"]["rows"]
        if row["cache"] == "cold" and row["kind"] in ("squashfs", "overlay")
    ]
    lines = [
        f"Cold: the gain is within {TOLERANCE:.0%} of requests x latency in {sum(bool(row['is_within']) for _, row in cold)} of {len(cold)} "
        f"cases; in all, warm ones too, in {sum(bool(row['is_within']) for _, row in rows)} of {len(rows)}.",
        f"Images, cold: {n_within([row for row, _ in own])} of {len(own)} as predicted by requests alone; "
        f"{sum(abs(ratio_with(row, took) - 1) <= TOLERANCE for row, took in own)} of {len(own)} when the CPU that unpacking takes is taken "
        "off the prediction (an explanation that was looked for after the measurement).",
        f"An image asks {min(image):g} to {max(image):g} times fewer metadata requests of a cold client than the plain environment.",
        f"A cold image is read: {min(reads):g} to {max(reads):g} READs.",
    ]
    for latency_ms in sorted({cell["latency_ms"] for cell in cells}):
        at = [(cell, row) for cell, row in rows if cell["latency_ms"] == latency_ms]
        loads = [load for cell, _ in at for load in cell["load"]]
        lines.append(
            f"{latency_ms:g} ms: cold {n_within([row for _, row in at if row['cache'] == 'cold'])} of "
            f"{sum(row['cache'] == 'cold' for _, row in at)}, warm {n_within([row for _, row in at if row['cache'] == 'warm'])} of "
            f"{sum(row['cache'] == 'warm' for _, row in at)}; load average {min(loads):.1f} to {max(loads):.1f}."
        )
    again = [(cell, earlier) for cell in cells for earlier in cell.get("earlier", [])]
    if again:
        lines.append(
            f"{len({(cell['workload'], cell['latency_ms']) for cell, _ in again})} cells were measured again because others had computed "
            f"on the machine (load average {min(e['load'][1] for _, e in again):.1f} to {max(e['load'][1] for _, e in again):.1f} at its "
            f"highest): then {sum(n_within(e['gains']) for _, e in again)} of {sum(len(e['gains']) for _, e in again)} were within."
        )
    lines += [
        f"Outside: {cell['workload']}, {cell['latency_ms']:g} ms, {row['layout']}, {row['cache']}: {row['measured_s']:.2f} s gained, "
        f"{row['predicted_s']:.2f} s predicted, {row['cpu_difference_s']:+.2f} s less CPU."
        for cell, row in rows
        if not row["is_within"]
    ]
    return lines


def served(row: JsonObject, name: str) -> float:
    """Median of what the servers counted."""
    return float(row["server_requests"][name]["median"])


def cpu_s(row: JsonObject) -> float:
    """Median user and system time, with that of the mount's server."""
    cpu = row["cpu_s"]
    return float(sum(cpu[name]["median"] for name in ("user", "sys", "around") if cpu[name] is not None))
