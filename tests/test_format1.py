"""Files of format 1, one of every kind, still open and tell what their logs hold: see tests/data/format1/README.md.

Only what a user types is used here, so that the files are held against whatever stands behind the command line.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fsprobe.__main__ import main
from tests.conftest import need

PLACE = Path(__file__).parent / "data" / "format1"
EXPECTED: dict[str, dict[str, int]] = json.loads((PLACE / "expected.json").read_text())
RECORDINGS = sorted(set(EXPECTED) - {"comparison.fsprobe", "job.fsprobe", "job2.fsprobe", "job-stream.fsprobe"})
JOBS = ["job.fsprobe", "job2.fsprobe", "job-stream.fsprobe"]
LAYOUTS = ["plain", "flash", "squashfs", "overlay"]
INCOMPLETE = {"attach.fsprobe", "run-cut.fsprobe", "salvaged.fsprobe"}
STREAMED = {"run-stream.fsprobe", "streams/rank0.fsprobe", "streams/rank1.fsprobe"}
METADATA = frozenset(
    "open openat openat2 creat stat lstat newfstatat fstatat64 statx access faccessat faccessat2 readlink readlinkat "
    "getdents getdents64 execve execveat mkdir mkdirat unlink unlinkat rmdir rename renameat renameat2 link linkat symlink "
    "symlinkat chmod fchmodat chown fchownat lchown truncate utimensat".split()
)
CALL = re.compile(rb"^(?:(\d+) +)?(?:[\d.]+ +)?(?:\(\+ +[\d.]+\) +)?(<\.\.\. )?(\w+)(?:\(| resumed>)(.*)$")
OWN = re.compile(rb'"fsprobe[!<>]|"/proc/self/(?:mountinfo|ns/mnt)"|>, "", ')
"""Marks, what the hook asks about its mounts, and a stat of a descriptor alone, which looks up nothing."""


def read_sections(data: bytes) -> dict[str, bytes]:
    """The sections of a file of format 1, read without fsprobe."""
    assert data.startswith(b"fsprobe 1 ")
    at = data.index(b"\n") + 1
    found = {}
    while not data.startswith(b"end ", at):
        begin = data.index(b"\n", at) + 1
        name, how, size, _, _ = data[at:begin].split()
        body = data[begin : begin + int(size)]
        found[name.decode()] = zlib.decompress(body) if how == b"zlib" else body
        at = begin + int(size) + 1
    return found


def count_calls(log: bytes, scratch: bytes = b"") -> tuple[int, int]:
    """(metadata calls, failed lookups) of a log, line by line, without fsprobe's own."""
    n_metadata = n_failed = 0
    own_unfinished = set()
    for line in log.splitlines():
        match = CALL.match(line)
        if not match or match[3].decode() not in METADATA:
            continue
        thread, resumed, _, rest = match.groups()
        if resumed:
            if thread in own_unfinished:
                own_unfinished.discard(thread)
                continue
        elif OWN.search(rest) or (scratch and scratch in rest):
            if rest.endswith(b"<unfinished ...>"):
                own_unfinished.add(thread)
            continue
        else:
            n_metadata += 1
        n_failed += b") = -1 ENOENT" in rest or b") = -1 ENOTDIR" in rest
    return n_metadata, n_failed


def counted(recording: bytes) -> dict[str, int]:
    found = read_sections(recording)
    manifest = json.loads(found["manifest"])
    n_metadata, n_failed = count_calls(found["log"], (manifest.get("scratch") or "").encode())
    return {"metadata": n_metadata, "failed": n_failed}


def fsprobe(*words: object, status: int = 0) -> str:
    """Run a command line in this process, require its exit code, and give what it wrote, first to stdout."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["fsprobe", *map(str, words)])
        patch.setenv("COLUMNS", "200")
        found = main()
    assert found == status, err.getvalue()
    assert "Traceback" not in err.getvalue()
    return out.getvalue() + err.getvalue()


def report(file: Path | str, style: str, *words: object) -> str:
    return fsprobe("report", PLACE / file, "--format", style, *words)


def total(profile: dict[str, Any], kind: str = "metadata") -> int:
    """A total in the JSON of a run or a job, under its name of format 1 or of today."""
    names = {"metadata": ("n_metadata",), "failed": ("n_missing", "n_not_found")}[kind]
    return next(int(profile["metrics"][name]) for name in names if name in profile["metrics"])


def folded_total(text: str, stack: str = "") -> int:
    """Sum of folded stacks, of those that begin with `stack`."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines()]
    return sum(int(n) for key, n in lines if not stack or key == stack or key.startswith(f"{stack};"))


def check_limits(file: Path | str, expected: dict[str, int], *, is_whole: bool = True) -> None:
    """The totals keep a limit of their own size and break a smaller one: `check` counts exactly so many.

    Of a recording that is not whole it does not say that a limit is kept.
    """
    options = ["--max-metadata", expected["metadata"], "--max-missing", expected["failed"]]
    fsprobe("check", PLACE / file, "--ignore-exit-code", *options, status=0 if is_whole else 3)
    for option, kind in (("--max-metadata", "metadata"), ("--max-missing", "failed")):
        if expected[kind]:
            fsprobe("check", PLACE / file, "--ignore-exit-code", option, expected[kind] - 1, status=1)


def test_expected_totals_are_those_of_the_logs() -> None:
    found = {name: counted((PLACE / name).read_bytes()) for name in RECORDINGS if name not in STREAMED}
    assert found == {name: EXPECTED[name] for name in found}
    assert EXPECTED["run-stream.fsprobe"] == found["run-label.fsprobe"]
    # what the hook adds is not counted: a run without it has as many
    assert found["run-time.fsprobe"] == found["run-unmarked.fsprobe"] == found["run-access.fsprobe"]
    for job, ranks in (("job.fsprobe", "ranks1/"), ("job2.fsprobe", "ranks2/"), ("job-stream.fsprobe", "streams/")):
        for kind in ("metadata", "failed"):
            assert EXPECTED[job][kind] == sum(row[kind] for name, row in EXPECTED.items() if name.startswith(ranks))
    inner = read_sections((PLACE / "comparison.fsprobe").read_bytes())
    for number in range(4):
        assert counted(inner[f"recording.{number}"]) == EXPECTED["comparison.fsprobe"]
    assert {str(path.relative_to(PLACE)) for path in PLACE.rglob("*.fsprobe")} == set(EXPECTED)


def test_counting_agrees_with_strace() -> None:
    log = gzip.decompress((PLACE / "strace" / "log.gz").read_bytes())
    lines = Counter(match[3].decode() for line in log.splitlines() if (match := CALL.match(line)))
    summary = [line.split() for line in (PLACE / "strace" / "summary.txt").read_text().splitlines()[2:-2]]
    assert {row[-1]: int(row[3]) for row in summary} == {name: n for name, n in lines.items() if name in METADATA}
    n_descriptors = sum(b'>, "", ' in line for line in log.splitlines())
    assert count_calls(log)[0] == lines.total() - n_descriptors == EXPECTED["loaded.fsprobe"]["metadata"]


@pytest.mark.parametrize("file", [*RECORDINGS, *JOBS])
def test_runs_and_jobs_in_every_format(file: str) -> None:
    expected = EXPECTED[file]
    n = f"{expected['metadata']:,}"
    assert re.search(rf"\b{n} metadata calls", " ".join(report(file, "terminal").split()))
    assert re.search(rf"\b{n} metadata calls", report(file, "md"))
    assert re.search(rf">\s*{n}\b", report(file, "html"))
    profile = json.loads(report(file, "json"))
    assert (total(profile), total(profile, "failed")) == (expected["metadata"], expected["failed"])
    rows = list(csv.DictReader(io.StringIO(report(file, "csv"))))
    assert int(next(row for row in rows if row["grouping"] == "total")["n_metadata"]) == expected["metadata"]
    assert folded_total(report(file, "folded")) == expected["metadata"]
    assert sum(json.loads(report(file, "speedscope"))["profiles"][0]["weights"]) == expected["metadata"]
    assert json.loads(report(file, "chrome"))["traceEvents"]
    check_limits(file, expected, is_whole=file not in INCOMPLETE)


def test_what_a_recording_says_besides_totals() -> None:
    log = read_sections((PLACE / "run-access.fsprobe").read_bytes())["log"]
    begin, end = (log.rindex(b"\n", 0, log.index(mark)) for mark in (b'"fsprobe>json"', b'"fsprobe<json"'))
    n_json = count_calls(log[begin:end])[0]
    assert n_json > 50
    for file in ("run-access.fsprobe", "run-time.fsprobe", "run-ptrace.fsprobe", "ranks1/rank3.fsprobe"):
        assert folded_total(report(file, "folded"), "json") == n_json
    log = gzip.decompress((PLACE / "strace/log.gz").read_bytes())
    below = re.compile(rb'\((?:AT_FDCWD<[^>]*>, )?"/usr/lib/python3\.11["/]|getdents64\(\d+</usr/lib/python3\.11[>/]')
    n_lustre = sum(below.search(line) is not None for line in log.splitlines())
    assert re.search(rf"/usr/lib/python3\.11 +lustre \(network\) +{n_lustre}\b", report("loaded.fsprobe", "terminal"))
    assert r"data-\\xff" in report("run-label.fsprobe", "json")
    assert "two workers" in report("run-label.fsprobe", "md")
    assert "137" in fsprobe("check", PLACE / "run-killed.fsprobe", "--max-metadata", 42, status=1)
    assert "max-log" in fsprobe("check", PLACE / "run-cut.fsprobe", "--max-metadata", 9999, status=3)
    fsprobe("check", PLACE / "run-stream.fsprobe", "--max-requests", 9999, status=3)
    fsprobe("check", PLACE / "run-time.fsprobe", "--baseline", PLACE / "run-ptrace.fsprobe")
    fsprobe("check", PLACE / "run-label.fsprobe", "--baseline", PLACE / "run-time.fsprobe", status=1)


def test_thresholds() -> None:
    assert re.search(r"removable_calls +1, 2, 3 ", fsprobe("explain", "--thresholds", PLACE / "thresholds.toml"))
    assert report("run-time.fsprobe", "terminal", "--thresholds", PLACE / "thresholds.toml")


@pytest.mark.parametrize(
    ("place", "job"), [("ranks1", "job.fsprobe"), ("ranks2", "job2.fsprobe"), ("streams", "job-stream.fsprobe")]
)
def test_ranks_merge_to_the_job_of_then(place: str, job: str, tmp_path: Path) -> None:
    fsprobe("merge", PLACE / place, "-o", tmp_path / "job.fsprobe")
    check_limits(tmp_path / "job.fsprobe", EXPECTED[job])


@pytest.mark.parametrize("scratch", ["scratch", "scratch-audit"])
def test_scratch_directories_are_salvaged(scratch: str, tmp_path: Path) -> None:
    shutil.copytree(PLACE / scratch, tmp_path / "scratch")
    (tmp_path / "scratch").chmod(0o700)
    fsprobe("salvage", tmp_path / "scratch", "-o", tmp_path / "new.fsprobe")
    assert not (tmp_path / "scratch").exists()
    if scratch == "scratch":
        check_limits(tmp_path / "new.fsprobe", EXPECTED["salvaged.fsprobe"], is_whole=False)
    else:
        calls = b"".join(path.read_bytes() for path in (PLACE / scratch / "marks").glob("calls.*"))
        state = json.loads((PLACE / scratch / "state.json").read_text())
        assert (
            total(json.loads(report(tmp_path / "new.fsprobe", "json")))
            == count_calls(calls, state["scratch"].encode())[0]
            > 100
        )


def test_a_strace_log_is_loaded_as_then(tmp_path: Path) -> None:
    words = ["--cwd", "/home/ada/work", "--mounts", PLACE / "strace/mountinfo", "-o", tmp_path / "new.fsprobe"]
    fsprobe("load", PLACE / "strace/log.gz", *words)
    check_limits(tmp_path / "new.fsprobe", EXPECTED["loaded.fsprobe"])
    fsprobe("compare", tmp_path / "new.fsprobe", PLACE / "loaded.fsprobe")


def test_comparison() -> None:
    n = EXPECTED["comparison.fsprobe"]["metadata"]
    terminal = report("comparison.fsprobe", "terminal")
    for layout in LAYOUTS:
        assert re.search(rf"^{layout} .* {n} ", terminal, re.MULTILINE)
        assert folded_total(report("comparison.fsprobe", "folded", "--layout", layout)) == n
        for style in ("html", "md"):
            assert layout in report("comparison.fsprobe", style)
    rows = json.loads(report("comparison.fsprobe", "json"))["rows"]
    assert [(row["layout"], row["metrics"]["n_metadata"]) for row in rows] == [(layout, n) for layout in LAYOUTS]


def test_comparing_what_was_recorded_then() -> None:
    fsprobe("compare", PLACE / "run-time.fsprobe", PLACE / "run-ptrace.fsprobe")
    for first, second, unit in (("run-time", "run-label", "calls"), ("job", "job2", "in total")):
        first, second = f"{first}.fsprobe", f"{second}.fsprobe"
        more = EXPECTED[second]["metadata"] - EXPECTED[first]["metadata"]
        assert f"+{more} {unit}" in fsprobe("compare", PLACE / first, PLACE / second, status=1)


@pytest.mark.parametrize("file", ["run-time.fsprobe", "job.fsprobe", "comparison.fsprobe"])
def test_whatif(file: str) -> None:
    found = json.loads(fsprobe("whatif", PLACE / file, "--latency-ms", 10, "--json"))
    for row in found["rows"]:
        assert row["start_s"] == pytest.approx(row["cpu_s"] + row["n_requests"] * 0.01, abs=0.002)
    assert len(found["rows"]) == {"comparison.fsprobe": 4, "run-time.fsprobe": 2}.get(file, 1)


def unpacked(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.mark.parametrize("archive", ["ticket.zip", "ticket-redacted.zip"])
def test_recordings_in_a_ticket_open(archive: str, tmp_path: Path) -> None:
    held = unpacked(PLACE / archive)
    for name, of in (("recordings/01.fsprobe", "run-label.fsprobe"), ("recordings/02.fsprobe", "job.fsprobe")):
        (tmp_path / "held.fsprobe").write_bytes(held[name])
        check_limits(tmp_path / "held.fsprobe", EXPECTED[of])
        assert f"{EXPECTED[of]['metadata']:,}" in report(tmp_path / "held.fsprobe", "md")
        parts = b"".join(read_sections(held[name]).values())
        assert (b"node17" in parts) is (archive == "ticket.zip")


def test_a_ticket_of_files_of_then(tmp_path: Path) -> None:
    files = [PLACE / name for name in ("run-label.fsprobe", "run-stream.fsprobe", "comparison.fsprobe", "job.fsprobe")]
    fsprobe("ticket", *files, "--redact", "-o", tmp_path / "new.zip")
    held = unpacked(tmp_path / "new.zip")
    assert sum(name.startswith("recordings/") for name in held) == len(files)
    (tmp_path / "again.fsprobe").write_bytes(held["recordings/01.fsprobe"])
    check_limits(tmp_path / "again.fsprobe", EXPECTED["run-label.fsprobe"])


def test_json_of_then_says_the_same() -> None:
    for name, file in (("run", "run-time"), ("job", "job")):
        profile = json.loads((PLACE / "json" / f"{name}.json").read_text())
        assert total(profile) == EXPECTED[f"{file}.fsprobe"]["metadata"]
        assert total(profile, "failed") == EXPECTED[f"{file}.fsprobe"]["failed"]


def test_side_file_of_an_image(tmp_path: Path) -> None:
    at = tmp_path / "env"
    at.mkdir()
    image = ["--image", str(PLACE / "env.sqsh"), "--at", str(at)]
    recording = ["-q", "--record-only", "-o", str(tmp_path / "new.fsprobe")]
    for command in (["exec", *image], ["run", *recording, *image]):
        words = [sys.executable, "-m", "fsprobe", *command, "--", "cat", f"{at}/pyvenv.cfg"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
        need(done.returncode != 125, f"no way to mount an image here: {done.stderr}")
        assert done.returncode == 0
        assert "version = 3.11.2" in done.stdout
        # where it was packed stands in the side file alone
        assert "/home/ada/env" in done.stderr
