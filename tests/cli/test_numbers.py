"""What Python takes for a number need not be one: each option says so in a line, whatever is given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe.capture import options
from fsprobe.capture.machine import ranks
from fsprobe.cli import failures, group
from fsprobe.errors import EXIT_USAGE, FsprobeError
from fsprobe.foreign_numbers import count

ODD = ("²", "nan", "1e999", "-5", "", "9" * 400, "9" * 5000)
OPTIONS = (
    ("check", "x.fsprobe", "--max-metadata"),
    ("check", "x.fsprobe", "--baseline", "x.fsprobe", "--tolerance"),
    ("whatif", "x.fsprobe", "--nodes"),
    ("scan", ".", "--top"),
    ("attach", "1", "--for"),
    ("compare", "--runs"),
    ("merge", "x.fsprobe", "--executor"),
)


@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("number", ODD, ids=lambda text: text[:6])
def test_no_option_takes_it(words: tuple[str, ...], number: str, capsys: pytest.CaptureFixture[str]) -> None:
    if words[0] == "merge":
        number = f"local={number}" if number else "local=²"
    if words[:2] == ("scan", ".") and number.startswith("9"):
        number = "-1"
    code = group.main([*words, number])
    said = capsys.readouterr().err
    assert code in (EXIT_USAGE, 3), said  # a file that is not there is looked for first, where there is one
    assert said.startswith("fsprobe: ")
    assert "integer range" not in said
    assert len(said) < 600


@pytest.mark.parametrize("number", ODD, ids=lambda text: text[:6])
def test_run_and_its_launchers(number: str) -> None:
    with pytest.raises(FsprobeError):
        options.parse([f"--max-log={number}", "true"])
    with pytest.raises(FsprobeError):
        options.parse([f"--ranks={number or '²'}", "true"])
    for name in ("OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "PMI_RANK"):
        assert ranks.identify({name: number, "SLURM_STEP_ID": "0"}) is None
    known = ranks.identify({"PMI_RANK": "3", "PMI_SIZE": number})
    assert known is not None
    assert (known.number, known.size) == (3, None)


def test_a_count_is_ascii_and_fits() -> None:
    assert [count(text) for text in ("0", "17", b"17", "9" * 18)] == [0, 17, 17, 10**18 - 1]
    assert [count(text) for text in ("", "²", "１２", "-1", "1_0", " 1", "9" * 19, "9" * 5000, b"x", "1.0")] == [
        None
    ] * 10


# ---- interrupts ---------------------------------------------------------------------------------------------------

STARTING = """
import os, signal, sys
from fsprobe.cli import failures
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in what nohup started
failures.end_when_interrupted()
{then}
os.kill(os.getpid(), signal.SIGINT)
print("went on")
"""


@pytest.mark.parametrize(
    ("then", "status", "said"),
    [
        ("", 130, "fsprobe: interrupted\n"),
        ("failures.call_when_asked_to_end(lambda: os._exit(7))", 7, ""),
    ],
)
def test_interrupted_while_it_starts(then: str, status: int, said: str) -> None:
    program = STARTING.format(then=then)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "", said)


def test_a_class_body_may_make_another_error_of_it() -> None:
    error = RuntimeError("Error calling __set_name__")
    error.__cause__ = KeyboardInterrupt()
    assert failures.is_interrupt(error)
    assert not failures.is_interrupt(RuntimeError())


def test_what_imports_fsprobe_keeps_its_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert group.main(["explain", "FSP001"]) == 0
    assert signal.getsignal(signal.SIGINT) in (before, signal.SIG_IGN)
    signal.signal(signal.SIGINT, before)
    assert os.getpid()
