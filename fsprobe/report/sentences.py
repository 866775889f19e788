"""The plain sentences of a report: what a first-timer can paste into a mail. Shared by terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fsprobe import capabilities
from fsprobe.model.manifest import LayoutFacts, Manifest
from fsprobe.model.profile import Profile, Quality
from fsprobe.model.rows import FAILED_IMPORTS, INSTALLED, NO_MODULES, UNASSIGNED, ModuleRow, MountRow, sum_of
from fsprobe.model.time.account import TimeAccount, TimeRow
from fsprobe.report import numbers

NOTHING_NOTED = "Nothing was observed: no interpreter in this run had fsprobe's hook (no Python; or -I, -E, -S or an emptied environment)."
OWN_SHARE = 0.05
"""The module with the most calls of its own is named where these are at least this share of all. A judgement."""
PASSED_ON = 0.8
"""An import that accounts for more than this share of the one that imported it says nothing new. A judgement."""
LEFT_OPEN = 0.05
"""Of estimated imports, the share of calls that may be of no import, or of another, up to which a number stands as it is. A judgement."""
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
    parts = [f"{at_most}{numbers.plural(whole.n_metadata, 'metadata call')}{of}"]
    parts.append(f"{numbers.count(whole.n_not_found)} of them {NOT_FOUND}")
    top = top_imports(profile, 2)
    if top:
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
    if of:
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
    """The imports that the program itself made (or of which nobody saw who made them), most calls first."""
    rows = profile.metrics.by_module or ()
    return [row for row in rows if row.parent is None and row.key not in NO_MODULES and row.n_metadata_cum][:n]


def costly_imports(rows: Sequence[ModuleRow], n: int) -> Sequence[ModuleRow]:
    """The `n` imports worth a line, most cumulative calls first.

    One that only hands on to a single other import is left out for that one. The module with the most calls of its own is
    among them if these are many, however long the chain of imports that leads to it.
    """
    by_key = {row.key: row for row in rows}
    kept = []
    for row in rows:
        parent = by_key.get(row.parent or "")
        passed_on = parent is not None and row.n_metadata_cum > PASSED_ON * parent.n_metadata_cum
        if row.key not in NO_MODULES and row.n_metadata_cum and not passed_on:
            kept.append(row)
    shown = kept[:n]
    busiest = max((row for row in rows if row.key not in NO_MODULES), key=lambda row: row.n_metadata, default=None)
    least = OWN_SHARE * sum_of(rows).n_metadata
    if busiest is not None and busiest.n_metadata > least and busiest not in shown:
        shown = sorted([*shown[: n - 1], busiest], key=lambda row: -row.n_metadata_cum)
    return shown


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
    by = ", by package" if profile.metrics.imports_by == "package" else ""
    if manifest.markers == "none":
        return "import timing: estimated" + by
    if manifest.markers not in ("time", "access", "both", "inside", "ring"):
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
    return ", ".join(f"{numbers.count(processes[kind])} {name}" for kind, name in names.items() if processes.get(kind))


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


UNMARKED = {
    "options": "-E, -I or -S keeps fsprobe's hook out",
    "hidden": "fsprobe's directory is not there for it, as in a container; --tmp-dir names one of your own that is there inside and outside",
    "environment": "it was started without the environment",
    "lost": "fsprobe's hook could not write it",
    "aside": "fsprobe's hook did nothing in it, as in another user's process or in an interpreter that it does not know",
    "importlib": "fsprobe's hook ran and modules were loaded, but it was told of no import; this interpreter imports in a way that "
    "fsprobe does not know",
}
"""Why an interpreter's imports are not timed, by `analysis.attribution.program_images.UNMARKED`."""


TRUE_TIMES = "Times are the calls' own, from before each to after it, as the process itself saw them: observing adds nothing to them."
N_PROGRAMS = 3
"""How many programs a line names."""


def share_pattern(profile: Profile) -> str:
    """How the share of the wall time that calls took is said; where there is a time account it is that of its bar."""
    if profile.time is not None and profile.time.metadata_s is not None:
        return "{} of the time waiting"
    if profile.manifest.shows(capabilities.TRUE_DURATIONS):
        return "{} of the time"
    if profile.metrics.tracing_overhead_us == 0:
        return "up to {} (overhead not known)"
    return "up to {} (overhead subtracted)"


def alarms(profile: Profile) -> list[str]:
    """What comes before everything else: programs that may have failed because they were observed."""
    failed = profile.quality.not_started
    if not failed:
        return []
    return [
        f"{numbers.plural(sum(failed.values()), 'program')} ended with exit code 127 while the loader was starting it: {_programs(failed)}. "
        "The recorder may be the cause (too little room for static TLS): record again with a tracer (--backend strace or ptrace)."
    ]


def _programs(programs: Mapping[str, int]) -> str:
    """Names of programs, the most frequent first."""
    named = [f"{name} ({n} times)" if n > 1 else name for name, n in list(programs.items())[:N_PROGRAMS]]
    more = len(programs) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def quality_lines(profile: Profile) -> list[str]:
    """What a reader must know before trusting the numbers; empty for a clean run."""
    quality, manifest = profile.quality, profile.manifest
    lines = []
    if is_without_tracer(profile):
        why = f" ({manifest.backend_why})" if manifest.backend_why else ""
        lines.append(
            f"no tracer{why}: interpreters noted their own calls. What a tracer would add is not observed, nor are interpreters under "
            "-I, -E, -S, without the environment or as another user. How to get a tracer: `fsprobe doctor`"
        )
        if manifest.n_python_without_events:
            lines.append(
                f"{numbers.plural(manifest.n_python_without_events, 'interpreter')} older than Python 3.8, which has no audit events: "
                "what open() opens is not observed, nor are changes (mkdir, rename, unlink, ...)"
            )
    elif manifest.backend_why:
        lines.append(f"{manifest.backend} was taken because {manifest.backend_why}")
    lines += _unread(quality, manifest)
    if profile.metrics.n_unowned:
        lines.append(
            f"{numbers.plural(profile.metrics.n_unowned, 'call')} between imports may be the program's own: they count for the phase import"
        )
    if profile.metrics.imports_by == "package":
        lines.append("imports are shown by top-level package: the paths leave too many of their modules open")
    if manifest.no_hook:
        lines.append(
            f"no hook: there is no directory for it in which nobody else can write ({manifest.no_hook}); "
            "XDG_CACHE_HOME can name one"
        )
    if manifest.hook_fstype:
        lines.append(
            f"fsprobe's hook lies on {manifest.hook_fstype}: each interpreter looks it up there, some calls of fsprobe's "
            "own that are not in the numbers"
        )
    for reason, n in quality.unmarked.items():
        lines.append(f"{numbers.plural(n, 'interpreter')} without import timing: {UNMARKED.get(reason, reason)}")
    if profile.metrics.n_paths_at_least:
        lines.append("more distinct paths than are kept one by one: the rest share rows named (further paths)")
    if manifest.streamed:
        lines.append("no log was kept (--stream): requests are not predicted")
    if manifest.attached:
        lines.append(
            "attached to a running program: its start, and processes that it had started before, were not seen"
        )
    if quality.io_uring:
        lines.append("the program uses io_uring: what it opens that way can't be seen")
    if manifest.log_truncated:
        lines.append(f"{manifest.log_truncated}: what came after is not in the numbers")
    if manifest.log_compressed_bytes:
        lines.append(
            f"the log lay in memory with a limit, or where there was little room: {numbers.size_bytes(manifest.log_compressed_bytes)} of it "
            "were compressed while the command ran, some of the CPU time beside it"
        )
    if manifest.descendants_left:
        lines.append("processes that outlived the command are counted up to the end of the recording only")
    if manifest.salvaged:
        lines.append("salvaged: fsprobe was killed, times and CPU were not observed")
    return lines


UNREAD = {
    "room": "for want of room where the hook writes",
    "watched": "while the program watched its own calls (sys.setprofile, sys.settrace)",
    "processes": "as more processes were forked off than have a place to write",
    "damaged": "in lines that are not as the hook writes them",
    "thread": "of threads that are not known",
}
"""Where the marks of imports went, by `events.marks.UNREAD`."""


def _why_unread(quality: Quality) -> str:
    """Each reason with its number."""
    said = [
        f"{numbers.plural(n, 'mark')} {UNREAD.get(reason, reason)}"
        for reason, n in quality.marks_unread.items()
        if reason != "file"
    ]
    if quality.marks_unread.get("file"):
        said.append(f"{numbers.plural(quality.marks_unread['file'], 'file')} of marks could not be read")
    rest = quality.n_marks_unread - sum(quality.marks_unread.values())
    said += [f"{numbers.plural(rest, 'mark')} for a reason that the recording does not tell"] if rest > 0 else []
    if quality.n_marks_lost:
        said.append(f"the hook of {numbers.plural(quality.n_marks_lost, 'interpreter')} could not write")
    return "; ".join(said)


def _estimated(quality: Quality) -> str:
    """How imports were estimated, and how far that goes."""
    said = f"import timing: estimated for {numbers.plural(quality.n_estimated, 'call')} from the paths and their order"
    if not quality.n_not_told or quality.expected_error is None:
        return said
    n = numbers.count(quality.n_not_told)
    return (
        f"{said}, which do not tell the module of {n} (up to {numbers.share(quality.expected_error)} of opens or stats)"
    )


def _unread(quality: Quality, manifest: Manifest) -> list[str]:
    """What of the log could not be used, what is not in it, and what was estimated for it."""
    lines = []
    if quality.n_lost:
        lines.append(
            f"{numbers.plural(quality.n_lost, 'record')} lost for want of room: there were more calls than the numbers show"
        )
    if quality.unseen:
        n = sum(quality.unseen.values())
        lines.append(
            f"{numbers.plural(n, 'started program')} not seen, nor what {'it' if n == 1 else 'they'} did (static, setuid, 32-bit, "
            f"without the environment, or a starter of containers or jobs): {_programs(quality.unseen)}"
        )
    if quality.by_preload:
        lines.append(
            f"{numbers.plural(sum(quality.by_preload.values()), 'program')} without the dynamic loader's own calls, since another library "
            f"is preloaded: {_programs(quality.by_preload)}"
        )
    if quality.n_unparsed:
        example = quality.unparsed_examples[0] if quality.unparsed_examples else ""
        lines.append(f"{numbers.plural(quality.n_unparsed, 'line')} of the log not understood, e.g. {example[:120]}")
    if quality.n_unread_paths:
        lines.append(
            f"{numbers.plural(quality.n_unread_paths, 'call')} without a path: the program lets nobody look into it, or something "
            "forbids that; who they were for is not known"
        )
    if manifest.tracers or quality.n_refused_traces:
        tried = numbers.plural(quality.n_refused_traces, "attempt") if quality.n_refused_traces else ""
        names = " and ".join(manifest.tracers) or "a program"
        lines.append(
            f"{names} would trace others{f' ({tried} refused)' if tried else ''}, which a program that is traced can't: what it "
            "would have done is not in the numbers; --backend audit or inline leaves it alone"
        )
    if quality.n_untraced:
        lines.append(
            f"{numbers.plural(quality.n_untraced, 'process', 'processes')} that no tracer may follow (CLONE_UNTRACED): traced calls of such a "
            "process fail under strace; --backend ptrace follows it, audit and inline leave it alone"
        )
    if quality.n_partial:
        lines.append(f"{numbers.plural(quality.n_partial, 'call')} seen only in part")
    if quality.n_marks_lost or quality.n_marks_unread:
        lines.append(
            f"import timing was lost in part ({_why_unread(quality)}): those calls count for the import around them"
        )
    if quality.n_estimated:
        lines.append(_estimated(quality))
    return lines


def time_title(account: TimeAccount) -> str:
    """What the bar shows."""
    whose = f" of {numbers.count(account.n_ranks)} ranks, summed," if account.n_ranks > 1 else ""
    return f"Where the {numbers.seconds(account.wall_s)} of wall time{whose} went"


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
