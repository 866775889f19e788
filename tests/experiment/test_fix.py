"""What fix refuses, and when it keeps an image."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fsprobe.errors import BadInput, FsprobeError
from fsprobe.experiment import adoption, fix
from fsprobe.model.answers import Fix, Outcome
from fsprobe.model.comparison import Comparison, LayoutRow
from fsprobe.model.manifest import LayoutFacts, Manifest, PythonFacts
from fsprobe.model.profile import Profile
from fsprobe.report.terminal import fix as report
from fsprobe.report.terminal.console import as_text
from tests.conftest import run_plain

SOUND = Manifest(
    command=("python", "-c", "pass"),
    host=socket.gethostname(),
    uid=os.getuid(),
    exit_code=0,
    python=PythonFacts(prefix="/nonexistent/venv", base_prefix="/usr"),
)


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (replace(SOUND, logs=("a.log",)), "loaded from logs"),
        (replace(SOUND, attached={"pid": 1}), "attached"),
        (replace(SOUND, disclosed=True), "made for somebody else"),
        (replace(SOUND, uid=os.getuid() + 1), "user id"),
        (replace(SOUND, host="elsewhere"), "made on elsewhere"),
        (replace(SOUND, command=None), "does not know its command"),
        (replace(SOUND, exit_code=3), "failed \\(exit code 3\\)"),
        (replace(SOUND, exit_code=None, signal=9), "failed \\(SIGKILL\\)"),
        (replace(SOUND, python=None), "no Python environment"),
        (replace(SOUND, python=PythonFacts(prefix="/usr", base_prefix="/usr")), "no virtual environment"),
        (replace(SOUND, layout=LayoutFacts(kind="squashfs")), "in an image already"),
        (replace(SOUND, cwd="/nonexistent/place"), "/nonexistent/place, where the command ran"),
        (SOUND, "no such directory"),
    ],
)
def test_what_can_not_be_run_again_is_refused(manifest: Manifest, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        fix.prepare(Profile(manifest=manifest))


def test_a_job_is_refused() -> None:
    with pytest.raises(BadInput, match="its ranks"):
        fix.prepare(Profile(kind="job", manifest=SOUND))


def test_a_command_of_ones_own_takes_the_place_of_one_that_is_not_known(tmp_path: Path) -> None:
    """What is refused then is the environment, which is not there."""
    with pytest.raises(BadInput, match="no such directory"):
        fix.prepare(Profile(manifest=replace(SOUND, logs=("a.log",), host="elsewhere")), command=["true"])


def test_an_environment_that_is_not_there_is_refused_before_a_machine_that_can_not_mount(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fix, "plan_ways", lambda facts, kind: [])
    with pytest.raises(BadInput, match="no such directory"):
        fix.prepare(Profile(manifest=SOUND))


def test_too_few_runs_and_an_image_that_is_there_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FsprobeError, match="too few runs to tell two layouts apart: 4"):
        fix.prepare(Profile(manifest=SOUND), n_runs=4)
    (tmp_path / "a.sqsh").touch()
    with pytest.raises(BadInput, match="is there already"):
        fix.prepare(Profile(manifest=SOUND), image=str(tmp_path / "a.sqsh"))


def compared(
    ratio: float, clear: bool, requests: float | None, fstype: str = "lustre", codes: tuple[int, ...] = (0,)
) -> Comparison:
    return Comparison(
        baseline="plain",
        rows=(
            LayoutRow(layout="plain", fstype=fstype, verdict="baseline"),
            LayoutRow(
                layout="squashfs",
                kind="squashfs",
                ratio_wall=ratio,
                clear=clear,
                ratio_requests=requests,
                exit_codes=codes,
            ),
        ),
    )


@pytest.mark.parametrize(
    ("result", "is_kept"),
    [
        (compared(0.5, True, 0.01), True),
        (compared(0.5, True, None), True),
        (compared(0.5, True, 0.01, fstype="ext4"), True),
        (compared(1.02, False, 0.01), True),
        (compared(1.02, False, 0.01, fstype="ext4"), False),
        (compared(1.02, False, 0.01, fstype="tmpfs"), False),
        (compared(1.02, False, 0.5), False),
        (compared(1.02, False, None), False),
        (compared(1.5, True, 0.01), False),
        (compared(0.5, True, 0.01, codes=(0, 1)), False),
        (Comparison(baseline="plain", rows=(LayoutRow(layout="plain"),), notes=("squashfs is left out: why",)), False),
    ],
)
def test_an_image_is_kept_where_it_is_better(result: Comparison, is_kept: bool) -> None:
    assert adoption.judge(result, "squashfs")[0] is is_kept


def test_the_program_is_named_so_that_it_is_found_everywhere(tmp_path: Path) -> None:
    env = tmp_path / "venv"
    (env / "bin").mkdir(parents=True)
    (env / "bin" / "python").touch()

    def words(*command: str) -> tuple[str, str]:
        return Fix(
            env=env,
            command=command,
            cwd=tmp_path,
            image=tmp_path / "i",
            n_runs=5,
            cache="warm",
            make_cold="",
            n_files=1,
            n_bytes=1,
            n_to_compile=0,
            estimate_s=None,
            warnings=(),
        ).words

    there = str(env / "bin" / "python")
    assert words("python") == (there, "python")
    assert words("venv/bin/python") == (there, "python")
    assert words(there) == (there, "python")
    assert words("bash") == ("bash", "bash")
    assert words("./run.sh") == (str(tmp_path / "run.sh"), str(tmp_path / "run.sh"))


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    made, target = tmp_path / "made", tmp_path / "env.sqsh"
    made.mkdir()
    for name in ("env.sqsh", "env.sqsh.json"):
        (made / name).write_text("new")
    target.write_text("theirs")
    with pytest.raises(BadInput, match="is there by now"):
        adoption.put_in_place(made / "env.sqsh", target)
    assert sorted(tmp_path.glob("env*")) == [target]
    assert target.read_text() == "theirs"
    adoption.put_in_place(made / "env.sqsh", target, replace=True)
    assert [path.read_text() for path in sorted(tmp_path.glob("env*"))] == ["new", "new"]


def test_what_changed_in_the_environment_is_said_on_a_line_of_its_own() -> None:
    result = compared(1.5, True, 0.01)
    outcome = Outcome(comparison=result, image=None, why="why", left=(), changed=("lib/x\ny",), recordings={})
    shown = as_text(lambda console: report.draw_outcome(console, outcome, Path("/env"), {}))
    assert "Nothing is kept: why." in shown.splitlines()
    (line,) = [line for line in shown.splitlines() if "changed meanwhile" in line]
    assert line.startswith("In /env 1 name")
    assert "lib/x" in line


KILLED = """
import os, sys
from pathlib import Path
from fsprobe.experiment import compare, fix
from fsprobe.model.answers import Fix

def run(plan, **how):
    (plan.output_dir / "first.err").write_text("")
    print(plan.output_dir, flush=True)
    os.kill(os.getpid(), 9)

compare.run = run
env = Path(sys.argv[1])
told = dict(n_runs=5, cache="warm", make_cold="", n_files=0, n_bytes=0, n_to_compile=0, warnings=())
fix.carry_out(Fix(env=env, command=("true",), cwd=env, image=env / "x.sqsh", **told))
"""


def test_killed_after_its_last_run_it_leaves_no_output(tmp_path: Path) -> None:
    done = run_plain([sys.executable, "-c", KILLED, str(tmp_path)])
    assert done.status == -signal.SIGKILL, done.err
    output = Path(os.fsdecode(done.out).strip())
    assert output.name.startswith("fsprobe-fix-")
    end_s = time.monotonic() + 20
    while output.exists() and time.monotonic() < end_s:
        time.sleep(0.02)
    assert not output.exists()
