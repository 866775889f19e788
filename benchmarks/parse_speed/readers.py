"""The readers that `benchmarks.parse_speed` compares. Each is run in a process of its own, by its name."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.evidence import Json

AWK = r"""
{ split($0, q, "\""); if (q[2] != "" && match(q[1], /[a-z][a-z_0-9]*\(/)) { name = substr(q[1], RSTART, RLENGTH - 1)
  calls[name]++; paths[q[2]]++; if ($0 ~ / = -1 E/) errors[name]++ } }
END { for (name in calls) print name, calls[name], errors[name] + 0; while ((getline line < "/proc/self/status") > 0)
  if (line ~ /^VmHWM/) print line }
"""
"""The usual one-liner: calls, errors and paths by splitting at quotes. Its peak memory comes last."""
Row = tuple[str, bytes, bool]
"""Kind of call (stat, open), path, whether it succeeded."""


# -- readers: each runs in a process of its own --------------------------------------------------------------------------


def read_with_fsprobe(path: Path) -> int:
    """The parser alone: every event is made."""
    from fsprobe.events.strace.parser import parse
    from fsprobe.model.events import ParseQuality

    with path.open("rb", 1 << 20) as lines:
        return sum(1 for _ in parse(lines, ParseQuality()))


def fold_with_fsprobe(path: Path) -> int:
    """Parse, attribute (imports estimated) and fold into the tables of a profile."""
    from fsprobe.analysis.attribution.attribute import Notes, attribute
    from fsprobe.analysis.attribution.not_found import WhyNotFound
    from fsprobe.analysis.counting.tally import fold
    from fsprobe.events.strace.parser import parse
    from fsprobe.model.events import ParseQuality

    with path.open("rb", 1 << 20) as lines:
        return fold(attribute(parse(lines, ParseQuality()), Notes()), WhyNotFound([])).total.n_metadata


def read_with_stracetools(path: Path) -> int:
    """stracetools from PyPI: every event is kept."""
    import logging

    from stracetools import StraceParser

    logging.disable()
    return len(StraceParser().parse_file(str(path)))


def read_with_lark(path: Path) -> int:
    """strace-parser from PyPI: a grammar."""
    from strace_parser.parser import get_parser

    # it knows no pids: they are taken off
    text = "".join(line.split(None, 1)[1] for line in path.read_text(errors="replace").splitlines(keepends=True))
    return len(get_parser().parse(text).children)


def read_lines_only(path: Path) -> int:
    """Python's own floor: take the lines, do nothing."""
    with path.open("rb", 1 << 20) as lines:
        return sum(1 for _ in lines)


READERS: dict[str, tuple[str, Callable[[Path], int], int]] = {
    # name -> (format of the log, what to run, most lines that it is given)
    "lines taken, nothing done (Python)": ("own", read_lines_only, 10**9),
    "fsprobe, parse": ("own", read_with_fsprobe, 10**9),
    "fsprobe, parse of a log of -f -tt -T": ("tt", read_with_fsprobe, 10**9),
    "fsprobe, parse + attribute + tally": ("own", fold_with_fsprobe, 10**9),
    "stracetools": ("tt", read_with_stracetools, 1_000_000),
    "strace-parser (PyPI, lark)": ("plain", read_with_lark, 300),
}


def read_ring(path: Path) -> int:
    """Slots to events: every event is made."""
    from fsprobe import pipeline
    from fsprobe.model.events import ParseQuality
    from fsprobe.recording.file import Recording

    recording = Recording(str(path))
    return sum(1 for _ in pipeline.read_events(recording, ParseQuality(), pipeline.read_hooks(recording)))


def read_in_full(path: Path) -> int:
    """All that `fsprobe report` computes: attribution, tally, requests, time account, findings, verdict."""
    from fsprobe import pipeline

    return pipeline.read(path).profile.metrics.n_paths


RING_READERS: dict[str, Callable[[Path], int]] = {
    "fsprobe, ring: events alone": read_ring,
    "fsprobe, ring: in full": read_in_full,
}
"""Readers of recordings that were made with --backend inline."""


def child(name: str, log: str) -> None:
    """Run one reader and print (s, n): called in a process of its own."""
    run = RING_READERS[name] if name in RING_READERS else READERS[name][1]
    begin = time.perf_counter()
    n = run(Path(log))
    seconds = time.perf_counter() - begin
    print(json.dumps([seconds, n]))
    # not wait4's ru_maxrss, which begins at what the parent had
    print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))


def unescape(text: str) -> bytes:
    """A C string's content as bytes: done for the readers that leave it to their users."""
    try:
        value = ast.literal_eval('b"' + text + '"')
    except (SyntaxError, ValueError):
        return text.encode("utf-8", "surrogateescape")
    return bytes(value)


def rows_of_fsprobe(log: Path) -> Iterator[Row]:
    """(kind, path, success) as fsprobe's parser gives them."""
    from fsprobe.events.strace.parser import parse
    from fsprobe.model.events import Call, ParseQuality

    for event in parse(log.read_bytes().splitlines(keepends=True), ParseQuality()):
        if isinstance(event, Call):
            yield event.op.value, event.path, not event.error


def rows_of_stracetools(log: Path) -> Iterator[Row]:
    """The same from stracetools; run in the environment that has it."""
    import logging

    from stracetools import StraceParser

    logging.disable()
    for event in StraceParser().parse_file(str(log)):
        quoted = next((word for word in event.args if word.startswith('"')), None)
        if quoted is not None and event.name:
            yield _kind(event.name), unescape(quoted.strip('"')), event.error_msg is None


def rows_of_awk(log: Path) -> Iterator[Row]:
    """The same from the awk script's idea: the text between the first two quotes, ` = -1 E` for a failure."""
    script = (
        r'{ split($0, q, "\""); if (q[2] != "" && match(q[1], /[a-z][a-z_0-9]*\(/)) '
        r'printf "%s\t%s\t%d\n", substr(q[1], RSTART, RLENGTH - 1), q[2], ($0 !~ / = -1 E/) }'
    )
    done = subprocess.run(["awk", script, str(log)], capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"})
    for line in done.stdout.decode("latin-1").split("\n")[:-1]:
        words = line.split("\t")
        if len(words) == 3:
            yield _kind(words[0]), unescape(words[1]), words[2] == "1"


def _kind(name: str) -> str:
    return "open" if "open" in name else "stat" if "stat" in name else "other"


ROWS_OF = {"fsprobe": rows_of_fsprobe, "stracetools": rows_of_stracetools, "awk": rows_of_awk}


def child_rows(name: str, log: str, place: str) -> None:
    """Print the rows below `place` as JSON: called in a process of its own."""
    head = os.fsencode(place) + b"/"
    found = [[kind, path.decode("latin-1"), ok] for kind, path, ok in ROWS_OF[name](Path(log)) if path.startswith(head)]
    print(json.dumps(found))


# -- stages


def child_stages(path: str) -> None:
    """Print the CPU s of each stage: called in a process of its own. Stages stream into one another, so they are run
    one by one here, each on what the one before gave."""
    begin = time.process_time()
    from fsprobe import pipeline
    from fsprobe.report.terminal import run

    loaded = time.process_time()
    from fsprobe.analysis.attribution.attribute import Notes
    from fsprobe.analysis.attribution.not_found import WhyNotFound
    from fsprobe.analysis.counting.tally import fold
    from fsprobe.analysis.findings.evidence import Watch, watch
    from fsprobe.model.events import ParseQuality
    from fsprobe.recording.file import Recording

    recording = Recording(path)
    at = [time.process_time()]
    lines = list(recording.lines("log"))
    hooks = pipeline.read_hooks(recording)
    at.append(time.process_time())
    from fsprobe.events.strace import parser

    model = pipeline.make_model(
        recording,
        pipeline.read_mounts(recording, hooks),
        pipeline.read_lookups(recording),
        keeps_order=False,
    )
    list(parser.parse(lines, ParseQuality(), cwd=pipeline.cwd_of(recording), on_status=model.add_status))
    at.append(time.process_time())
    events = list(pipeline.read_events(recording, ParseQuality(), hooks))
    merged = time.process_time() - at[-1] - (at[2] - at[1]) - (at[1] - at[0])
    at.append(time.process_time())
    rows = list(pipeline.attributed(recording, iter(events), Notes()))
    at.append(time.process_time())
    tally = fold(watch(rows, Watch()), WhyNotFound(list(hooks.facts.values())))
    at.append(time.process_time())
    for row in rows:
        model.fold(row)
    model.count()
    at.append(time.process_time())
    profile = pipeline.analyse(path)
    whole = time.process_time() - at[-1]
    at.append(time.process_time())
    run.render(profile, recording=path)
    shown = time.process_time() - at[-1]
    stages = {
        "unpack the log, read the marks": at[1] - at[0],
        "parse": at[2] - at[1],
        "merge the marks": max(0.0, merged),
        "attribute": at[4] - at[3],
        "tally": at[5] - at[4],
        "predict requests": at[6] - at[5],
    }
    stages["profile, findings"] = max(0.0, whole - sum(stages.values()))
    result: Json = {"load the modules": loaded - begin, **stages, "draw the report": shown}
    print(json.dumps({**result, "n_lines": len(lines), "n_calls": tally.total.n_metadata}))
