"""What a layout gains against the plain environment: measured, and predicted from requests and from its own time."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.layouts_report import IMAGES, LAYOUTS, LOCAL, TOLERANCE, cpu_s, served
from benchmarks.layouts_work import Costs, cost_at
from fsprobe import experiment
from fsprobe.model import JsonObject

N_RESAMPLES = 2000
KINDS = ("metadata", "read", "ioctl")
"""Requests that a call waits for. IOCTL (isatty of each opened .pyc) has no latency set, but is a round trip all the same."""


def gain_interval(base_s: Sequence[float], layout_s: Sequence[float]) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the difference of two medians, s; a fixed seed."""
    draw = random.Random(3)
    found = sorted(
        statistics.median(draw.choices(base_s, k=len(base_s)))
        - statistics.median(draw.choices(layout_s, k=len(layout_s)))
        for _ in range(N_RESAMPLES)
    )
    return found[int(0.025 * N_RESAMPLES)], found[int(0.975 * N_RESAMPLES) - 1]


def gains(result: JsonObject, latencies_s: Mapping[str, Sequence[float]], costs: Costs) -> list[JsonObject]:
    """For each layout and cache state: measured gain against plain, and what the difference in requests would give.

    Args:
        result: the comparison, with the layouts of an image on the local disk, whose names begin with `LOCAL`.
        latencies_s: what a client waited, s, by kind.
        costs: what a request cost with work in between.
    """
    waits = {name: statistics.median(values) for name, values in latencies_s.items()}

    def cost(row: JsonObject, own_s: float, prefix: str) -> float:
        """s that all requests of a layout cost a program that computes `own_s` between them."""
        n = {name: served(row, name) for name in KINDS}
        work_s = own_s / max(n["metadata"] + n["read"], 1)
        each = {name: cost_at(costs[prefix + name], waits[prefix + name], work_s) for name in ("metadata", "read")}
        return sum(n[name] * each.get(name, waits[prefix + name]) for name in KINDS)

    rows = []
    for cache in experiment.CACHES:
        of_cache = {row["layout"]: row for row in result["rows"] if row["cache"] == cache}
        base = of_cache["plain"]
        for label in LAYOUTS[1:]:
            row = of_cache[label]
            flash = "flash " if label == "flash-like" else ""
            asked = {name: (served(base, name), served(row, name), waits[name], waits[flash + name]) for name in KINDS}
            predicted = {name: n * t - own_n * own_t for name, (n, own_n, t, own_t) in asked.items()}
            measured = base["wall_s"]["median"] - row["wall_s"]["median"]
            total = sum(predicted.values())
            low, high = gain_interval(base["wall_s"]["runs"], row["wall_s"]["runs"])
            base_s = of_cache["native"]["wall_s"]["median"]
            more = of_cache[LOCAL + label]["wall_s"]["median"] - base_s if label in IMAGES else 0.0
            with_own = total - more
            with_work = cost(base, base_s, "") - cost(row, base_s + more, flash) - more
            rows.append(
                {
                    "layout": label,
                    "cache": cache,
                    "measured_s": round(measured, 4),
                    "predicted_s": round(total, 4),
                    "predicted_metadata_s": round(predicted["metadata"], 4),
                    "predicted_read_s": round(predicted["read"], 4),
                    "predicted_ioctl_s": round(predicted["ioctl"], 4),
                    "measured_low_s": round(low, 4),
                    "measured_high_s": round(high, 4),
                    "own_s": round(more, 4),
                    "predicted_with_own_s": round(with_own, 4),
                    "error_with_own": round(measured / with_own - 1, 4) if with_own else None,
                    "is_within_with_own": abs(measured / with_own - 1) <= TOLERANCE if with_own else None,
                    "predicted_with_work_s": round(with_work, 4),
                    "error_with_work": round(measured / with_work - 1, 4) if with_work else None,
                    "is_within_with_work": abs(measured / with_work - 1) <= TOLERANCE if with_work else None,
                    "cpu_difference_s": round(cpu_s(base) - cpu_s(row), 4),
                    "error": round(measured / total - 1, 4) if total else None,
                    "is_within": abs(measured / total - 1) <= TOLERANCE if total else None,
                    "ratio_metadata_requests": round(served(base, "metadata") / served(row, "metadata"), 1)
                    if served(row, "metadata")
                    else None,
                }
            )
    return rows
