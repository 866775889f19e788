"""What a layout gains against the plain environment: measured, and predicted from requests and from its own time."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.layouts.report import IMAGES, LAYOUTS, LOCAL, TOLERANCE, cpu_s, served
from benchmarks.layouts.waits import asked
from fsprobe import experiment
from fsprobe.model.formats import JsonObject

N_RESAMPLES = 2000


def gain_interval(base_s: Sequence[float], layout_s: Sequence[float]) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the difference of two medians, s; a fixed seed."""
    draw = random.Random(3)
    found = sorted(
        statistics.median(draw.choices(base_s, k=len(base_s)))
        - statistics.median(draw.choices(layout_s, k=len(layout_s)))
        for _ in range(N_RESAMPLES)
    )
    return found[int(0.025 * N_RESAMPLES)], found[int(0.975 * N_RESAMPLES) - 1]


def gains(
    rows_of_all: Sequence[JsonObject], waits: Mapping[str, float], slowdowns: Sequence[JsonObject]
) -> list[JsonObject]:
    """For each layout and cache state: measured gain against plain, and what the difference in requests would give.

    Args:
        rows_of_all: of the comparison, with the layouts of an image on the local disk, whose names begin with `LOCAL`.
        waits: what a client waited for one request, s, as `layouts_waits.waits_s` gives it; that of the faster server as "flash " and so on.
        slowdowns: as `layouts_work.slowdowns` gives them.
    """
    slower_s = {(row["layout"], row["cache"]): float(row["slowdown_s"]) for row in slowdowns}
    rows = []
    for cache in experiment.CACHES:
        of_cache = {row["layout"]: row for row in rows_of_all if row["cache"] == cache}
        base = of_cache["plain"]
        for label in LAYOUTS[1:]:
            row = of_cache[label]
            flash = "flash " if label == "flash-like" else ""
            predicted = {
                kind: n * waits[f"{cache} {kind}"] - own_n * waits[f"{flash}{cache} {kind}"]
                for (kind, n), own_n in zip(asked(base).items(), asked(row).values(), strict=True)
            }
            measured = base["wall_s"]["median"] - row["wall_s"]["median"]
            total = sum(predicted.values())
            low, high = gain_interval(base["wall_s"]["runs"], row["wall_s"]["runs"])
            local_s = of_cache["native"]["wall_s"]["median"]
            more = of_cache[LOCAL + label]["wall_s"]["median"] - local_s if label in IMAGES else 0.0
            with_own = total - more
            slowdown = slower_s.get(("plain", cache), 0.0) - slower_s.get((label, cache), 0.0)
            with_slowdown = with_own + slowdown
            rows.append(
                {
                    "layout": label,
                    "cache": cache,
                    "measured_s": round(measured, 4),
                    "predicted_s": round(total, 4),
                    "predicted_metadata_s": round(predicted["lookup"] + predicted["open"], 4),
                    "predicted_read_s": round(predicted["read"], 4),
                    "predicted_ioctl_s": round(predicted["ioctl"], 4),
                    "measured_low_s": round(low, 4),
                    "measured_high_s": round(high, 4),
                    "own_s": round(more, 4),
                    "predicted_with_own_s": round(with_own, 4),
                    "error_with_own": round(measured / with_own - 1, 4) if with_own else None,
                    "is_within_with_own": abs(measured / with_own - 1) <= TOLERANCE if with_own else None,
                    "slowdown_s": round(slowdown, 4),
                    "predicted_with_slowdown_s": round(with_slowdown, 4),
                    "error_with_slowdown": round(measured / with_slowdown - 1, 4) if with_slowdown else None,
                    "is_within_with_slowdown": abs(measured / with_slowdown - 1) <= TOLERANCE
                    if with_slowdown
                    else None,
                    "cpu_difference_s": round(cpu_s(base) - cpu_s(row), 4),
                    "error": round(measured / total - 1, 4) if total else None,
                    "is_within": abs(measured / total - 1) <= TOLERANCE if total else None,
                    "ratio_metadata_requests": round(served(base, "metadata") / served(row, "metadata"), 1)
                    if served(row, "metadata")
                    else None,
                }
            )
    return rows
