"""Each I/O call of fsprobe's own process fails, once and for good: output and exit code stay, and what is lost is said."""

from __future__ import annotations

import errno
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.evidence import Json, say
from benchmarks.robustness.trial import LINES, SCRATCH, Faults, build

ERRORS = (errno.EIO, errno.ENOSPC, errno.ESTALE)


def measure() -> Json:
    """Try the first and the last call of each kind of each command line, in turn once and for good; two lines at a time."""
    if SCRATCH in str(Path(__file__)):
        raise SystemExit(
            f"move this checkout: where its path holds {SCRATCH}, reading fsprobe's own modules would fail too"
        )
    found: Json = {"lines": [], "failed": []}
    with tempfile.TemporaryDirectory(prefix="fsprobe-faults-") as directory:
        place = Path(directory)
        shim = build(place)
        if shim is None:
            return {"lines": [], "failed": [], "why_not": "no C compiler"}

        def try_line(name: str) -> Json:
            (place / name).mkdir()
            faults = Faults(shim, place / name, LINES[name], is_run=LINES[name][0] == "run")
            row = _try_line(name, faults, found["failed"])
            say(f"  {name}: {row['n_failed']} of {row['n_tried']} failed")
            return row

        with ThreadPoolExecutor(2) as pool:
            found["lines"] = list(pool.map(try_line, LINES))
    return found


def _try_line(name: str, faults: Faults, failed: list[Json]) -> Json:
    kinds = faults.kinds()
    row: Json = {"line": name, "n_kinds": len(set(faults.calls())), "n_tried": 0, "n_reached": 0, "n_failed": 0}
    for number, at in enumerate(kinds):
        for_good = number % 2 == 1
        trial = faults.try_one(at, ERRORS[number % len(ERRORS)], for_good=for_good)
        row["n_tried"] += 1
        row["n_reached"] += trial.call != "(not reached)"
        row["n_failed"] += bool(trial.problems)
        for problem in trial.problems:
            how = "for good" if for_good else "once"
            failed.append({"line": name, "call": trial.call, "how": how, "problem": problem[:200].splitlines()[0]})
    return row
