"""Rates: the busiest second and the busiest ten, per process and for all processes together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsprobe.analysis.counting.tally import BIN_NS, Tally
from fsprobe.model.rows import Rates

PEAK_S = 1
SUSTAINED_S = 10


def busiest(by_bin: Mapping[int, int], window_s: int) -> float:
    """Calls per second in the busiest window: bins of 0.1 s are slid over, so the window is right to 0.1 s.

    Args:
        by_bin: bin number -> calls.
        window_s: length of the window in s. A run that is shorter counts as one window: its calls over the window.
    """
    width = window_s * 1_000_000_000 // BIN_NS
    best = current = 0
    window: list[tuple[int, int]] = []
    first = 0
    for number in sorted(by_bin):
        window.append((number, by_bin[number]))
        current += by_bin[number]
        while window[first][0] <= number - width:
            current -= window[first][1]
            first += 1
        best = max(best, current)
    return best / window_s


def rates(tally: Tally) -> Rates:
    """The rates of a run (calls/s as they were under the tracer, which slows the program); None where the log has no times."""
    return Rates(**windows(tally)) if tally.n_timed else Rates()


def windows(tally: Tally) -> dict[str, Any]:
    """The fields of `Rates`, each the busiest window so far; empty where the log has no times."""
    if not tally.n_timed:
        return {}
    total: dict[int, int] = {}
    opens: dict[int, int] = {}
    active: dict[int, int] = {}
    peak_process = sustained_process = 0.0
    for process in tally.by_process.values():
        for number, n in process.n_metadata_by_bin.items():
            total[number] = total.get(number, 0) + n
        seconds = set()
        for number, n in process.n_open_by_bin.items():
            opens[number] = opens.get(number, 0) + n
            seconds.add(number * BIN_NS // 1_000_000_000)
        for second in seconds:
            active[second] = active.get(second, 0) + 1
        peak_process = max(peak_process, busiest(process.n_open_by_bin, PEAK_S))
        sustained_process = max(sustained_process, busiest(process.n_open_by_bin, SUSTAINED_S))
    found: dict[str, float | int] = {
        "peak_metadata_per_s": busiest(total, PEAK_S),
        "sustained_metadata_per_s": busiest(total, SUSTAINED_S),
        "peak_open_per_s": busiest(opens, PEAK_S),
        "sustained_open_per_s": busiest(opens, SUSTAINED_S),
        "peak_open_per_s_process": peak_process,
        "sustained_open_per_s_process": sustained_process,
        "n_processes_busiest_s": max(active.values(), default=0),
        "duration_s": ((tally.last_ns or 0) - (tally.first_ns or 0)) / 1e9,
    }
    return {name: max(value, tally.settled_rates.get(name, 0)) for name, value in found.items()}
