"""Whether a run stays within limits, and which imports it is that went over: for tests that guard the start-up of a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fsprobe.model.formats import JsonObject

NAMES = {"metadata": "metadata calls", "missing": "in vain", "requests": "requests"}
"""What can be limited, and how a report calls it."""
DOMINANT = 0.8
"""An import that owes more than this share to one import within it is not to blame: the inner one is. A judgement."""
N_OFFENDERS = 10
OUTSIDE = "(not in an import)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How many of something a run may have."""

    name: str
    """a key of `NAMES`"""
    n_most: int
    because: str
    """where the limit comes from, as the user gave it"""
    is_asked: bool = True
    """asked for by name; one that only a baseline sets is left out where the run has no such count"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offender:
    """An import, and what it and the imports within it have more than it had in the baseline."""

    key: str
    n: int
    n_before: int | None
    """None where there is no baseline"""
    is_new: bool
    """imported in this run and not in the baseline"""
    through: tuple[str, ...]
    """the imports that it was reached through, outermost first"""

    @property
    def n_more(self) -> int:
        """What is held against it."""
        return self.n - (self.n_before or 0)


def allowed(n_before: int, tolerance_percent: float) -> int:
    """The most that a run may have beside a baseline of `n_before`: so many per cent more, rounded down."""
    # a guard against 100 * 1.1 = 110.00000000000001, the other way round 0.1 % of 1000 must allow 1
    return int(n_before + n_before * tolerance_percent / 100 + 1e-9)


def offenders(profile: JsonObject, baseline: JsonObject | None, name: str) -> tuple[str, list[Offender]]:
    """What contributed most to a count, or to what it has more than the baseline.

    Args:
        profile: of the run.
        baseline: of an earlier run, or None.
        name: a key of `NAMES`.

    Returns:
        ("imports", rows) with the innermost imports that explain the count, most first; ("packages", rows) where one of the
        runs has no imports observed. At most `N_OFFENDERS`.
    """
    profiles = [profile] if baseline is None else [profile, baseline]
    if any(one["metrics"]["by_module"] is None for one in profiles):
        now = of_packages(profile, name)
        before = None if baseline is None else of_packages(baseline, name)
        rows = [_offender(key, n, before, ()) for key, n in now.items()]
        return "packages", _most(rows)
    now = of_imports(profile, name)
    before = None if baseline is None else of_imports(baseline, name)
    return "imports", _most(_culprits(profile, now, before))


def of_packages(profile: JsonObject, name: str) -> dict[str, int]:
    """The count by package."""
    if name == "requests":
        return _of_requests(profile, "by_package")
    return {row["key"]: row[f"n_{name}"] for row in profile["metrics"]["by_package"]}


def of_imports(profile: JsonObject, name: str) -> dict[str, int]:
    """The count by import, with the imports within it."""
    rows = profile["metrics"]["by_module"] or []
    if name != "requests":
        # what is in no import has no cumulative count
        return {row["key"]: row[f"n_{name}_cum"] if row["key"] != OUTSIDE else row[f"n_{name}"] for row in rows}
    own = _of_requests(profile, "by_module")
    total = {row["key"]: own.get(row["key"], 0) for row in rows}
    parents = {row["key"]: row["parent"] for row in rows}
    for key, n in own.items():
        seen, parent = {key}, parents.get(key)
        while parent is not None and parent not in seen:
            total[parent] = total.get(parent, 0) + n
            seen.add(parent)
            parent = parents.get(parent)
    return total


def _of_requests(profile: JsonObject, grouping: str) -> dict[str, int]:
    table: Mapping[str, JsonObject] = (profile.get("requests") or {}).get(grouping) or {}
    return {key: int(row["metadata"]) for key, row in table.items()}


def _culprits(profile: JsonObject, now: Mapping[str, int], before: Mapping[str, int] | None) -> list[Offender]:
    """From each import that the program asked for down to the one that explains its count."""
    parents = {row["key"]: row["parent"] for row in profile["metrics"]["by_module"] or []}
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


def incomparable(profile: JsonObject, baseline: JsonObject) -> str:
    """Why the counts of two runs can't be set side by side; "" where they can."""
    observed = [set(one["manifest"].get("observes") or ()) for one in (profile, baseline)]
    if observed[0] != observed[1]:
        names = [one["manifest"].get("backend") or "another tracer" for one in (profile, baseline)]
        return f"one was observed by {names[0]}, the other by {names[1]}, which do not see the same calls"
    kinds = [one["kind"] for one in (profile, baseline)]
    if kinds[0] != kinds[1]:
        return f"one is a {kinds[0]}, the other a {kinds[1]}"
    return ""


def different_conditions(profile: JsonObject, baseline: JsonObject) -> list[str]:
    """What differs between two runs beside the program, in words: it may explain a difference, and does not forgive it."""
    manifest, other = profile["manifest"], baseline["manifest"]
    found = [] if manifest.get("command") == other.get("command") else ["the commands differ"]
    versions = [(one.get("python") or {}).get("version") for one in (manifest, other)]
    if versions[0] != versions[1]:
        found.append(f"Python {versions[1]} in the baseline, {versions[0]} here")
    return found


def untrustworthy(manifest: Mapping[str, object]) -> str:
    """Why a run's counts are too small to acquit it; "" where they are all there."""
    if manifest.get("log_truncated"):
        return f"the recording is not complete ({manifest['log_truncated']})"
    if manifest.get("salvaged"):
        return "the recording was salvaged: it may end before the run did"
    if manifest.get("attached"):
        return "the recording was made of a running program: its start was not seen"
    return ""
