"""The facts that the written reports (HTML, Markdown) share: who ran what, the key figures, the method and its limits."""

from __future__ import annotations

import datetime
import shlex
from dataclasses import dataclass

from fsprobe import numbers
from fsprobe.capabilities import TRUE_DURATIONS
from fsprobe.capture import shipped
from fsprobe.model.comparison import Comparison
from fsprobe.model.finding import Finding
from fsprobe.model.manifest import Manifest, PythonFacts
from fsprobe.model.profile import Profile
from fsprobe.report import caveats, request_facts, sentences

REQUESTS_CAVEAT = (
    "Requests are a prediction for a client with empty caches, by the rules of each mount's own client where they are known "
    "(NFS, Lustre), else by FUSE's."
)
SEVERITIES = ("critical", "warn", "info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One key figure with its unit and what to know about it."""

    label: str
    value: str
    note: str = ""


def command_line(of: Manifest | Comparison) -> str:
    """The command as one would type it."""
    return shlex.join(of.command or ())


def date(manifest: Manifest) -> str:
    """When the run started, UTC."""
    if manifest.started_s is None:
        return numbers.NOT_OBSERVED
    try:
        started = datetime.datetime.fromtimestamp(manifest.started_s, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):  # no year of the calendar
        return numbers.NOT_OBSERVED
    return started.strftime("%Y-%m-%d %H:%M:%S UTC")


def head(profile: Profile, recording: str | None) -> list[tuple[str, str]]:
    """Label and text of what stands at the top of a report."""
    manifest = profile.manifest
    python = manifest.python
    rows = [
        ("Host", manifest.host or numbers.NOT_OBSERVED),
        ("Started", date(manifest)),
        ("Exit code", _exit(manifest)),
        ("Cache", known(manifest.cache)),
        ("Backend", sentences.backend_line(profile)),
        ("Python", _python(python) if python else numbers.NOT_OBSERVED),
    ]
    if manifest.cwd:
        rows.append(("Directory", manifest.cwd))
    if manifest.label:
        rows.append(("Label", manifest.label))
    if manifest.layout is not None:
        rows.append(("Storage layout", sentences.layout_line(manifest.layout)))
    if manifest.job:
        rows.append(("Job", ", ".join(f"{name} {value}" for name, value in manifest.job.items())))
    if recording:
        rows.append(("Recording", recording))
    return rows


def _python(python: PythonFacts) -> str:
    told = " (told by the paths that it read)" if python.from_paths else ""
    return f"{known(python.version)}, {known(python.prefix)}{told}"


def _exit(manifest: Manifest) -> str:
    if manifest.signal:
        return f"killed by {manifest.signal_name}"
    return numbers.NOT_OBSERVED if manifest.exit_code is None else str(manifest.exit_code)


def how_it_failed(manifest: Manifest) -> str:
    """`failed (exit code 1)`, or which signal ended the command; "" where it succeeded or nobody saw it end."""
    if manifest.signal:
        return f"was ended by {manifest.signal_name} (exit code {128 + manifest.signal})"
    return f"failed (exit code {manifest.exit_code})" if manifest.exit_code else ""


def known(value: str | None) -> str:
    """A state that may be unknown, in words."""
    return numbers.NOT_OBSERVED if value in (None, "", "unknown") else str(value)


def key_figures(profile: Profile) -> list[Figure]:
    """The figures that a reader needs first; what was not observed says so."""
    metrics, manifest, rates = profile.metrics, profile.manifest, profile.metrics.rates
    user, requests, peak = manifest.user_s, profile.n_requests, rates.peak_open_per_s_process
    return [
        Figure(
            label="Metadata calls",
            value=numbers.count(metrics.n_metadata),
            note=sentences.call_kinds(profile),
        ),
        Figure(
            label="Failed lookups (not found)",
            value=numbers.count(metrics.n_not_found),
            note=f"{numbers.part_of(metrics.n_not_found, metrics.n_metadata)} of the metadata calls",
        ),
        Figure(
            label=requests_label(profile),
            value=numbers.count(requests),
            note="predicted, by each mount's own protocol" if requests is not None else "no prediction for this run",
        ),
        Figure(
            label="Distinct paths",
            value=sentences.paths_line(profile),
            note=f"{numbers.count(metrics.n_startup)} metadata calls before the program's own work"
            if sentences.has_python(profile)
            else "",
        ),
        time_in_calls(profile, "of the wall time"),
        Figure(
            label="Wall time, traced",
            value=numbers.seconds(manifest.wall_s),
            note=f"CPU {numbers.cpu(user)} user, {numbers.cpu(manifest.sys_s)} system"
            if user is not None
            else f"CPU {numbers.NOT_OBSERVED}",
        ),
        Figure(
            label="Opens in the busiest second",
            value=numbers.rate(peak),
            note=f"in one process; {numbers.rate(rates.peak_open_per_s)} in total" if peak is not None else "",
        ),
        Figure(
            label="Processes",
            value=sentences.n_processes(profile),
            note="; ".join(part for part in (sentences.process_kinds(profile), _paging(manifest)) if part),
        ),
    ]


def as_started(line: str, manifest: Manifest) -> str:
    """A command of ours as this fsprobe was started; plain where the report is for somebody else, whom our paths don't concern."""
    return line if manifest.disclosed else shipped.started(line)


CURED = ("FSP001",)
"""Findings that an image answers, whatever its own run still shows."""


def cure_of(finding: Finding, profile: Profile, recording: str) -> str:
    """What to type to try the cure of a finding; "" where `fsprobe fix` is no answer, or takes no such recording."""
    is_one_file = recording and ", layout " not in recording and profile.job is None
    if finding.code not in CURED or not is_one_file or profile.manifest.disclosed:  # whose paths are nobody's
        return ""
    return as_started(f"fsprobe fix {shlex.quote(recording)}", profile.manifest)


def commands(finding: Finding, profile: Profile, recording: str) -> list[str]:
    """What to type because of a finding, the cure first."""
    found = (as_started(line, profile.manifest) for line in finding.commands)
    return [line for line in (cure_of(finding, profile, recording), *found) if line]


def requests_label(profile: Profile) -> str:
    """What the figure of predicted requests is called."""
    return f"{sentence_case(request_facts.name_of(profile))}, cold cache"


def sentence_case(words: str) -> str:
    """Words as a sentence, or a label, begins."""
    return words[:1].upper() + words[1:]


def time_in_calls(profile: Profile, of: str) -> Figure:
    """The share of the time that was waiting in metadata calls, as the bar has it; without an account that of all time in them."""
    metrics, account = profile.metrics, profile.time
    if account is not None and account.metadata_s is not None:
        less = ", tracing overhead subtracted" if account.overhead_s else ""
        return Figure(
            label="Waiting in metadata calls",
            value=numbers.share(account.share(account.metadata_s)),
            note=f"{of}{less}; {numbers.seconds(account.metadata_s)}",
        )
    share = metrics.share_of_wall
    if share is None:
        return Figure(label="Time in metadata calls", value=numbers.NOT_OBSERVED, note=of)
    is_true = profile.manifest.shows(TRUE_DURATIONS)
    took = numbers.seconds(metrics.time_s)
    return Figure(
        label="Time in metadata calls",
        value=numbers.share(share) if is_true else f"up to {numbers.share(share)}",
        note=f"{of}; {took}" if is_true else f"{of}, tracing overhead subtracted; {took} as traced",
    )


def _paging(manifest: Manifest) -> str:
    faults, read = manifest.majflt, manifest.read_bytes
    faults_words = f"{numbers.count(faults)} major page faults" if faults is not None else "page faults not observed"
    return faults_words + (f", {numbers.size_bytes(read)} read" if read is not None else "")


def saving(finding: Finding, profile: Profile) -> str:
    """What a finding would save in this very run; empty where that can't be computed."""
    parts = []
    for name, total in (("calls", profile.metrics.n_metadata), ("requests", profile.n_requests)):
        n = finding.saves.get(name)
        if n:
            of = f" ({numbers.part_of(n, total)})" if total else ""
            parts.append(f"{numbers.count(n)} {name if n != 1 else name[:-1]}{of}")
    return " and ".join(parts)


def findings(profile: Profile) -> list[Finding]:
    """The findings, most severe first, in their own order otherwise."""
    rank = {name: number for number, name in enumerate(SEVERITIES)}
    return sorted(profile.findings, key=lambda finding: rank.get(finding.severity, len(rank)))


def method(profile: Profile) -> list[tuple[str, str]]:
    """How the numbers were made and what they leave out: (heading, text) pairs, true to this very run."""
    manifest, quality, metrics = profile.manifest, profile.quality, profile.metrics
    own = ", ".join(f"{numbers.count(n)} {name}" for name, n in quality.own_calls.items() if n)
    capabilities = ", ".join(manifest.capabilities) or numbers.NOT_OBSERVED
    overhead = metrics.tracing_overhead_us
    rows = [
        ("Backend", f"{sentences.backend_line(profile)}. Capabilities: {capabilities}."),
        (
            "fsprobe's own calls",
            f"{numbers.count(quality.n_own_calls)} (excluded): {own}."
            if quality.n_own_calls
            else "None was in the recording.",
        ),
        ("Quality", quality_sentence(profile)),
        (
            "Times",
            sentences.TRUE_TIMES
            if metrics.time_s is not None and manifest.shows(TRUE_DURATIONS)
            else "Times were taken under tracing, which slows every call; compare them with each other, not with an untraced run."
            + (f" Tracing overhead per call: some {overhead:.0f} us, included." if overhead else "")
            + (" The tracing overhead is included, and not known: each call waited." if overhead == 0 else "")
            if metrics.time_s is not None
            else "Not observed: this recording does not time calls.",
        ),
        (
            "Not seen",
            "Page faults (files mapped into memory are read without a call), reads and writes of open files, and what a "
            "warm cache of this machine answered that would be cold elsewhere.",
        ),
        (
            "Requests",
            profile.requests.caveat or REQUESTS_CAVEAT
            if profile.requests is not None
            else "Requests to a file server were not predicted for this run.",
        ),
    ]
    if profile.verdict is not None and profile.verdict.unseen:
        rows.append(("The verdict could not see", "; ".join(profile.verdict.unseen) + "."))
    return rows


def quality_sentence(profile: Profile) -> str:
    """What of the log could not be used, with numbers."""
    quality = profile.quality
    counted = ", ".join(
        f"{numbers.count(n)} {words}"
        for n, words in (
            (quality.n_unparsed, "not understood"),
            (quality.n_partial, "seen in part"),
            (quality.n_unfinished, "never returned"),
            *([(quality.n_unread_paths, "without a path")] if quality.n_unread_paths else []),
            *([(quality.n_lost, "lost")] if quality.n_lost else []),
            (quality.n_marks_lost, "imports' times lost"),
            (quality.n_marks_unread, "imports' times unread"),
            (quality.n_marks_unpaired, "imports without an end"),
        )
    )
    lines = [f"{numbers.count(quality.n_lines)} lines of log: {counted}."]
    lines += [line[:1].upper() + line[1:] + "." for line in caveats.quality_lines(profile)]
    return " ".join(lines)
