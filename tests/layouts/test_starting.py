"""A program is started whole: a signal in the midst of it is neither lost nor leaves the program behind."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from fsprobe.layouts.mount.starting import started
from tests.layouts.environments import REPOSITORY, clean_environment

SCRIPT = """
import os, signal, subprocess, sys, threading
from fsprobe.experiment.interruption import Interrupted, interruptions
from fsprobe.layouts.mount.starting import started

us, ended = os.getpid(), []

def end(process):
    ended.append(process)
    process.terminate()
    print("ended", process.wait(), flush=True)

def strike():
    if where == ("us" if os.getpid() == us else "child"):
        os.kill(os.getpid(), signal.SIGINT)

where = sys.argv[1]
os.register_at_fork(before=strike, after_in_child=strike, after_in_parent=strike)
with interruptions():
    try:
        with started(["sleep", "20"], end, deadly=signal.SIGKILL, stderr=subprocess.PIPE) as process:
            print("status", process.wait(), process.stderr.read(), flush=True)
    except Interrupted as error:
        print("interrupted by", error, flush=True)
"""


def strike(where: str) -> subprocess.CompletedProcess[str]:
    environment = {**clean_environment(), "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, where],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        # what runs in the background of a shell has it ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_a_signal_to_the_child_before_it_is_the_program_ends_it_in_silence() -> None:
    done = strike("child")
    assert done.stdout == f"status {-signal.SIGINT} b''\n"
    assert done.stderr == ""


def test_a_signal_to_us_in_the_midst_of_starting_ends_the_program() -> None:
    done = strike("us")
    assert done.stdout.splitlines()[0].split()[0] == "ended"
    assert done.stdout.splitlines()[1:] == ["interrupted by SIGINT"]
    assert done.stderr == ""


def test_handlers_are_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with started(["true"], lambda process: None, deadly=signal.SIGKILL) as process:
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
        assert process.wait() == 0
    with (
        pytest.raises(FileNotFoundError),
        started(["/nowhere/x"], lambda process: None, deadly=signal.SIGKILL),
    ):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
