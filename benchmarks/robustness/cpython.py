"""CPython's own test files, with and without fsprobe: does a program behave otherwise because somebody looks on?

Each file is run alone twice, so that what differs by itself is known, and once under each backend. Compared is the outcome of
each single test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from fsprobe.model.formats import JsonObject

FILES = (
    "test_argparse", "test_atexit", "test_audit", "test_builtin", "test_bz2", "test_cmd_line", "test_cmd_line_script",
    "test_code", "test_compileall", "test_contextlib", "test_dbm_dumb", "test_doctest", "test_eintr", "test_epoll",
    "test_exceptions", "test_faulthandler", "test_fcntl", "test_file", "test_filecmp", "test_fileinput", "test_fileio",
    "test_fork1", "test_frozen", "test_genericpath", "test_getpath", "test_glob", "test_grp", "test_gzip", "test_import",
    "test_json", "test_linecache", "test_mmap", "test_modulefinder", "test_os", "test_pathlib", "test_pkgutil", "test_poll",
    "test_popen", "test_posix", "test_posixpath", "test_pty", "test_pwd", "test_py_compile", "test_resource", "test_runpy",
    "test_select", "test_selectors", "test_shutil", "test_signal", "test_site", "test_stat", "test_subprocess", "test_sys",
    "test_sys_setprofile", "test_sys_settrace", "test_sysconfig", "test_tempfile", "test_thread", "test_threading",
    "test_threadsignals", "test_wait3", "test_wait4", "test_weakref", "test_zipimport",
)  # fmt: skip
"""What looks closest at descriptors, signals, processes, files, the import system and the interpreter's own state."""
BACKENDS = ("strace", "ptrace", "audit", "inline")
LIMIT_S = 300.0
_RESULT = re.compile(r" \.\.\. (ok|FAIL|ERROR|skipped|expected failure|unexpected success)\b")
_ENDS = re.compile(r"^(ok|FAIL|ERROR|skipped .*|expected failure|unexpected success)$", re.MULTILINE)
_BEGINS = re.compile(r"^(\w+ \([\w.<>]+\))", re.MULTILINE)

CAUSES: dict[tuple[str, str, str], str] = {}
"""(file, backend or "*", part of a test's name) -> why it has to differ."""


def outcomes(text: str) -> dict[str, str]:
    """Test -> outcome, as `python -m test -v` prints them; one that prints something itself ends on a line of its own."""
    found: dict[str, str] = {}
    for begin, end in _parts(text):
        part = text[begin:end]
        name, result = _BEGINS.match(part), _RESULT.search(part) or _ENDS.search(part)
        if name is not None and " ..." in part:
            found[name.group(1)] = result.group(1).split(" ")[0] if result is not None else "no outcome"
    return found


def _parts(text: str) -> Iterator[tuple[int, int]]:
    starts = [match.start() for match in _BEGINS.finditer(text)]
    end = text.find("\n======")  # what failed is told once more from there on
    starts = [start for start in starts if end < 0 or start < end]
    yield from zip(starts, [*starts[1:], end if end >= 0 else len(text)], strict=False)


def run(python: str, name: str, place: Path, backend: str = "") -> tuple[dict[str, str], str]:
    """Run one test file; gives its outcomes, and how it ended: an exit code, or what went wrong."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    words = [python, "-m", "test", "-v", name]
    recording = place.with_suffix(".fsprobe")
    if backend:
        ours = [sys.executable, "-m", "fsprobe", "run", "-q", "--record-only", "--backend", backend]
        words = [*ours, "-o", str(recording), "--", *words]
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    try:
        done = subprocess.run(
            words, env=env, cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return outcomes((error.stdout or b"").decode("utf-8", "replace")), f"not ended after {LIMIT_S:.0f} s"
    finally:
        recording.unlink(missing_ok=True)
    return outcomes(done.stdout.decode("utf-8", "replace")), f"exit code {done.returncode}"


def try_file(python: str, name: str, place: Path) -> JsonObject:
    """One test file, alone twice and under each backend."""
    first, end = run(python, name, place / "a")
    second, second_end = run(python, name, place / "b")
    unsteady = {test for test in {*first, *second} if first.get(test) != second.get(test)}
    row: JsonObject = {
        "file": name,
        "n_tests": len(first),
        "n_unsteady": len(unsteady),
        "end": end if end == second_end else f"{end}, then {second_end}",
        "differences": [],
    }
    for backend in BACKENDS:
        seen, seen_end = run(python, name, place / backend, backend)
        if seen_end not in (end, second_end):
            row["differences"].append(_difference(name, backend, "(the whole file)", end, seen_end))
        for test in sorted({*first, *seen} - unsteady):
            if first.get(test) != seen.get(test):
                before, after = first.get(test, "not run"), seen.get(test, "not run")
                row["differences"].append(_difference(name, backend, test, before, after))
    return row


def _difference(file: str, backend: str, test: str, alone: str, seen: str) -> JsonObject:
    cause = next(
        (why for (of, by, part), why in CAUSES.items() if of == file and by in ("*", backend) and part in test), ""
    )
    return {"backend": backend, "test": test, "alone": alone, "with_fsprobe": seen, "cause": cause}


def measure(done: Sequence[JsonObject], save: Callable[[list[JsonObject]], None], names: Sequence[str] = FILES) -> None:
    """Try the files that are not done yet, two at a time as they mostly wait; `save` gets all rows after each."""
    python = getattr(sys, "_base_executable", sys.executable)
    rows = [row for row in done if row["file"] in FILES]
    todo = [name for name in names if not any(row["file"] == name for row in rows)]
    with tempfile.TemporaryDirectory(prefix="fsprobe-cpython-") as place, ThreadPoolExecutor(2) as pool:
        trials = [pool.submit(try_file, python, name, Path(place) / name) for name in todo]
        for trial in as_completed(trials):
            rows.append(trial.result())
            rows.sort(key=lambda row: str(row["file"]))
            save(rows)
