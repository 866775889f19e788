"""Where what fsprobe put in can't be read any more, or is listened to: the target must not notice."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.model.events import Call, Op, ParseQuality
from fsprobe.recording.file import Recording
from tests.conftest import Done, need

Same = Callable[..., Done]

LANDLOCKED = """
import ctypes, os, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
rules = libc.syscall(444, struct.pack("Q", 0x1fff), 8, 0)
if rules < 0:
    print("no Landlock")
    sys.exit(9)
for place in sys.argv[1:]:
    fd = os.open(place, os.O_PATH)
    assert libc.syscall(445, rules, 1, struct.pack("=Qi", 1 | 4 | 8, fd), 0) == 0
    os.close(fd)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.syscall(446, rules, 0) == 0
print(subprocess.run([sys.executable, "-c", "import csv; print('child')"], capture_output=True))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the calls have the numbers of x86_64")
@pytest.mark.parametrize("backend", ["strace", "inline"])
def test_a_child_in_a_program_that_took_files_away_from_itself(run_same: Same, tmp_path: Path, backend: str) -> None:
    """Landlock: the loader would print that it can't open what LD_AUDIT names."""
    (tmp_path / "main.py").write_text(LANDLOCKED)
    here = os.path.dirname(os.path.realpath(pipeline.__file__))
    prefix = os.path.realpath(sys.base_prefix)
    places = [place for place in (prefix, "/usr", "/lib", "/lib64", "/etc") if os.path.isdir(place)]
    need(not any(here.startswith(place + "/") for place in places), "fsprobe lies where the program may still read")
    done = run_same(
        [os.path.realpath(sys.executable), "main.py", *places], cwd=tmp_path, options=("-q", "--backend", backend)
    )
    need(done.status != 9, "no Landlock here")
    if backend == "inline":
        assert sum(pipeline.analyse(done.recording).quality.unseen.values()) == 1


@pytest.mark.needs_root
def test_a_program_started_in_another_root(run_same: Same, tmp_path: Path) -> None:
    """The same where a directory of its own is all that there is."""
    need(os.geteuid() == 0, "needs root")
    (tmp_path / "main.sh").write_text(
        "mkdir -p r; for d in usr lib lib64 bin; do [ -e /$d ] && mkdir -p r/$d && mount --bind /$d r/$d; done\n"
        "trap 'umount r/*' EXIT\nchroot r /usr/bin/env -i FSPROBE_RING= /bin/true && chroot r /bin/ls /\n"
    )
    run_same(["unshare", "-m", "bash", "main.sh"], cwd=tmp_path, options=("-q", "--backend", "inline"))


COUNTS = """
import sys
from collections.abc import Callable
heard = {}
def listen(event, args):
    heard[event] = heard.get(event, 0) + 1
sys.addaudithook(listen)
import csv, decimal
open(__file__).close()
import os
open(__file__, opener=lambda path, flags: os.open(path, flags)).close()
print(sorted(dict(heard).items()))
"""


@pytest.mark.parametrize("backend", ["strace", "audit", "inline"])
def test_a_hook_that_counts_events_counts_none_of_ours(run_same: Same, tmp_path: Path, backend: str) -> None:
    """To ask for a frame or an id() is an event too."""
    (tmp_path / "main.py").write_text(COUNTS)
    done = run_same([sys.executable, "-B", "main.py"], cwd=tmp_path, options=("-q", "--backend", backend))
    if backend == "audit":  # an opener's open is one call
        recording, quality = Recording(str(done.recording)), ParseQuality()
        calls = pipeline.read_events(recording, quality, pipeline.read_hooks(recording))
        opened = [one for one in calls if isinstance(one, Call) and one.op is Op.OPEN and one.path.endswith(b"main.py")]
        assert len(opened) == 4  # of strace: interpreter (2), open, and open with an opener
