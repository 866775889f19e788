"""The facts that the written reports (HTML, Markdown) share: who ran what, the key figures, the method and its limits."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fsprobe.model.formats import JsonObject
from fsprobe.report import numbers, sentences

REQUEST_KINDS = ("lookup", "open", "opendir", "readdir", "readlink")
"""What metadata requests consist of; `negative` is a part of `lookup`, and reads are left out."""
LEVELS = ("not the filesystem", "noticeable", "heavy", "danger")
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


def command_line(manifest: Mapping[str, Any]) -> str:
    """The command as one would type it."""
    words = manifest.get("command") or []
    return shlex.join(str(word) for word in words) if not isinstance(words, str) else words


def date(manifest: Mapping[str, Any]) -> str:
    """When the run started, UTC."""
    started = manifest.get("started_s")
    if started is None:
        return numbers.NOT_OBSERVED
    return datetime.datetime.fromtimestamp(started, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def head(profile: JsonObject, recording: str | None) -> list[tuple[str, str]]:
    """Label and text of what stands at the top of a report."""
    manifest = profile["manifest"]
    python = manifest.get("python") or {}
    rows = [
        ("Host", str(manifest.get("host") or numbers.NOT_OBSERVED)),
        ("Started", date(manifest)),
        ("Exit code", _exit(manifest)),
        ("Cache", known(manifest.get("cache"))),
        ("Backend", sentences.backend_line(profile)),
        ("Python", f"{python.get('version')}, {python.get('prefix')}" if python else numbers.NOT_OBSERVED),
    ]
    if manifest.get("cwd"):
        rows.append(("Directory", str(manifest["cwd"])))
    for name, label in (("label", "Label"), ("layout", "Layout")):
        if manifest.get(name):
            rows.append((label, str(manifest[name])))
    if manifest.get("job"):
        rows.append(("Job", ", ".join(f"{name} {value}" for name, value in manifest["job"].items())))
    if recording:
        rows.append(("Recording", recording))
    return rows


def _exit(manifest: Mapping[str, Any]) -> str:
    if manifest.get("signal"):
        return f"killed by signal {manifest['signal']}"
    return numbers.NOT_OBSERVED if manifest.get("exit_code") is None else str(manifest["exit_code"])


def known(value: Any) -> str:
    """A state that may be unknown, in words."""
    return numbers.NOT_OBSERVED if value in (None, "", "unknown") else str(value)


def n_requests(counts: Mapping[str, Any] | None) -> int | None:
    """Metadata requests of one row of `requests`; None where they were not predicted."""
    if not counts:
        return None
    found = [counts[name] for name in REQUEST_KINDS if counts.get(name) is not None]
    return sum(found) if found else None


def requests_table(profile: JsonObject, grouping: str) -> dict[str, JsonObject]:
    """`requests` by mount or package as key -> counts; empty where nothing was predicted."""
    table = (profile.get("requests") or {}).get(grouping) or {}
    if isinstance(table, Mapping):
        return {str(key): dict(counts) for key, counts in table.items()}
    return {str(row["key"]): dict(row) for row in table}


def total_requests(profile: JsonObject) -> int | None:
    """Metadata requests of the run, over all mounts but those that live in this machine's memory or kernel."""
    classes = {row["key"]: row.get("fs_class") for row in profile["metrics"].get("by_mount") or []}
    found = [
        n_requests(counts)
        for key, counts in requests_table(profile, "by_mount").items()
        if classes.get(key) not in ("memory", "pseudo")
    ]
    return sum(n for n in found if n is not None) if found else None


def key_figures(profile: JsonObject) -> list[Figure]:
    """The figures that a reader needs first; what was not observed says so."""
    metrics, manifest = profile["metrics"], profile["manifest"]
    rates = metrics.get("rates") or {}
    total = metrics["n_metadata"]
    user, system = manifest.get("user_s"), manifest.get("sys_s")
    at_most = metrics.get("share_fs_time_at_most")
    requests = total_requests(profile)
    peak = rates.get("peak_open_per_s_process")
    n_processes = len({row.get("pid", row["key"]) for row in metrics.get("by_process") or []})
    return [
        Figure(
            label="Metadata calls",
            value=numbers.count(total),
            note=f"{numbers.count(metrics['n_open'])} open, {numbers.count(metrics['n_stat'])} stat, "
            f"{numbers.count(metrics['n_list'])} list",
        ),
        Figure(
            label="Looked up in vain",
            value=numbers.count(metrics["n_missing"]),
            note=f"{numbers.part_of(metrics['n_missing'], total)} of the metadata calls",
        ),
        Figure(
            label="Requests of a cold client",
            value=numbers.count(requests),
            note="predicted; look-ups, opens, listings, links" if requests is not None else "no prediction in this run",
        ),
        Figure(
            label="Distinct paths",
            value=("at least " if metrics.get("n_paths_at_least") else "") + numbers.count(metrics.get("n_paths")),
            note=f"{numbers.count(metrics.get('n_startup'))} calls before the program's own work",
        ),
        Figure(
            label="Time in filesystem calls",
            value=f"at most {numbers.share(at_most)}" if at_most is not None else numbers.NOT_OBSERVED,
            note="of the wall time"
            + (f"; {numbers.seconds(metrics['fs_time_s'])} traced" if at_most is not None else ""),
        ),
        Figure(
            label="Wall time, traced",
            value=numbers.seconds(manifest.get("wall_s")),
            note=f"CPU {numbers.seconds(user)} user, {numbers.seconds(system)} system"
            if user is not None
            else f"CPU {numbers.NOT_OBSERVED}",
        ),
        Figure(
            label="Opens in the busiest second",
            value=numbers.rate(peak),
            note=f"in one process; {numbers.rate(rates.get('peak_open_per_s'))} in all" if peak is not None else "",
        ),
        Figure(
            label="Processes",
            value=numbers.count(n_processes),
            note=_paging(manifest),
        ),
    ]


def _paging(manifest: Mapping[str, Any]) -> str:
    faults, read = manifest.get("majflt"), manifest.get("read_bytes")
    faults_words = f"{numbers.count(faults)} major page faults" if faults is not None else "page faults not observed"
    return faults_words + (f", {numbers.size_bytes(read)} read" if read is not None else "")


def saving(finding: JsonObject, profile: JsonObject) -> str:
    """What a finding would save in this very run; empty where that can't be computed."""
    saves = finding.get("saves") or {}
    parts = []
    for name, total in (("calls", profile["metrics"]["n_metadata"]), ("requests", total_requests(profile))):
        n = saves.get(name)
        if n:
            of = f" ({numbers.part_of(n, total)})" if total else ""
            parts.append(f"{numbers.count(n)} {name if n != 1 else name[:-1]}{of}")
    return " and ".join(parts)


def findings(profile: JsonObject) -> list[JsonObject]:
    """The findings, most severe first, in their own order otherwise."""
    rank = {name: number for number, name in enumerate(SEVERITIES)}
    return sorted(profile.get("findings") or [], key=lambda row: rank.get(row.get("severity", ""), len(rank)))


def method(profile: JsonObject) -> list[tuple[str, str]]:
    """How the numbers were made and what they leave out: (heading, text) pairs, true to this very run."""
    manifest, quality = profile["manifest"], profile["quality"]
    own = {name: n for name, n in (quality.get("own") or {}).items() if n}
    observes = ", ".join(manifest.get("observes") or []) or numbers.NOT_OBSERVED
    floor = profile["metrics"].get("tracer_floor_us")
    taken = ", ".join(f"{numbers.count(n)} {name}" for name, n in own.items())
    rows = [
        ("Observed by", f"{sentences.backend_line(profile)}. It observes: {observes}."),
        (
            "Own traffic",
            f"{numbers.plural(sum(own.values()), 'call')} of fsprobe's own taken out ({taken})."
            if own
            else "No call of fsprobe's own was in the recording.",
        ),
        ("Quality", quality_sentence(profile)),
        (
            "Times",
            "Times were taken under the tracer, which slows every filesystem call; compare them with each other, not with an "
            "untraced run."
            + (f" Each call holds the tracer's own stop, some {floor:.0f} us here." if floor is not None else "")
            if profile["metrics"].get("fs_time_s") is not None
            else "Not observed: this recording does not time calls.",
        ),
        (
            "Not seen",
            "Page faults (files mapped into memory are read without a call), reads and writes of open files, and what a "
            "warm cache of this machine answered that would be cold elsewhere.",
        ),
        (
            "Requests",
            (profile.get("requests") or {}).get("caveat") or REQUESTS_CAVEAT
            if profile.get("requests")
            else "Requests to a file server were not predicted for this run.",
        ),
    ]
    unseen = (profile.get("verdict") or {}).get("unseen") or []
    if unseen:
        rows.append(("The verdict could not see", "; ".join(str(line) for line in unseen) + "."))
    return rows


def quality_sentence(profile: JsonObject) -> str:
    """What of the log could not be used, with numbers."""
    quality = profile["quality"]
    names = (
        ("n_unparsed", "not understood"),
        ("n_partial", "seen in part"),
        ("n_unfinished", "never returned"),
        ("n_marks_lost", "import marks lost"),
        ("n_marks_unread", "import marks unread"),
        ("n_marks_unpaired", "import marks without a pair"),
    )
    counted = ", ".join(f"{numbers.count(quality[name])} {words}" for name, words in names if name in quality)
    lines = [f"{numbers.count(quality.get('n_lines'))} lines of log: {counted}."]
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
