"""A run that is told of twice, by a copy or by what was salvaged while it went on, counts once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from fsprobe.cli import merge as merge_command
from fsprobe.jobs import total
from fsprobe.jobs.reading.recordings import gather
from fsprobe.recording import file as recording
from fsprobe.recording.shapes import MANIFEST, misfit
from fsprobe.report.caveats import quality_lines
from tests.job_recordings import rank_variables

SOURCE = Path(__file__).parents[1] / "data" / "servers" / "nfs-s4_stat.fsprobe"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two ranks, a copy of the first, and of the second what was salvaged before it ended."""
    opened = recording.Recording(str(SOURCE))
    sections = [(name, b"".join(opened.section(name))) for name in opened.names() if name != "manifest"]
    for name, number, exit_code in (("b0", 0, 0), ("a1", 1, None), ("b1", 1, 0)):
        facts = {"scratch": f"/tmp/fsprobe-{number}", "job": rank_variables(number, size=2, per_node=2)}
        manifest = {**opened.manifest, **facts, "exit_code": exit_code, "signal": None}
        written = [("manifest", json.dumps(manifest).encode()), *sections]
        recording.write(str(tmp_path / f"{name}.fsprobe"), "recording", written)
    shutil.copy(tmp_path / "b0.fsprobe", tmp_path / "c0.fsprobe")
    return tmp_path


def test_it_counts_once(place: Path) -> None:
    found = gather([str(place), str(place / "b1.fsprobe")])
    assert [Path(file.path).name for file in found.ranks] == ["b0.fsprobe", "b1.fsprobe"]
    taken = {(Path(path).name, Path(other).name) for path, other in found.repeated}
    assert taken == {("a1.fsprobe", "b1.fsprobe"), ("c0.fsprobe", "b0.fsprobe"), ("b1.fsprobe", "b1.fsprobe")}
    once = total.merge(gather([str(place / "b0.fsprobe"), str(place / "b1.fsprobe")]))
    assert total.merge(found).metrics == once.metrics


def test_what_is_left_out_is_said(place: Path) -> None:
    done = CliRunner().invoke(merge_command.command, [str(place), "--format", "json"])
    assert done.exit_code == 0
    assert f"left out: {place}/c0.fsprobe is of the same run as {place}/b0.fsprobe" in done.output


def test_the_same_program_started_twice_are_two_runs(place: Path) -> None:
    """Neither a job's ranks nor runs of one host are taken for each other."""
    opened = recording.Recording(str(place / "b0.fsprobe"))
    sections = [(name, b"".join(opened.section(name))) for name in opened.names() if name != "manifest"]
    manifest = {**opened.manifest, "scratch": "/tmp/fsprobe-other"}
    recording.write(str(place / "d0.fsprobe"), "recording", [("manifest", json.dumps(manifest).encode()), *sections])
    assert len(gather([str(place)]).ranks) == 3


@pytest.mark.parametrize(
    ("first", "second", "is_said"),
    [
        (["python3", "-u", "a.py", "--rank", "0"], ["python3", "-u", "a.py", "--rank", "1"], False),
        (["python3", "-u", "a.py"], ["python3", "-u", "b.py"], True),
        (["python3", "-c", "import a"], ["python3", "-c", "import b"], True),
        (["python3", "-X", "dev", "a.py"], ["python3", "-X", "dev", "b.py"], True),
        (["python3", "-m", "a", "x"], ["python3", "-m", "a", "y"], False),
        (["./io_server"], ["./model"], True),
    ],
)
def test_lookups_of_another_program_are_said(
    tmp_path: Path, first: list[str], second: list[str], is_said: bool
) -> None:
    opened = recording.Recording(str(SOURCE))
    sections = [(name, b"".join(opened.section(name))) for name in opened.names() if name != "manifest"]
    for number, command in enumerate((first, second)):
        facts = {"scratch": f"/tmp/fsprobe-{number}", "job": rank_variables(number, size=2, per_node=2)}
        manifest = {**opened.manifest, **facts, "command": command, "lookups_left": number == 1}
        recording.write(
            str(tmp_path / f"r{number}.fsprobe"), "recording", [("manifest", json.dumps(manifest).encode()), *sections]
        )
    found = gather([str(tmp_path)])
    assert [Path(file.lookups_of).name for file in found.ranks] == ["", "r0.fsprobe"]
    lines = [line for line in quality_lines(total.merge(found)) if "is of another program" in line]
    assert len(lines) == is_said


@pytest.mark.parametrize("field", [name for name, shape in MANIFEST.items() if misfit(5.5, shape)])
def test_a_rank_whose_manifest_is_not_as_written_is_named_and_the_others_are_read(tmp_path: Path, field: str) -> None:
    for name, odd in (("good", {}), ("odd", {field: 5.5})):
        manifest = {"command": ["x"], "scratch": f"/dev/shm/{name}", **odd}
        body = json.dumps(manifest).encode()
        recording.write(str(tmp_path / f"{name}.fsprobe"), "recording", [("manifest", body), ("log", b"")])
    found = gather([str(tmp_path)])
    assert [Path(file.path).name for file in found.ranks] == ["good.fsprobe"]
    assert [Path(path).name for path, _ in found.unreadable] == ["odd.fsprobe"]
