"""Comparing layouts, part by part: the timer, what is written of it, and what happens where something is not allowed."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fsprobe import experiment
from fsprobe.capture.machine import counters
from fsprobe.capture.process import timed
from fsprobe.errors import BadInput, FsprobeError, MachineCannot
from fsprobe.experiment import build, compare, runs, summarise
from fsprobe.experiment.interruption import Interrupted, interruptions
from fsprobe.experiment.janitor import janitor
from fsprobe.experiment.plan import Plan, Run, Side, State
from fsprobe.layouts.mount.spec import Entered, Spec
from fsprobe.layouts.plain import Layout
from fsprobe.model.manifest import Manifest
from fsprobe.model.profile import Metrics, Profile
from fsprobe.recording.file import Recording
from fsprobe.report.terminal import comparison
from tests.layouts.environments import make_venv, site_of


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small environment; nothing below may be changed by a test."""
    return make_venv(tmp_path_factory.mktemp("experiment") / "venv")


def quiet(what: str, done: int, of: int) -> None:
    """No progress."""


def timer(out: Path, *command: str, **settings: object) -> list[str]:
    """The command line of the timer."""
    values = {"warm": False, "cold": "", "starter": 0, "variables": {}, "meeting": [], **settings}
    return [sys.executable, "-I", "-S", timed.__file__, str(out), json.dumps(values), "--", *command]


def run_timer(out: Path, *command: str, **settings: object) -> dict[str, Any]:
    """Run it; what it wrote, with its exit code."""
    done = subprocess.run(timer(out, *command, **settings), check=False)
    return {**json.loads(out.read_text()), "code": done.returncode}


# -- the timer --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9)])
def test_the_timer_tells_how_the_command_ended(tmp_path: Path, script: str, status: int) -> None:
    facts = run_timer(tmp_path / "out", "sh", "-c", script)
    assert facts["exit_status"] == status
    assert facts["code"] == (status if status >= 0 else 128 - status)
    assert facts["wall_s"] > 0


def test_warm_runs_the_command_twice(tmp_path: Path) -> None:
    run_timer(tmp_path / "out", "sh", "-c", f"echo x >> {tmp_path}/ran", warm=True)
    assert (tmp_path / "ran").read_text() == "x\nx\n"


def test_what_makes_cold_comes_first_and_may_fail(tmp_path: Path) -> None:
    facts = run_timer(tmp_path / "out", "sh", "-c", f"test -e {tmp_path}/cold", cold=f"touch {tmp_path}/cold")
    assert (facts["exit_status"], facts["cold"]) == (0, "")
    assert run_timer(tmp_path / "out", "true", cold="exit 3")["cold"] == "exit 3 ended with 3"


def test_the_command_holds_no_descriptor_of_the_meeting(tmp_path: Path) -> None:
    ours, theirs = runs._pipes()
    command = timer(tmp_path / "out", "sh", "-c", f"ls -l /proc/self/fd > {tmp_path}/fds", meeting=theirs)
    with subprocess.Popen(command, pass_fds=theirs) as process:
        for _ in range(2):
            assert os.read(ours[0], 1) == b"+"
            os.write(ours[1], b"+")
    assert process.returncode == 0
    assert "pipe" not in (tmp_path / "fds").read_text()


def test_a_request_to_end_reaches_the_command(tmp_path: Path) -> None:
    script = f"trap 'echo asked > {tmp_path}/asked; exit 0' TERM; echo > {tmp_path}/ready; while :; do sleep 0.05; done"
    with subprocess.Popen(timer(tmp_path / "out", "sh", "-c", script)) as process:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM
    assert (tmp_path / "asked").exists()
    assert not (tmp_path / "out").exists()


def test_cpu_of_what_runs_beside(tmp_path: Path) -> None:
    """A process that shares our starter's child is beside us, the command and other processes are not."""
    burn = "import time; end = time.process_time() + {}\nwhile time.process_time() < end: pass"
    program = f"""
import json, subprocess, sys
other = subprocess.Popen([sys.executable, "-c", {burn.format(30)!r}])
settings = {{"warm": False, "cold": "", "starter": int(sys.argv[2]), "variables": {{}}, "meeting": []}}
try:
    subprocess.run([sys.executable, "-I", "-S", sys.argv[1], sys.argv[3], json.dumps(settings), "--",
                    sys.executable, "-c", {burn.format(0.3)!r}])
finally:
    other.kill()
"""
    out = tmp_path / "out"
    stranger = subprocess.Popen([sys.executable, "-c", burn.format(30)])
    try:
        subprocess.run([sys.executable, "-c", program, timed.__file__, str(os.getpid()), str(out)], check=True)
    finally:
        stranger.kill()
        stranger.wait()
    facts = json.loads(out.read_text())
    # the stranger and the command would each add their own
    assert 0 < facts["beside_s"] < facts["wall_s"] * 1.05
    assert facts["user_s"] + facts["sys_s"] >= 0.25
    assert run_timer(out, "true")["beside_s"] == 0


# -- what can't be done here ------------------------------------------------------------------------------------------


def refuse(spec: Spec) -> Entered:
    """A machine without namespaces."""
    raise MachineCannot("nothing can be mounted here")


def test_where_nothing_can_be_mounted_copies_run_from_where_they_lie(
    env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "choose_way", refuse)
    script = env / "bin" / "hello"
    script.write_text(f"#!{env}/bin/python\nimport sys, apples; print(sys.prefix, apples.__file__)\n")
    script.chmod(0o755)
    (tmp_path / "flash").mkdir()
    output = tmp_path / "output"
    output.mkdir()
    plan = Plan(env=env, command=["hello"], copies={"flash": tmp_path / "flash"}, n_runs=1, output_dir=output)
    try:
        result, recordings = experiment.run(plan)
    finally:
        script.unlink()
    row = next(row for row in result.rows if row.layout == "flash")
    assert row.in_place
    assert any("nothing can be mounted here" in note for note in result.notes)
    assert any(note.startswith("flash: made for this comparison, and removed") for note in result.notes)
    said = [path.read_text().split() for path in output.glob("flash-*.out")]
    assert said
    assert all(word.startswith(str(tmp_path / "flash")) for words in said for word in words)
    # the same program: paths are compared as if it lay where the environment lies
    changed = {row.path for row in result.differences["flash"].rows}
    # (looking for the interpreter goes through the directories above, which are others)
    assert not [path for path in changed if path.startswith(row.where)]
    assert row.n_requests is not None
    assert row.n_requests > 10
    assert set(recordings) == {"plain", "flash"}
    assert list((tmp_path / "flash").iterdir()) == []


def test_an_image_that_cannot_be_mounted_is_left_out(
    env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_way(image: experiment.Image) -> None:
        raise MachineCannot("no image can be mounted")

    monkeypatch.setattr(build, "check_ways", no_way)
    image = experiment.Image(label="squashfs", kind="squashfs")
    state = State(
        sides=[Side(layout=Layout(label="plain", kind="plain", where=env, fstype="", mount_how="", enter=[]))]
    )
    with ExitStack() as stack, pytest.raises(MachineCannot):
        build.build(
            Plan(env=env, command=["true"], images=(image,)), state, stack, quiet, env, lambda directory, stays: None
        )
    (tmp_path / "flash").mkdir()
    with ExitStack() as stack:
        plan = Plan(env=env, command=["true"], images=(image,), copies={"flash": tmp_path / "flash"})
        build.build(plan, state, stack, quiet, tmp_path, lambda directory, stays: None)
    assert [side.layout.label for side in state.sides] == ["plain", "flash"]
    assert any("squashfs is left out" in note for note in state.notes)


def test_a_copy_is_kept_when_asked(env: Path, tmp_path: Path) -> None:
    (tmp_path / "flash").mkdir()
    plan = Plan(
        env=env,
        command=["python", "-c", "pass"],
        copies={"flash": tmp_path / "flash"},
        n_runs=1,
        keep=True,
        output_dir=tmp_path,
    )
    result, _ = experiment.run(plan)
    kept = Path(result.rows[1].where)
    assert (kept / "bin" / "python").exists()
    assert kept.is_relative_to(tmp_path / "flash")
    assert not any("removed" in note for note in result.notes)


@pytest.mark.parametrize(
    ("caches", "make_cold", "may_drop", "how"),
    [
        (("cold", "warm"), "", True, "drop"),
        (("cold",), "remount", False, "remount"),
        (("cold",), "remount", True, "remount"),
        (("warm",), "", False, ""),
    ],
)
def test_how_caches_are_emptied(
    monkeypatch: pytest.MonkeyPatch, caches: tuple[str, ...], make_cold: str, may_drop: bool, how: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: may_drop)
    state = State()
    plan = Plan(env=Path("/v"), command=["true"], caches=caches, make_cold=make_cold)
    assert compare.choose_caches(plan, state, False) == how
    assert state.caches == caches


def test_two_layouts_of_one_name(env: Path) -> None:
    plan = Plan(env=env, command=["true"], existing={"plain": env})
    with pytest.raises(FsprobeError, match="two layouts are called plain"):
        experiment.run(plan)


def test_a_command_that_fails_is_told_before_anything_is_made(env: Path, tmp_path: Path) -> None:
    plan = Plan(
        env=env, command=["python", "-c", "raise SystemExit(3)"], copies={"flash": tmp_path}, output_dir=tmp_path
    )
    with pytest.raises(BadInput, match="ends with 3 in the layout plain"):
        experiment.run(plan)


# -- byte code --------------------------------------------------------------------------------------------------------


def test_missing_byte_code_is_written_first(env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(build, "choose_way", refuse)
    compiled = next(site_of(env).glob("__pycache__/pears.*.pyc"))
    compiled.unlink()
    plan = Plan(
        env=env, command=["python", "-c", "import pears"], copies={"flash": tmp_path}, n_runs=1, output_dir=tmp_path
    )
    result, _ = experiment.run(plan)
    assert compiled.exists()
    assert not any("byte code" in note for note in result.notes)


def test_byte_code_that_one_side_lacks_is_named(env: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(env, other, symlinks=True)
    next(site_of(other).glob("apples/__pycache__/core.*.pyc")).unlink()
    plan = Plan(env=env, command=["true"], existing={"other": other})
    state = State(sides=[Side(layout=layout_at("plain", "plain", env)), Side(layout=layout_at("other", "copy", other))])
    build.compare_byte_code(plan, state, quiet)
    core = os.fsencode(site_of(env).relative_to(env) / "apples" / "core.py")
    assert state.sides[1].without_pyc == {core}
    assert state.sides[1].with_pyc == frozenset()
    notes = build.byte_code_notes(plan, state)
    assert len(notes) == 1
    assert "other lacks 1 valid .pyc" in notes[0]
    assert "apples/core.py" in notes[0]


# -- what is said -----------------------------------------------------------------------------------------------------


class Stub:
    """As much of an analysis as a summary looks at."""

    def __init__(self) -> None:
        from fsprobe.analysis.counting.tally import Tally

        self.profile = Profile(manifest=Manifest(exit_code=0), metrics=Metrics(n_open=1, n_stat=1, n_paths=1))
        self.tally = Tally()
        self.requests = None


def layout_at(label: str, kind: str, where: Path = Path("/v")) -> Layout:
    """A layout that nothing was mounted for."""
    return Layout(label=label, kind=kind, where=where, fstype="", mount_how="", enter=[])


def run_of(label: str, wall_s: float, status: int = 0) -> Run:
    """One warm run."""
    return Run(
        layout=label,
        cache="warm",
        wall_s=wall_s,
        user_s=wall_s / 2,
        sys_s=0.0,
        beside_s=0.0,
        majflt=0,
        exit_status=status,
        server=None,
    )


def state_of(base: list[float], other: list[float], status: int = 0, interrupted: str = "") -> State:
    """An experiment with two layouts and these times."""
    made = State(caches=("warm",), interrupted=interrupted)
    for label, kind in (("plain", "plain"), ("x", "copy")):
        made.sides.append(Side(layout=layout_at(label, kind), analysis=Stub()))  # type: ignore[arg-type]
    made.runs = [run_of("plain", value) for value in base] + [run_of("x", value, status) for value in other]
    return made


PLAN = Plan(env=Path("/v"), command=["true"])


def test_a_verdict_is_in_the_rows() -> None:
    result = summarise.summarise(PLAN, state_of([2.0, 2.1, 2.2, 2.3, 2.4], [1.0, 1.1, 1.05, 1.02, 1.2]))
    row = result.rows[1]
    assert row.clear
    assert row.ratio_wall == pytest.approx(1.05 / 2.2, abs=1e-3)
    assert row.ratio_wall_low <= row.ratio_wall <= row.ratio_wall_high
    assert result.order == (("plain", "warm"),) * 5 + (("x", "warm"),) * 5


def test_a_layout_in_which_the_command_fails_is_not_faster() -> None:
    result = summarise.summarise(PLAN, state_of([2.0] * 5, [0.1] * 5, status=1))
    assert result.notes[0].startswith("the command failed in x, in 5 of 5 timed runs (exit code 1)")
    row = result.rows[1]
    assert row.clear is None
    assert row.ratio_wall is None
    assert row.exit_codes == (0, 1)  # the traced run's too
    assert row.verdict == "not compared: the command failed in x"


@pytest.mark.parametrize("by_client", [True, False])
def test_what_a_client_counted_is_not_called_the_servers(by_client: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_of([2.0], [1.0])
    state.runs = [replace(run, server={"metadata": 40 * n, "lookup": 30 * n}) for n, run in enumerate(state.runs, 1)]
    if by_client:
        source = counters.Source("the NFS client (/proc/self/mountstats)", dict)
        monkeypatch.setattr(counters, "find", lambda path: (source, ""))
        read = compare.find_counters(PLAN, state)
        assert read is not None
        assert read() == {}
    result = summarise.summarise(PLAN, state)
    found, empty = ("client_counters", "server_requests")[:: 1 if by_client else -1]
    assert [getattr(row, empty) for row in result.rows] == [None, None]
    assert [getattr(row, found)["metadata"].runs for row in result.rows] == [(40,), (80,)]
    assert any("of the whole node" in note for note in result.notes) == by_client
    shown = io.StringIO()
    comparison.show(result, shown)
    words = " ".join(shown.getvalue().split())
    assert ("client: metadata requests" in words, "served: metadata requests" in words) == (by_client, not by_client)
    assert " 80 " in words


def test_an_interrupted_comparison_says_so_and_needs_no_runs() -> None:
    result = summarise.summarise(PLAN, state_of([2.0], [], interrupted="SIGTERM"))
    assert result.interrupted == "SIGTERM"
    assert result.notes[0].startswith("interrupted (SIGTERM) after 1 timed runs")
    assert result.rows[1].wall_s is None
    assert result.rows[1].verdict == "no runs"


def test_recordings_come_out_of_the_file_as_they_went_in(tmp_path: Path) -> None:
    file = tmp_path / "c.fsprobe"
    experiment.write(str(file), {"kind": "comparison"}, {"plain": b"one", "squash/fs": b"two" * 1000})
    assert Recording(str(file)).kind == "comparison"
    Recording(str(file)).verify()
    experiment.extract(str(file), "squash/fs", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"two" * 1000
    with pytest.raises(BadInput, match="no recording of a layout none") as caught:
        experiment.extract(str(file), "none", str(tmp_path / "out"))
    assert caught.value.hint == "it has: plain, squash/fs"


# -- interruptions ----------------------------------------------------------------------------------------------------


def test_the_first_signal_raises_and_the_next_ones_wait() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []
    with interruptions():
        try:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            finally:
                os.kill(os.getpid(), signal.SIGINT)  # cleaning up goes on
                time.sleep(0.01)
                seen.append("cleaned up")
        except Interrupted as error:
            seen.append(str(error))
    assert seen == ["cleaned up", "SIGTERM"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_nothing_is_interrupted_while_it_is_held() -> None:
    with interruptions() as taken:
        taken.hold()
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.01)


def test_in_another_thread_no_handler_is_set() -> None:
    found: list[object] = []

    def look() -> None:
        with interruptions():
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]


def test_ending_a_process_ends_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_END_S", 0.3)
    script = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done' & wait; while :; do sleep 1; done"
    process = subprocess.Popen(["sh", "-c", script])
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        time.sleep(0.01)
    pid = int((tmp_path / "pid").read_text())
    runs.end(process)
    assert process.returncode == -signal.SIGKILL
    for _ in range(500):  # killing takes a moment
        if not is_alive(pid):
            return
        time.sleep(0.01)
    pytest.fail("it lives on")


def is_alive(pid: int) -> bool:
    """Whether a process that may be somebody else's child runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# -- what is taken away when nobody else can --------------------------------------------------------------------------


def test_the_janitor_removes_what_was_noted_and_not_spared(tmp_path: Path) -> None:
    for name in ("goes", "stays", "gone already"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "file").write_text("x")
        (tmp_path / name / "inner").chmod(0o500)
    odd = os.path.join(os.fsencode(tmp_path), b"new\nline\xff")
    os.mkdir(odd)
    with janitor() as behind_us:
        for name in ("goes", "stays", "gone already"):
            behind_us.note(str(tmp_path / name))
        behind_us.note(os.fsdecode(odd))
        behind_us.spare(str(tmp_path / "stays"))
        (tmp_path / "gone already" / "inner").chmod(0o700)  # else only root could
        shutil.rmtree(tmp_path / "gone already")
        assert (tmp_path / "goes").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["stays"]


def test_without_its_janitor_a_comparison_goes_on(tmp_path: Path) -> None:
    with janitor() as behind_us:
        behind_us._process.kill()
        behind_us._process.wait()
        behind_us.note(str(tmp_path))
    assert tmp_path.exists()
