"""Who stands beside the command and gets what was sent to all: also where the machine is too busy to let it run at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, threading, time
from fsprobe.capture.process import signals, witness

with signals.SignalsHeld():
    beside = witness.Witness()
    me = os.getpid()
    {body}
    beside.close()
"""


def ends_with(body: str) -> str:
    """What a program prints that holds its signals and has a witness."""
    program = PROGRAM.replace("{body}", body.strip().replace("\n", "\n    "))
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_what_both_got_is_known_once() -> None:
    body = """
os.kill(beside._pid, signal.SIGUSR1)
print(beside.has_had(signal.SIGUSR1, me), beside.has_had(signal.SIGUSR1, me))
"""
    assert ends_with(body) == "True False\n"


def test_what_it_never_got_is_not_waited_for_long() -> None:
    body = """
begin = time.monotonic()
print(beside.has_had(signal.SIGUSR1, me), time.monotonic() - begin < witness.MOST_WAIT_S / 2)
"""
    assert ends_with(body) == "False True\n"


@pytest.mark.parametrize(("has_come", "answer"), [(True, "True\n"), (False, "False\n")])
def test_one_that_is_not_let_run_is_waited_for(has_come: bool, answer: str) -> None:
    """Stopped, it stands for a process that waits for a processor; its state alone is made up."""
    body = f"""
os.kill(beside._pid, signal.SIGSTOP)
{"os.kill(beside._pid, signal.SIGUSR1)" if has_come else ""}
until = time.monotonic() + 5 * witness.WAIT_S
beside._is_asleep = lambda: time.monotonic() >= until + 1
threading.Timer(5 * witness.WAIT_S, os.kill, (beside._pid, signal.SIGCONT)).start()
print(beside.has_had(signal.SIGUSR1, me))
"""
    assert ends_with(body) == answer


def test_whether_it_is_asleep_is_the_kernels_word() -> None:
    body = """
time.sleep(0.2)
idle = beside._is_asleep()
real, beside._pid = beside._pid, os.fork()
if beside._pid == 0:
    while True: pass
busy = [beside._is_asleep() for _ in range(20)]
os.kill(beside._pid, signal.SIGKILL)
os.waitpid(beside._pid, 0)
beside._pid = real
print(idle, any(busy))
"""
    assert ends_with(body) == "True False\n"
