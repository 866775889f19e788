"""Programs that say themselves who may trace whom: debuggers inside a target, and children that no tracer shall follow."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.report import caveats, facts, markdown
from fsprobe.report.html import page
from tests.conftest import FSPROBE, Fsprobe, need, run_plain
from tests.e2e.transparency.test_output import Same

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of calls are those of x86_64")

UNTRACED = """import ctypes, os
libc = ctypes.CDLL(None)
class Arguments(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in "flags pidfd child_tid parent_tid exit_signal stack size tls".split()]
made = Arguments(flags=0x800000, exit_signal=17)
for call in (lambda: libc.syscall(56, 0x800000 | 17, 0, 0, 0, 0), lambda: libc.syscall(435, ctypes.byref(made), 64)):
    child = call()
    if not child:
        os.write(1, b"%d %x\\n" % (os.open("/etc/passwd", os.O_RDONLY) > 2, made.flags))
        os._exit(3)
    print(os.waitpid(child, 0)[1], hex(made.flags), flush=True)
"""
TRACEME = "import ctypes; libc = ctypes.CDLL(None); print(libc.ptrace(0, 0, 0, 0))"


@pytest.mark.parametrize("backend", ["ptrace", "audit", "inline"])
def test_a_child_that_no_tracer_shall_follow_runs_as_alone(run_same: Same, backend: str) -> None:
    done = run_same([sys.executable, "-c", UNTRACED], options=("-q", "--backend", backend))
    assert done.out.count(b"1 800000\n") == 2
    assert pipeline.analyse(done.recording).quality.n_untraced == 0


def test_under_strace_it_is_named(run_fsprobe: Fsprobe) -> None:
    done = run_fsprobe([sys.executable, "-c", UNTRACED], options=("--backend", "strace"))
    assert any("2 processes were made so that no tracer can follow them" in line for line in done.own_lines)
    profile = pipeline.analyse(done.recording)
    assert profile.quality.n_untraced == 2
    assert any("CLONE_UNTRACED" in line for line in caveats.quality_lines(profile))


@pytest.mark.parametrize("backend", ["strace", "ptrace"])
def test_a_program_that_would_trace_is_in_the_recording_and_the_reports(run_fsprobe: Fsprobe, backend: str) -> None:
    """Told by its calls, whatever its name."""
    done = run_fsprobe([sys.executable, "-c", TRACEME], options=("--backend", backend))
    assert (done.status, done.out) == (0, b"-1\n")
    name = Path(sys.executable).name
    assert any(line.startswith(f"fsprobe: {name}") and "trace others" in line for line in done.own_lines)
    profile = pipeline.analyse(done.recording)
    assert profile.manifest.tracers
    assert profile.quality.n_refused_traces == 1
    for text in (facts.quality_sentence(profile), markdown.render(profile), page.render(profile)):
        assert "would trace others" in text
    shown = subprocess.run(
        [*FSPROBE, "report", str(done.recording), "--format", "json"], capture_output=True, check=True
    )
    assert b'"tracers"' in shown.stdout


def test_it_is_warned_of_before_the_start_and_auto_takes_another_backend(
    run_fsprobe: Fsprobe, strace_program: str
) -> None:
    command = [strace_program, "-o", "/dev/null", sys.executable, "-c", "print(7)"]
    need(run_plain(command).status == 0, "strace can't trace here")
    done = run_fsprobe(command, options=("--backend", "strace"))
    first = next(line for line in done.err.decode().splitlines() if line)
    assert first.startswith("fsprobe: strace will fail: ")
    done = run_fsprobe(command, options=("--backend", "auto"))
    assert (done.status, done.out) == (0, b"7\n")
    profile = pipeline.analyse(done.recording)
    assert profile.manifest.backend == "audit"
    assert any("traces programs itself" in line for line in caveats.quality_lines(profile))
    gdb = shutil.which("gdb")
    if gdb:
        assert b"gdb will fail" in run_fsprobe([gdb, "-version"], options=("--backend", "ptrace")).err
