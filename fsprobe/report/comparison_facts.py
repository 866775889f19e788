"""What a comparison comes to, in words and labelled facts: terminal, HTML page, Markdown, plot and ticket share them."""

from __future__ import annotations

from fsprobe import numbers
from fsprobe.capture.machine.mounts import classify
from fsprobe.model.comparison import Comparison, LayoutRow
from fsprobe.model.rows import OURS
from fsprobe.report import facts, request_facts

GENTLE_SHARE = 0.5
"""A layout with at most this part of the baseline's requests is worth having even where it is no faster here. A judgement."""


def sentence(row: LayoutRow, comparison: Comparison, *, with_certainty: bool = True) -> str:
    """What one storage layout comes to, in words; with the interval of the ratio where it was computed."""
    if row.layout == comparison.baseline:
        return "the baseline"
    wall = row.ratio_wall
    sure = certainty(row) if with_certainty else ""
    sure = f" ({sure})" if sure else ""
    parts = []
    if not wall:
        parts.append(row.verdict if row.verdict.startswith("not compared") else f"wall time {numbers.NOT_OBSERVED}")
    elif row.clear is False:
        parts.append(f"{row.verdict or 'no clear difference'} in wall time{sure}")
    else:
        words = "faster" if wall < 1 else "slower"
        parts.append(f"{numbers.ratio(1 / wall if wall < 1 else wall)} {words}{sure}")
    if row.ratio_requests is not None:
        parts.append(requests_words(row.ratio_requests))
    return ", ".join(parts)


def certainty(row: LayoutRow) -> str:
    """The interval of the ratio of wall times, as a factor of what the sentence says, and p; empty where not computed."""
    wall, low, high = row.ratio_wall, row.ratio_wall_low, row.ratio_wall_high
    if not wall or not low or not high:
        return ""
    is_clear = row.clear is not False
    if row.verdict.startswith("too few"):
        return f"{numbers.ratio(wall)} the time"
    ends = sorted(1 / value if is_clear and wall < 1 else value for value in (low, high))
    words = f"95%: {numbers.ratios(ends[0], ends[1])}"
    if not is_clear:
        words = f"{numbers.ratio(wall)} the time, {words}"
    return words + (f", p {row.p:.2g}" if row.p is not None else "")


def requests_words(ratio: float) -> str:
    """How many requests a layout makes, for a ratio of layout over baseline."""
    if ratio == 0:
        return "no requests left"
    if 0.95 < ratio < 1.05:
        return "the same number of requests" if 0.995 < ratio < 1.005 else "about the same number of requests"
    return f"{numbers.ratio(1 / ratio)} fewer requests" if ratio < 1 else f"{numbers.ratio(ratio)} the requests"


def counted_where(row: LayoutRow) -> str:
    """Who counted the requests of `n_served`, in words."""
    return "at the server" if row.server_requests else "by this node's client, of all its programs"


def head(comparison: Comparison, recording: str | None) -> list[tuple[str, str]]:
    """Label and text of what stands at the top of a comparison."""
    rows = [
        ("Environment", comparison.environment or numbers.NOT_OBSERVED),
        ("Baseline", comparison.baseline or numbers.NOT_OBSERVED),
        ("Host", str(comparison.host.get("host") or numbers.NOT_OBSERVED)),
        ("Date", comparison.date or numbers.NOT_OBSERVED),
        ("Timed runs of each layout", numbers.count(comparison.n_runs)),
    ]
    if comparison.make_cold:
        rows.append(("Made cold by", comparison.make_cold))
    if recording:
        rows.append(("File", recording))
    return rows


def notes(comparison: Comparison) -> list[str]:
    """What to mind before believing a comparison."""
    found = list(comparison.notes)
    failed = sorted({row.layout for row in comparison.rows if row.is_failed})
    if failed and not any(note.startswith("the command failed in ") for note in found):
        found.append(f"the command failed in {', '.join(failed)}")
    in_memory = sorted({row.layout for row in comparison.rows if row.fstype and classify(row.fstype) == "memory"})
    if in_memory:
        found.append(
            f"no disk and no server is asked for what lies in memory ({', '.join(in_memory)}): its requests are those of the same "
            "paths elsewhere"
        )
    return found


def headline(comparison: Comparison) -> str:
    """The answer of a comparison in one sentence: the layout that is clearly fastest, or that none is."""
    baseline, best = comparison.baseline, comparison.best
    if best is None:
        return f"No layout is clearly faster than {baseline}.{_fewest(comparison)}"
    cache = f" with a {best.cache} cache" if best.cache in ("cold", "warm") else ""
    return f"Against {baseline}, {best.layout} does best{cache}: {sentence(best, comparison)}."


def _fewest(comparison: Comparison) -> str:
    """Of layouts none of which is faster here: the one that asks the file server for the least, if that is a great deal less."""
    row = comparison.gentlest
    if row is None or row.ratio_requests is None or row.ratio_requests > GENTLE_SHARE or not asks_a_server(comparison):
        return ""
    words = requests_words(row.ratio_requests)
    return f" {row.layout} has {words} to the file server: that counts where it is slow, or shared by many."


def winner(comparison: Comparison) -> LayoutRow | None:
    """The layout to adopt: the fastest; where none is, one that asks the file server for a great deal less."""
    row = comparison.best or comparison.gentlest
    if row is None or row.is_failed or row.verdict.startswith("not compared"):
        return None
    if row.clear and row is comparison.best:
        return row
    is_gentle = row.ratio_requests is not None and row.ratio_requests <= GENTLE_SHARE
    return row if is_gentle and asks_a_server(comparison) else None


def requests_name(comparison: Comparison) -> str:
    """What the layouts' requests are called over a column; see `request_facts.name_for`."""
    return request_facts.name_for({classify(row.fstype) if row.fstype else None for row in comparison.rows})


def asks_a_server(comparison: Comparison) -> bool:
    """Whether the environment lies on a file server, as far as is known: fewer requests to a local disk help nobody else."""
    fstype = next((row.fstype for row in comparison.rows if row.layout == comparison.baseline), None)
    return fstype is None or classify(fstype) not in (*OURS, "local")


def seconds_lines(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Of the winner, for each cache that was measured: its name, the seconds before and after, and what a start saves."""
    best = winner(comparison)
    lines = []
    for row in comparison.rows:
        before = next((b for b in comparison.rows if b.layout == comparison.baseline and b.cache == row.cache), None)
        if best is None or row.layout != best.layout or before is None or before.wall_s is None or row.wall_s is None:
            continue
        change = before.wall_s.median - row.wall_s.median
        words = (
            f"{numbers.seconds(abs(change))} {'less' if change > 0 else 'more'} a start"
            if row.clear
            else "no clear difference"
        )
        lines.append((row.cache, f"{_seconds(before)} with {before.layout}, {_seconds(row)} with {row.layout}", words))
    return lines


def _seconds(row: LayoutRow) -> str:
    wall = row.wall_s
    return (
        f"{numbers.seconds(wall.median)} ({numbers.seconds(wall.min)} to {numbers.seconds(wall.max)})" if wall else ""
    )


def title(comparison: Comparison) -> str:
    """What was compared: the command, else the baseline."""
    return facts.command_line(comparison) or f"Layouts compared with {comparison.baseline}"
