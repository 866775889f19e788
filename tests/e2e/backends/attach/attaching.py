"""Programs to attach to, and what becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsprobe import pipeline
from fsprobe.analysis.counting.tally import check_sums
from fsprobe.model.profile import Profile
from tests.conftest import ROOT, clean_environment

COMMAND = (
    sys.executable,
    "-I",
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    "from fsprobe.cli import group\n"
    "group.COMMANDS.setdefault('attach', ('attach', ''))\n"
    "sys.exit(group.main(sys.argv[1:]))",
    "attach",
)
"""The command, also where the table of commands does not name it."""

LIMIT_S = 30.0

BUSY = """
import os, sys, threading, time
place, seconds = sys.argv[1], float(sys.argv[2])
end = time.time() + seconds
counts = [0] * 8
def work(k):
    while time.time() < end and not os.path.exists(place + "/stop"):
        fd = os.open("/etc/hostname", os.O_RDONLY)
        assert os.read(fd, 10) and os.stat("/etc").st_mode
        os.close(fd)
        counts[k] += 1
        time.sleep(0.0002)
threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
for thread in threads: thread.start()
while any(thread.is_alive() for thread in threads):
    with open(place + "/counts.new", "w") as out: out.write(" ".join(map(str, counts)))
    os.replace(place + "/counts.new", place + "/counts")
    time.sleep(0.01)
for thread in threads: thread.join()
print("done", len(counts), min(counts) > 0)
"""

ASKED = """
import os, sys
sys.path.insert(0, sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("did it", flush=True)
print("end", flush=True)
"""


def may_attach() -> bool:
    with subprocess.Popen(["/bin/sleep", "5"]) as sleeper:
        try:
            done = subprocess.run(
                ["timeout", "-s", "INT", "0.3", "strace", "-q", "-o", os.devnull, "-p", str(sleeper.pid)],
                capture_output=True,
                check=False,
            )
        finally:
            sleeper.kill()
    return b"not permitted" not in done.stderr


def ask(one: subprocess.Popen[str], line: str) -> None:
    """Have a program of `ASKED` run a line, and wait until it has."""
    assert one.stdin is not None
    assert one.stdout is not None
    one.stdin.write(line + "\n")
    one.stdin.flush()
    assert one.stdout.readline() == "did it\n"


def asked_program(start: Callable[..., subprocess.Popen[str]], place: Path) -> subprocess.Popen[str]:
    one = start(sys.executable, "-I", "-c", ASKED, str(place))
    assert one.stdout is not None
    assert one.stdout.readline() == "ready\n"
    return one


def state_of(pid: int) -> list[tuple[str, int]]:
    """(state, tracer) of each thread."""
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        lines = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{pid}/task/{tid}/status").read_text().splitlines()
            if ":" in line
        )
        found.append((lines["State"].split()[0], int(lines["TracerPid"])))
    return found


def assert_untouched(pid: int) -> None:
    """No thread has a tracer or stands still in a stop."""
    assert all(tracer == 0 and state not in "Tt" for state, tracer in state_of(pid)), state_of(pid)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def attach_while(
    one: subprocess.Popen[str], path: Path, scratch: Path, act: Callable[[], object], seconds: float = 60.0
) -> Profile:
    """Attach, do something while the program is traced, let go by SIGINT, and give the profile."""
    words = [*COMMAND, str(one.pid), "--for", str(seconds), "-q", "--force", "-o", str(path), "--tmp-dir", str(scratch)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=clean_environment()) as attacher:
        wait_for(lambda: attacher.poll() is not None or all(tracer for _, tracer in state_of(one.pid)))
        assert attacher.poll() is None, attacher.communicate()
        time.sleep(0.3)  # until it has noticed as well that all threads are traced
        act()
        attacher.send_signal(signal.SIGINT)
        _, said = attacher.communicate(timeout=LIMIT_S)
    assert (attacher.returncode, said) == (0, b"")
    analysis = pipeline.read(path)
    assert check_sums(analysis.tally) == []
    assert analysis.profile.quality.n_unparsed == 0, analysis.profile.quality.unparsed_examples
    return analysis.profile


def rows(profile: Profile, grouping: str) -> dict[str, Any]:
    return {row.key: row for row in getattr(profile.metrics, grouping) or ()}
