"""The plain sentences of a report: what a first-timer can paste into a mail. Shared by terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence

from fsprobe.model.formats import JsonObject
from fsprobe.report import numbers

NO_IMPORT = "(not in an import)"
NOTHING_NOTED = "Nothing was observed: no interpreter in this run had fsprobe's hook (no Python; or -I, -E, -S or an emptied environment)."
PASSED_ON = 0.8
"""An import that accounts for more than this share of the one that asked for it says nothing new. A judgement."""


def headline(profile: JsonObject) -> str:
    """One sentence: how many metadata calls before the program did any work, where they went, in vain, from which import."""
    metrics = profile["metrics"]
    if is_unobserved(profile):
        return NOTHING_NOTED
    n_startup = metrics["n_startup"]
    if has_python(profile):
        parts = [f"{numbers.plural(n_startup, 'metadata call')} to start"]
        parts[0] += " and import" if any(row["key"] == "import" for row in metrics["by_phase"]) else ""
    else:
        parts = [numbers.plural(metrics["n_metadata"], "metadata call")]
    place = main_mount(metrics["by_mount"])
    if place is not None and place["fstype"] and metrics["n_metadata"]:
        share = place["n_metadata"] / metrics["n_metadata"]
        how_many = "nearly all" if share > 0.99 else numbers.share(share) + " of all"
        parts.append(f"{how_many} on {place['key']} ({place['fstype']})")
    parts.append(f"{numbers.count(metrics['n_missing'])} in vain")
    top = top_imports(profile, 1)
    if top:
        parts.append(f"most from {top[0]['key']}")
    return ", ".join(parts) + "."


def is_unobserved(profile: JsonObject) -> bool:
    """Whether no process of the run was seen at all: its zeros are then no counts."""
    return profile["manifest"].get("backend") == "audit" and not profile["metrics"]["by_process"]


def has_python(profile: JsonObject) -> bool:
    """Whether an interpreter ran."""
    return any(row["kind"] == "python" for row in profile["metrics"]["by_process"])


def main_mount(rows: Sequence[JsonObject]) -> JsonObject | None:
    """The mount to speak of: the busiest network one if it has a tenth of the calls, else the busiest."""
    total = sum(row["n_metadata"] for row in rows)
    for row in rows:
        if row["fs_class"] == "network" and row["n_metadata"] * 10 >= total:
            return row
    return rows[0] if rows else None


def top_imports(profile: JsonObject, n: int) -> list[JsonObject]:
    """The imports that the program itself asked for (or that nothing observed asked for), most calls first."""
    rows = profile["metrics"]["by_module"] or []
    top = [row for row in rows if row["parent"] is None and row["key"] != NO_IMPORT and row["n_metadata_cum"]]
    return top[:n]


def costly_imports(rows: Sequence[JsonObject]) -> list[JsonObject]:
    """The imports worth a line, most calls first: one that only hands on to a single other import is left out for that one."""
    by_key = {row["key"]: row for row in rows}
    kept = []
    for row in rows:
        parent = by_key.get(row["parent"])
        passed_on = parent is not None and row["n_metadata_cum"] > PASSED_ON * parent["n_metadata_cum"]
        if row["key"] != NO_IMPORT and row["n_metadata_cum"] and not passed_on:
            kept.append(row)
    return kept


A_TRACER_ADDS = "a tracer (strace, ptrace) would add the dynamic loader, what runs before site, programs that are not Python, and durations"


def backend_line(profile: JsonObject) -> str:
    """Which backend it was, how imports were told apart, and what a better one would add."""
    manifest = profile["manifest"]
    version = f" {manifest['backend_version']}" if manifest.get("backend_version") else ""
    ways = {
        "time": "imports marked by time",
        "access": "imports marked by visible calls",
        "both": "imports marked both ways",
        "none": "imports estimated from the paths",
        "inside": "imports marked inside the process",
    }
    name = manifest.get("backend") or "unknown backend"
    way = ways.get(str(manifest.get("markers")), "imports not observed")
    if (
        manifest.get("markers") in ("time", "access", "both", "inside")
        and has_python(profile)
        and not profile["quality"].get("is_marked", True)
    ):
        way = "imports not observed" + (", estimated from the paths" if profile["quality"].get("n_estimated") else "")
    line = f"{name}{version}, {way}"
    return f"{line}; {A_TRACER_ADDS}" if name == "audit" else line


def process_line(profile: JsonObject) -> str:
    """How many processes there were, and of what kinds."""
    kinds: dict[str, int] = {}
    for row in profile["metrics"]["by_process"]:
        if row["label"]:
            kinds[row["kind"]] = kinds.get(row["kind"], 0) + 1
    names = {"python": "Python", "launcher": "launcher", "program": "other"}
    return ", ".join(
        f"{kinds[kind]} {names.get(kind, kind)}" for kind in ("python", "launcher", "program") if kind in kinds
    )


UNMARKED = {
    "options": "-E, -I or -S keeps fsprobe's hook out",
    "hidden": "fsprobe's directory is not there for it, as in a container; --tmp-dir names one of your own that is there inside and outside",
    "environment": "it was started without the environment",
    "lost": "fsprobe's hook could not write them",
    "aside": "fsprobe's hook did nothing in it, as in another user's process or in an interpreter that it does not know",
    "importlib": "fsprobe's hook ran and modules were loaded, but no mark of an import came; this interpreter imports in a way that "
    "fsprobe does not know",
}
"""Why an interpreter's imports are not marked, by `analysis.images.UNMARKED`."""


def quality_lines(profile: JsonObject) -> list[str]:
    """What a reader must know before trusting the numbers; empty for a clean run."""
    quality, manifest = profile["quality"], profile["manifest"]
    lines = []
    if manifest.get("backend") == "audit":
        why = f" ({manifest['backend_why']})" if manifest.get("backend_why") else ""
        lines.append(
            f"no tracer{why}: interpreters noted their own calls. What a tracer would add is not observed, nor are interpreters under "
            "-I, -E, -S or without the environment. How to get a tracer: `fsprobe doctor`"
        )
        if manifest.get("n_python_without_events"):
            lines.append(
                f"{numbers.plural(manifest['n_python_without_events'], 'interpreter')} older than Python 3.8, which has no audit events: "
                "what open() opens is not observed, nor are changes (mkdir, rename, unlink, ...)"
            )
    elif manifest.get("backend_why"):
        lines.append(f"{manifest['backend']} was taken because {manifest['backend_why']}")
    if quality["n_unparsed"]:
        example = quality["unparsed_examples"][0] if quality["unparsed_examples"] else ""
        lines.append(f"{numbers.plural(quality['n_unparsed'], 'line')} of the log not understood, e.g. {example[:120]}")
    if quality["n_partial"]:
        lines.append(f"{numbers.plural(quality['n_partial'], 'call')} seen only in part")
    if quality["n_marks_lost"] or quality["n_marks_unread"]:
        lines.append("some import marks were lost: their calls count for the import around them")
    if quality.get("n_estimated"):
        lines.append(
            f"no markers for {numbers.count(quality['n_estimated'])} calls: which import they belong to is an estimate from the order of the paths"
        )
    if manifest.get("no_hook"):
        lines.append(
            f"no hook: there is no directory for it in which nobody else can write ({manifest['no_hook']}); "
            "XDG_CACHE_HOME can name one"
        )
    if manifest.get("hook_fstype"):
        lines.append(
            f"fsprobe's hook lies on {manifest['hook_fstype']}: each interpreter looks it up there, some calls of fsprobe's "
            "own that are not in the numbers"
        )
    for reason, n in (quality.get("unmarked") or {}).items():
        lines.append(f"{numbers.plural(n, 'interpreter')} without markers: {UNMARKED[reason]}")
    if profile["metrics"].get("n_paths_at_least"):
        lines.append("more distinct paths than are kept one by one: the rest share rows named (further paths)")
    if manifest.get("streamed"):
        lines.append("no log was kept (--stream): requests are not predicted")
    if manifest.get("attached"):
        lines.append(
            "attached to a running program: its start, and processes that it had started before, were not seen"
        )
    if quality["io_uring"]:
        lines.append("the program uses io_uring: what it opens that way can't be seen")
    if manifest.get("log_truncated"):
        lines.append(f"{manifest['log_truncated']}: what came after is not in the numbers")
    if manifest.get("descendants_left"):
        lines.append("processes that outlived the command are counted up to the end of the recording only")
    if manifest.get("salvaged"):
        lines.append("salvaged: fsprobe was killed, times and CPU were not observed")
    return lines
