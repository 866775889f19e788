"""Programs that nobody may look into, and programs with few addresses left: they end as alone, and what was not seen is said."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.recording.file import Recording
from fsprobe.report import caveats
from fsprobe.report.terminal import run
from tests.conftest import Fsprobe, need, run_plain

BACKENDS = ("strace", "ptrace", "audit", "inline")
N_LOOKS = 20
LOOKS = f"""
for i in range({N_LOOKS}): os.path.exists("/nonexistent/%d" % i)
import json.tool
print(json.dumps(1)); sys.exit(5)
"""
UNDUMPABLE = "import ctypes, os, sys\nassert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0" + LOOKS
# 150 of 300 MB are taken, and 400 are refused, as alone
FULL = "kept = bytearray(150 << 20)\ntry: bytearray(400 << 20)\nexcept MemoryError: print('no memory')" + LOOKS
LIMITED = "import os, resource, sys\nresource.setrlimit(resource.RLIMIT_AS, (300 << 20,) * 2)\n" + FULL
IN_SHELL = ["/bin/sh", "-c", 'ulimit -v 300000; "$@"', "sh"]
"""Its own limit, of a program that runs on and starts another."""


def n_looks(recording: Path) -> int:
    tally = pipeline.tally_recording(Recording(str(recording)))[0]
    return sum(row.counts.n_not_found for path, row in tally.by_path.items() if path.startswith(b"/nonexistent/"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_nobody_may_look_into_it(run_fsprobe: Fsprobe, backend: str) -> None:
    """Without root's rights, which let one look into any process."""
    command = [sys.executable, "-c", UNDUMPABLE]
    words = run_fsprobe.command(command, ("-q", "--backend", backend))
    if os.geteuid() == 0:
        need(os.path.exists("/usr/bin/setpriv"), "no setpriv")
        words = ["/usr/bin/setpriv", "--bounding-set=-all", "--inh-caps=-all", *words]
    plain, done = run_plain(command), run_plain(words)
    assert (done.status, done.out, done.err) == (plain.status, plain.out, plain.err) == (5, b"1\n", b"")
    recording = run_fsprobe.tmp / "x.fsprobe"
    profile = pipeline.analyse(recording)
    n_unread = profile.quality.n_unread_paths
    if backend == "strace":
        assert n_unread >= N_LOOKS
        said = " ".join(run.render(profile, "x").split())
        assert f"{n_unread} calls without a path: the program lets nobody look into it" in said
        assert any("without a path" in line for line in caveats.quality_lines(profile))
    elif backend != "audit":  # which sees no stat
        assert (n_unread, n_looks(recording)) == (0, N_LOOKS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_few_addresses_from_the_start(run_fsprobe: Fsprobe, backend: str) -> None:
    command = [*IN_SHELL, sys.executable, "-c", "import os, sys\n" + FULL]
    plain, done = run_plain(command), run_fsprobe(command, options=("-q", "--backend", backend))
    assert (done.status, done.out, done.err) == (plain.status, plain.out, plain.err) == (5, b"no memory\n1\n", b"")
    quality = pipeline.analyse(done.recording).quality
    if backend == "inline":  # it was started, and no ring of it
        assert n_looks(done.recording) == N_LOOKS or sum(quality.unseen.values()) == 1
    elif backend != "audit":
        assert n_looks(done.recording) == N_LOOKS


@pytest.mark.parametrize(
    "backend",
    [
        "strace",
        "ptrace",
        pytest.param("audit", marks=pytest.mark.xfail(strict=True, reason="3 GiB of addresses are taken before")),
        "inline",
    ],
)
def test_few_addresses_by_its_own_will(run_fsprobe: Fsprobe, backend: str) -> None:
    command = [sys.executable, "-c", LIMITED]
    plain, done = run_plain(command), run_fsprobe(command, options=("-q", "--backend", backend))
    assert (done.status, done.out, done.err) == (plain.status, plain.out, plain.err)
    assert n_looks(done.recording) == N_LOOKS
