"""Counts against strace's own summary (-C) of the same run, and a marked run against an unmarked one."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import attribute
from fsprobe.analysis.counting.tally import check_sums
from fsprobe.capture import options, record
from fsprobe.capture.backends.strace import installed
from fsprobe.events import marks
from fsprobe.model.events import Op, ParseQuality
from fsprobe.recording.file import Recording

SPAWN = """
import multiprocessing
def work(i):
    import {module}
    return i
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(work, range(8)) == list(range(8))
"""


def workloads(tmp_path: Path) -> dict[str, list[str]]:
    pool = tmp_path / "pool.py"
    pool.write_text(SPAWN.format(module="pandas"))
    return {
        "pass": [sys.executable, "-c", "pass"],
        "pandas": [sys.executable, "-c", "import pandas"],
        "stack": [sys.executable, "-c", "import matplotlib.figure, jinja2, rich.console, hypothesis"],
        "pool": [sys.executable, str(pool)],
    }


def make_recording(
    command: list[str], path: Path, monkeypatch: pytest.MonkeyPatch, *words: str, summary: bool = False
) -> Recording:
    if summary:
        plain = installed.command_line
        monkeypatch.setattr(installed, "command_line", lambda *args: [plain(*args)[0], "-C", *plain(*args)[1:]])
    # absolute, so that the search of PATH by the tracer is no part of it
    record.record(options.parse([*words, "--force", "-o", str(path), "--", *command]))
    return Recording(str(path))


def summary_of(recording: Recording) -> dict[str, tuple[int, int]]:
    """name -> (calls, errors), from the table that -C appends to the log."""
    rows = {}
    log = b"".join(recording.section("log")).decode("utf-8", "replace")
    for line in log[log.index("% time") :].splitlines():
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(\d+)?\s*(\w+)$", line)
        if found and found.group(3) != "total":
            rows[found.group(3)] = (int(found.group(1)), int(found.group(2) or 0))
    if recording.manifest.get("shield"):  # whose line is left out of the log
        rows["execve"] = (rows["execve"][0] - 1, rows["execve"][1])
    return rows


def n_false_errors(recording: Recording) -> int:
    """execve lines that look failed under --seccomp-bpf but are not."""
    return sum(
        b"execve resumed>) = -1 (errno" in line or b"= -1 (errno 18446744073709" in line
        for line in recording.lines("log")
    )


@pytest.mark.parametrize("name", ["pass", "pandas", "stack", "pool"])
@pytest.mark.parametrize("markers", ["time", "access", "none"])
def test_counts_equal_straces_own_summary(
    name: str, markers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strace_program: str
) -> None:
    words = ["--no-markers"] if markers == "none" else [f"--markers={markers}"]
    recording = make_recording(workloads(tmp_path)[name], tmp_path / "x.fsprobe", monkeypatch, *words, summary=True)
    tally, notes, quality, hooks = pipeline.tally_recording(recording)
    assert quality.n_unparsed == 0, quality.unparsed_examples
    assert check_sums(tally) == []

    expected = summary_of(recording)
    calls: Counter[str] = Counter({call: n for call, (n, _) in tally.by_syscall.items()})
    errors: Counter[str] = Counter({call: n for call, (_, n) in tally.by_syscall.items()})
    calls.update(tally.own_by_syscall)
    # calls that name no path (fstat-like ones with an empty path) are no metadata calls, but strace sums them up too
    calls.update({call: n for call, n in quality.other_calls.items() if call in calls})
    errors.update({call: n for call, n in quality.other_errors.items() if call in calls})
    unfinished = Counter(
        event.syscall
        for event in pipeline.read_events(recording, ParseQuality(), hooks)
        if getattr(event, "error", None) == "?"
    )
    marker_call = "faccessat2" if "faccessat2" in expected else "faccessat"
    n_marks = notes.n_own_marks + (2 * sum(notes.n_imports.values()) if markers == "access" else 0)
    if markers != "none":
        assert n_marks > 0
        calls[marker_call] += n_marks
    for call, n in calls.items():
        assert n == expected.get(call, (0, 0))[0] + unfinished[call], call
    compared = set(calls) - {marker_call}
    own_errors = Counter(row.call.syscall for row in own_rows(recording, hooks) if row.call.error not in ("", "?"))
    for call in compared:
        false = n_false_errors(recording) if call == "execve" else 0
        assert errors[call] + own_errors[call] == expected.get(call, (0, 0))[1] - false, call
    # nothing that strace counted is missing from ours, but for what is no metadata call
    ignored = {"getcwd", "clone", "clone3", "fork", "vfork", "exit_group", "fchdir", marker_call}
    assert set(expected) - set(calls) - ignored == set()


def own_rows(recording: Recording, hooks: marks.HookFiles) -> list:
    from fsprobe.analysis.attribution.attribute import Notes

    place = str(recording.manifest["scratch"])
    rows = attribute(
        pipeline.read_events(recording, ParseQuality(), hooks),
        Notes(),
        hook_dir=pipeline.hook_dir_of(recording.manifest),
        marks_dir=f"{place}/marks".encode(),
    )
    return [row for row in rows if row.own]


def call_rows(recording: Recording) -> list[tuple[str, bytes, str]]:
    """The target's own calls of one process, in order: name, path, error."""
    from fsprobe.analysis.attribution.attribute import Notes

    hooks = marks.read_hook_files(recording.section("marks"))
    place = str(recording.manifest["scratch"])
    rows = attribute(
        pipeline.read_events(recording, ParseQuality(), hooks),
        Notes(),
        hook_dir=pipeline.hook_dir_of(recording.manifest),
        marks_dir=f"{place}/marks".encode(),
    )
    return [(row.call.syscall, row.call.path, row.call.error) for row in rows if not row.own]


@pytest.mark.parametrize("name", ["pass", "pandas", "stack"])
@pytest.mark.parametrize("markers", ["time", "access"])
def test_a_marked_run_equals_an_unmarked_one_call_for_call(
    name: str, markers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strace_program: str
) -> None:
    command = workloads(tmp_path)[name]
    marked = call_rows(make_recording(command, tmp_path / "m.fsprobe", monkeypatch, f"--markers={markers}"))
    unmarked = call_rows(make_recording(command, tmp_path / "u.fsprobe", monkeypatch, "--no-markers"))
    assert Counter(marked) == Counter(unmarked)
    # held-back look-ups of the start may change places; what follows is in the same order
    assert marked[-len(marked) // 2 :] == unmarked[-len(unmarked) // 2 :]


def test_a_target_that_lists_our_directories_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strace_program: str
) -> None:
    program = tmp_path / "nosy.py"
    program.write_text(
        "import os\n"
        "hook = os.environ['PYTHONPATH'].split(':')[0]\n"
        "digits = hook.split('/')[-13:-1]\n"
        "scratch = '/dev/shm/fsprobe-' + ''.join(digits)\n"
        "for place in (hook, scratch, scratch + '/marks'):\n"
        "    os.listdir(place)\n"
        "    os.stat(place)\n"
    )
    recording = make_recording([sys.executable, str(program)], tmp_path / "x.fsprobe", monkeypatch)
    scratch = str(recording.manifest["scratch"]).encode()
    hook = pipeline.hook_dir_of(recording.manifest)
    base = hook.partition(b"/fsprobe/")[0] + b"/fsprobe/"
    counted = Counter((name, path) for name, path, _ in call_rows(recording) if path.startswith((scratch, base)))
    for place in (hook, scratch, scratch + b"/marks"):
        assert counted["openat", place] == 1
        # a descriptor shows where the directory lies
        assert counted["getdents64", os.fsencode(os.path.realpath(place))] == 2
        assert counted["newfstatat", place] == 1
    assert sum(counted.values()) == 12
    profile = pipeline.analyse(tmp_path / "x.fsprobe")
    assert profile.quality.own_calls["list"] == 2


def test_every_op_has_a_name() -> None:
    assert {op.value for op in Op} == {"open", "stat", "readlink", "list", "exec", "change", "other"}
