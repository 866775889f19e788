"""The ticket: one archive with what a support desk asks for before it can help.

What centres ask for: what ran, where and when, on how many nodes and ranks; the filesystem and its mount; wall time as a
number, cold or warm; the environment's path and file count; a comparison; a script to run it again. Nothing here reads a
file or asks the machine: everything is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fsprobe import __version__
from fsprobe.capture.machine import ranks
from fsprobe.model.formats import JsonObject
from fsprobe.report import facts, markdown, numbers, sentences
from fsprobe.report.foreign import visible_in
from fsprobe.report.ticket.reproducer import Item, job_size

LEFT_OUT = (
    "file contents, and what was read or written",
    "environment variables, but for a fixed list that concerns Python, libraries, caches and the job",
    "arguments of other programs than the command itself, beyond program and script",
)
REDACTED = (
    "Names of users, home directories, projects, hosts and file servers are replaced, each by the same word everywhere; "
    "which stands for which is not stored.",
    "A name that is also an ordinary word (a user called `lib`, a project called as a package) is replaced only where it stands "
    "for the user or project: below home, project and scratch directories.",
    "Not hidden, and to be looked at by you before this is given away: names that nobody can know for such (a colleague's deeper "
    "below a project directory, what files, modules and data sets are called), names inside of longer words, text after `-c` in the "
    "command, the job's number, the cluster's software paths, the lengths of names (sizes of links and directories), times.",
)


# -- summary ------------------------------------------------------------------------------------------------------------


def summary(items: Sequence[Item], environment: Mapping[str, Any] | None, *, is_redacted: bool) -> str:
    """What ran, where, when, how long, on what, and what fsprobe says of it, as Markdown.

    Args:
        items: the files, in their order.
        environment: what a scan of the environment counted (`path`, `n_files`, `n_directories`, `n_bytes`, ...); None: not scanned.
        is_redacted: whether names were replaced.
    """
    lines = ["# Ticket: Python start-up and the filesystem", ""]
    if environment is not None:
        lines += _environment(environment)
    for item in items:
        shown = visible_in(item.profile)
        file = f" ({markdown.code(visible_in(item.file))})" if item.file else ""
        lines += [f"## {item.name}: {shown['kind']}{file}", ""]
        lines += markdown.table(
            ("Asked for", ""), ((label, markdown.text(value)) for label, value in answers(shown, environment))
        )
    for item in items:
        lines += [markdown.render(item.profile, f"recordings/{item.name}.fsprobe").rstrip("\n"), ""]
    lines += ["## What this ticket leaves out", "", *(f"- {line}" for line in LEFT_OUT), ""]
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


def answers(profile: JsonObject, environment: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Label and text of what a support desk asks first, for one file; what was not observed says so."""
    if profile["kind"] == "comparison":
        return _comparison_answers(profile)
    manifest = profile["manifest"]
    job = manifest.get("job") or {}
    rows = [
        ("What", facts.command_line(manifest) or numbers.NOT_OBSERVED),
        ("Where", _where(manifest, job)),
        ("When", facts.date(manifest)),
        ("Wall time, traced", numbers.seconds(manifest.get("wall_s"))),
        ("Cache, cold or warm", facts.known(manifest.get("cache"))),
        ("Nodes x ranks", nodes_and_ranks(profile)),
        ("Job", str(manifest.get("job_id") or job.get("SLURM_JOB_ID") or job.get("PBS_JOBID") or "none")),
        ("Filesystem", filesystem(profile)),
        ("Environment", environment_line(profile, environment)),
    ]
    verdict = profile.get("verdict") or {}
    if verdict:
        rows.append(("Verdict", str(verdict["sentence"])))
    titles = [f"{row['code']} {row['title']}" for row in facts.findings(profile)]
    none = "none" if profile.get("findings") is not None else "not looked for: see the recordings of the ranks"
    rows.append(("Findings", "; ".join(titles) or none))
    return rows


def _where(manifest: Mapping[str, Any], job: Mapping[str, Any]) -> str:
    parts = [str(manifest.get("host") or numbers.NOT_OBSERVED)]
    if job.get("SLURM_CLUSTER_NAME"):
        parts.append(f"cluster {job['SLURM_CLUSTER_NAME']}")
    if job.get("SLURM_JOB_PARTITION"):
        parts.append(f"partition {job['SLURM_JOB_PARTITION']}")
    if manifest.get("cwd"):
        parts.append(str(manifest["cwd"]))
    return ", ".join(parts)


def nodes_and_ranks(profile: JsonObject) -> str:
    """How many nodes and ranks the job had, and how many of them this is about."""
    if profile["kind"] == "job":
        section = profile["job"]
        traced = f"{numbers.plural(section['n_nodes_traced'], 'node')}, {numbers.plural(section['n_ranks_traced'], 'rank')} traced"
        return f"{numbers.count(section['n_nodes'])} x {numbers.count(section['n_ranks'])} ({traced})"
    job = {name: str(value) for name, value in (profile["manifest"].get("job") or {}).items()}
    rank = ranks.identify(job)
    n_nodes, n_ranks = job_size(job, rank)
    if n_nodes is None and n_ranks is None:
        return "no job that fsprobe knows: one process was started" if rank is None else numbers.NOT_OBSERVED
    which = (
        f" (this is rank {rank.number})" if rank is not None else " (this is the batch script, or outside of its ranks)"
    )
    return f"{numbers.count(n_nodes)} x {numbers.count(n_ranks)}{which}"


def filesystem(profile: JsonObject) -> str:
    """The filesystem that the run's calls went to, and the one that the environment lies on."""
    metrics = profile["metrics"]
    parts = []
    main = sentences.main_mount(metrics.get("by_mount") or [])
    if main is not None:
        share = numbers.part_of(main["n_metadata"], metrics["n_metadata"])
        kind = f"{main.get('fstype') or 'type not observed'}, {main.get('fs_class') or 'class not observed'}"
        parts.append(f"{main['key']} ({kind}): {share} of the metadata calls")
    prefix = (profile["manifest"].get("python") or {}).get("prefix")
    place = _mount_of(prefix, profile["manifest"].get("mounts") or []) if prefix else None
    if place is not None:
        parts.append(f"the environment is on {place['path']} ({place['fstype']})")
    return "; ".join(parts) or numbers.NOT_OBSERVED


def _mount_of(path: str, mounts: Sequence[JsonObject]) -> JsonObject | None:
    best = None
    for mount in mounts:
        point = str(mount["path"]).rstrip("/")
        if (path == point or path.startswith(point + "/")) and (
            best is None or len(point) >= len(best["path"].rstrip("/"))
        ):
            best = mount
    return best


def environment_line(profile: JsonObject, environment: Mapping[str, Any] | None) -> str:
    """The environment's path and how many files it has."""
    prefix = (profile["manifest"].get("python") or {}).get("prefix")
    if environment is None:
        return f"{prefix or numbers.NOT_OBSERVED}; files not counted (--env)"
    counted = f"{environment['path']}, {numbers.plural(environment['n_files'], 'file')}"
    return counted if prefix in (None, environment["path"]) else f"{prefix}; counted: {counted}"


def _comparison_answers(comparison: JsonObject) -> list[tuple[str, str]]:
    rows = [("What", facts.command_line(comparison) or numbers.NOT_OBSERVED)]
    rows += facts.comparison_head(comparison, None)
    rows.append(("Answer", facts.comparison_headline(comparison)))
    for row in comparison["rows"]:
        wall = row.get("wall_s") or {}
        rows.append(
            (
                f"Layout {row['layout']}",
                f"{row.get('where') or ''} ({row.get('fstype') or 'type not observed'}), cache "
                f"{facts.known(row.get('cache'))}: {numbers.seconds(wall.get('median'))} a start; "
                + facts.comparison_sentence(row, comparison),
            )
        )
    return rows


# -- the other texts ----------------------------------------------------------------------------------------------------


def versions(items: Sequence[Item], here: Mapping[str, Any]) -> JsonObject:
    """Versions of fsprobe, tracer, kernel and Python: those of the runs, and those with which the ticket was made."""
    rows = {}
    for item in items:
        profile = item.profile
        manifest = profile.get("manifest") or (profile["host"] if isinstance(profile.get("host"), dict) else {})
        python = manifest.get("python") or {}
        rows[item.name] = {
            **{
                name: manifest.get(name)
                for name in ("fsprobe_version", "fsprobe_python", "backend", "backend_version", "kernel", "machine")
            },
            "python": python.get("version"),
            "implementation": python.get("implementation"),
        }
    return {"ticket": {"fsprobe_version": __version__, **here}, "recordings": rows}


def job_facts(items: Sequence[Item]) -> JsonObject:
    """What the batch system and the launcher said of each run."""
    rows: JsonObject = {}
    for item in items:
        profile = item.profile
        manifest = profile.get("manifest") or (profile["host"] if isinstance(profile.get("host"), dict) else {})
        found = dict(manifest.get("job") or {})
        for name in ("job_id", "job_name"):
            if manifest.get(name) is not None:
                found[name] = manifest[name]
        if profile["kind"] == "job":
            section = profile["job"]
            found.update({name: section[name] for name in ("n_nodes", "n_ranks", "n_nodes_traced", "n_ranks_traced")})
        rows[item.name] = found
    return rows
