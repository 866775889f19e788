"""SIGTERM, SIGHUP and SIGINT while a command writes: what was begun goes away, what was there before stays, one line is said.

No clock is in these: the signal comes where the finished file would take its name. One process has all commands loaded, and each
is tried in a fork of it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, clean_environment

PROGRAM = """
import json, os, signal, sys
from fsprobe.cli import failures, group
lines = json.loads(sys.argv[1])
rename = os.rename
for name in ("report", "load", "merge", "ticket"):
    group.command.get_command(None, name)

for number, times, words in lines:
    child = os.fork()
    if not child:
        def signalled(*given, **named):
            for _ in range(times):
                os.kill(os.getpid(), number)
            rename(*given, **named)
        os.rename = signalled
        signal.signal(signal.SIGINT, signal.default_int_handler)
        failures.end_when_interrupted()
        status = group.main(words)
        sys.stdout.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
LOG = b'1 1.0 execve("/bin/true", ["true"], 0x0) = 0 <0.1>\n1 1.1 openat(AT_FDCWD, "/etc/x", O_RDONLY) = 3 <0.1>\n1 1.2 +++ exited with 0 +++\n'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fsprobe import loading

    place = tmp_path_factory.mktemp("asked")
    (place / "log").write_bytes(LOG)
    loading.load_logs([place / "log"], str(place / "x.fsprobe"))
    (place / "old.md").write_text("mine")
    return place


def test_what_was_begun_goes_away(place: Path) -> None:
    lines: list[tuple[int, int, list[str]]] = [
        (signal.SIGTERM, 1, ["load", "log", "-o", "new.fsprobe"]),
        (signal.SIGHUP, 1, ["load", "log", "-o", "new.fsprobe"]),
        (signal.SIGINT, 1, ["load", "log", "-o", "new.fsprobe"]),
        (signal.SIGTERM, 2, ["load", "log", "-o", "new.fsprobe"]),  # as `timeout` does
        (signal.SIGTERM, 1, ["report", "x.fsprobe", "-o", "new.html"]),
        (signal.SIGHUP, 1, ["report", "x.fsprobe", "--force", "-o", "old.md"]),
        (signal.SIGTERM, 1, ["merge", "x.fsprobe", "-o", "job.fsprobe"]),
        (signal.SIGHUP, 1, ["ticket", "x.fsprobe", "-o", "t.zip"]),
    ]
    before = sorted(path.name for path in place.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)], capture_output=True, text=True, cwd=place, timeout=120,
        env=clean_environment(PYTHONPATH=str(ROOT), TMPDIR=str(place)),
    )  # fmt: skip
    assert [int(line) for line in done.stdout.split() if line.isdigit()] == [128 + number for number, _, _ in lines]
    assert done.stderr.count("fsprobe: interrupted\n") == len(lines)
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in place.iterdir()) == before
    assert (place / "old.md").read_text() == "mine"
