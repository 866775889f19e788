"""A signal that comes when the command has ended: its exit code stays, nothing recorded is lost, and there is no traceback.

No clock is in these: fsprobe's own functions are wrapped, so that the signal comes at just that point.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe.recording.file import Recording
from tests.conftest import ROOT, clean_environment

PROGRAM = """
import atexit, os, signal, sys
from fsprobe.capture import record
from fsprobe.capture.process import signals
from fsprobe.cli import failures, run
point, number, *words = sys.argv[1:]

def signalled(*_):
    os.kill(os.getpid(), int(number))

def after(do, when=lambda *words: True):
    def both(*given, **named):
        found = do(*given, **named)
        if when(*given):
            signalled()
        return found
    return both

def before(do):
    def both(*given, **named):
        signalled()
        return do(*given, **named)
    return both

if point == "ended":
    record.finish = before(record.finish)
elif point == "folded":
    record.write = before(record.write)
elif point == "written":
    record.write = after(record.write)
elif point == "released":
    signals.SignalsHeld.__exit__ = after(signals.SignalsHeld.__exit__)
elif point == "said":
    run.say = before(run.say)
elif point == "reporting":
    run.make_report = before(run.make_report)
elif point == "over":
    atexit.register(signalled)
failures.end_when_interrupted()
sys.exit(run.main(words))
"""
POINTS = [
    ("ended", 15, True),
    ("folded", 1, True),
    ("written", 2, True),
    ("released", 15, True),
    ("released", 1, False),
    ("said", 15, True),
    ("said", 2, False),
    ("reporting", 10, False),
    ("over", 15, True),
]


def run(tmp_path: Path, point: str, number: int, *options: str, code: str = "raise SystemExit(7)") -> tuple[int, str]:
    path = str(tmp_path / "r.fsprobe")
    words = [sys.executable, "-c", PROGRAM, point, str(number), *options, "-o", path, "--", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=clean_environment(), timeout=60)
    recording = Recording(path)
    recording.verify()
    assert recording.manifest["exit_code"] == (7 if done.returncode >= 0 else 128 - done.returncode)
    return done.returncode, done.stderr


@pytest.mark.parametrize(("point", "number", "streamed"), POINTS)
def test_the_exit_code_is_the_commands(tmp_path: Path, point: str, number: int, streamed: bool) -> None:
    options = ["--stream"] if streamed else []
    status, said = run(tmp_path, point, number, *options, *([] if point == "reporting" else ["--record-only"]))
    assert status == 7
    assert "Traceback" not in said
    is_told = point in ("said", "reporting")
    assert ("fsprobe: interrupted; the recording is" in said) == is_told, said
    assert ("fsprobe: wrote" in said) != is_told, said


def test_a_command_that_died_of_a_signal_has_that_signal(tmp_path: Path) -> None:
    dies = "import os; os.kill(os.getpid(), 12)"
    assert run(tmp_path, "said", 15, "--stream", "--record-only", code=dies)[0] == -12
