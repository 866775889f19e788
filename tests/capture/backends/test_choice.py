"""Which backends a run gets, and how they mark imports together; two of them in one run."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from fsprobe import capabilities
from fsprobe.capture import backends, options, record, salvage
from fsprobe.capture.backends.protocol import Backend, Machine, Run
from fsprobe.capture.backends.ptrace import entry
from fsprobe.capture.process.start import Launch, Process
from fsprobe.errors import FsprobeError
from fsprobe.recording.file import Recording
from tests.conftest import need


class Made(Backend):
    """A backend of the test's own."""

    def __init__(self, name: str, why_not: str = "", why_rather_not: str = "", why_harmful: str = "") -> None:
        self.name = name
        self._why_not, self._why_rather_not, self._why_harmful = why_not, why_rather_not, why_harmful

    def why_not(self, machine: Machine) -> str:
        return self._why_not

    def why_rather_not(self, machine: Machine) -> str:
        return self._why_rather_not

    def why_harmful(self, machine: Machine) -> str:
        return self._why_harmful


def table(monkeypatch: pytest.MonkeyPatch, *made: Backend) -> None:
    monkeypatch.setattr(backends, "TABLE", {one.name: (lambda one=one: one) for one in made})


@pytest.mark.parametrize(
    ("made", "taken", "why"),
    [
        ((("a", "", ""), ("b", "", "")), "a", ""),
        ((("a", "broken", ""), ("b", "", "")), "b", "broken"),
        ((("a", "", "a job"), ("b", "", "")), "b", "a job"),
        ((("a", "", "a job"), ("b", "none here", ""), ("c", "", "tells less")), "a", ""),
        ((("a", "denied", ""), ("b", "denied", ""), ("c", "", "tells less")), "c", "denied"),
        ((("a", "no a", ""), ("b", "no b", ""), ("c", "", "tells less")), "c", "no a; no b"),
        ((("a", "no a", ""), ("b", "", "tells less"), ("c", "", "tells least")), "b", "no a"),
    ],
)
def test_auto_takes_the_first_that_nothing_speaks_against(
    made: tuple[tuple[str, str, str], ...], taken: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(monkeypatch, *(Made(*one) for one in made))
    best = backends.best(Machine({}))
    assert (best.name, best.why) == (taken, why)


def test_auto_takes_one_that_tells_less_before_one_that_keeps_the_command_from_its_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table(monkeypatch, Made("a", why_harmful="it is one"), Made("b", why_harmful="it is one"), Made("c", "", "less"))
    taken = backends.best(Machine({}))
    assert (taken.name, taken.why) == ("c", "it is one")
    table(monkeypatch, Made("a", why_harmful="it is one"), Made("b", "missing"))
    assert backends.best(Machine({})).name == "a"


def test_none_works(monkeypatch: pytest.MonkeyPatch) -> None:
    table(monkeypatch, Made("a", "no a"), Made("b", "no b"))
    with pytest.raises(FsprobeError, match="no a; no b"):
        backends.best(Machine({}))


def test_a_job_takes_ptrace_where_it_works(strace_program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine({"PATH": os.path.dirname(strace_program), "SLURM_JOB_ID": "1"})
    need(entry.why_not() is None, "no ptrace here")
    best = backends.best(machine)
    assert (best.name, "batch job" in best.why) == ("ptrace", True)
    monkeypatch.setattr(entry, "why_not", lambda: "no x86_64")
    best = backends.best(machine)
    assert (best.name, best.why) == ("strace", "")


def test_what_each_observes_has_a_name() -> None:
    for one in backends.every():
        assert one.observes
        assert one.observes <= set(capabilities.ALL)


@pytest.mark.parametrize("value", ["strace+auto", "strace+strace", "strace+", "+", "x", "auto+auto", ""])
def test_what_is_no_backend(value: str) -> None:
    with pytest.raises(FsprobeError, match="is no backend"):
        options.parse([f"--backend={value}", "--", "true"])


@pytest.mark.parametrize("name", ["--markers", "--import-timing"])
def test_the_old_name_of_import_timing(name: str) -> None:
    assert options.parse([name, "access", "--", "true"]).markers == "access"


def test_backends_that_mark_imports_differently_are_refused(strace_program: str) -> None:
    asked = options.parse(["--backend=strace+audit", "--", "true"])
    with pytest.raises(FsprobeError, match="mark imports in different ways"):
        backends.choose(asked, Machine(os.environ))


class Beside(Backend):
    """Observes by a variable in the command's environment alone, beside a tracer."""

    name = "beside"
    observes = frozenset([capabilities.READS])
    ways_to_mark = ("access", "none")
    n_ticks = 0
    environment_of_started = b""

    def prepare(self, run: Run, launch: Launch) -> Launch:
        Path(self.place, "log").write_bytes(b"begun\n")
        launch.target_variables["BESIDE"] = self.place + " 'é=x"
        return launch

    def watch(self, process: Process) -> None:
        self.n_ticks += 1
        # empty, or no file at all, once it has ended
        with contextlib.suppress(OSError):
            self.environment_of_started = (
                Path(f"/proc/{process.pid}/environ").read_bytes() or self.environment_of_started
            )

    def sections(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        yield "log", [Path(self.place, "log").read_bytes()]

    def facts(self) -> dict[str, object]:
        return {"beside": 1}


SHOW = "import os, sys, time; time.sleep(0.3); sys.stdout.write(repr(dict(os.environ).get('BESIDE'))); sys.stdout.flush(); sys.exit(3)"


@pytest.mark.parametrize("lead", ["strace", "ptrace", "audit"])
def test_two_in_one_run(
    lead: str, strace_program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    need(lead != "ptrace" or entry.why_not() is None, "no ptrace here")
    made = Beside()
    monkeypatch.setitem(backends.TABLE, "beside", lambda: made)
    monkeypatch.setattr(options, "BACKENDS", (*options.BACKENDS, "beside"))
    if lead == "audit":
        monkeypatch.setattr(Beside, "ways_to_mark", ("inside",))
    monkeypatch.setenv("BESIDE", "the caller's")
    asked = options.parse(
        [f"--backend={lead}+beside", "--force", "-o", str(tmp_path / "x"), "--", sys.executable, "-c", SHOW]
    )
    done = record.record(asked)
    assert done.outcome.exit_status == 3
    assert capfd.readouterr().out == repr(made.place + " 'é=x")
    assert not os.path.exists(made.place)
    assert made.n_ticks >= 1
    recording = Recording(done.path)
    assert b"".join(recording.section("beside/log")) == b"begun\n"
    assert b"execve" in b"".join(recording.section("log"))
    assert recording.manifest["backend"] == f"{lead}+beside"
    assert set(recording.manifest["capabilities"]) == backends.named(lead).observes | {capabilities.READS}
    # a tracer is not observed itself
    own = made.place.encode() if lead == "audit" else b"the caller's"
    assert b"BESIDE=" + own in made.environment_of_started


def test_two_in_one_salvage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.TABLE, "beside", Beside)
    place = tmp_path / "fsprobe-1"
    (place / "marks").mkdir(parents=True)
    (place / "beside").mkdir()
    place.chmod(0o700)
    (place / "log").write_bytes(b'5 1.0 stat("/x") = 0\n5 2.0 +++ exited with 7 +++\n')
    (place / "beside" / "log").write_bytes(b"begun\n")
    state = {"command": ["x"], "host": "h", "exit_code": None, "backend": "strace+beside"}
    (place / "state.json").write_text(json.dumps(state))
    path, _ = salvage.salvage(str(place), str(tmp_path / "out"))
    assert Recording(path).manifest["exit_code"] == 7
    assert b"".join(Recording(path).section("beside/log")) == b"begun\n"
    assert not place.exists()


def test_a_backend_that_nobody_knows_is_one_clear_error(tmp_path: Path) -> None:
    place = tmp_path / "fsprobe-1"
    (place / "marks").mkdir(parents=True)
    place.chmod(0o700)
    (place / "state.json").write_text(json.dumps({"command": ["x"], "host": "h", "backend": "../x"}))
    with pytest.raises(FsprobeError, match="unknown backend"):
        salvage.salvage(str(place), str(tmp_path / "out"))
