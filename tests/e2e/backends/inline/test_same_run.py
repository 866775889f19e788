"""strace and the inline recorder in one run: call for call the same; and what is made of either recording."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fsprobe.capture import options
from fsprobe.capture import record as capture
from fsprobe.capture.backends.inline import words
from fsprobe.capture.lookups import collect
from fsprobe.events.ring import mapped
from fsprobe.experiment import selftest
from fsprobe.model.profile import Profile
from fsprobe.recording.file import Recording
from tests.e2e.backends.inline.conftest import Record
from tests.e2e.backends.test_oracle import workloads


@pytest.mark.parametrize("name", ["pass", "pandas", "stack", "pool"])
def test_workloads(name: str, tmp_path: Path, strace_program: str) -> None:
    found = selftest.run(name, workloads(tmp_path)[name])
    assert found.is_complete, found


@pytest.mark.parametrize("name", [name for name, _ in selftest.programs()])
def test_the_selftests_own_programs(name: str, strace_program: str) -> None:
    found = selftest.run(name, dict(selftest.programs())[name])
    assert found.is_complete, found
    assert found.n_opened > 10


DEEP = """
import os, subprocess, shutil, sys
os.chdir(sys.argv[1])
def fill(place):
    os.makedirs(place)
    for name in "abc": open(f"{place}/{name}", "w").close()
for place in ("x" * 200, "x" * 255, "/".join(["y" * 100] * 9), "/".join([chr(0xDCFF) * 100] * 30)):
    fill("t/" + place)
os.symlink("/bin/true", "t/" + "x" * 255 + "/program")
subprocess.run(["./program"], cwd="t/" + "x" * 255, check=True)
os.chdir("t/" + "x" * 255)
if os.fork() == 0: os.execv("program", ["program"])
os.wait()
os.chdir(sys.argv[1])
shutil.rmtree("t")
"""


def test_deep_directories(tmp_path: Path, strace_program: str) -> None:
    """Paths that do not fit beside their calls, of descriptors, working directories and programs: none counts as lost."""
    found = selftest.run("deep", [sys.executable, "-c", DEEP, str(tmp_path)])
    assert found.is_complete, found
    assert found.n_opened > 50


BORDERS = """
import os, sys
for n in [*range(253, 260), *range(1261, 1268), 4000]:
    at = os.path.realpath(sys.argv[1])
    while len(at) < n:
        left = n - len(at) - 1
        at += "/" + "d" * (left if left <= 200 else 200 if left > 202 else 100)
    assert len(at) == n
    os.makedirs(at); os.chdir(at)
    fd = os.open(".", os.O_RDONLY)
    os.mkdir("a"); os.rename("a", "b"); os.rename("b", "c", src_dir_fd=fd, dst_dir_fd=fd)
    os.listdir(fd); os.rmdir("c"); os.close(fd)
"""


def test_directories_at_the_borders_of_their_rooms(tmp_path: Path, strace_program: str) -> None:
    """Of 256 bytes on the stack, then of 1,264 and 4,096 in the ring: one shorter, as long, and longer."""
    found = selftest.run("borders", [sys.executable, "-c", BORDERS, str(tmp_path)])
    assert found.is_complete, found


EMPTY = """
import ctypes, os
call, path, buffer = ctypes.CDLL(None).syscall, ctypes.c_char_p(b""), ctypes.create_string_buffer(4096)
for fd in (os.open("/", os.O_RDONLY), os.open("/etc/hostname", os.O_PATH), 777, -1):
    for flags in (0x1000, 0x1100, 0):
        call(262, fd, path, buffer, flags); call(332, fd, path, flags, 0x7ff, buffer); call(439, fd, path, 4, flags)
        call(303, fd, path, None, None, flags); call(267, fd, path, buffer, 4096)
"""


def test_empty_paths(strace_program: str) -> None:
    """A descriptor's own status is no look-up, also where the call fails."""
    found = selftest.run("empty", [sys.executable, "-S", "-c", EMPTY])
    assert found.is_complete, found


LONG = """
import os, shutil, subprocess, sys
place = sys.argv[1] + "/" + "/".join(["x" * 200] * 15)
os.makedirs(place); shutil.copy("/bin/true", place)
subprocess.run([place + "/true"], check=True)
subprocess.run(["./true"], cwd=place, check=True)
for n in (2200, 2300, 4094, 4095, 4096, 9000):
    for path in ("q" * n, "/" * n, "./" * (n // 2) + "no"):
        try: os.execv(path, [path])
        except OSError: pass
"""


def test_programs_by_long_paths(tmp_path: Path, strace_program: str) -> None:
    found = selftest.run("long", [sys.executable, "-S", "-c", LONG, str(tmp_path)])
    assert found.is_complete, found


INTERRUPTED = """
import os, signal, sys, threading
fifo = sys.argv[1] + "/fifo"
os.mkfifo(fifo)
signal.signal(signal.SIGALRM, lambda *_: None)
def write(): os.close(os.open(fifo, os.O_RDWR))
for restarts in (False, True):
    signal.siginterrupt(signal.SIGALRM, not restarts)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    writer = threading.Timer(0.5, write); writer.start()
    fd = os.open(fifo, os.O_RDONLY); writer.join(); os.close(fd)
"""


def test_opens_that_a_signal_interrupts(tmp_path: Path, strace_program: str) -> None:
    """The one that fails, and the one that begins anew: that is one call for the program, and two for a tracer."""
    found = selftest.run("interrupted", [sys.executable, "-c", INTERRUPTED, str(tmp_path)])
    assert found.is_complete, found
    assert found.n_restarted == 1


def test_doctor_runs_it(strace_program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fsprobe", "doctor", "--selftest", "--json", "--", "/bin/ls", "/usr"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    answer = json.loads(done.stdout)
    assert done.returncode == 0, answer
    assert answer["agrees"]
    (row,) = answer["programs"]
    assert row["n_calls"] == row["n_equal"] > 10


def both(command: list[str], tmp_path: Path) -> Recording:
    path = tmp_path / "both.fsprobe"
    capture.record(options.parse(["-q", "--backend", selftest.BACKENDS, "--force", "-o", str(path), "--", *command]))
    return Recording(str(path))


def test_a_difference_is_found(tmp_path: Path, strace_program: str) -> None:
    """A ring in which one slot is another call than it was."""
    recording = both([sys.executable, "-c", "import os; os.stat('/etc/hostname')"], tmp_path)
    assert selftest.compare("x", recording).is_complete
    data = b"".join(recording.section(selftest.RING))
    at = data.rindex(b"/etc/hostname")  # the first ones are in the command line
    recording.section = lambda name: iter([data[:at] + b"/etc/Hostname" + data[at + 13 :]])  # type: ignore[method-assign]
    lines = list(Recording(recording.path).lines("log"))
    recording.lines = lambda name: iter(lines)  # type: ignore[method-assign]
    found = selftest.compare("x", recording)
    assert not found.is_complete
    assert (found.n_calls - found.n_equal, found.n_extra) == (1, 1)
    assert found.n_threads_in_order == 0
    assert any("/etc/Hostname" in example for example in found.examples)


def test_a_call_in_which_a_thread_is_killed_is_told_from_a_difference(tmp_path: Path, strace_program: str) -> None:
    """It waits in an open for somebody who never comes."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = f"import os, signal; signal.setitimer(signal.ITIMER_REAL, 0.1); os.open({str(fifo)!r}, os.O_RDONLY)"
    found = selftest.compare("x", both([sys.executable, "-S", "-c", code], tmp_path))
    assert found.is_complete, found
    assert (found.n_calls - found.n_equal, found.n_cut_off, found.n_extra) == (1, 1, 0)
    assert found.n_threads_in_order == found.n_threads


def test_a_command_by_a_relative_path(tmp_path: Path, strace_program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").symlink_to("/bin/true")
    monkeypatch.chdir(tmp_path)
    for command in ("./here", ".//here", "../" + tmp_path.name + "/here"):
        found = selftest.compare("x", both([command], tmp_path))
        assert found.is_complete, (command, found)


def test_what_is_looked_up_after_the_run_is_the_same(tmp_path: Path, strace_program: str) -> None:
    code = "import pandas, subprocess; subprocess.run(['ls', '/'], stdout=subprocess.DEVNULL)"
    recording = both([sys.executable, "-c", code], tmp_path)
    ring = tmp_path / "ring"
    ring.write_bytes(b"".join(recording.section(selftest.RING)))
    ring.chmod(0o600)
    expected = collect.collect(recording.section("log"))
    found = collect.collect(words.blocks(str(ring), 1 << 24))
    # strace names the working directory with each call, the ring with relative paths alone
    del expected["links"][os.getcwd()]
    found["links"].pop(os.getcwd(), None)
    for name in ("distributions", "links", "programs", "sizes"):
        assert found[name] == expected[name], name
    assert sorted(found["files"]) == sorted(expected["files"])
    assert sorted(found["missing"]) == sorted(expected["missing"])


def counted(profile: Profile) -> dict[str, object]:
    """What two runs of the same program have in common: counts, without times, process numbers and what is fsprobe's own."""
    metrics, requests = profile.metrics, profile.requests
    assert requests is not None
    return {
        "syscalls": metrics.by_syscall,
        "phases": [(row.key, row.n_open, row.n_stat, row.n_list, row.n_not_found) for row in metrics.by_phase],
        "modules": {
            row.key: (row.n_metadata, row.n_metadata_cum, row.parent, row.n_imports) for row in metrics.by_module or ()
        },
        "packages": {row.key: row.n_metadata for row in metrics.by_package},
        "processes": Counter((row.label, row.kind, row.n_metadata) for row in metrics.by_process),
        "not found": {row.reason: row.n for row in metrics.not_found},
        "requests": {row.key: replace(row, read_max=None) for row in requests.by_mount},
    }


@pytest.mark.parametrize("name", ["pass", "pandas", "stack"])
def test_the_profile_is_that_of_strace(name: str, record: Record, tmp_path: Path, strace_program: str) -> None:
    """Marks through the ring against marks by time, in two runs: every import has the same calls."""
    command = workloads(tmp_path)[name]
    record(command)  # so that neither run writes bytecode or fills caches
    inline, strace = record(command).profile, record(command, backend="strace").profile
    expected = counted(strace)
    for what, value in counted(inline).items():
        assert value == expected[what], what
    assert inline.quality.n_lost == 0
    assert inline.manifest.markers == "ring"
    assert inline.metrics.by_module


def test_a_pool_of_spawned_processes(record: Record, tmp_path: Path, strace_program: str) -> None:
    command = workloads(tmp_path)["pool"]
    record(command)
    inline, strace = record(command).profile, record(command, backend="strace").profile
    phases = [{row.key: row.n_metadata for row in one.metrics.by_phase} for one in (inline, strace)]
    # which worker takes which task differs by run: what they do at the end does too
    assert {name: n for name, n in phases[0].items() if name != "run"} == {
        name: n for name, n in phases[1].items() if name != "run"
    }
    assert inline.metrics.processes == strace.metrics.processes


def test_durations_are_the_calls_own(record: Record) -> None:
    code = "import os\nfor _ in range(20000): os.stat('/etc/hostname')"
    profile = record([sys.executable, "-c", code]).profile
    (row,) = [row for row in profile.metrics.by_path if row.key == "/etc/hostname"]
    assert row.n_stat == 20000
    assert row.time_s is not None
    mount = profile.metrics.by_mount[0]
    assert mount.p50_ms is not None
    assert 0.0001 < mount.p50_ms < 0.02, "a stop of a tracer takes longer than that"
    assert profile.metrics.tracing_overhead_us == 0
    assert profile.time is not None
    assert profile.metrics.time_less_overhead_s == profile.time.metadata_s
    assert profile.time.overhead_s == 0
    assert set(profile.manifest.capabilities) >= {"true_durations", "reads", "loader", "foreign_programs"}


def test_a_ring_that_is_read_from_a_file(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = record([sys.executable, "-c", "import json"])
    expected = ran.profile
    monkeypatch.setattr(mapped, "MAX_IN_MEMORY_BYTES", 1000)
    assert ran.profile == expected


def test_a_damaged_ring_is_said(record: Record, tmp_path: Path) -> None:
    from fsprobe.recording.file import write

    recording = Recording(str(record([sys.executable, "-c", "pass"]).path))
    path = tmp_path / "damaged.fsprobe"
    sections = [(name, recording.section(name)) for name in recording.names() if name != "ring"]
    write(
        str(path),
        "recording",
        [("manifest", json.dumps(recording.manifest).encode()), *sections[1:], ("ring", b"no ring")],
    )
    done = subprocess.run([sys.executable, "-m", "fsprobe", "report", str(path)], capture_output=True, text=True)
    assert done.returncode == 3
    assert "ring" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.alone
def test_nothing_is_left(record: Record) -> None:
    before = {name for name in os.listdir("/dev/shm") if name.startswith("fsprobe-trial")}
    record([sys.executable, "-c", "pass"])
    assert {name for name in os.listdir("/dev/shm") if name.startswith("fsprobe-trial")} <= before
