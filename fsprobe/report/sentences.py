"""The plain sentences of a report: what a first-timer can paste into a mail. Shared by terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence

from fsprobe import capabilities, numbers
from fsprobe.capabilities import MARKED, UNMARKED
from fsprobe.model.manifest import LayoutFacts
from fsprobe.model.profile import Profile
from fsprobe.model.rows import FAILED_IMPORTS, INSTALLED, NO_MODULES, UNASSIGNED, ModuleRow, MountRow, sum_of
from fsprobe.model.time.account import CPU, TimeAccount, TimePart, TimeRow
from fsprobe.report import request_facts

NOTHING_NOTED = "Nothing was observed: no interpreter in this run had fsprobe's hook (no Python; or -I, -E, -S or an emptied environment)."
OWN_SHARE = 0.05
"""The module with the most calls of its own, and the costliest import, are named where these are at least this share. A judgement."""
PASSED_ON = 0.8
"""An import that accounts for more than this share of the one that imported it says nothing new. A judgement."""
LEFT_OPEN = 0.05
"""Of estimated imports, the share of calls that may be of no import, or of another, up to which a number stands as it is. A judgement."""
SITES_OWN = ("sitecustomize", "usercustomize")
"""What Python's own `site` imports, or looks for."""
NOT_FOUND = "failed lookups (not found)"


def headline(profile: Profile) -> str:
    """One sentence: how many metadata calls and failed lookups, from which import; its numbers are of one whole each."""
    metrics = profile.metrics
    if is_unobserved(profile):
        return NOTHING_NOTED
    if profile.manifest.logs and not metrics.n_metadata:
        return "The log holds no call on a path."
    if not has_python(profile) or not profile.has_start:
        of = ""
    else:
        of = " to start and import" if any(row.key == "import" for row in metrics.by_phase) else " to start"
    whole = metrics.startup if of else metrics
    at_most = "up to " if of and metrics.n_unowned > LEFT_OPEN * whole.n_metadata else ""
    is_all = whole.n_metadata == metrics.n_metadata
    all_of_it = ", all" if of and is_all and whole.n_metadata > 1 and not at_most else ""
    parts = [f"{at_most}{numbers.plural(whole.n_metadata, 'metadata call')}{all_of_it}{of}"]
    parts.append(f"{numbers.count(whole.n_not_found)} of them {NOT_FOUND}")
    top = top_imports(profile, 2)
    if top and top[0].n_metadata_cum >= OWN_SHARE * whole.n_metadata:
        n = numbers.plural(top[0].n_metadata_cum, "call")
        if is_lower_bound(profile):
            if top[0].n_metadata_cum - sum(row.n_metadata_cum for row in top[1:]) >= metrics.n_of_no_import:
                parts.append(f"most in {top[0].key} itself (at least {n}, estimated)")
            else:
                parts.append(f"of {numbers.count(metrics.n_of_no_import)} the paths tell no import")
        elif profile.quality.n_estimated and not profile.quality.is_marked:
            # what it imports from other packages is not known to be its own
            parts.append(f"most in {top[0].key} itself ({n}, estimated)")
        else:
            parts.append(f"the costliest import is {top[0].key} ({n})")
    said = ", ".join(parts)
    where = _where(profile)
    if of and (at_most or not is_all):
        said += f"; {numbers.count(metrics.n_metadata)} in the whole run"
    return f"{said}{', ' + where if where else ''}."


def call_kinds(profile: Profile) -> str:
    """`88 open, 321 stat, 30 list`; a kind that a log did not trace is not observed."""
    metrics, absent = profile.metrics, profile.absent_calls
    table = (("open", metrics.n_open), ("stat", metrics.n_stat), ("list", metrics.n_list))
    return ", ".join(
        f"{name} {numbers.NOT_OBSERVED}" if name in absent else f"{numbers.count(n)} {name}" for name, n in table
    )


def _where(profile: Profile) -> str:
    """Where the calls of the whole run went."""
    metrics = profile.metrics
    place = main_mount(metrics.by_mount)
    if place is None or not place.fstype or not metrics.n_metadata:
        return ""
    share = place.n_metadata / metrics.n_metadata
    how_many = "nearly all" if share > 0.99 else numbers.share(share)
    return f"{how_many} on {place.key} ({place.fstype})"


def requests(profile: Profile, name: str = "request") -> str:
    """`6,836 requests`; where no file server is among those who would answer, `647 requests to local disks`."""
    if profile.requests is None:
        return f"{name}s {numbers.NOT_OBSERVED}"
    kind, n = request_facts.name_of(profile), profile.n_requests or 0
    said = numbers.plural(n, name if kind == "server requests" else "request")
    return f"{said} to local disks" if kind == "disk requests" else said


def is_unobserved(profile: Profile) -> bool:
    """Whether no process of the run was seen at all: its zeros are then no counts."""
    return profile.verdict is None and not profile.metrics.by_process


def has_python(profile: Profile) -> bool:
    """Whether an interpreter ran."""
    return any(row.kind == "python" for row in profile.metrics.by_process)


def main_mount(rows: Sequence[MountRow]) -> MountRow | None:
    """The mount to speak of: the busiest network one if it has a tenth of the calls, else the busiest."""
    n_metadata = sum_of(rows).n_metadata
    for row in rows:
        if row.fs_class == "network" and row.n_metadata * 10 >= n_metadata:
            return row
    return rows[0] if rows else None


def top_imports(profile: Profile, n: int) -> Sequence[ModuleRow]:
    """The imports that the program itself made (or of which nobody saw who made them), most calls first.

    One that several processes made has a single parent, which need not account for all of it: then it stands for itself.
    """
    rows = profile.metrics.by_module or ()
    cumulative = {row.key: row.n_metadata_cum for row in rows}
    return [
        row for row in rows if row.n_metadata_cum > cumulative.get(row.parent or "", 0) and row.key not in NO_MODULES
    ][:n]


def costly_imports(rows: Sequence[ModuleRow], n: int) -> Sequence[ModuleRow]:
    """The `n` imports worth a line, most cumulative calls first.

    One that only hands on to a single other import is left out for that one. The module with the most calls of its own is
    among them if these are many, however long the chain of imports that leads to it.
    """
    by_key = {row.key: row for row in rows}
    kept = []
    for row in rows:
        parent = by_key.get(row.parent or "")
        passed_on = parent is not None and 1 >= row.n_metadata_cum / max(1, parent.n_metadata_cum) > PASSED_ON
        if row.key not in NO_MODULES and row.n_metadata_cum and not passed_on:
            kept.append(row)
    shown = kept[:n]
    busiest = max((row for row in rows if row.key not in NO_MODULES), key=lambda row: row.n_metadata, default=None)
    least = OWN_SHARE * sum_of(rows).n_metadata
    if busiest is not None and busiest.n_metadata > least and busiest not in shown:
        shown = sorted([*shown[: n - 1], busiest], key=lambda row: -row.n_metadata_cum)
    return shown


def importer(row: ModuleRow, profile: Profile) -> str:
    """The module that imported another first; "" where nobody saw it."""
    if row.parent:
        return row.parent
    if row.key in SITES_OWN:
        return "site"
    return "" if profile.quality.n_estimated else "the program"


def imports_left(profile: Profile) -> str:
    """What of estimated imports stands in no row of the table; "" where nothing does."""
    rows = {row.key: row.n_metadata for row in profile.metrics.by_module or ()}
    parts = []
    if rows.get(UNASSIGNED):
        parts.append(f"{numbers.plural(rows[UNASSIGNED], 'call')} between imports not assigned")
    if rows.get(FAILED_IMPORTS):
        parts.append(
            f"{numbers.plural(rows[FAILED_IMPORTS], 'call')} of imports that failed, whose names no call holds"
        )
    if rows.get(INSTALLED):
        parts.append(
            f"{numbers.plural(rows[INSTALLED], 'call')} on the metadata of installed distributions, which do not tell who reads them"
        )
    if is_lower_bound(profile):
        parts.append("each row is therefore a lower bound")
    return "; ".join(parts)


def is_lower_bound(profile: Profile) -> bool:
    """Whether so much stands in no import's row that the rows hold only part of what their imports did."""
    return profile.metrics.n_of_no_import > LEFT_OPEN * profile.metrics.n_startup


def how_sure(profile: Profile) -> str:
    """How the numbers of an import are said, around `{}`."""
    if is_lower_bound(profile):
        return "at least {} (estimated)"
    return "{} (estimated)" if profile.quality.n_estimated and not profile.quality.is_marked else "{}"


def imports_title(profile: Profile) -> str:
    """What a table of imports shows."""
    return "Imports by top-level package" if profile.metrics.imports_by == "package" else "Costliest imports"


A_TRACER_ADDS = "a tracer (strace, ptrace) would add the dynamic loader, what runs before site, programs that are not Python, and durations"


def is_without_tracer(profile: Profile) -> bool:
    """Whether interpreters noted their own calls: nothing outside of them was seen."""
    return profile.manifest.lacks(capabilities.FOREIGN_PROGRAMS)


def backend_line(profile: Profile) -> str:
    """Which backend it was, how calls were assigned to imports, and what a better one would add."""
    manifest = profile.manifest
    version = f" {manifest.backend_version}" if manifest.backend_version else ""
    line = f"{manifest.backend or 'unknown backend'}{version}, {import_timing(profile)}"
    return f"{line}; {A_TRACER_ADDS}" if is_without_tracer(profile) else line


def import_timing(profile: Profile) -> str:
    """How calls were assigned to imports."""
    manifest, quality = profile.manifest, profile.quality
    if profile.metrics.by_process and all(row.kind in ("program", "launcher") for row in profile.metrics.by_process):
        return "no Python started"
    by = ", by package" if profile.metrics.imports_by == "package" else ""
    if manifest.markers == UNMARKED:
        return "import timing: estimated" + by
    if manifest.markers not in MARKED:
        return "imports not observed"
    if has_python(profile) and not quality.is_marked:
        return f"import timing: estimated{by} (imports not observed)" if quality.n_estimated else "imports not observed"
    return "import timing: exact"


def n_processes(profile: Profile) -> str:
    """How many processes made a call; each once, however many programs it became."""
    metrics = profile.metrics
    if not metrics.n_processes:
        return numbers.NOT_OBSERVED
    return ("at least " if metrics.n_processes_at_least else "") + numbers.count(metrics.n_processes)


def process_kinds(profile: Profile) -> str:
    """What these processes were, each by the last program that it ran."""
    processes = profile.metrics.processes
    names = {"python": "Python", "launcher": "launcher", "program": "other", "": "not known"}
    found = {kind: processes.get(kind, 0) for kind in names}
    if not found["python"]:  # there is nothing that a launcher would start
        found["program"] += found.pop("launcher")
        names["program"] = "no Python"
    kinds = {names[kind]: n for kind, n in found.items() if n}
    if len(kinds) == 1:
        return next(iter(kinds))
    return ", ".join(f"{numbers.count(n)} {name}" for name, n in kinds.items())


def paths_line(profile: Profile) -> str:
    """How many distinct paths there were."""
    metrics = profile.metrics
    return ("at least " if metrics.n_paths_at_least else "") + numbers.count(metrics.n_paths)


def layout_line(layout: LayoutFacts) -> str:
    """A storage layout in words."""
    what = {"squashfs": "image ", "overlay": "image ", "copy": "copy at "}.get(layout.kind, "")
    parts = [layout.label or layout.kind, f"{what}{layout.where}" if layout.where else ""]
    parts += [
        f"at {layout.at}" if layout.at else "",
        f"mounted by {layout.mount_how}" if layout.mount_how not in ("", layout.kind) else "",
    ]
    return ", ".join(part for part in parts if part)


TRUE_TIMES = "Times are the calls' own, from before each to after it, as the process itself saw them: observing adds nothing to them."


def share_pattern(profile: Profile) -> str:
    """How the share of the wall time that calls took is said; where there is a time account it is that of its bar."""
    if profile.time is not None and profile.time.metadata_s is not None:
        return "waiting {} of the time"
    if profile.manifest.shows(capabilities.TRUE_DURATIONS):
        return "{} of the time"
    if profile.metrics.tracing_overhead_us == 0:
        return "up to {} (overhead not known)"
    return "up to {} (overhead subtracted)"


def time_title(account: TimeAccount) -> str:
    """What the bar shows."""
    whose = f" of {numbers.count(account.n_ranks)} ranks, summed," if account.n_ranks > 1 else ""
    return f"Where the {numbers.seconds(account.wall_s)} of wall time{whose} went"


def part(found: TimePart) -> str:
    """How long a part of the bar is, and its share."""
    if found.key == CPU and found.time_s == 0:  # of a run that is long enough for a tick to be little
        return f"{numbers.cpu(0.0)} (<1%)"
    return f"{numbers.seconds(found.time_s)} ({numbers.share(found.share)})"


def slowest_title(row: TimeRow) -> str:
    """What the second bar of a job shows."""
    return f"of these {numbers.seconds(row.wall_s)} in the slowest, {row.key}"


def time_notes(account: TimeAccount) -> list[str]:
    """Overhead, page faults, bytes and the guess at the caches, one fact a text; for one line."""
    found = []
    if account.overhead_s:
        found.append(f"{numbers.seconds(account.overhead_s)} of tracing overhead subtracted")
    if account.cpu_total_s is not None and account.cpu_total_s > 1.02 * account.wall_s:
        found.append(f"{numbers.seconds(account.cpu_total_s)} of CPU time on several processors")
    if account.n_major_faults is not None:
        found.append(numbers.plural(account.n_major_faults, "major page fault"))
    if account.n_read_bytes is not None and account.n_reads:
        found.append(
            f"{numbers.size_bytes(account.n_read_bytes)} in {numbers.plural(account.n_reads, 'read')} of files"
        )
    elif account.read_bytes is not None:
        found.append(f"{numbers.size_bytes(account.read_bytes)} read")
    if account.cache_guess:
        found.append(f"caches were {account.cache_guess} (a guess from latencies)")
    return found
