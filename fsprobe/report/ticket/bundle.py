"""The ticket: one archive with what a support desk asks for before it can help.

What centres ask for: what ran, where and when, on how many nodes and ranks; the filesystem and its mount; wall time as a
number, cold or warm; the environment's path and file count; a comparison; a script to run it again. Nothing here reads a
file or asks the machine: everything is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fsprobe import __version__, numbers
from fsprobe.capture.machine import ranks
from fsprobe.model.comparison import Comparison
from fsprobe.model.formats import JsonObject
from fsprobe.model.manifest import Manifest, MountFacts
from fsprobe.model.profile import Profile
from fsprobe.report import comparison_facts, facts, markdown, sentences
from fsprobe.report.foreign import visible_in
from fsprobe.report.ticket.reproducer import Item, job_size

LEFT_OUT = (
    "file contents, and what was read or written",
    "environment variables, but for a fixed list that concerns Python, libraries, caches and the job",
    "arguments of other programs than the command itself, beyond program and script",
    "passwords, tokens and keys, as far as their name, their place in a URL or their form tells them",
)
REDACTED = (
    "Names of users, home directories, projects, hosts, file servers and partitions are replaced, in every spelling, each by the same "
    "word everywhere; which stands for which is not stored.",
    "A name that is also an ordinary word (a user called `lib`, a project called as a package) is replaced only where it stands "
    "for the user or project: below home, project and scratch directories.",
    "Not hidden, and to be looked at by you before this is given away: names that nobody can know for such (a colleague's deeper "
    "below a project directory, what files, modules and data sets are called), names inside of longer words, text after `-c` in the "
    "command, the job's number, the cluster's software paths, the lengths of names (sizes of links and directories), times.",
)


# -- summary ------------------------------------------------------------------------------------------------------------


def summary(
    items: Sequence[Item], environment: Mapping[str, Any] | None, *, is_redacted: bool, has_secrets: bool = False
) -> str:
    """What ran, where, when, how long, on what, and what fsprobe says of it, as Markdown.

    Args:
        items: the files, in their order.
        environment: what a scan of the environment counted (`path`, `n_files`, `n_directories`, `n_bytes`, ...); None: not scanned.
        is_redacted: whether names were replaced.
        has_secrets: whether passwords, tokens or keys were.
    """
    lines = ["# Ticket: Python start-up and the filesystem", ""]
    if environment is not None:
        lines += _environment(environment)
    for item in items:
        shown = visible_in(item.value)
        file = f" ({markdown.code(visible_in(item.file))})" if item.file else ""
        lines += [f"## {item.name}: {shown.kind}{file}", ""]
        lines += markdown.table(
            ("Question", "Answer"), ((label, markdown.text(value)) for label, value in answers(shown, environment))
        )
    for item in items:
        lines += [markdown.render(item.value, f"recordings/{item.name}.fsprobe").rstrip("\n"), ""]
    lines += ["## What this ticket leaves out", "", *(f"- {line}" for line in LEFT_OUT), ""]
    if has_secrets:
        lines[-1:-1] = [
            "- values of options and variables named like a password, token or key (here `secret1`, `secret2`, ...)"
        ]
    lines += ["## Redaction", ""]
    lines += [*(f"- {line}" for line in REDACTED)] if is_redacted else ["None: names and paths are as they were."]
    return "\n".join(lines) + "\n"


def _environment(environment: Mapping[str, Any]) -> list[str]:
    shown = visible_in(dict(environment))
    rows = [
        ("Path", markdown.code(str(shown["path"]))),
        ("Files", numbers.count(shown["n_files"])),
        ("Directories", numbers.count(shown["n_directories"])),
        ("Symlinks", numbers.count(shown["n_symlinks"])),
        ("Size of the files", numbers.size_bytes(shown["n_bytes"])),
        ("Packages", numbers.count(shown["n_packages"])),
    ]
    if shown.get("python"):
        rows.append(("Python", markdown.text(str(shown["python"]))))
    rows += [("Does not fit this machine", markdown.text(str(reason))) for reason in shown.get("misfits") or ()]
    return ["## Environment, counted when the ticket was made", "", *markdown.table(("Environment", ""), rows)]


def answers(shown: Profile | Comparison, environment: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Label and text of what a support desk asks first, for one file; what was not observed says so."""
    if isinstance(shown, Comparison):
        return _comparison_answers(shown)
    manifest = shown.manifest
    job = manifest.job
    rows = [
        ("What", facts.command_line(manifest) or numbers.NOT_OBSERVED),
        ("Where", _where(manifest)),
        ("When", facts.date(manifest)),
        ("Wall time, traced", numbers.seconds(manifest.wall_s)),
        ("Cache, cold or warm", facts.known(manifest.cache)),
        ("Nodes x ranks", nodes_and_ranks(shown)),
        ("Job", manifest.job_id or job.get("SLURM_JOB_ID") or job.get("PBS_JOBID") or "none"),
        ("Filesystem", filesystem(shown)),
        ("Environment", environment_line(manifest, environment)),
    ]
    if shown.verdict is not None:
        rows.append(("Verdict", shown.verdict.sentence))
    titles = [f"{finding.code} {finding.title}" for finding in facts.findings(shown)]
    rows.append(("Findings", "; ".join(titles) or "none"))
    return rows


def _where(manifest: Manifest) -> str:
    job = manifest.job
    parts = [manifest.host or numbers.NOT_OBSERVED]
    if job.get("SLURM_CLUSTER_NAME"):
        parts.append(f"cluster {job['SLURM_CLUSTER_NAME']}")
    if job.get("SLURM_JOB_PARTITION"):
        parts.append(f"partition {job['SLURM_JOB_PARTITION']}")
    if manifest.cwd:
        parts.append(manifest.cwd)
    return ", ".join(parts)


def nodes_and_ranks(profile: Profile) -> str:
    """How many nodes and ranks the job had, and how many of them this is about."""
    job = profile.job
    if job is not None:
        traced = f"{numbers.plural(job.n_nodes_traced, 'node')}, {numbers.plural(job.n_ranks_traced, 'rank')} traced"
        return f"{numbers.count(job.n_nodes)} x {numbers.count(job.n_ranks)} ({traced})"
    variables = profile.manifest.job
    rank = ranks.identify(variables)
    n_nodes, n_ranks = job_size(variables, rank)
    if n_nodes is None and n_ranks is None:
        return "no job that fsprobe knows: one process was started" if rank is None else numbers.NOT_OBSERVED
    which = (
        f" (this is rank {rank.number})" if rank is not None else " (this is the batch script, or outside of its ranks)"
    )
    return f"{numbers.count(n_nodes)} x {numbers.count(n_ranks)}{which}"


def filesystem(profile: Profile) -> str:
    """The filesystem that the run's calls went to, and the one that the environment lies on."""
    metrics, python = profile.metrics, profile.manifest.python
    parts = []
    main = sentences.main_mount(metrics.by_mount)
    if main is not None:
        share = numbers.part_of(main.n_metadata, metrics.n_metadata)
        kind = f"{main.fstype or 'type not observed'}, {main.fs_class or 'class not observed'}"
        parts.append(f"{main.key} ({kind}): {share} of the metadata calls")
    place = _mount_of(python.prefix, profile.manifest.mounts) if python is not None and python.prefix else None
    if place is not None:
        parts.append(f"the environment is on {place.path} ({place.fstype})")
    return "; ".join(parts) or numbers.NOT_OBSERVED


def _mount_of(path: str, mounts: Sequence[MountFacts]) -> MountFacts | None:
    best = None
    for mount in mounts:
        point = mount.path.rstrip("/")
        if (path == point or path.startswith(point + "/")) and (
            best is None or len(point) >= len(best.path.rstrip("/"))
        ):
            best = mount
    return best


def environment_line(manifest: Manifest, environment: Mapping[str, Any] | None) -> str:
    """The environment's path and how many files it has."""
    prefix = manifest.python.prefix if manifest.python is not None else None
    if environment is None:
        return f"{prefix or numbers.NOT_OBSERVED}; files not counted (--env)"
    counted = f"{environment['path']}, {numbers.plural(environment['n_files'], 'file')}"
    return counted if prefix in (None, environment["path"]) else f"{prefix}; counted: {counted}"


def _comparison_answers(comparison: Comparison) -> list[tuple[str, str]]:
    rows = [("What", facts.command_line(comparison) or numbers.NOT_OBSERVED)]
    rows += comparison_facts.head(comparison, None)
    rows.append(("Answer", comparison_facts.headline(comparison)))
    for row in comparison.rows:
        median = row.wall_s.median if row.wall_s is not None else None
        rows.append(
            (
                f"Storage layout {row.layout}",
                f"{row.where} ({row.fstype or 'type not observed'}), cache "
                f"{facts.known(row.cache)}: {numbers.seconds(median)} a start; "
                + comparison_facts.sentence(row, comparison),
            )
        )
    return rows


# -- the other texts ----------------------------------------------------------------------------------------------------


def versions(items: Sequence[Item], here: Mapping[str, Any]) -> JsonObject:
    """Versions of fsprobe, tracer, kernel and Python: those of the runs, and those with which the ticket was made."""
    return {
        "ticket": {"fsprobe_version": __version__, **here},
        "recordings": {item.name: _versions(item.value) for item in items},
    }


def _versions(value: Profile | Comparison) -> JsonObject:
    if isinstance(value, Comparison):
        return {**{name: value.host.get(name) for name in _VERSIONS}, "python": None, "implementation": None}
    python = value.manifest.python
    return {
        **{name: getattr(value.manifest, name) or None for name in _VERSIONS},
        "python": python.version if python is not None else None,
        "implementation": python.implementation if python is not None else None,
    }


_VERSIONS = ("fsprobe_version", "fsprobe_python", "backend", "backend_version", "kernel", "machine")


def jobs_of(items: Sequence[Item]) -> JsonObject:
    """What the batch system and the launcher said of each run."""
    return {item.name: _job(item.value) for item in items}


def _job(value: Profile | Comparison) -> JsonObject:
    if isinstance(value, Comparison):
        return dict(value.host.get("job") or {})
    found: JsonObject = dict(value.manifest.job)
    for name in ("job_id", "job_name"):
        if getattr(value.manifest, name) is not None:
            found[name] = getattr(value.manifest, name)
    if value.job is not None:
        found.update(
            {name: getattr(value.job, name) for name in ("n_nodes", "n_ranks", "n_nodes_traced", "n_ranks_traced")}
        )
    return found
