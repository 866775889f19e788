"""Whether a run stays within limits, and which imports it is that went over: for tests that guard the start-up of a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fsprobe.analysis.gaps import gaps
from fsprobe.model.answers import Offender
from fsprobe.model.profile import Profile
from fsprobe.model.requests import RequestRow
from fsprobe.model.rows import PROGRAM, CallCounts, ModuleRow

NAMES = {"metadata": "metadata calls", "not_found": "failed lookups", "requests": "server requests"}
"""What can be limited, and how a report calls it."""
DOMINANT = 0.8
"""Where one import within another accounts for more than this share of its count, the inner one is named. A judgement."""
N_OFFENDERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How many of something a run may have."""

    name: str
    """a key of `NAMES`"""
    n_most: int
    because: str
    """where the limit comes from, as the user gave it"""
    is_explicit: bool = True
    """given by an option; one that only a baseline sets is left out where the run has no such count"""


def allowed(n_before: int, tolerance_percent: float) -> int:
    """The most that a run may have beside a baseline of `n_before`: so many per cent more, rounded down."""
    # a guard against 100 * 1.1 = 110.00000000000001, the other way round 0.1 % of 1000 must allow 1
    return int(n_before + n_before * tolerance_percent / 100 + 1e-9)


def offenders(profile: Profile, baseline: Profile | None, name: str) -> tuple[str, list[Offender]]:
    """What contributed most to a count, or to what it has more than the baseline.

    Args:
        profile: of the run.
        baseline: of an earlier run, or None.
        name: a key of `NAMES`.

    Returns:
        ("imports", rows) with the innermost imports that explain the count, most first; ("packages", rows) where one of the
        runs has no imports observed. At most `N_OFFENDERS`.
    """
    if profile.metrics.by_module is None or (baseline is not None and baseline.metrics.by_module is None):
        now = of_packages(profile, name)
        before = None if baseline is None else of_packages(baseline, name)
        rows = [_offender(key, n, before, ()) for key, n in now.items()]
        return "packages", _most(rows)
    now = of_imports(profile, name)
    before = None if baseline is None else of_imports(baseline, name)
    return "imports", _most(_culprits(profile.metrics.by_module, now, before))


def counted(profile: Profile, name: str) -> int | None:
    """How many of something a run had; None where it was not observed.

    Args:
        profile: of the run.
        name: a key of `NAMES`.
    """
    return profile.n_requests if name == "requests" else _of(profile.metrics, name)


def _of(counts: CallCounts, name: str) -> int:
    return counts.n_metadata if name == "metadata" else counts.n_not_found


def of_packages(profile: Profile, name: str) -> dict[str, int]:
    """The count by package."""
    if name == "requests":
        return _of_requests(profile.requests.by_package if profile.requests is not None else ())
    return {row.key: _of(row, name) for row in profile.metrics.by_package}


def of_imports(profile: Profile, name: str) -> dict[str, int]:
    """The count by import, with the imports within it."""
    rows = profile.metrics.by_module or ()
    if name != "requests":
        # what no import did has no cumulative count
        return {row.key: _cumulative(row, name) if row.key != PROGRAM else _of(row, name) for row in rows}
    own = _of_requests(profile.requests.by_module if profile.requests is not None else ())
    total = {row.key: own.get(row.key, 0) for row in rows}
    parents = {row.key: row.parent for row in rows}
    for key, n in own.items():
        seen, parent = {key}, parents.get(key)
        while parent is not None and parent not in seen:
            total[parent] = total.get(parent, 0) + n
            seen.add(parent)
            parent = parents.get(parent)
    return total


def _cumulative(row: ModuleRow, name: str) -> int:
    return row.n_metadata_cum if name == "metadata" else row.n_not_found_cum


def _of_requests(rows: Sequence[RequestRow]) -> dict[str, int]:
    return {row.key: row.n_metadata for row in rows}


def _culprits(rows: Sequence[ModuleRow], now: Mapping[str, int], before: Mapping[str, int] | None) -> list[Offender]:
    """From each import of the program itself down to the one that explains its count."""
    parents = {row.key: row.parent for row in rows}
    children: dict[str, list[str]] = {}
    for key, parent in parents.items():
        if parent is not None:
            children.setdefault(parent, []).append(key)
    more = {key: n - (before or {}).get(key, 0) for key, n in now.items()}
    found = []
    for root in (key for key in now if parents.get(key) is None or parents[key] not in now):
        key, through = root, []
        while more[key] > 0:
            inner = max(children.get(key, []), key=lambda child: more[child], default=None)
            if inner is None or more[inner] <= DOMINANT * more[key] or inner in through:
                break
            through.append(key)
            key = inner
        found.append(_offender(key, now[key], before, tuple(through)))
    return found


def _offender(key: str, n: int, before: Mapping[str, int] | None, through: tuple[str, ...]) -> Offender:
    return Offender(
        key=key,
        n=n,
        n_before=None if before is None else before.get(key, 0),
        is_new=before is not None and key not in before,
        through=through,
    )


def _most(rows: Sequence[Offender]) -> list[Offender]:
    kept = [row for row in rows if row.n_more > 0]
    return sorted(kept, key=lambda row: (-row.n_more, row.key))[:N_OFFENDERS]


def incomparable(profile: Profile, baseline: Profile) -> str:
    """Why the counts of two runs can't be set side by side; "" where they can."""
    if set(profile.manifest.capabilities) != set(baseline.manifest.capabilities):
        names = [one.manifest.backend or "another tracer" for one in (profile, baseline)]
        return f"one was observed by {names[0]}, the other by {names[1]}, which do not see the same calls"
    if profile.kind != baseline.kind:
        return f"one is a {profile.kind}, the other a {baseline.kind}"
    return ""


def different_conditions(profile: Profile, baseline: Profile) -> list[str]:
    """What differs between two runs beside the program, in words: it may explain a difference, and does not forgive it."""
    manifest, other = profile.manifest, baseline.manifest
    found = [] if manifest.command == other.command else ["the commands differ"]
    here, there = (one.python.version if one.python is not None else None for one in (manifest, other))
    # paths tell 3.11 where the interpreter would have said 3.11.7
    if here and there and not (f"{here}.".startswith(f"{there}.") or f"{there}.".startswith(f"{here}.")):
        found.append(f"Python {there} in the baseline, {here} here")
    return found


def untrustworthy(profile: Profile) -> str:
    """Why a run's counts are too small to acquit it; "" where they are all there."""
    manifest = profile.manifest
    if manifest.log_truncated:
        return f"the recording is not complete ({manifest.log_truncated})"
    if manifest.salvaged:
        return "the recording was salvaged: it may end before the run did"
    if manifest.attached:
        return "the recording was made of a running program: its start was not seen"
    return "; ".join(gaps(profile))
