"""What goes into a recording beside the log, and what is refused before anything runs."""

from __future__ import annotations

import ast
import json
import os
import sys
import time
import types
from pathlib import Path

import pytest

from fsprobe.capture import injection, options, programs, record, salvage
from fsprobe.capture.backends.protocol import Run
from fsprobe.capture.backends.strace.backend import Strace
from fsprobe.capture.directories import hook_place, scratch
from fsprobe.capture.machine import host
from fsprobe.capture.machine.environment import own_environment
from fsprobe.capture.process import wait as waiting
from fsprobe.capture.process.wait import Outcome
from fsprobe.errors import BadInput, FsprobeError
from fsprobe.recording.file import Recording
from tests.conftest import clean_environment, need


@pytest.mark.parametrize(
    ("value", "after"),
    [(None, "{place}"), ("", "{place}"), ("/a:/b", "{place}:/a:/b"), (":/a", "{place}::/a"), ("/a:", "{place}:/a:")],
)
def test_hook_comes_first_and_adds_no_empty_entry(tmp_path: Path, value: str | None, after: str) -> None:
    environment = dict(clean_environment(), **({} if value is None else {"PYTHONPATH": value}))
    place, why_not = injection.install(str(tmp_path), "time", environment)
    assert why_not == ""
    assert environment["PYTHONPATH"] == after.format(place=place)
    hook_place.remove(place, str(tmp_path))
    assert not os.path.exists(os.path.dirname(place))


def test_hook_is_filled_in(tmp_path: Path) -> None:
    place = tmp_path / 'it\'s \\ "odd" \udcff'
    place.mkdir()
    hook, _ = injection.install(str(place), "both", clean_environment())
    tree = ast.parse(Path(hook, "sitecustomize.py").read_text())
    hook_place.remove(hook, str(place))
    filled = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("PLACE", "N_DIGITS", "MODE", "NAMES")
    }
    assert filled == {"PLACE": str(place), "N_DIGITS": 0, "MODE": "both", "NAMES": tuple(host.TARGET_VARIABLES)}


@pytest.mark.parametrize(
    ("current", "given", "expected"),
    [
        ("C.UTF-8", b"A=1\0B=2\0", None),
        ("C.UTF-8", b"A=1\0LC_CTYPE=C.UTF-8\0", "C.UTF-8"),
        ("de_DE.UTF-8", b"A=1\0", "de_DE.UTF-8"),
        (None, b"", None),
    ],
)
def test_a_locale_that_was_not_given_is_not_passed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, current: str | None, given: bytes, expected: str | None
) -> None:
    monkeypatch.delenv("LC_CTYPE", raising=False)
    if current is not None:
        monkeypatch.setenv("LC_CTYPE", current)
    (tmp_path / "environ").write_bytes(given)
    real_open = open
    monkeypatch.setattr(
        "builtins.open",
        lambda path, *rest, **how: real_open(
            tmp_path / "environ" if path == "/proc/self/environ" else path, *rest, **how
        ),
    )
    assert own_environment().get("LC_CTYPE") == expected


def test_a_variable_without_a_name_can_not_be_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """execve of Python refuses it, and the command was never started."""
    monkeypatch.setattr(os, "environ", {"": "x", "A": "1"})
    assert own_environment() == {"A": "1"}


def test_privileged_programs_are_named(tmp_path: Path) -> None:
    for name, mode in (("plain", 0o755), ("setuid", 0o4755)):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    paths = [os.fsencode(tmp_path / name) for name in ("plain", "setuid", "missing")]
    assert programs.privileged(paths) == [[str(tmp_path / "setuid"), "setuid"]]


@pytest.mark.needs_root
def test_of_roots_run_those_that_would_go_on_as_another_are_named(tmp_path: Path) -> None:
    need(os.geteuid() == 0, "needs root")
    for name, mode, uid, gid in (
        ("roots", 0o4755, 0, 0),
        ("others", 0o4755, 1234, 0),
        ("group", 0o2755, 0, 1234),
        ("no", 0o755, 1234, 0),
    ):
        (tmp_path / name).write_text("")
        os.chown(tmp_path / name, uid, gid)
        (tmp_path / name).chmod(mode)
    paths = [os.fsencode(tmp_path / name) for name in ("roots", "others", "group", "no", "missing")]
    found = programs.changing_root(paths)
    assert found == [[str(tmp_path / "others"), "setuid"], [str(tmp_path / "group"), "setgid"]]
    assert all("--backend ptrace" in line for line in programs.warnings(found, [], 0, is_root=True))


def test_a_setuid_command_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "starter"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o4755)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    path, (warning,) = host.check_command([str(program)], {})
    assert path == str(program)
    assert "is setuid" in warning
    assert "fsprobe run" in warning
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert host.check_command([str(program)], {}) == (str(program), [])


@pytest.mark.parametrize(
    ("name", "status"), [("ENOEXEC", 126), ("EACCES", 126), ("ENOENT", 127), ("E2BIG", 126), ("EWEIRD", 126)]
)
def test_a_command_whose_execve_failed(tmp_path: Path, name: str, status: int) -> None:
    log = tmp_path / "log"
    log.write_text(f'5 1.0 (+0.0) execve("/x", ["x"], 0x1) = -1 {name} (Why) <0.1>\n')
    outcome = Outcome()
    outcome.exit_status = 1
    tracer = Strace()
    tracer.settle(str(tmp_path), str(tmp_path))
    with pytest.raises(FsprobeError) as caught:
        tracer.raise_if_not_run(Run(["x"], {}), outcome)
    assert caught.value.exit_code == status
    assert caught.value.hint


def planted_scratch(place: Path, log: bytes, **more: object) -> Path:
    """What a killed fsprobe leaves."""
    for name in (scratch.MARKS, scratch.HOOK):
        (place / name).mkdir(parents=True)
    place.chmod(0o700)
    (place / scratch.LOG).write_bytes(log)
    (place / scratch.MARKS / "marks.5.x").write_bytes(b"1 5 >json\n")
    state = {"command": ["x"], "host": "h", "exit_code": None, "uid": 0, "fsprobe_pid": 0, "backend": "strace"}
    state.update(more)
    (place / scratch.STATE).write_text(json.dumps(state))
    return place


@pytest.mark.parametrize(
    ("tail", "exit_code", "signal"),
    [(b"5 2.0 +++ exited with 7 +++\n", 7, None), (b"5 2.0 +++ killed by SIGKILL +++\n", 137, 9)],
)
def test_salvage(tmp_path: Path, tail: bytes, exit_code: int, signal: int | None) -> None:
    place = planted_scratch(tmp_path / "fsprobe-1", b'5 1.0 stat("/x") = 0\n' + tail)
    path, running = salvage.salvage(str(place), str(tmp_path / "out"))
    assert not running
    assert not place.exists()
    recording = Recording(path)
    recording.verify()
    assert (recording.manifest["exit_code"], recording.manifest["signal"]) == (exit_code, signal)
    assert recording.manifest["salvaged"]
    assert not recording.manifest.get("log_truncated")
    assert b"".join(recording.section("log")) == b'5 1.0 stat("/x") = 0\n' + tail
    assert b"1 5 >json\n" in b"".join(recording.section("marks"))


@pytest.mark.parametrize(
    ("name", "beside", "is_taken_away"),
    [
        ("fsprobe/fsprobe-0123456789ab/hook", "", True),
        ("fsprobe/fsprobe-0123456789ab/hook", "mine", False),
        ("fsprobe/fsprobe-0123456789ab/hook/hook", "", False),
        ("fsprobe/fsprobe-012345/hook", "", False),
        ("work/fsprobe-0123456789ab/hook", "", False),
        ("fsprobe/work/hook", "", False),
    ],
)
def test_salvage_takes_the_runs_own_hook_away_and_nothing_else(
    tmp_path: Path, name: str, beside: str, is_taken_away: bool
) -> None:
    hook = tmp_path / name
    hook.mkdir(parents=True)
    (hook / "sitecustomize.py").write_text("")
    if beside:
        (hook.parent / beside).write_text("")
    place = planted_scratch(
        tmp_path / "fsprobe-1", b"5 1.0 x() = 0\n", hook_dir=str(hook), scratch="/tmp/mine/fsprobe-1"
    )
    salvage.salvage(str(place), str(tmp_path / "out"))
    assert hook.parent.exists() is not is_taken_away


def test_salvage_of_a_log_with_a_hole_says_so(tmp_path: Path) -> None:
    place = planted_scratch(tmp_path / "fsprobe-1", b"5 1.0 x() = 0\n" + bytes(5000) + b"rest\n5 2.0 y() = 0\n")
    path, _ = salvage.salvage(str(place), str(tmp_path / "out"))
    assert Recording(path).manifest["log_truncated"]
    assert b"".join(Recording(path).section("log")) == b"5 1.0 x() = 0\n"


def test_salvage_that_cannot_write_leaves_all_as_it_was(tmp_path: Path) -> None:
    place = planted_scratch(tmp_path / "fsprobe-1", b"5 1.0 x() = 0\n")
    with pytest.raises(FsprobeError, match="cannot write"):
        salvage.salvage(str(place), str(tmp_path / "missing" / "out"))
    assert (place / scratch.LOG).read_bytes() == b"5 1.0 x() = 0\n"
    salvage.salvage(str(place), str(tmp_path / "out"))
    with pytest.raises(BadInput):
        salvage.salvage(str(place), str(tmp_path / "out"))


def test_nothing_of_a_failed_start_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(injection, "install", fail)
    asked = options.parse(["--tmp-dir", str(tmp_path), "--force", "-o", str(tmp_path / "out"), "--", "/bin/true"])
    with pytest.raises(FsprobeError, match="No space left") as caught:
        record.record(asked)
    assert "--tmp-dir" in caught.value.hint
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("set_s", "says"), [(0.0, ""), (0.9, ""), (172_800.0, "set ahead by 172800 s"), (-60.0, "set back by 60 s")]
)
def test_a_clock_that_was_set_meanwhile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_s: float, says: str
) -> None:
    stepped = types.SimpleNamespace(time=lambda: time.time() + set_s, monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr(waiting, "time", stepped)
    output = tmp_path / "x.fsprobe"
    words = ["--backend", "audit", "-o", str(output), "--", sys.executable, "-I", "-S", "-c", "pass"]
    recorded = record.record(options.parse(words))
    found = [line for line in recorded.warnings if "wall clock" in line]
    assert len(found) == bool(says)
    assert all(says in line for line in found)
    assert 0 < Recording(str(output)).manifest["wall_s"] < 60
