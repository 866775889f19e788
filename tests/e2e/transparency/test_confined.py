"""A target that confines itself: what its filter kills for is what it does itself, not what fsprobe's hook asks for in it."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.capture.machine import mounts
from fsprobe.report import caveats
from tests.conftest import Fsprobe, need, run_plain

CONFINE = r"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
way, wanted = sys.argv[1:3]
asked = {"open": [2, 257, 437], "gettid": [186], "access": [21, 269, 439], "pid": [39], "all": [2, 257, 437, 186, 21, 269, 439, 39, 5, 4, 262]}
rules = [(0x20, 0, 0, 0)]
numbers = asked[wanted]
for place, number in enumerate(numbers):
    rules.append((0x15, len(numbers) - place, 0, number))
rules += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x80000000)]
code = b"".join(struct.pack("HBBI", *rule) for rule in rules)
buffer = ctypes.create_string_buffer(code, len(code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(buffer)), 16)
spare = [name for name in ("_csv", "_struct", "_random", "_bisect", "_heapq", "xxsubtype", "_statistics", "_symtable") if name in
         sys.builtin_module_names]
for name in spare:
    sys.modules.pop(name, None)
def confine():
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    done = libc.prctl(22, 2, program, 0, 0) if way != "seccomp" else libc.syscall(317, 1, 0, program)
    assert done == 0, ctypes.get_errno()
    for name in spare:
        __import__(name)
    os.write(1, b"confined, then imported %d\n" % len(spare))
if way == "fork":
    child = os.fork()
    if not child:
        confine()
        os._exit(3)
    import json
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if hasattr(os, "waitstatus_to_exitcode") else 3)
elif way == "late":
    import csv, decimal
    confine()
else:
    confine()
os._exit(3)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter has the numbers of x86_64")
@pytest.mark.parametrize("wanted", ["open", "gettid", "access", "pid", "all"])
@pytest.mark.parametrize("way", ["prctl", "seccomp", "fork", "late"])
def test_a_filter_that_kills_does_not_kill(run_fsprobe: Fsprobe, tmp_path: Path, way: str, wanted: str) -> None:
    """Under our own tracer; `pipeline` still reads what was recorded before."""
    command = [sys.executable, "-c", CONFINE, way, wanted]
    plain = run_plain(command)
    assert (plain.status, plain.err) == (3, b"")
    done = run_fsprobe(command, options=("--backend", "ptrace"))
    assert (done.status, done.out) == (plain.status, plain.out)
    assert any("confined themselves" in line for line in done.own_lines)
    profile = pipeline.analyse(done.recording)
    assert profile.manifest.python is not None


START_CONFINED = r"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
never_asked_by_an_interpreter = [98, 110, 269, 439]  # getrusage, getppid, faccessat, faccessat2
rules = [(0x20, 0, 0, 0)]
for place, number in enumerate(never_asked_by_an_interpreter):
    rules.append((0x15, len(never_asked_by_an_interpreter) - place, 0, number))
rules += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x80000000)]
code = b"".join(struct.pack("HBBI", *rule) for rule in rules)
buffer = ctypes.create_string_buffer(code, len(code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(buffer)), 16)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-c", "import csv; print('started in a sandbox')"])
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter has the numbers of x86_64")
@pytest.mark.parametrize("backend", ["strace", "ptrace", "audit", "inline"])
def test_a_program_that_is_started_in_a_sandbox_lives(run_fsprobe: Fsprobe, backend: str) -> None:
    """Filters outlive an exec: neither the recorder nor the hook may ask there for what the program does not ask for itself."""
    need(
        "Seccomp_filters:" in Path("/proc/self/status").read_text(),
        "this kernel does not count filters (Linux 5.9 does)",
    )
    command = [sys.executable, "-c", START_CONFINED]
    plain = run_plain(command)
    assert (plain.status, plain.out) == (0, b"started in a sandbox\n")
    done = run_fsprobe(command, options=("--backend", backend))
    assert (done.status, done.out) == (0, plain.out)
    profile = pipeline.analyse(done.recording)
    said = " ".join(caveats.quality_lines(profile))
    if backend == "inline":
        assert sum(profile.quality.unseen.values()) == 1
        assert "1 started program not seen" in said
        assert "(name not known)" in said
    elif backend != "audit":
        assert sum(profile.quality.unmarked.values()) == 1
        assert "in a sandbox" in said, "its imports are an estimate"


WORK = "import os, sys\nfor i in range(100000): os.path.exists('/nonexistent/' + 'x' * 180 + str(i))\nprint('done'); sys.exit(5)\n"
GROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


# each takes some ten seconds; strace and our own tracer share what cuts and compresses their log
@pytest.mark.parametrize(("backend", "in_memory"), [("strace", False), ("ptrace", True), ("audit", True)])
def test_a_job_with_little_memory_ends_as_alone(tmp_path: Path, backend: str, in_memory: bool) -> None:
    """40 MB of limit, and 33 MB of log: on a disk it is whole, in memory it is compressed; what the hook notes there is cut, and said."""
    need(os.getuid() == 0 and (GROUPS[0] / "memory.limit_in_bytes").parent.is_dir(), "no memory cgroup (v1) to make")
    group = GROUPS[0] / f"fsprobe-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text("40M")
    except OSError as error:
        need(False, f"no memory cgroup can be made: {error}")
    place = "/dev/shm" if in_memory else str(tmp_path)
    rows = mounts.parse_mountinfo(mounts.read_own())
    row = mounts.mount_of(os.fsencode(os.path.realpath(place)), rows)
    need(row is not None and (mounts.classify(row[1]) == "memory") == in_memory, f"{place} is not as the test needs it")
    words = Fsprobe(tmp_path).command(
        [sys.executable, "-c", WORK], ("--backend", backend, f"--tmp-dir={place}"), tmp_path / "x.fsprobe"
    )
    try:
        enter = ["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "-"]
        done = run_plain(enter + words)
        assert (done.status, done.out) == (5, b"done\n")
        assert ("limit of memory" in done.err.decode()) == (in_memory and backend == "audit")
        profile = pipeline.analyse(tmp_path / "x.fsprobe")
        if backend != "audit":
            assert profile.metrics.by_syscall["newfstatat"].calls > 100_000
            assert not profile.manifest.log_truncated
            assert (profile.manifest.log_compressed_bytes > 1 << 24) == in_memory
        elif in_memory:
            assert profile.manifest.log_truncated
    finally:
        group.rmdir()
