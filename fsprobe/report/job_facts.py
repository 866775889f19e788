"""The ranks and nodes of a job in words and rows: what the terminal, the HTML page and the Markdown say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fsprobe.model.formats import JsonObject
from fsprobe.report import facts, numbers

N_NAMED = 8
N_ALL = 16
"""Up to so many ranks each has a row; of more, those that stand out, and one row for the rest."""
N_ROWS = 14
N_NODES = 16
Format = Callable[[float | None], str]
SPREADS: tuple[tuple[str, str, Format], ...] = (
    ("wall_s", "wall, traced", numbers.seconds),
    ("startup_s", "start and import", numbers.seconds),
    ("n_metadata", "metadata calls", numbers.count),
    ("n_open", "opens", numbers.count),
    ("n_missing", "in vain", numbers.count),
    ("fs_time_s", "time in calls", numbers.seconds),
    ("peak_open_per_s", "opens/s, busiest 1 s", numbers.count),
)
"""Key of a rank's row, title, how the number is written."""
_SUMMED = ("n_metadata", "n_open", "n_stat", "n_missing")
_SLOWEST = ("slowest", "2nd slowest", "3rd slowest")
TRACED_RATES = "Rates are those under the tracer, which slows every call."


def who(job: JsonObject) -> str:
    """How many ranks were traced, of how many."""
    traced, size = job["n_ranks_traced"], job["n_ranks"]
    words = numbers.plural(traced, "rank")
    if size is not None and size != traced:
        words = f"{numbers.count(traced)} of {numbers.plural(size, 'rank')}"
    nodes = numbers.plural(job["n_nodes_traced"], "node")
    if job["n_nodes"] is not None and job["n_nodes"] != job["n_nodes_traced"]:
        nodes = f"{numbers.count(job['n_nodes_traced'])} of {numbers.plural(job['n_nodes'], 'node')}"
    return f"{words} on {nodes}"


def warnings(job: JsonObject) -> list[str]:
    """What is missing or went wrong, one sentence each."""
    lines = []
    absent = job["missing"]
    if absent["ranks"]:
        lines.append(f"no recording of {numbers.plural(absent['n'], 'rank')}: {named(map(str, absent['ranks']))}")
    elif absent["n"]:
        lines.append(f"no recording of {numbers.plural(absent['n'], 'node')}")
    if job["unreadable"]:
        n_files = numbers.plural(len(job["unreadable"]), "file")
        lines.append(f"{n_files} left out: {named(row['file'] for row in job['unreadable'])}")
    if job["killed"]:
        lines.append("killed: " + named(f"{row['of']} (signal {row['signal']})" for row in job["killed"]))
    if job["failed"]:
        lines.append("failed: " + named(f"{row['of']} (exit code {row['exit_code']})" for row in job["failed"]))
    if job["incomplete"]:
        lines.append("not complete: " + named(job["incomplete"]))
    if job["repeated"]:
        lines.append("more than one recording: " + named(job["repeated"]))
    if job["n_without_requests"]:
        lines.append(f"requests not observed in {numbers.plural(job['n_without_requests'], 'recording')}")
    if job["n_mounts_differ"]:
        lines.append("the nodes have different filesystems at one place: the first one met names it")
    return lines


def notes(job: JsonObject) -> list[str]:
    """The same in one line at most, for the top of a page that says more below."""
    found = warnings(job)
    return ["; ".join(found)] if found else []


def named(names: Iterable[Any]) -> str:
    """The first names, and how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {numbers.count(len(listed) - N_NAMED)} more" if len(listed) > N_NAMED else ""
    return ", ".join(listed[:N_NAMED]) + more


def estimate(job: JsonObject) -> tuple[str, str] | None:
    """The whole job where only some ranks were traced: (numbers in words, that they are an estimate and of what)."""
    scaled = job["scaled"]
    if scaled is None:
        return None
    metrics, requests = scaled["metrics"], scaled["requests"]
    words = f"{numbers.count(metrics['n_metadata'])} metadata calls, {numbers.count(metrics['n_open'])} opens"
    if requests is not None:
        words += f", {numbers.count(requests['metadata'])} requests from {numbers.plural(scaled['n_nodes'], 'node')}"
    return words, scaled["label"]


# ---- rows ---------------------------------------------------------------------------------------------------------


def spread_rows(job: JsonObject) -> list[JsonObject]:
    """How the ranks differ, one row a measure: texts, and where minimum, median, maximum and outliers lie (0 to 100)."""
    rows = []
    for name, title, show in SPREADS:
        found = job["spread"].get(name)
        if found is None:
            rows.append({"key": name, "title": title, "observed": False})
            continue
        longest = found["max"] or 1
        rows.append(
            {
                "key": name,
                "title": title,
                "observed": True,
                "min": show(found["min"]),
                "median": show(found["median"]),
                "max": show(found["max"]),
                "min_of": found["min_of"],
                "max_of": "all alike"
                if found["min"] == found["max"]
                else "half or more"
                if found["max"] == found["median"]
                else found["max_of"],
                "n_outliers": found["n_outliers"],
                "outliers": named(f"{entry['of']} ({show(entry['value'])})" for entry in found["outliers"]),
                "at": {part: round(100 * found[part] / longest, 2) for part in ("min", "median", "max")},
                "far": [round(100 * entry["value"] / longest, 2) for entry in found["outliers"]],
            }
        )
    return rows


def rank_rows(job: JsonObject) -> tuple[list[JsonObject], JsonObject | None]:
    """The ranks to show one by one, in their order, and one row for the others.

    Returns:
        Rows as in `job.ranks`, each with `why` it is shown (empty where all are) and `offset_s`, when it began after
        the first; and the rest: sums of calls, medians of times. None where all are shown.
    """
    rows: list[JsonObject] = job["ranks"]
    first_s = min((row["started_s"] for row in rows if row["started_s"] is not None), default=None)
    reasons = _reasons(job)
    if len(rows) <= N_ALL:
        shown, rest = rows, []
    else:
        chosen = set(list(reasons)[:N_ROWS])
        shown = [row for row in rows if row["key"] in chosen]
        rest = [row for row in rows if row["key"] not in chosen]
    made = [
        {**row, "why": "; ".join(reasons.get(row["key"], ())), "offset_s": _offset(row["started_s"], first_s)}
        for row in shown
    ]
    return made, _rest(rest) if rest else None


def _offset(started_s: float | None, first_s: float | None) -> float | None:
    return None if started_s is None or first_s is None else round(started_s - first_s, 3)


def _reasons(job: JsonObject) -> dict[str, list[str]]:
    """Who stands out and why: what went wrong first, then outliers, then the extremes."""
    found: dict[str, list[str]] = {}

    def note(name: str, why: str) -> None:
        words = found.setdefault(name, [])
        if why not in words:
            words.append(why)

    for row in job["killed"]:
        note(row["of"], f"killed by signal {row['signal']}")
    for row in job["failed"]:
        note(row["of"], f"exit code {row['exit_code']}")
    for name in job["incomplete"]:
        note(name, "not complete")
    titles = {name: title for name, title, _ in SPREADS}
    unlike: dict[str, list[str]] = {}
    for name, spread in job["spread"].items():
        for entry in (spread or {}).get("outliers", ()):
            unlike.setdefault(entry["of"], []).append(titles.get(name, name))
    for name, measures in unlike.items():
        note(name, "outlier in " + ", ".join(measures))
    for name, ordinal in zip(job["slowest"], _SLOWEST, strict=False):
        note(name, ordinal)
    for measure, least, most in (("wall_s", "fastest", ""), ("n_metadata", "fewest calls", "most calls")):
        spread = job["spread"].get(measure)
        # what half of the ranks have is no extreme
        if spread is not None and spread["min"] != spread["median"]:
            note(spread["min_of"], least)
        if spread is not None and spread["max"] != spread["median"] and most:
            note(spread["max_of"], most)
    return found


def _rest(rows: Sequence[JsonObject]) -> JsonObject:
    def middle(name: str) -> float | None:
        values = sorted(row[name] for row in rows if row[name] is not None)
        return values[len(values) // 2] if values else None

    rest: JsonObject = {name: sum(row[name] for row in rows) for name in _SUMMED}
    rest.update({name: middle(name) for name in ("wall_s", "startup_s", "fs_time_s", "peak_open_per_s")}, n=len(rows))
    return rest


def node_rows(job: JsonObject, n_most: int = N_NODES) -> tuple[list[JsonObject], JsonObject | None]:
    """The nodes to show, the busiest where there are many, and one row for the others."""
    rows: list[JsonObject] = job["nodes"]
    made = [{**row, "n_requests": facts.n_requests(row["requests"])} for row in rows]
    if len(made) <= n_most:
        return made, None
    by_calls = sorted(made, key=lambda row: (-row["n_metadata"], row["key"]))
    chosen = {row["key"] for row in by_calls[:n_most]}
    others = [row for row in made if row["key"] not in chosen]
    rest: JsonObject = {name: sum(row[name] for row in others) for name in (*_SUMMED, "n_recordings")}
    known = [row["n_requests"] for row in others if row["n_requests"] is not None]
    walls = [row["wall_s"] for row in others if row["wall_s"] is not None]
    rest.update(n=len(others), n_requests=sum(known) if known else None, wall_s=max(walls, default=None))
    return [row for row in made if row["key"] in chosen], rest


# ---- what stands above the tables ---------------------------------------------------------------------------------


def headline(profile: JsonObject) -> str:
    """One sentence: what all ranks together did, and how fast at the worst moment."""
    metrics, rates = profile["metrics"], profile["metrics"]["rates"]
    parts = [f"{numbers.count(metrics['n_metadata'])} metadata calls by {who(profile['job'])}"]
    parts.append(f"{numbers.count(metrics['n_missing'])} in vain")
    if rates.get("peak_metadata_per_s") is not None:
        parts.append(f"{numbers.rate(rates['peak_metadata_per_s'])} in the busiest second of all together")
    return ", ".join(parts) + "."


def reasons(profile: JsonObject) -> list[str]:
    """Why the verdict on a job is as it is, without what its sentence says already."""
    verdict = profile.get("verdict") or {}
    found = [str(reason) for reason in verdict.get("reasons") or ()]
    return found if verdict.get("level") == facts.LEVELS[0] else found[1:]


def head(profile: JsonObject, recording: str | None) -> list[tuple[str, str]]:
    """Label and text of what stands at the top of a job's report."""
    manifest, job = profile["manifest"], profile["job"]
    name = " ".join(str(manifest[key]) for key in ("job_id", "job_name") if manifest.get(key))
    rows = [("Job", name or "not of a batch system"), ("Traced", who(job)), ("Ranks asked for", str(job["selection"]))]
    usual = [row for row in facts.head(profile, recording) if row[0] not in ("Host", "Python", "Job", "Recording")]
    renamed = {"Exit code": "Exit code, the highest"}
    rows += [(renamed.get(label, label), value) for label, value in usual]
    if recording:
        rows.append(("File", recording))
    return rows


def figures(profile: JsonObject) -> list[facts.Figure]:
    """The key figures of a job: all ranks together, and what one of them comes to."""
    metrics, manifest, job = profile["metrics"], profile["manifest"], profile["job"]
    rates, spread = metrics["rates"], job["spread"]
    n_nodes = numbers.plural(job["n_nodes_traced"], "node")
    requests = facts.total_requests(profile)
    per_node = [row["n_requests"] for row in node_rows({**job, "nodes": job["nodes"][:N_NODES]})[0]]
    known = [n for n in per_node if n is not None]
    at_most = metrics.get("share_fs_time_at_most")
    guess = job["scaled"]
    return [
        facts.Figure(
            label="Metadata calls, all ranks",
            value=numbers.count(metrics["n_metadata"]),
            note=f"{_median(spread, 'n_metadata', numbers.count)} a rank; {numbers.count(metrics['n_open'])} open, "
            f"{numbers.count(metrics['n_stat'])} stat",
        ),
        facts.Figure(
            label="Looked up in vain",
            value=numbers.count(metrics["n_missing"]),
            note=f"{numbers.part_of(metrics['n_missing'], metrics['n_metadata'])} of the metadata calls",
        ),
        facts.Figure(
            label="Requests of cold nodes",
            value=numbers.count(requests),
            note=f"predicted; {numbers.count(max(known))} of the busiest of {n_nodes}"
            if known and job["n_nodes_traced"] <= N_NODES
            else f"predicted, from {n_nodes}"
            if requests is not None
            else "no prediction for this job",
        ),
        facts.Figure(
            label="Calls in the busiest second",
            value=numbers.rate(rates.get("peak_metadata_per_s")),
            note=f"all ranks together; {numbers.rate(rates.get('sustained_metadata_per_s'))} over 10 s",
        ),
        facts.Figure(
            label="Opens in the busiest second",
            value=numbers.rate(rates.get("peak_open_per_s")),
            note=f"all together; {numbers.rate(rates.get('peak_open_per_s_process'))} in one process",
        ),
        facts.Figure(
            label="Wall time of the job, traced",
            value=numbers.seconds(manifest.get("wall_s")),
            note=f"first start to last end; a rank {_median(spread, 'wall_s', numbers.seconds)}",
        ),
        facts.Figure(
            label="Start and import of a rank",
            value=_median(spread, "startup_s", numbers.seconds),
            note=f"median; the slowest {numbers.seconds(spread['startup_s']['max'])}"
            if spread.get("startup_s")
            else "",
        ),
        facts.Figure(
            label="Whole job, estimated",
            value=numbers.count(guess["metrics"]["n_metadata"]),
            note=f"metadata calls, scaled from {numbers.count(guess['n_traced'])} to {numbers.plural(guess['n_ranks'], 'rank')}",
        )
        if guess is not None
        else facts.Figure(
            label="Time in filesystem calls",
            value=f"at most {numbers.share(at_most)}" if at_most is not None else numbers.NOT_OBSERVED,
            note="of all ranks' time together",
        ),
    ]


def _median(spread: Mapping[str, Any], name: str, show: Format) -> str:
    found = spread.get(name)
    return show(found["median"]) if found else numbers.NOT_OBSERVED
