"""What a reader must know before the numbers: what may have failed, what was not observed, what was lost, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fsprobe import numbers
from fsprobe.model.manifest import Manifest
from fsprobe.model.profile import Profile, Quality
from fsprobe.report.sentences import is_without_tracer

N_PROGRAMS = 3
"""How many programs a line names."""
UNMARKED = {
    "options": "-E, -I or -S keeps fsprobe's hook out",
    "hidden": "fsprobe's directory is not there for it, as in a container; --tmp-dir names one of your own that is there inside and outside",
    "environment": "it was started without the environment",
    "lost": "fsprobe's hook could not write it",
    "aside": "fsprobe's hook did nothing in it, as in another user's process, in a sandbox, or in an interpreter that it does not know",
    "importlib": "fsprobe's hook ran and modules were loaded, but it was told of no import; this interpreter imports in a way that "
    "fsprobe does not know",
}
"""Why an interpreter's imports are not timed, by `analysis.attribution.program_images.UNMARKED`."""


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
    shown = [(name or "(name not known)", n) for name, n in list(programs.items())[:N_PROGRAMS]]
    named = [f"{name} ({n} times)" if n > 1 else name for name, n in shown]
    more = len(programs) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def quality_lines(profile: Profile) -> list[str]:
    """What a reader must know before trusting the numbers; empty for a clean run."""
    quality, manifest = profile.quality, profile.manifest
    if profile.job is not None:
        manifest = replace(manifest, tracers=())  # a job says of each in how many ranks it was
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
        lines.append(f"{manifest.backend} was used because {manifest.backend_why}")
    lines += _unread(quality, manifest)
    if quality.names_as_imported:
        names = ", ".join(quality.names_as_imported[:N_PROGRAMS])
        more = (
            f" and {len(quality.names_as_imported) - N_PROGRAMS} more"
            if len(quality.names_as_imported) > N_PROGRAMS
            else ""
        )
        lines.append(
            f"packages named as they are imported, not as they are installed: {names}{more} (the recording leaves it open, and its "
            "environment could not be read)"
        )
    if profile.metrics.n_unowned:
        lines.append(
            f"{numbers.plural(profile.metrics.n_unowned, 'call')} between imports may be the program's own: they count for the phase import"
        )
    if profile.metrics.imports_by == "package":
        lines.append("imports are shown by top-level package: the paths leave too many of their modules open")
    if manifest.lookups_left and profile.job is None:
        lines.append(
            "a rank that is not the first one of its node: that one has looked up links, directories that are missing and the owners of "
            "modules. `fsprobe merge` takes them from its recording; of this rank alone requests are roughly known, and packages go by "
            "the names of their modules. With --ranks all each rank looks for itself"
        )
    elif manifest.lookups_left:
        lines.append(
            "the first rank of a node has looked up links, directories that are missing and the owners of modules for the others of its node, "
            "but its recording is not here, or is of another program: requests of such ranks are roughly known, and their packages go by "
            "the names of modules"
        )
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
    "watched": "while the program watched its own calls (sys.setprofile, sys.settrace, sys.monitoring)",
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
            f"{numbers.plural(quality.n_lost, 'record')} lost for want of room, or with a process that was killed as it wrote: there were "
            "more calls than the numbers show"
        )
    if quality.unseen:
        n = sum(quality.unseen.values())
        lines.append(
            f"{numbers.plural(n, 'started program')} not seen, nor what {'it' if n == 1 else 'they'} did (static, setuid, 32-bit, in a sandbox, "
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
