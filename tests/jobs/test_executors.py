"""Workers of a merge: one that is killed is one line, and none outlives who started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fsprobe.errors import EXIT_MACHINE, MachineCannot
from fsprobe.jobs import executors
from tests.conftest import LIMIT_S, ROOT


def _end_at_once() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_a_line() -> None:
    with executors.executor("local=2") as (pool, _):
        assert pool is not None
        with pytest.raises(MachineCannot, match="worker process") as caught:
            executors.result(pool.submit(_end_at_once))
    assert caught.value.exit_code == EXIT_MACHINE


PARENT = """
import os, time
from fsprobe.jobs import executors
if __name__ == "__main__":
    with executors.executor("local=2") as (pool, _):
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_worker_outlives_its_parent(number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(number)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + LIMIT_S
    while _is_there(worker) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _is_there(worker)


def _is_there(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as source:
            return source.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


TO_ALL = """
import os, signal, sys, time
from fsprobe.cli import failures
from fsprobe.jobs import executors

failures.end_when_interrupted()
failures.raise_when_interrupted()
try:
    with executors.executor("local=2") as (pool, n):
        for one in [pool.submit(time.sleep, 0.3) for _ in range(n)]:
            one.result()  # they wait for more
        os.killpg(0, int(sys.argv[1]))
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(failures.report_interrupted())
"""

AT_ONCE = """
import os, signal, sys
from fsprobe.cli import failures
from fsprobe.jobs import executors

failures.end_when_interrupted()
failures.raise_when_interrupted()
os.register_at_fork(after_in_child=lambda: os.killpg(0, int(sys.argv[1])))
try:
    with executors.executor("local=2") as (pool, n):
        pool.submit(os.getpid).result()
except KeyboardInterrupt:
    sys.exit(failures.report_interrupted())
"""


@pytest.mark.parametrize("program", [TO_ALL, AT_ONCE], ids=["while they wait", "before their first line"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_to_all_is_told_of_by_one_line(program: str, number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, str(int(number))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        start_new_session=True,
    )
    assert (done.returncode, done.stderr) == (128 + number, "fsprobe: interrupted\n")


def test_an_interrupt_while_workers_are_being_started_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(thread: threading.Thread) -> None:
        raise KeyboardInterrupt

    def work() -> None:
        with executors.executor("local=2") as (pool, _):
            monkeypatch.setattr(threading.Thread, "start", interrupted)
            assert pool is not None
            pool.submit(os.getpid)

    with pytest.raises(KeyboardInterrupt):
        work()
