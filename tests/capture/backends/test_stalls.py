"""A tracer that waits for its own tracee, and nobody may end that: it is said, and a signal ends fsprobe alone."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from fsprobe.capture.backends import stalls
from fsprobe.capture.backends.protocol import Run
from fsprobe.capture.backends.tracing import Tracer
from fsprobe.capture.process import signals
from fsprobe.capture.process.start import Launch, start
from fsprobe.capture.process.wait import is_running, wait
from tests.capture.test_session import fake_tracer


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every tracer reads for ever, from a server that it traces; gives the connections that somebody asked to end."""
    asked: list[int] = []
    monkeypatch.setattr(stalls, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(stalls, "STILL_S", 0.0)
    monkeypatch.setattr(stalls, "doing_now", lambda _: f"{stalls.READING[os.uname().machine][0]} 0x1 0x2")
    monkeypatch.setattr(stalls, "tracees", lambda _: [7])
    monkeypatch.setattr(stalls, "serves", lambda _: True)
    monkeypatch.setattr(stalls, "name_of", lambda _: "sshfs")
    monkeypatch.setattr(stalls, "connections", lambda _: {9})
    monkeypatch.setattr(stalls, "fuse_mounts", lambda _: [(8, "/theirs", "fuse"), (9, "/x", "fuse.sshfs")])
    monkeypatch.setattr(stalls, "abort", lambda number: asked.append(number))
    monkeypatch.setattr(stalls, "unmount", lambda pid, place: False)
    return asked


def test_refused_is_said_as_such(still: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    stall = stalls.Stall("/none")
    for _ in range(3):
        stall.look(5)
    assert stall.is_stuck
    assert "sshfs" in stall.why
    assert "nobody may end that here" in stall.why
    assert set(still) == {9}, "only what this server serves"
    monkeypatch.setattr(stalls, "abort", lambda number: True)
    stall.look(5)
    stall.look(5)
    assert not stall.is_stuck
    assert "the connection was aborted" in stall.why


def test_a_signal_ends_fsprobe_and_the_tracer_is_left(still: list[int], tmp_path: Path) -> None:
    """The tracer is never killed: every call of its target would fail."""
    tracer = Tracer()
    tracer.settle(str(tmp_path), str(tmp_path))
    command = fake_tracer(tmp_path / "log", "sleep 20")
    asked = Run(command, os.environ)
    asked.max_log_bytes = 1 << 30

    def end() -> None:
        limit = time.monotonic() + 15
        while not tracer.is_stuck and time.monotonic() < limit:
            time.sleep(0.02)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)  # the one that holds signals

    with signals.SignalsHeld() as held:
        launch = tracer.prepare(asked, Launch(command, os.environ))
        launch.words = command
        tracer.stall = stalls.Stall("/none")
        process = start(launch, held)
        sender = threading.Thread(target=end)
        sender.start()
        began = time.monotonic()
        try:
            outcome = wait(process, [tracer], held, 1.0)
            tracer.finish(process, outcome)
            is_left = is_running(process.pid)
        finally:
            sender.join()
            os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)
    assert is_left
    assert time.monotonic() - began < 18, "it did not wait for the tracer's own end"
    assert (outcome.exit_status, outcome.descendants_left) == (-signal.SIGTERM, True)
    assert "nobody may end that here" in tracer.truncated
