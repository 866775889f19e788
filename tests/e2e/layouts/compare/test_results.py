"""fsprobe compare as users type it: every layout with real mounts, what the file holds, what the notes name."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from fsprobe import experiment
from tests.e2e.layouts.compare.comparing import compare
from tests.layouts.environments import fsprobe, fsprobe_argv, fsprobe_environment, need, site_of


def test_every_layout_makes_the_same_calls(env: Path, tmp_path: Path) -> None:
    need("strace", "mksquashfs", "squashfuse_ll", root=True)
    (tmp_path / "flash").mkdir()
    result = compare(
        tmp_path,
        env,
        "--flash",
        f"{tmp_path}/flash",
        "--squashfs",
        "--overlay",
        "--runs",
        "5",
        "--plot",
        f"{tmp_path}/c.png",
    )
    rows = {row["layout"]: row for row in result["rows"]}
    assert list(rows) == ["plain", "flash", "squashfs", "overlay"]
    assert [row["kind"] for row in rows.values()] == ["plain", "copy", "squashfs", "overlay"]
    calls = {label: row["metrics"]["n_metadata"] for label, row in rows.items()}
    assert len(set(calls.values())) == 1, calls
    assert [found["n_paths"] for found in result["differences"].values()] == [0, 0, 0]
    assert all(len(row["wall_s"]["runs"]) == 5 and row["exit_codes"] == [0] for row in rows.values())
    # who begins a round changes; every run is in the record
    labels = [label for label, _ in result["order"]]
    assert labels[:8] == ["plain", "flash", "squashfs", "overlay", "flash", "squashfs", "overlay", "plain"]
    assert len(labels) == 20
    for label in ("squashfs", "overlay"):
        counts = rows[label]["environment_requests"]
        assert counts["lookup"] == 1
        assert 1 <= counts["open"] <= 4
        assert rows[label]["ratio_requests"] < 0.2
    assert rows["plain"]["cpu_s"]["around"]["median"] == 0
    # what was made is gone; what the command said is in files, each layout at the environment's own path
    assert list((tmp_path / "flash").iterdir()) == []
    assert sorted(path.name for path in tmp_path.glob("venv-fsprobe-*")) == []
    outputs = list((tmp_path / "c.fsprobe.output").glob("*.out"))
    assert {line for path in outputs for line in path.read_text().split()} == {str(env)}
    assert len(outputs) == 1 + 4 + 20
    assert (tmp_path / "c.png").stat().st_size > 10_000


def test_the_file_opens_as_a_report_and_holds_the_recordings(env: Path, tmp_path: Path) -> None:
    need("strace", root=True)
    compare(tmp_path, env, "--flash", str(tmp_path), "--runs", "0")
    for style, mark in (("terminal", b"flash"), ("md", b"layouts compared"), ("json", b'"rows"'), ("html", b"<html")):
        done = fsprobe("report", str(tmp_path / "c.fsprobe"), "--format", style)
        assert done.returncode == 0, done.stderr
        assert mark in done.stdout
    experiment.extract(str(tmp_path / "c.fsprobe"), "flash", str(tmp_path / "flash.fsprobe"))
    done = fsprobe("report", str(tmp_path / "flash.fsprobe"), "--format", "json")
    assert json.loads(done.stdout)["manifest"]["layout"]["kind"] == "copy"


def test_a_layout_of_a_comparison_is_shown_as_its_own_recording(env: Path, tmp_path: Path) -> None:
    need("strace", root=True)
    file = tmp_path / "c.fsprobe"
    compare(tmp_path, env, "--flash", str(tmp_path), "--runs", "0")
    for style, mark in (
        ("terminal", b"layout flash"),
        ("json", b'"by_path"'),
        ("html", b"<html"),
        ("md", b"flash"),
        ("csv", b"apples"),
        ("folded", b"pears;apples"),
        ("speedscope", b"speedscope"),
        ("chrome", b"traceEvents"),
    ):
        done = fsprobe("report", str(file), "--layout", "flash", "--format", style)
        assert done.returncode == 0, (style, done.stderr)
        assert mark in b" ".join(done.stdout.split()), style
    profile = json.loads(fsprobe("report", str(file), "--layout", "flash", "--format", "json").stdout)
    assert profile["manifest"]["layout"]["label"] == "flash"
    unknown = fsprobe("report", str(file), "--layout", "none")
    assert unknown.returncode == 3
    assert b"hint: it has: plain, flash" in unknown.stderr
    assert fsprobe("report", str(file), "--format", "csv").returncode == 3
    # two comparisons, or one and a recording, are not two recordings
    twice = fsprobe("compare", str(file), str(file))
    assert (twice.returncode, b"is a comparison already" in twice.stderr) == (3, True)


def test_bytes_that_are_no_text_make_valid_json(env: Path, tmp_path: Path) -> None:
    need("strace", root=True)
    (tmp_path / "flash").mkdir()
    words = ["compare", "--env", str(env), "--flash", f"{tmp_path}/flash", "--runs", "0", "-o", f"{tmp_path}/c.fsprobe"]
    line: list[Any] = [*fsprobe_argv(*words, "--json", "--", "python", "-c", "pass"), b"odd\xff"]
    done = subprocess.run(line, capture_output=True, env=fsprobe_environment(), cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode())["command"][-1] == "odd\\xff"
    for words in (["--format", "json"], ["--format", "json", "--layout", "plain"]):
        assert "odd\\\\xff" in fsprobe("report", f"{tmp_path}/c.fsprobe", *words).stdout.decode()


def test_one_missing_pyc_in_an_image_is_named(env: Path, tmp_path: Path) -> None:
    need("strace", "mksquashfs", root=True)
    image = tmp_path / "lacking.sqsh"
    compiled = next(site_of(env).glob("apples/__pycache__/core.*.pyc"))
    subprocess.run(
        ["mksquashfs", str(env), str(image), "-quiet", "-no-progress", "-e", str(compiled.relative_to(env))],
        check=True,
        capture_output=True,
    )
    result = compare(tmp_path, env, "--squashfs", str(image), "--runs", "0")
    found = result["differences"]["squashfs"]
    assert found["n_layout"] > found["n_baseline"]
    named = {(row["op"], row["path"]): (row["baseline"], row["layout"]) for row in found["rows"]}
    source = site_of(env) / "apples" / "core.py"
    assert named["open", str(source)] == (0, 1)
    # the failed write of the .pyc on a read-only image
    assert any(path.startswith(str(compiled)) and left < right for (_, path), (left, right) in named.items())
    assert any("squashfs lacks 1 valid .pyc" in note and "apples/core.py" in note for note in result["notes"])


def test_a_copy_that_is_there_is_given_its_byte_code_and_is_alike(env: Path, tmp_path: Path) -> None:
    """A/A: the same environment twice. What a copy that can be written to lacks is written before anything is counted."""
    need("strace", root=True)
    other = tmp_path / "other"
    shutil.copytree(env, other, symlinks=True)
    compiled = next(site_of(other).glob("apples/__pycache__/core.*.pyc"))
    compiled.unlink()
    result = compare(tmp_path, env, "--layout", f"again={other}", "--runs", "0")
    assert compiled.exists()
    assert result["differences"]["again"] == {**result["differences"]["again"], "n_paths": 0, "rows": []}
    row = result["rows"][1]
    assert (row["layout"], row["kind"], row["where"], row["in_place"]) == ("again", "copy", str(other), False)
    # a copy that is mounted there is its mount's root: its own name is not looked up any more
    asked, asked_there = (each["environment_requests"] for each in result["rows"])
    assert {**asked, "lookup": asked["lookup"] - 1, "n_metadata": asked["n_metadata"] - 1} == asked_there
    # without timed runs nothing is said of time, whatever the machine is doing (enough of them: benchmarks/layouts)
    assert (row["clear"], row["wall_s"], row["verdict"]) == (None, None, "no runs")
    assert result["notes"] == []


def test_a_copy_that_lacks_a_pyc_and_cannot_be_given_one_is_named(env: Path, tmp_path: Path) -> None:
    need("strace", root=True)
    other = tmp_path / "other"
    shutil.copytree(env, other, symlinks=True)
    cache = next(site_of(other).glob("apples/__pycache__"))
    compiled = next(cache.glob("core.*.pyc"))
    compiled.unlink()
    compiled.mkdir()  # nobody can write a file of this name, not even root
    result = compare(tmp_path, env, "--layout", f"lacking={other}", "--runs", "0")
    found = {
        (row["op"], row["path"]): (row["baseline"], row["layout"]) for row in result["differences"]["lacking"]["rows"]
    }
    assert found["open", str(site_of(env) / "apples" / "core.py")] == (0, 1)
    assert any("lacking lacks 1 valid .pyc" in note for note in result["notes"])
    shown = fsprobe("report", str(tmp_path / "c.fsprobe"))
    assert b"core.py" in shown.stdout


def test_two_recordings(env: Path, tmp_path: Path) -> None:
    need("strace")
    other = tmp_path / "other"
    shutil.copytree(env, other, symlinks=True)
    files = []
    for number, (place, code) in enumerate([(env, "import apples"), (other, "import apples"), (env, "import pears")]):
        files.append(str(tmp_path / f"{number}.fsprobe"))
        python = str(place / "bin" / "python")
        done = fsprobe("run", "--record-only", "-q", "--force", "-o", files[-1], "--", python, "-c", code, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    differs = fsprobe("compare", files[0], files[2], "--json", cwd=tmp_path)
    assert differs.returncode == 1
    result = json.loads(differs.stdout)
    paths = {row["path"] for row in result["differences"][files[2]]["rows"]}
    assert str(next(site_of(env).glob("__pycache__/pears.*.pyc"))) in paths
    assert result["rows"][1]["ratio_requests"] > 1
    # the same program from another place: what differs is not below the environment
    moved = json.loads(fsprobe("compare", files[0], files[1], "--json", cwd=tmp_path).stdout)
    below = [row for row in moved["differences"][files[1]]["rows"] if row["path"].startswith((str(env), str(other)))]
    assert below == []
    assert fsprobe("compare", files[0], files[0]).returncode == 3


def test_what_is_to_be_kept_stays(env: Path, tmp_path: Path) -> None:
    need("strace", "mksquashfs", root=True)
    (tmp_path / "flash").mkdir()
    compare(tmp_path, env, "--flash", f"{tmp_path}/flash", "--squashfs", "--runs", "0", "--keep")
    (copy,) = (tmp_path / "flash").glob("venv-fsprobe-*/copy")
    (image,) = tmp_path.glob("venv-fsprobe-*/venv.sqsh")
    assert (copy / "bin" / "python").exists()
    # and can be given the next time
    result = compare(tmp_path, env, "--layout", f"flash={copy}", "--squashfs", str(image), "--runs", "0")
    assert [row["layout"] for row in result["rows"]] == ["plain", "flash", "squashfs"]
    assert image.exists()
