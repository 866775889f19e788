"""Two jobs side by side: did their ranks make the same calls, and what do their nodes ask the file servers for."""

from __future__ import annotations

from collections.abc import Mapping

from fsprobe.model.formats import JsonObject

OPS = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change")
OURS = frozenset({"image", "memory", "pseudo"})
"""Classes of filesystems that a node answers for itself: what is asked of them reaches no server and no disk by name."""
N_PACKAGES = 10
IMAGE_NOTE = (
    "what an image answers is no request to a server: only the image is opened there, and its blocks are read, by the node's "
    "mount (2 metadata requests a node, in neither number)"
)


def compare_jobs(baseline: JsonObject, other: JsonObject) -> JsonObject:
    """Compare two profiles of kind "job"; everything is the other's over, or less, the baseline's.

    Returns:
        {"same_calls": bool, "alike": whether as many ranks and nodes were traced, "counts": {op: {"baseline", "other"}},
        "requests": {"baseline", "other", "ratio", "baseline_node", "other_node"} or None, "by_mount", "by_package": rows with
        both sides, those that differ first, "rates", "notes"}. A rank's share stands in `per_rank`.
    """
    sides = (baseline, other)
    counts = {
        name: {"baseline": baseline["metrics"][name], "other": other["metrics"][name]}
        for name in ("n_metadata", *OPS, "n_missing")
    }
    n_ranks = [side["job"]["n_recordings"] for side in sides]
    n_nodes = [side["job"]["n_nodes_traced"] for side in sides]
    is_alike = n_ranks[0] == n_ranks[1] and n_nodes[0] == n_nodes[1]
    return {
        "same_calls": all(row["baseline"] == row["other"] for row in counts.values()),
        "alike": is_alike,
        "counts": counts,
        "per_rank": {
            name: [row[side] / n for side, n in zip(("baseline", "other"), n_ranks, strict=True)]
            for name, row in counts.items()
        },
        "requests": _requests(baseline, other),
        "by_mount": _mounts(baseline, other),
        "by_package": _packages(baseline, other),
        "rates": {
            name: {"baseline": baseline["metrics"]["rates"].get(name), "other": other["metrics"]["rates"].get(name)}
            for name in ("peak_metadata_per_s", "sustained_metadata_per_s", "peak_open_per_s")
        },
        "notes": _notes(sides[0], sides[1], is_alike),
    }


def asked(profile: JsonObject) -> int | None:
    """Metadata requests of all nodes that reach a server, or a disk of the node; None where they were not predicted."""
    if profile["requests"] is None:
        return None
    classes = _classes(profile)
    by_mount = profile["requests"]["by_mount"]
    return sum(int(row["metadata"]) for key, row in by_mount.items() if classes.get(key) not in OURS)


def _classes(profile: JsonObject) -> Mapping[str, str | None]:
    found: dict[str, str | None] = {row["path"]: row["fs_class"] for row in profile["manifest"].get("mounts") or ()}
    found.update({row["key"]: row["fs_class"] for row in profile["metrics"]["by_mount"]})
    return found


def _requests(baseline: JsonObject, other: JsonObject) -> JsonObject | None:
    left, right = asked(baseline), asked(other)
    if left is None or right is None:
        return None
    return {
        "baseline": left,
        "other": right,
        "ratio": round(right / left, 6) if left else None,
        "baseline_node": round(left / max(1, baseline["job"]["n_nodes_traced"])),
        "other_node": round(right / max(1, other["job"]["n_nodes_traced"])),
    }


def _mounts(baseline: JsonObject, other: JsonObject) -> list[JsonObject]:
    """Each mount with its type on either side, and calls and requests there; one that is on one side only has None."""
    tables = [{row["key"]: row for row in side["metrics"]["by_mount"]} for side in (baseline, other)]
    requests = [(side["requests"] or {}).get("by_mount") for side in (baseline, other)]
    rows = []
    for key in dict.fromkeys([*tables[0], *tables[1]]):
        found = [table.get(key) for table in tables]
        known = [row for row in found if row is not None]
        if all(row["fs_class"] == "pseudo" for row in known):
            continue
        entry: JsonObject = {"key": key, "fs_class": known[-1]["fs_class"], "fstype": known[-1]["fstype"]}
        for name, row, asked_there in zip(("baseline", "other"), found, requests, strict=True):
            entry[name] = {
                "fstype": row["fstype"] if row is not None else None,
                "n_metadata": row["n_metadata"] if row is not None else 0,
                "n_requests": None if asked_there is None else asked_there.get(key, {}).get("metadata", 0),
            }
        rows.append(entry)
    return sorted(rows, key=lambda row: -max(row["baseline"]["n_metadata"], row["other"]["n_metadata"]))


def _packages(baseline: JsonObject, other: JsonObject) -> list[JsonObject]:
    """The packages whose calls differ most."""
    tables = [{row["key"]: row["n_metadata"] for row in side["metrics"]["by_package"]} for side in (baseline, other)]
    rows = [
        {"key": key, "baseline": tables[0].get(key, 0), "other": tables[1].get(key, 0)}
        for key in dict.fromkeys([*tables[0], *tables[1]])
    ]
    differing = [row for row in rows if row["baseline"] != row["other"]]
    return sorted(differing, key=lambda row: (-abs(row["other"] - row["baseline"]), row["key"]))[:N_PACKAGES]


def _notes(baseline: JsonObject, other: JsonObject, is_alike: bool) -> list[str]:
    notes = ["each job was traced once: its times say nothing, its calls do"]
    if not is_alike:
        notes.append("not as many ranks or nodes were traced in both: totals are not alike, look at what a rank does")
    for words, side in (("the first job", baseline), ("the other job", other)):
        job = side["job"]
        n_absent = job["missing"]["n"] or 0
        if n_absent or job["unreadable"]:
            notes.append(
                f"{words} lacks recordings: {n_absent} that should be there, {len(job['unreadable'])} that can't be read"
            )
        if job["killed"] or job["failed"]:
            notes.append(f"{len(job['killed']) + len(job['failed'])} ranks of {words} were killed or failed")
    if "image" in {row["fs_class"] for side in (baseline, other) for row in side["metrics"]["by_mount"]}:
        notes.append(IMAGE_NOTE)
    commands = [side["manifest"].get("command") for side in (baseline, other)]
    if commands[0] != commands[1]:
        notes.append("the commands differ")
    return notes
