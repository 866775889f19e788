"""The newest CPythons on the newest libc: strace and inline see the same in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsprobe.experiment import selftest
from fsprobe.recording.file import Recording
from tests.sid import PYTHONS, Sid, recorder_in

PROGRAM = """
import multiprocessing, os, subprocess, threading
threads = [threading.Thread(target=__import__, args=(name,)) for name in ("json", "email.message", "decimal", "sqlite3", "asyncio")]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(os.listdir, ["/", "/usr", "/etc"])
    pool.close()
    pool.join()
subprocess.run(["sh", "-c", "ls /usr | sort | head -n 1"], stdout=subprocess.DEVNULL)
"""


@pytest.mark.needs_root
@pytest.mark.parametrize("version", PYTHONS)
def test_the_newest_pythons(version: str, sid: Sid) -> None:
    name = f"tmp/inline-{version}.fsprobe"
    with recorder_in(sid) as recorder:
        words = [f"python{version}", recorder, "-o", "/" + name, "--backend", selftest.BACKENDS, "--"]
        done = sid.run([*words, f"python{version}", "-c", PROGRAM], HOME="/root")
    recording: Path = sid.path / name
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    found = selftest.compare(version, Recording(str(recording)))
    recording.unlink()
    assert found.examples == ()
    assert found.is_complete, found
    assert found.n_calls > 1000
    assert found.n_threads > 10
