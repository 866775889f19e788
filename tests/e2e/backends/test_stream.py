"""`run --stream`: the tables are those of a logged run, memory and disk stay bounded, the program never notices.

FSPROBE_LONG=1 adds a program of 3,000,000 calls (three minutes).
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Attributed, ProcessInfo
from fsprobe.analysis.attribution.not_found import WhyNotFound
from fsprobe.analysis.counting.rates import rates
from fsprobe.analysis.counting.tally import BIN_NS, Tally, check_sums, fold
from fsprobe.analysis.streaming import bounds as bounded
from fsprobe.analysis.streaming import fold as streaming
from fsprobe.analysis.streaming import tally_file
from fsprobe.capture import options, record
from fsprobe.capture.backends import stream
from fsprobe.capture.backends.inline.backend import Inline
from fsprobe.capture.backends.protocol import Machine
from fsprobe.capture.directories import own_files
from fsprobe.errors import FsprobeError
from fsprobe.model import serial
from fsprobe.model.events import Call, Op
from fsprobe.model.rows import Row
from fsprobe.recording.file import Recording
from fsprobe.report import markdown
from fsprobe.report.html import page
from fsprobe.report.terminal import run as terminal
from tests.conftest import FSPROBE, Fsprobe, clean_environment, need, run_plain

WORK = """
import json, email.mime.text, subprocess, sys, os, threading, xml.dom.minidom
for i in range(300):
    try:
        os.stat(%r + "/nothing-%%d" %% (i %% 40))
    except OSError:
        pass
subprocess.check_call([sys.executable, "-c", "import sqlite3, csv"])
if os.fork() == 0:
    import decimal
    os._exit(0)
os.wait()
one = threading.Thread(target=lambda: __import__("fractions"))
one.start()
one.join()
"""


@pytest.fixture(autouse=True)
def without_python_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        monkeypatch.delenv(name)


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """A command whose calls are the same in every run (its byte code is compiled already)."""
    path = tmp_path / "work.py"
    path.write_text(WORK % str(tmp_path))
    command = [sys.executable, str(path)]
    subprocess.run(command, check=True)
    return command


def run(path: Path, command: list[str], *words: str) -> record.Recorded:
    parsed = options.parse([*words, "--force", "-o", str(path), "--", *command])
    return record.record(parsed, consume=streaming.consume if parsed.stream else None)


def without_times(value: object) -> object:
    """JSON of a part of a profile without what differs between two runs of the same program."""
    if isinstance(value, dict):
        return {
            key: without_times(item)
            for key, item in value.items()
            if not key.endswith(("_s", "_ms", "pid")) and key not in ("n_over_1ms", "rates", "timeline")
        }
    return [without_times(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("backend", ["strace", "ptrace", "inline"])
def test_a_streamed_run_has_the_profile_of_a_logged_one(
    backend: str, program: list[str], tmp_path: Path, strace_program: str
) -> None:
    if backend == "ptrace":
        from fsprobe.capture.backends.ptrace import entry

        need(entry.why_not() is None, f"no ptrace backend here: {entry.why_not()}")
    if backend == "inline":
        why = Inline().why_not(Machine(os.environ, program))
        need(not why, why)
    run(tmp_path / "a.fsprobe", program, f"--backend={backend}", *(["--markers=access"] if backend != "inline" else []))
    run(tmp_path / "b.fsprobe", program, f"--backend={backend}", "--stream")
    logged, streamed = pipeline.analyse(tmp_path / "a.fsprobe"), pipeline.analyse(tmp_path / "b.fsprobe")
    parts = []
    for profile in (logged, streamed):
        metrics = serial.to_json(profile.metrics)
        for row in metrics["by_process"]:
            row["key"] = row["label"]  # without the process number
        # exit lines of processes that end at once come in either order
        metrics.pop("share_of_wall")
        metrics.pop("tracing_overhead_us")
        parts.append(without_times(metrics))
    assert parts[1] == parts[0]
    assert [found.code for found in streamed.findings] == [found.code for found in logged.findings]
    assert streamed.manifest.python.version == logged.manifest.python.version
    assert streamed.requests is None
    assert logged.requests is not None
    assert "log" not in Recording(str(tmp_path / "b.fsprobe")).names()
    assert (tmp_path / "b.fsprobe").stat().st_size > 1000


def test_the_same_log_gives_the_same_tables_to_the_nanosecond(
    program: list[str], tmp_path: Path, strace_program: str
) -> None:
    run(tmp_path / "a.fsprobe", program, "--markers=access")
    recording = Recording(str(tmp_path / "a.fsprobe"))
    analysis = pipeline.read(tmp_path / "a.fsprobe")
    hooks = pipeline.read_hooks(recording)
    streamed = streaming.consume(recording.lines("log"), recording.manifest)
    tally, notes, quality, _ = tally_file.read(b"".join(streamed.blocks()), "x")
    bounded.settle_reasons(tally, WhyNotFound(hooks.facts.values()))
    assert dataclasses.asdict(tally) == dataclasses.asdict(analysis.tally)
    assert dataclasses.asdict(notes) == dataclasses.asdict(analysis.notes)
    assert quality.n_lines == analysis.profile.quality.n_lines
    assert tally.total.n_metadata > 1000
    assert tally.not_found


def test_reports_of_a_streamed_run(program: list[str], tmp_path: Path, strace_program: str) -> None:
    run(tmp_path / "b.fsprobe", program, "--stream")
    profile = pipeline.analyse(tmp_path / "b.fsprobe")
    for render in (terminal.render, page.render, markdown.render):
        assert "json" in render(profile, recording="b.fsprobe")


# ---- bounds ---------------------------------------------------------------------------------------------------------


def test_past_the_bound_sums_stay_exact(
    program: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strace_program: str
) -> None:
    run(tmp_path / "a.fsprobe", program, "--stream")
    monkeypatch.setattr(bounded, "MAX_PATHS", 150)
    monkeypatch.setattr(bounded, "MAX_PLACES", 12)
    monkeypatch.setattr(bounded, "MAX_PROCESSES", 2)
    run(tmp_path / "b.fsprobe", program, "--stream")
    analysis = pipeline.read(tmp_path / "b.fsprobe")
    assert check_sums(analysis.tally) == []
    full, few = pipeline.analyse(tmp_path / "a.fsprobe").metrics, analysis.profile.metrics
    assert len(analysis.tally.by_path) <= 150 + 12 + 1
    assert (few.n_paths, few.n_paths_at_least) == (150, True)
    assert (full.n_paths > 150, full.n_paths_at_least) == (True, False)
    for grouping in ("by_phase", "by_module", "by_syscall"):
        mine, theirs = (serial.to_json(getattr(metrics, grouping)) for metrics in (few, full))
        assert without_times(mine) == without_times(theirs), grouping

    def counts(rows: Sequence[Row]) -> dict[str, int]:
        return {row.key: row.n_metadata for row in rows}

    assert counts(few.by_mount) == counts(full.by_mount)
    assert sum(counts(few.by_package).values()) == sum(counts(full.by_package).values())
    assert {row.reason: row.n for row in few.not_found} == {row.reason: row.n for row in full.not_found}
    assert few.by_process[-1].label == bounded.FURTHER_PROCESSES
    assert sum(row.n_metadata for row in few.by_process) == few.n_metadata
    assert any(row.key.endswith("(further paths)") for row in few.by_path)


def test_packages_and_mounts_of_paths_without_a_row(tmp_path: Path) -> None:
    bounds = bounded.Bounds(Tally(), [b"/", b"/a/b/c/d/image", b"/scratch"], list)
    assert bounds._place(b"/v/lib/python3.11/site-packages/numpy/core/x.py") == (
        b"/v/lib/python3.11/site-packages/numpy/(further paths)"
    )
    assert bounds._place(b"/a/b/c/d/image/e/f/g") == b"/a/b/c/d/image/(further paths)"
    assert bounds._place(b"/scratch/e/f/g/h") == b"/scratch/e/f/(further paths)"
    assert bounds._place(b"/x") == b"/(further paths)"
    assert bounds._place(b"relative") == b"/(further paths)"


def made_rows(n_bins: int) -> list[Attributed]:
    """One to nine calls in each bin of 0.1 s, with a burst every hundred, by three processes."""
    processes = [ProcessInfo(pid, 1, f"p{pid}", "python") for pid in (1, 2, 3)]
    rows = []
    for number in range(n_bins):
        for i in range(40 if number % 100 == 7 else 1 + number % 9):
            op = Op.OPEN if i % 3 == 0 else Op.STAT
            call = Call(1, number * BIN_NS + i, "openat", op, b"/x/%d" % (i % 5), "", 50_000, b"", b"3")
            rows.append(Attributed(call, "run", "(program)", (), processes[(number + i) % 3]))
    return rows


def test_time_bins_are_settled_without_a_change_of_the_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fold(iter(made_rows(5000)), lambda row: "other")
    monkeypatch.setattr(bounded, "MAX_BINS", 400)
    tally = Tally()
    bounds = bounded.Bounds(tally, [], list)
    fold(bounds.apply(made_rows(5000)), bounds.reason, into=tally)
    assert len(tally.timeline) <= 800
    assert all(len(process.n_metadata_by_bin) <= 800 for process in tally.by_process.values())
    assert rates(tally) == rates(whole)
    assert tally.timeline_step > 1
    assert sum(n for phases in tally.timeline.values() for n in phases.values()) == whole.total.n_metadata
    assert tally.total == whole.total


@pytest.mark.alone
def test_disk_is_given_back_while_the_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strace_program: str
) -> None:
    monkeypatch.setattr(stream, "TAIL_BYTES", 1 << 19)
    monkeypatch.setattr(stream, "PUNCH_BYTES", 1 << 17)
    monkeypatch.setattr(stream, "HEAD_BYTES", 1 << 16)
    sizes: list[tuple[int, int]] = []
    logs: list[str] = []

    def look() -> None:
        if not os.path.exists(logs[0]):
            return
        status = os.stat(logs[0])
        sizes.append((status.st_size, status.st_blocks * 512))

    body = "import os\nfor i in range(80000):\n    os.path.exists('/nowhere/%d' % i)\n"
    parsed = options.parse(["--stream", "--force", "-o", str(tmp_path / "x.fsprobe"), "--", sys.executable, "-c", body])
    record.record(parsed, on_start=logs.append, on_tick=look, consume=streaming.consume)
    metrics = pipeline.analyse(tmp_path / "x.fsprobe").metrics
    assert metrics.n_stat > 80000
    assert metrics.by_syscall["newfstatat" if "newfstatat" in metrics.by_syscall else "stat"].errors >= 80000
    assert max(size for size, _ in sizes) > 6 << 20
    assert max(blocks for _, blocks in sizes) < 5 << 20


def resident_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


@pytest.mark.slow
def test_three_million_calls_in_bounded_memory(run_fsprobe: Fsprobe, capsys: pytest.CaptureFixture[str]) -> None:
    """300,000 distinct names, most of them past the bound: under 60 MB resident, no more at the end than in the middle."""
    if not os.environ.get("FSPROBE_LONG"):
        pytest.skip("takes three minutes: FSPROBE_LONG=1 runs it")
    body = (
        "import os\n"
        "for i in range(3000000):\n"
        "    os.path.exists('/nowhere/%d/name-of-a-file-%d' % (i % 97, i % 300000))\n"
    )
    words = run_fsprobe.command([sys.executable, "-c", body], ("-q", "--stream"))
    peaks = []
    with subprocess.Popen(words, env=clean_environment()) as running:
        while running.poll() is None:
            try:
                peaks.append(resident_kib(running.pid))
            except OSError:
                break
            time.sleep(0.5)
    assert running.returncode == 0
    analysis = pipeline.read(run_fsprobe.tmp / "x.fsprobe")
    with capsys.disabled():
        print(f"\n{analysis.tally.total.n_metadata:,} calls: {max(peaks):,} KiB resident at most")
    assert analysis.tally.total.n_metadata > 3_000_000
    assert check_sums(analysis.tally) == []
    assert max(peaks) * 1024 < 60_000_000
    middle = [peak for peak in peaks if peak][len(peaks) // 2]
    assert max(peaks) - middle < 4096


# ---- the program never notices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script", ["exit 7", "kill -9 $$", "cat; exit 3", "sleep 2 & exit 5", f"{sys.executable} -c 1/0", "exec true"]
)
def test_output_exit_code_and_signals_are_the_commands_own(run_fsprobe: Fsprobe, script: str) -> None:
    command = ["/bin/sh", "-c", script]
    if "sleep" in script:
        # what outlives the command does not hold it up
        done = run_fsprobe(command, options=("-q", "--stream", "--wait-descendants=0"))
        assert (done.status, done.out, done.err) == (5, b"", b"")
        return
    plain = run_plain(command, stdin=b"abc")
    done = run_fsprobe(command, options=("-q", "--stream"), stdin=b"abc")
    assert (done.status, done.out, done.err) == (plain.status, plain.out, plain.err)
    assert run_fsprobe.left() == []
    profile = pipeline.analyse(done.recording)
    assert profile.manifest.exit_code == (plain.status if plain.status >= 0 else 128 - plain.status)
    assert profile.metrics.n_exec >= 1


def test_a_killed_fsprobe_leaves_the_program_alone(run_fsprobe: Fsprobe, tmp_path: Path) -> None:
    """What a pipe would do when its reader is gone, the log does not."""
    output = tmp_path / "output"
    body = (
        "import os, time\n"
        f"out = open({str(output)!r}, 'w', buffering=1)\n"
        "out.write('begin\\n')\n"
        "end = time.time() + 2\n"
        "n = 0\n"
        "while time.time() < end:\n"
        "    os.stat('/etc/hostname')\n"
        "    n += 1\n"
        "out.write('end %d\\n' % (n > 1000))\n"
    )
    running = subprocess.Popen(
        run_fsprobe.command([sys.executable, "-c", body], ("-q", "--stream")), env=clean_environment()
    )
    wait_for(lambda: output.exists() and output.read_text() == "begin\n")
    running.send_signal(signal.SIGKILL)
    running.wait()
    wait_for(lambda: output.read_text() == "begin\nend 1\n")


def wait_for(condition: object, limit_s: float = 20.0) -> None:
    assert callable(condition)
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def test_a_reader_that_is_too_far_behind_leaves_out_and_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log"
    line = (
        b'7  1795506711.169777 (+     0.000000001) stat("/x", 0x7) = -1 ENOENT (No such file or directory) <0.000001>\n'
    )
    log.write_bytes(line * 20000)
    got: list[bytes] = []
    follower = stream.Follower(str(log), 1000, lambda lines, expose: got.extend(lines))
    follower.tick()
    wait_for(lambda: follower.n_skipped_bytes > 0)
    follower.finish()
    assert 0 < len(got) < 20000
    assert set(got) == {line}
    assert follower.n_skipped_bytes > 1000


@pytest.mark.parametrize("n_bytes", [1, 7, 16, 1 << 16])
def test_the_ending_is_found_however_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    monkeypatch.setattr(stream, "BLOCK_BYTES", n_bytes)
    ending = b"7 1.5 (+ 0.1) +++ exited with 12 +++"
    (tmp_path / "log").write_bytes(b"7 1.0 x()\n8 1.1 +++ exited with 3 +++\n" + ending + b"\n8 1.6 y()\n")
    follower = stream.Follower(str(tmp_path / "log"), 1 << 30, lambda lines, expose: list(lines))
    assert len(follower.finish()) == 4
    assert follower.ending == ending


def test_lines_come_whole_however_they_are_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [b"9 line %d %s\n" % (i, b"x" * (i % 300)) for i in range(3000)]
    data = b"".join(lines)
    got: list[bytes] = []
    follower = stream.Follower(str(log), 1 << 30, lambda source, expose: got.extend(source))
    follower.tick()

    def write() -> None:
        with open(log, "wb", buffering=0) as target:
            for at in range(0, len(data), 777):
                target.write(data[at : at + 777])

    writer = threading.Thread(target=write)
    writer.start()
    writer.join()
    follower.finish()
    assert got == lines


def test_a_failure_of_the_fold_is_shown(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"1 x\n")

    def fail(lines: object, expose: object) -> None:
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError, match="planted"):
        stream.Follower(str(tmp_path / "log"), 1 << 30, fail).finish()


def test_what_was_counted_so_far_is_written_when_the_program_is_asked_to_end(run_fsprobe: Fsprobe) -> None:
    """As a batch system does at the time limit: SIGTERM, which this program ignores, and some time later SIGKILL."""
    body = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for i in range(500): os.path.exists('/nowhere/%d' % i)\n"
        "print('up', flush=True)\n"
        "time.sleep(8)\n"
    )
    recording = run_fsprobe.tmp / "x.fsprobe"
    words = run_fsprobe.command([sys.executable, "-c", body], ("-q", "--stream"))
    with subprocess.Popen(words, env=clean_environment(), stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        running.send_signal(signal.SIGTERM)
        wait_for(recording.exists)
        assert running.poll() is None
        analysis = pipeline.read(recording)
        running.send_signal(signal.SIGKILL)
    assert check_sums(analysis.tally) == []
    assert sum(path.startswith(b"/nowhere/") for path in analysis.tally.by_path) == 500
    wait_for(lambda: not tracers_of(run_fsprobe.scratch))


def tracers_of(scratch: Path) -> list[str]:
    """The command lines of processes that name a log in a scratch place."""
    done = subprocess.run(["ps", "-e", "-ww", "-o", "args"], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if f"-o {scratch}/" in line]


# ---- what it refuses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--markers=time"], "merge marks by time"),
        (["--backend=audit"], "needs a tracer"),
    ],
)
def test_what_can_not_be_streamed(words: list[str], said: str, tmp_path: Path, strace_program: str) -> None:
    with pytest.raises(FsprobeError, match=said):
        run(tmp_path / "x.fsprobe", ["/bin/true"], "--stream", *words)
    assert not (tmp_path / "x.fsprobe").exists()


def test_a_filesystem_that_can_not_free_a_part_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strace_program: str
) -> None:
    monkeypatch.setattr(own_files, "punch", lambda fd, start, end: 95)
    with pytest.raises(FsprobeError, match="can't free a part of a file"):
        run(tmp_path / "x.fsprobe", ["/bin/true"], "--stream")


def test_a_tally_that_is_damaged_or_newer() -> None:
    from fsprobe.errors import BadInput

    for data in (b"", b"{}", b"[1]", b'{"version": 1}', b"\xff"):
        with pytest.raises(BadInput, match="damaged"):
            tally_file.read(data, "x")
    with pytest.raises(BadInput, match="version 99"):
        tally_file.read(b'{"version": 99}', "x")


def test_help_names_the_option() -> None:
    done = run_plain([*FSPROBE, "run", "--help"])
    assert done.status == 0
    assert b"--stream" in done.out


def test_the_recorder_alone_refuses(tmp_path: Path) -> None:
    with pytest.raises(FsprobeError, match="can't fold"):
        record.record(options.parse(["--stream", "--force", "-o", str(tmp_path / "x.fsprobe"), "--", "/bin/true"]))


def test_many_short_processes_leave_nothing_in_memory() -> None:
    """What is kept of 60,000 processes is bounded: one row for most of them."""
    stamp = b"1795506711.169777 (+     0.000100000) "

    def lines() -> Iterator[bytes]:
        yield b"9 " + stamp + b'execve("/bin/sh", ["sh"], 0x7 /* 3 vars */) = 0 <0.000001>\n'
        for pid in range(10, 60_010):
            yield b"9 " + stamp + b"clone(child_stack=NULL, flags=SIGCHLD) = %d <0.000001>\n" % pid
            yield b"%d " % pid + stamp + b'stat("/x", 0x7) = -1 ENOENT (No such file or directory) <0.000001>\n'
            yield b"%d " % pid + stamp + b"+++ exited with 0 +++\n"

    streamed = streaming.consume(lines(), {"scratch": "/dev/shm/fsprobe-none", "cwd": "/"})
    streamed.settle()
    assert len(streamed.tally.by_process) == bounded.MAX_PROCESSES + 1
    assert streamed.tally.total.n_stat == 60_000
    assert check_sums(streamed.tally) == []
    assert sum(map(len, streamed.watch.phases.values())) <= 2 * (bounded.MAX_PROCESSES + 1)
