"""Commands run from Python: their output, their end, and what is said when nothing was recorded."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import pytest

import fsprobe
from fsprobe.api import runs
from fsprobe.api.profile import Profile
from fsprobe.errors import BadInput, FsprobeError


def test_the_commands_output_appears_where_pythons_own_does(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print(sys.stdin.read()); print('err', file=sys.stderr); sys.exit(3)"
    profile = fsprobe.run([sys.executable, "-c", code], stdin="in\u00e4")
    assert capsys.readouterr() == ("in\u00e4\n", "err\n")
    assert profile.exit_code == 3
    assert profile.path is None
    assert "Profile" in repr(profile)


def test_a_line_is_read_as_a_shell_reads_it() -> None:
    assert fsprobe.run("/bin/sh -c 'exit 4'").exit_code == 4


def test_nothing_recorded_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(FsprobeError, match="command not found"):
        fsprobe.run(["/nonexistent/program"])
    with pytest.raises(FsprobeError, match="no command"):
        fsprobe.run([])


def test_two_recordings_compare(ran: Profile, tmp_path: Path) -> None:
    other = tmp_path / "other.fsprobe"
    fsprobe.run([sys.executable, "-c", "import json, decimal"], other)
    assert ran.path is not None
    found = fsprobe.compare(ran.path, other)
    assert len(found.layouts) == 2
    assert list(found.layouts["n_metadata"])[0] == ran.value.metrics.n_metadata
    assert "<table" in found._repr_html_()
    assert len(found.runs) == 2
    with pytest.raises(BadInput):
        fsprobe.Comparison.open(other)
    with pytest.raises(BadInput, match="nothing to compare"):
        fsprobe.compare("python app.py")
    with pytest.raises(BadInput, match="no file is written"):
        fsprobe.compare(ran.path, other, output=tmp_path / "new")


def test_a_comparison_that_fails_says_itself_why(tmp_path: Path) -> None:
    with pytest.raises(FsprobeError, match="cannot read .*missing: No such file") as caught:
        fsprobe.compare(os.fspath(tmp_path / "missing"), os.fspath(tmp_path / "other"))
    assert (caught.value.hint, caught.value.exit_code) == ("check the name; recordings are named NAME.fsprobe", 3)
    with pytest.raises(FsprobeError, match="is no environment") as caught:
        fsprobe.compare(["true"], env=tmp_path, squashfs=True)
    assert "python -m venv" in caught.value.hint


def test_an_output_that_cannot_be_written_is_told_before_the_command_runs(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such directory"):
        fsprobe.run(["touch", os.fspath(tmp_path / "ran")], tmp_path / "none" / "x.fsprobe")
    assert not (tmp_path / "ran").exists()


def test_a_rank_of_a_job_finds_its_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SLURM_STEP_ID", "0"), ("SLURM_PROCID", "3"), ("SLURM_NTASKS", "4")):
        monkeypatch.setenv(name, value)
    kept = fsprobe.run([sys.executable, "-c", ""], tmp_path / "x.fsprobe")
    assert (kept.path, os.listdir(tmp_path)) == (os.fspath(tmp_path / "x.rank0003.fsprobe"), ["x.rank0003.fsprobe"])
    with pytest.raises(FsprobeError, match="x.rank0003.fsprobe is there already"):
        fsprobe.run(["touch", os.fspath(tmp_path / "ran")], tmp_path / "x.fsprobe")
    assert not (tmp_path / "ran").exists()
    assert fsprobe.run(["sh", "-c", "exit 4"]).exit_code == 4, "where nothing is kept, too"


def test_the_last_error_of_fsprobe_is_told_from_other_lines() -> None:
    said = "Traceback of somebody's\nfsprobe: a note\nfsprobe: it failed\nfsprobe: hint: do this"
    error = runs.error_of(said, 4, "nothing")
    assert (error.message, error.hint, error.exit_code) == ("it failed", "do this", 4)
    error = runs.error_of("", 0, "nothing")
    assert (error.message, error.hint, error.exit_code) == ("nothing", "", 125)
    assert runs.error_of("strange", 1, "nothing").message == "strange"


def test_a_traceback_shows_the_hint_and_help_shows_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(FsprobeError) as caught:
        fsprobe.open(tmp_path / "none.fsprobe")
    shown = "".join(traceback.format_exception(caught.type, caught.value, None))
    assert f"cannot read {tmp_path}" in shown
    assert ("hint: check the name" in shown) is (sys.version_info >= (3, 11))
    assert set(fsprobe.__all__) == {"Comparison", "Profile", "compare", "load_ipython_extension", "open", "run"}
    assert all(callable(getattr(fsprobe, name)) for name in fsprobe.__all__)
