"""The facts that the written reports (HTML, Markdown) share: who ran what, the key figures, the method and its limits."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from fsprobe.model.comparison import Comparison
from fsprobe.model.finding import Finding
from fsprobe.model.formats import JsonObject
from fsprobe.model.manifest import Manifest
from fsprobe.model.profile import Profile
from fsprobe.report import numbers, sentences

REQUEST_KINDS = ("lookup", "open", "opendir", "readdir", "readlink")
"""What metadata requests consist of; `negative` is a part of `lookup`, and reads are left out."""
LEVELS = ("not the filesystem", "noticeable", "heavy", "danger")
SERVER_REQUESTS = "Server requests, cold cache"
REQUESTS_CAVEAT = (
    "Requests are a prediction for a client with empty caches, validated against a FUSE file server, not against Lustre or "
    "NFS."
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
    return datetime.datetime.fromtimestamp(manifest.started_s, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


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
        ("Python", f"{known(python.version)}, {known(python.prefix)}" if python else numbers.NOT_OBSERVED),
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


def _exit(manifest: Manifest) -> str:
    if manifest.signal:
        return f"killed by signal {manifest.signal}"
    return numbers.NOT_OBSERVED if manifest.exit_code is None else str(manifest.exit_code)


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
            note=f"{numbers.count(metrics.n_open)} open, {numbers.count(metrics.n_stat)} stat, "
            f"{numbers.count(metrics.n_list)} list",
        ),
        Figure(
            label="Failed lookups (not found)",
            value=numbers.count(metrics.n_not_found),
            note=f"{numbers.part_of(metrics.n_not_found, metrics.n_metadata)} of the metadata calls",
        ),
        Figure(
            label=SERVER_REQUESTS,
            value=numbers.count(requests),
            note="predicted; lookups, opens, listings, links" if requests is not None else "no prediction for this run",
        ),
        Figure(
            label="Distinct paths",
            value=sentences.paths_line(profile),
            note=f"{numbers.count(metrics.n_startup)} metadata calls before the program's own work",
        ),
        time_in_calls(profile, "of the wall time, tracing overhead subtracted"),
        Figure(
            label="Wall time, traced",
            value=numbers.seconds(manifest.wall_s),
            note=f"CPU {numbers.seconds(user)} user, {numbers.seconds(manifest.sys_s)} system"
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


def time_in_calls(profile: Profile, of: str) -> Figure:
    """The share of the time that metadata calls took: measured under tracing, its overhead subtracted."""
    metrics = profile.metrics
    share = metrics.share_of_wall
    return Figure(
        label="Time in metadata calls",
        value=f"up to {numbers.share(share)}" if share is not None else numbers.NOT_OBSERVED,
        note=of + (f"; {numbers.seconds(metrics.time_s)} as traced" if share is not None else ""),
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
            "Times were taken under tracing, which slows every call; compare them with each other, not with an untraced run."
            + (f" Tracing overhead per call: some {overhead:.0f} us, included." if overhead is not None else "")
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
            (quality.n_marks_lost, "imports' times lost"),
            (quality.n_marks_unread, "imports' times unread"),
            (quality.n_marks_unpaired, "imports without an end"),
        )
    )
    lines = [f"{numbers.count(quality.n_lines)} lines of log: {counted}."]
    lines += [line[:1].upper() + line[1:] + "." for line in sentences.quality_lines(profile)]
    return " ".join(lines)


def n_compared(row: JsonObject) -> int | None:
    """Metadata requests for the environment of one layout; of all paths where the environment was not told apart."""
    requests = row.get("requests") or {}
    if requests.get("environment") is not None:
        return int(requests["environment"])
    return n_requests(requests)


def cpu_seconds(row: JsonObject) -> float | None:
    """Median user and system time of a layout's command together; None where it was not observed."""
    cpu = row.get("cpu_s")
    if isinstance(cpu, Mapping):
        medians = [cpu[name]["median"] for name in ("user", "sys") if cpu.get(name)]
        return sum(medians) if medians else None
    return cpu


def n_served(row: JsonObject) -> int | None:
    """Metadata requests that were counted for a layout, median over the runs; None where nobody counted.

    They are the file server's own count, else that of the node's client of the filesystem (see `counted_where`).
    """
    counted = row.get("server_requests") or row.get("client_counters")
    if not isinstance(counted, Mapping):
        return counted
    wanted = ("metadata",) if "metadata" in counted else REQUEST_KINDS
    found = [
        value["median"] if isinstance(value, Mapping) else value
        for name, value in counted.items()
        if name.lower() in wanted
    ]
    return round(sum(found)) if found else None


def counted_where(row: JsonObject) -> str:
    """Who counted the requests of `n_served`, in words."""
    return "at the server" if row.get("server_requests") else "by this node's client, of all its programs"


def comparison_sentence(row: JsonObject, comparison: JsonObject, *, with_certainty: bool = True) -> str:
    """What one layout of a comparison comes to, in words; with the interval of the ratio where it was computed."""
    if row.get("layout") == comparison.get("baseline"):
        return "the baseline"
    wall, verdict = row.get("ratio_wall"), str(row.get("verdict") or "")
    sure = certainty(row) if with_certainty else ""
    sure = f" ({sure})" if sure else ""
    parts = []
    if not wall:
        parts.append(verdict if verdict.startswith("not compared") else f"wall time {numbers.NOT_OBSERVED}")
    elif row.get("clear") is False:
        parts.append(f"{verdict or 'no clear difference'} in wall time{sure}")
    else:
        words = "faster" if wall < 1 else "slower"
        parts.append(f"{numbers.ratio(1 / wall if wall < 1 else wall)} {words}{sure}")
    requests = row.get("ratio_requests")
    if requests is not None:
        parts.append(requests_words(requests))
    return ", ".join(parts)


def certainty(row: JsonObject) -> str:
    """The interval of the ratio of wall times, as a factor of what the sentence says, and p; empty where not computed."""
    wall, low, high = (row.get(name) for name in ("ratio_wall", "ratio_wall_low", "ratio_wall_high"))
    if not wall or not low or not high:
        return ""
    clear = row.get("clear") is not False
    if str(row.get("verdict") or "").startswith("too few"):
        return f"{numbers.ratio(wall)} the time"
    ends = sorted(1 / value if clear and wall < 1 else value for value in (low, high))
    words = f"95 %: {numbers.ratio(ends[0])} to {numbers.ratio(ends[1])}"
    if not clear:
        words = f"{numbers.ratio(wall)} the time, {words}"
    return words + (f", p {row['p']:.2g}" if row.get("p") is not None else "")


def requests_words(ratio: float) -> str:
    """How many requests a layout makes, for a ratio of layout over baseline."""
    if ratio == 0:
        return "no requests left"
    if 0.95 < ratio < 1.05:
        return "as many requests" if 0.995 < ratio < 1.005 else "about as many requests"
    return f"{numbers.ratio(1 / ratio)} fewer requests" if ratio < 1 else f"{numbers.ratio(ratio)} the requests"


def comparison_head(comparison: JsonObject, recording: str | None) -> list[tuple[str, str]]:
    """Label and text of what stands at the top of a comparison."""
    host = comparison.get("host")
    rows = [
        ("Environment", str(comparison.get("environment") or numbers.NOT_OBSERVED)),
        ("Baseline", str(comparison.get("baseline") or numbers.NOT_OBSERVED)),
        ("Host", str((host.get("host") if isinstance(host, Mapping) else host) or numbers.NOT_OBSERVED)),
        ("Date", str(comparison.get("date") or numbers.NOT_OBSERVED)),
        ("Timed runs of each layout", numbers.count(comparison.get("n_runs"))),
    ]
    if comparison.get("make_cold"):
        rows.append(("Made cold by", str(comparison["make_cold"])))
    if recording:
        rows.append(("File", recording))
    return rows


def comparison_notes(comparison: JsonObject) -> list[str]:
    """What to mind before believing a comparison."""
    notes = [str(note) for note in comparison.get("notes") or []]
    failed = sorted({str(row["layout"]) for row in comparison["rows"] if any(row.get("exit_codes") or [])})
    if failed and not any(note.startswith("the command failed in ") for note in notes):
        notes.append(f"the command failed in {', '.join(failed)}")
    return notes


def comparison_headline(comparison: JsonObject) -> str:
    """The answer of a comparison in one sentence: the layout that is clearly fastest, or that none is."""
    baseline = comparison.get("baseline")
    faster = [
        row
        for row in comparison["rows"]
        if row.get("layout") != baseline and row.get("clear") and (row.get("ratio_wall") or 1) < 1
    ]
    if not faster:
        return f"No layout is clearly faster than {baseline}.{_fewest(comparison)}"
    best = min(faster, key=lambda row: row["ratio_wall"])
    cache = f" with a {best['cache']} cache" if best.get("cache") in ("cold", "warm") else ""
    return f"Against {baseline}, {best['layout']} does best{cache}: {comparison_sentence(best, comparison)}."


def _fewest(comparison: JsonObject) -> str:
    """Of layouts none of which is faster here: the one that asks the file server for the least, if that is a great deal less."""
    rows = [row for row in comparison["rows"] if row.get("ratio_requests") is not None]
    best = min(rows, key=lambda row: row["ratio_requests"], default=None)
    if best is None or best["ratio_requests"] > 0.5:
        return ""
    words = requests_words(best["ratio_requests"])
    return f" {best['layout']} has {words} to the file server: that counts where it is slow, or shared by many."
