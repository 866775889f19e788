"""A scratch place of each test's own, and programs that end with the test."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import clean_environment, need
from tests.e2e.backends.attach.attaching import may_attach


@pytest.fixture
def scratch_of_the_test(tmp_path: Path, strace_program: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A scratch place of the test's own, empty at its end."""
    need(may_attach(), "attaching to a running program is not allowed here")
    place = tmp_path / "scratch"
    place.mkdir()
    yield place
    assert list(place.iterdir()) == []


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start programs; what is left of them ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*command: str, **how: object) -> subprocess.Popen[str]:
        one = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean_environment(),
            **how,  # type: ignore[call-overload]
        )
        started.append(one)
        return one

    yield run
    for one in started:
        if one.poll() is None:
            one.send_signal(signal.SIGCONT)
            one.kill()
        one.communicate()
