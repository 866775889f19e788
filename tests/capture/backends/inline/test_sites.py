"""The sites that the recorder takes in a libc are those that objdump knows, in each glibc that Debian's archive gives."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe.events.ring.spelling import NAMES
from tests.capture.backends.inline import libcs, recorded
from tests.capture.backends.inline.disassembly import disassemble
from tests.capture.backends.inline.recorded import INCLUDES, PYTHON, SOURCES
from tests.capture.backends.inline.test_same_run import both

BY_XOR, BY_REGISTER = 1, 3
RT_SIGRETURN = 15
NEEDED = {
    "libc.so.6": {0, 3, 4, 6, 9, 17, 21, 59, 80, 87, 89, 217, 231, 257, 262},
    "ld-linux-x86-64.so.2": {0, 3, 9, 257},
}
"""What each libc must have, by its numbers; where a version has another way (stat, open), see `has_needed`."""


@pytest.fixture(scope="module")
def finder(program: Callable[..., str]) -> str:
    return program("sites_of", *INCLUDES, "-fno-builtin", str(SOURCES / "rewriting/sites.c"), str(SOURCES / "calls.c"))


def wanted_numbers() -> set[int]:
    text = (SOURCES / "calls.c").read_text() + (SOURCES / "kernel.h").read_text()
    numbers = dict(re.findall(r"NR_(\w+) = (\d+)", text))
    followed = {int(numbers[name]) for name in re.findall(r"\[NR_(\w+)\] = FOLLOWED", text)}
    plain = {int(number) for number in re.findall(r"^    \[(\d+)\] = ", text, re.MULTILINE)}
    assert set(NAMES) <= plain
    return followed | plain


def check(finder: str, path: Path) -> dict[int, int]:
    """Compare the finder's sites of one object with objdump's; gives how many it has of each number."""
    truth = disassemble(path)
    out = subprocess.run([finder, str(path)], capture_output=True, text=True, check=True, timeout=60).stdout
    sites = [
        [int(word, 16 if i == 0 else 10) for i, word in enumerate(line.split()[1:])]
        for line in out.splitlines()
        if line.startswith("site ")
    ]
    count = [int(word) for word in out.splitlines()[-1].split()[1:]]
    assert count == [len(sites), 0], (
        f"{path}: sites are left: {[line for line in out.splitlines() if line.startswith('left')]}"
    )
    calls = {at + length: number for at, number, form, length in sites if form != BY_REGISTER}
    assert set(calls) <= set(truth.syscalls), "what is taken is a system call"
    wrong = {
        at: (number, truth.syscalls[at])
        for at, number in calls.items()
        if number != -1 and number != truth.syscalls[at]
    }
    assert not wrong, "with the number that objdump sees"
    missing = {
        hex(at): number for at, number in truth.syscalls.items() if number in wanted_numbers() and at not in calls
    }
    assert not missing, f"{path.name}: not taken"
    for at, _, form, _ in sites:
        assert at in truth.starts, "what is replaced begins with an instruction"
        covered = range(at + 1, at + (10 if form == BY_XOR else 5))
        assert not [hex(one) for one in covered if one in truth.targets], "nothing jumps into what is replaced"
    gates = [[int(word, 16) for word in line.split()[1:]] for line in out.splitlines() if line.startswith("gate ")]
    if path.name == "libc.so.6" or (path.name == "libpthread.so.0" and sites):
        assert len(gates) == 1, "an unwinder finds its way out of a call"
    for gate, way_back in gates:
        assert {gate, way_back - 2} <= set(truth.syscalls)
        assert truth.syscalls[way_back - 2] == RT_SIGRETURN
        assert not [hex(one) for one in range(way_back, way_back + 5) if one in truth.targets], (
            "nothing comes to the way back"
        )
    numbers: dict[int, int] = {}
    for _, number, _, _ in sites:
        numbers[number] = numbers.get(number, 0) + 1
    return numbers


def has_needed(name: str, numbers: dict[int, int]) -> set[int]:
    """What an object lacks of what it must have."""
    lacks = NEEDED.get(name, set()) - set(numbers)
    if -1 in numbers:
        lacks -= {0, 257, 3, 17}  # by the generic call of 2.41
    if 262 in numbers:
        lacks -= {4, 6}
    return lacks - ({21} if 439 in numbers or 269 in numbers else set()) - ({80} if name.startswith("ld-") else set())


@pytest.mark.parametrize("name", ["libc.so.6", "ld-linux-x86-64.so.2"])
def test_this_machines(finder: str, name: str) -> None:
    recorded.need(shutil.which("objdump") is not None, "objdump is the truth")
    path = next((p for p in (Path("/lib/x86_64-linux-gnu") / name, Path("/lib64") / name) if p.exists()), None)
    recorded.need(path is not None, f"there is no {name}")
    assert path is not None
    assert not has_needed(name, check(finder, path))


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the directory of a suite's libc, fetched once; skips where it can't be fetched."""
    known: dict[str, tuple[Path | None, str]] = {}

    def get(suite: str) -> Path:
        if suite not in known:
            known[suite] = libcs.fetch(suite, tmp_path_factory.mktemp(suite))
        place, why = known[suite]
        if place is None:
            pytest.skip(why)
        return place

    return get


@pytest.mark.slow
@pytest.mark.parametrize("suite", libcs.SUITES)
def test_debians(finder: str, debian: Callable[[str], Path], suite: str) -> None:
    if shutil.which("objdump") is None:
        pytest.skip("objdump is the truth")
    place = debian(suite)
    for name in libcs.OBJECTS:
        if (place / name).exists():
            assert not has_needed(name, check(finder, (place / name).resolve())), name


@pytest.mark.slow
@pytest.mark.parametrize("suite", libcs.SUITES)
@pytest.mark.parametrize("which", ["cat", "python"])
def test_programs_run_with_debians(
    library: Path, debian: Callable[[str], Path], suite: str, which: str, tmp_path: Path
) -> None:
    """Programs that another libc's loader starts are recorded as strace sees them."""
    place = debian(suite)
    root = place
    while root.name != "unpacked":
        root = root.parent
    cat = next(path for path in (root / "bin/cat", root / "usr/bin/cat") if path.exists())
    words = (
        [str(cat), "/etc/hosts"]
        if which == "cat"
        else [os.path.realpath(PYTHON), "-c", "import json, threading, asyncio"]
    )
    more = f"{place}:/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:{os.path.dirname(os.path.dirname(words[0]))}/lib"
    command = [str(place / "ld-linux-x86-64.so.2"), "--library-path", more, *words]
    plain = subprocess.run(command, capture_output=True, timeout=60)
    if plain.returncode:
        pytest.skip(f"{which} of this machine does not run with glibc of {suite}: {plain.stderr.decode()[-200:]}")
    theirs, run = both(library, command, tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, plain.stdout, plain.stderr)
    expected, actual = recorded.per_thread(theirs, library), recorded.per_thread(run.events)
    # started as a program, the loader opens its program before it lets anybody in
    first = next(iter(expected))
    assert len(actual[first]) >= 4
    after = actual.pop(first)[1:]
    assert after == expected.pop(first)[-len(after) :]
    assert actual == expected
    assert {one.n_left for one in run.facts.objects} == {0}
