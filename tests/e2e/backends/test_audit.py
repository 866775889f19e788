"""The audit backend: what it sees against strace, what it leaves as it is, and when it is taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import audit_accuracy
from fsprobe import pipeline
from fsprobe.analysis.manifest import has_audit_events
from fsprobe.capture.backends.strace.backend import JOB_VARIABLES
from fsprobe.model import serial
from fsprobe.model.profile import Profile
from fsprobe.report import caveats
from tests.conftest import INTERPRETERS, need
from tests.e2e.transparency.faults.command import DENY

BEHAVES = """
import os, posix, sys, pathlib, shutil, tempfile, threading, subprocess, functools, pickle, multiprocessing
def main():
    place = pathlib.Path(tempfile.mkdtemp())
    (place / "a").write_text("x")
    print(sorted(os.listdir(place)), [entry.name for entry in os.scandir(str(place))], (place / "a").stat().st_size)
    shutil.copytree(str(place), str(place) + "2")
    print([len(files) for _, _, files in os.walk(str(place) + "2")])
    for call in (lambda: os.stat(str(place / "no")), lambda: os.listdir(str(place / "no")), lambda: os.stat(), lambda: os.stat(1.5)):
        try: call()
        except Exception as error: print(type(error).__name__, str(error).replace(str(place), "PLACE"), getattr(error, "errno", None))
    print(os.stat is posix.stat, os.stat in os.supports_dir_fd, os.stat in os.supports_follow_symlinks, os.listdir in os.supports_fd)
    print(repr(os.stat), os.stat.__name__, os.stat.__module__, pickle.loads(pickle.dumps(os.stat)) == os.stat)
    print(functools.partial(os.stat, "/")().st_ino == posix.stat("/").st_ino, os.path.exists("/"), os.access("/", os.R_OK))
    thread = threading.Thread(target=os.stat, args=("/",)); thread.start(); thread.join()
    print(subprocess.run([sys.executable, "-c", "import os; print(os.path.isdir('/'))"], stdout=subprocess.PIPE).stdout)
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool: print(pool.map(abs, [-1, 2]))
    shutil.rmtree(str(place)); shutil.rmtree(str(place) + "2")
    print([name for name in ("sitecustomize", "atexit") if name in sys.modules and name == "sitecustomize"])
if __name__ == "__main__":
    main()
"""


def run(command: list[str], path: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    start = [sys.executable, "-m", "fsprobe", "run", "--record-only", "-q", "--force", "-o", str(path), *words, "--"]
    return subprocess.run([*start, *command], capture_output=True)


@pytest.mark.parametrize("name", ["json", "files"])
def test_it_sees_what_strace_sees_after_site(name: str, strace_program: str) -> None:
    for op, row in audit_accuracy.measure(sys.executable, audit_accuracy.WORKLOADS[name]).items():
        # DirEntry.stat is made in C and seen by no hook: one in eight stats of a program that walks directories
        assert row["recall"] >= (0.85 if (name, op) == ("files", "stat") else 0.93), (op, row)
        assert row["precision"] >= 0.99, (op, row)
        assert row["n_strace"] > 15


@pytest.mark.parametrize("interpreter", list(INTERPRETERS.values()), ids=list(INTERPRETERS))
def test_programs_behave_as_without_it(interpreter: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(BEHAVES)
    command = [str(interpreter), str(tmp_path / "main.py")]
    plain = subprocess.run(command, capture_output=True)
    assert plain.returncode == 0, plain.stderr
    watched = run(command, tmp_path / "x.fsprobe", "--backend", "audit")
    assert (watched.returncode, watched.stdout, watched.stderr) == (0, plain.stdout, plain.stderr)
    profile = pipeline.analyse(tmp_path / "x.fsprobe")
    assert profile.quality.n_unparsed == 0, profile.quality.unparsed_examples
    assert sum(row.kind == "python" for row in profile.metrics.by_process) >= 4
    assert profile.metrics.n_not_found > 0


@pytest.mark.parametrize(
    ("code", "status"),
    [("import sys; sys.exit(7)", 7), ("import os; os._exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9)],
)
def test_exit_codes_pass(code: str, status: int, tmp_path: Path) -> None:
    assert run([sys.executable, "-c", code], tmp_path / "x.fsprobe", "--backend", "audit").returncode == status
    assert pipeline.analyse(tmp_path / "x.fsprobe").manifest.backend == "audit"


def test_what_it_can_not_see_is_not_observed_and_said(tmp_path: Path) -> None:
    run([sys.executable, "-c", "import json"], tmp_path / "x.fsprobe", "--backend", "audit")
    profile = pipeline.analyse(tmp_path / "x.fsprobe")
    assert profile.metrics.time_s is None
    assert profile.metrics.share_of_wall is None
    assert "loader" not in profile.manifest.capabilities
    modules = {row.key: row for row in profile.metrics.by_module}
    assert modules["json.decoder"].parent == "json"
    text = subprocess.run(
        [sys.executable, "-m", "fsprobe", "report", str(tmp_path / "x.fsprobe")], capture_output=True, text=True
    ).stdout
    assert "audit, import timing: exact" in text
    assert "dynamic loader" in " ".join(text.split())


@pytest.mark.parametrize("words", [[sys.executable, "-I", "-c", "import json"], ["/bin/ls", "/"]], ids=["-I", "ls"])
def test_a_run_that_no_hook_saw_acquits_nothing(words: list[str], tmp_path: Path) -> None:
    assert run(words, tmp_path / "x.fsprobe", "--backend", "audit").returncode == 0
    profile = pipeline.analyse(tmp_path / "x.fsprobe")
    assert profile.verdict is None
    assert profile.metrics.by_process == ()
    for form in ("terminal", "md", "html"):
        done = subprocess.run(
            [sys.executable, "-m", "fsprobe", "report", str(tmp_path / "x.fsprobe"), "--format", form],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        text = " ".join(done.stdout.split())
        assert "Nothing was observed" in text
        assert "not the filesystem" not in text
        assert "there was no Python" not in text


@pytest.mark.parametrize("interpreter", list(INTERPRETERS.values()), ids=list(INTERPRETERS))
def test_what_old_interpreters_do_not_tell_is_said(interpreter: str, tmp_path: Path) -> None:
    place = tmp_path / "written"
    code = f"open({str(place)!r}, 'w').close(); import os; os.mkdir({str(place) + '.d'!r}); os.stat({str(place)!r})"
    run([str(interpreter), "-c", code], tmp_path / "x.fsprobe", "--backend", "audit")
    profile = pipeline.analyse(tmp_path / "x.fsprobe")
    opened = [row for row in profile.metrics.by_path if row.key == str(place)]
    assert [row.n_stat for row in opened] == [1]
    minor = int(profile.manifest.python.version.split(".")[1])
    has_events = minor >= 8
    assert profile.manifest.n_python_without_events == (0 if has_events else 1)
    assert [row.n_open for row in opened] == [int(has_events)]
    assert profile.metrics.n_change == int(has_events)
    said = " ".join(caveats.quality_lines(profile))
    assert ("1 interpreter older than Python 3.8" in said) is not has_events


@pytest.mark.parametrize(
    ("version", "expected"),
    [("3.6.15", False), ("3.7.16", False), ("3.8.18", True), ("3.13.0", True), ("3.15.0a1+", True), ("", True)],
)
def test_which_versions_have_audit_events(version: str, expected: bool) -> None:
    assert has_audit_events({"version": version}) is expected


def test_a_bare_machine_gets_a_report(tmp_path: Path) -> None:
    # as in a container on a machine without strace: a seccomp filter answers ptrace with EPERM
    need(os.uname().machine in ("x86_64", "aarch64"), "the filter is written for two machines")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    command = [
        sys.executable,
        "-m",
        "fsprobe",
        "run",
        "--full",
        "--force",
        "-o",
        str(tmp_path / "x.fsprobe"),
        "--",
        "python",
        "-c",
        "import pandas",
    ]
    environment = {name: value for name, value in os.environ.items() if name not in JOB_VARIABLES}
    environment["PATH"] = str(tmp_path / "bin")
    done = subprocess.run([sys.executable, "-c", DENY, *command], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    head = done.stderr.split("\n\n")[0].split("\n", 2)[2] if done.stderr.startswith("\n") else done.stderr
    assert " ".join(head.split()).startswith("audit, import timing: exact; a tracer (strace, ptrace) would add"), (
        done.stderr
    )
    profile = pipeline.analyse(tmp_path / "x.fsprobe")
    assert "no strace on PATH" in profile.manifest.backend_why
    assert "Operation not permitted" in profile.manifest.backend_why
    assert profile.quality.n_unparsed == 0, profile.quality.unparsed_examples
    modules = {row.key: row for row in profile.metrics.by_module}
    assert modules["pandas"].n_metadata_cum > 1000
    assert modules["numpy"].n_open > 0


def test_a_machine_where_nothing_may_trace_gets_a_report(tmp_path: Path, strace_program: str) -> None:
    # a program that is traced already can't be traced again: that is how tracing is denied here
    words = [
        sys.executable,
        "-m",
        "fsprobe",
        "run",
        "--full",
        "--force",
        "-o",
        str(tmp_path / "x.fsprobe"),
        "--",
        sys.executable,
        "-c",
        "import json; print('hi')",
    ]
    outer = [strace_program, "-f", "-q", "-o", os.devnull, "-e", "trace=none"]
    done = subprocess.run([*outer, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "hi\n"
    assert "audit" in done.stderr
    words = [sys.executable, "-m", "fsprobe", "report", str(tmp_path / "x.fsprobe"), "--format", "json"]
    profile = serial.from_json(Profile, json.loads(subprocess.run(words, capture_output=True).stdout))
    assert profile.manifest.backend == "audit"
    assert profile.manifest.backend_why
    assert profile.metrics.n_open > 3
