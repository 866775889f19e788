"""fsprobe compare as users type it: every layout, real mounts, a real (slow) file server, and interruptions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fileserver import serve
from fsprobe import experiment
from fsprobe.recording.file import Recording
from tests.layouts.environments import (
    USER,
    as_user_argv,
    fsprobe,
    fsprobe_argv,
    fsprobe_environment,
    left_behind,
    make_venv,
    need,
    public_python,
    site_of,
    user_home,
)

CODE = "import pears, sys; print(sys.prefix)"


@pytest.fixture
def env(pristine_env: Path, tmp_path: Path) -> Iterator[Path]:
    """An environment that the test may change; in the end nothing may be mounted from it."""
    copy = tmp_path / "venv"
    shutil.copytree(pristine_env, copy, symlinks=True)
    yield copy
    assert left_behind(str(tmp_path)) == []


@pytest.fixture(scope="module")
def pristine_env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_venv(tmp_path_factory.mktemp("pristine") / "venv")


def compare(tmp_path: Path, env: Path, *words: str, code: str = CODE, status: int = 0) -> dict[str, Any]:
    """Run `fsprobe compare`; the comparison as the file has it, which is also what --json printed."""
    file = tmp_path / "c.fsprobe"
    done = fsprobe(
        "compare", "--env", str(env), *words, "--json", "-o", str(file), "--", "python", "-c", code, cwd=tmp_path
    )
    assert done.returncode == status, done.stderr.decode()
    recording = Recording(str(file))
    recording.verify()
    printed: dict[str, Any] = json.loads(done.stdout)
    assert printed == recording.manifest
    return printed


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
        "2",
        "--plot",
        f"{tmp_path}/c.png",
    )
    rows = {row["layout"]: row for row in result["rows"]}
    assert list(rows) == ["plain", "flash", "squashfs", "overlay"]
    assert [row["kind"] for row in rows.values()] == ["plain", "copy", "squashfs", "overlay"]
    calls = {label: row["metrics"]["n_metadata"] for label, row in rows.items()}
    assert len(set(calls.values())) == 1, calls
    assert [found["n_paths"] for found in result["differences"].values()] == [0, 0, 0]
    assert all(len(row["wall_s"]["runs"]) == 2 and row["exit_codes"] == [0] for row in rows.values())
    # who begins a round changes; every run is in the record
    labels = [label for label, _ in result["order"]]
    assert labels == ["plain", "flash", "squashfs", "overlay", "flash", "squashfs", "overlay", "plain"]
    for label in ("squashfs", "overlay"):
        counts = rows[label]["requests"]["environment_counts"]
        assert counts["lookup"] == 1
        assert 1 <= counts["open"] <= 4
        assert rows[label]["ratio_requests"] < 0.2
    assert rows["plain"]["cpu_s"]["around"]["median"] == 0
    # what was made is gone; what the command said is in files, each layout at the environment's own path
    assert list((tmp_path / "flash").iterdir()) == []
    assert sorted(path.name for path in tmp_path.glob("venv-fsprobe-*")) == []
    outputs = list((tmp_path / "c.fsprobe.output").glob("*.out"))
    assert {line for path in outputs for line in path.read_text().split()} == {str(env)}
    assert len(outputs) == 1 + 4 + 8
    assert (tmp_path / "c.png").stat().st_size > 10_000


def test_the_file_opens_as_a_report_and_holds_the_recordings(env: Path, tmp_path: Path) -> None:
    need("strace", root=True)
    compare(tmp_path, env, "--flash", str(tmp_path), "--runs", "1")
    for style, mark in (("terminal", b"flash"), ("md", b"Layouts compared"), ("json", b'"rows"'), ("html", b"<html")):
        done = fsprobe("report", str(tmp_path / "c.fsprobe"), "--format", style)
        assert done.returncode == 0, done.stderr
        assert mark in done.stdout
    experiment.extract(str(tmp_path / "c.fsprobe"), "flash", str(tmp_path / "flash.fsprobe"))
    done = fsprobe("report", str(tmp_path / "flash.fsprobe"), "--format", "json")
    assert json.loads(done.stdout)["manifest"]["layout"]["kind"] == "copy"


def test_a_layout_of_a_comparison_is_shown_as_its_own_recording(env: Path, tmp_path: Path) -> None:
    need("strace", root=True)
    file = tmp_path / "c.fsprobe"
    compare(tmp_path, env, "--flash", str(tmp_path), "--runs", "1")
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
    words = ["compare", "--env", str(env), "--flash", f"{tmp_path}/flash", "--runs", "1", "-o", f"{tmp_path}/c.fsprobe"]
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
    result = compare(tmp_path, env, "--squashfs", str(image), "--runs", "1")
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
    result = compare(tmp_path, env, "--layout", f"again={other}", "--runs", "3")
    assert compiled.exists()
    assert result["differences"]["again"] == {**result["differences"]["again"], "n_paths": 0, "rows": []}
    row = result["rows"][1]
    assert (row["layout"], row["kind"], row["where"], row["in_place"]) == ("again", "copy", str(other), False)
    # a copy that is mounted there is its mount's root: its own name is not looked up any more
    asked, asked_there = (each["requests"]["environment_counts"] for each in result["rows"])
    assert {**asked, "lookup": asked["lookup"] - 1, "metadata": asked["metadata"] - 1} == asked_there
    # three runs of each can't show a difference, whatever the machine is doing (enough of them: benchmarks/layouts.py)
    assert not row["clear"]
    assert "too few runs to tell" in row["verdict"]
    assert result["notes"] == []
    shown = fsprobe("report", str(tmp_path / "c.fsprobe"))
    assert b"too few runs to tell" in b" ".join(shown.stdout.split())


def test_a_copy_that_lacks_a_pyc_and_cannot_be_given_one_is_named(env: Path, tmp_path: Path) -> None:
    need("strace", root=True)
    other = tmp_path / "other"
    shutil.copytree(env, other, symlinks=True)
    cache = next(site_of(other).glob("apples/__pycache__"))
    compiled = next(cache.glob("core.*.pyc"))
    compiled.unlink()
    compiled.mkdir()  # nobody can write a file of this name, not even root
    result = compare(tmp_path, env, "--layout", f"lacking={other}", "--runs", "1")
    found = {
        (row["op"], row["path"]): (row["baseline"], row["layout"]) for row in result["differences"]["lacking"]["rows"]
    }
    assert found["open", str(site_of(env) / "apples" / "core.py")] == (0, 1)
    assert any("lacking lacks 1 valid .pyc" in note for note in result["notes"])
    shown = fsprobe("report", str(tmp_path / "c.fsprobe"))
    assert b"core.py" in shown.stdout


def test_cold_without_root_and_without_a_command_is_a_note(tmp_path: Path) -> None:
    need("strace", "setpriv", "unshare", root=True)
    with user_home() as home:
        python = public_python()
        env = make_venv(home / "venv", python=python)
        shutil.copytree(env, home / "other", symlinks=True)
        subprocess.run(["chown", "-R", f"{USER}:{USER}", str(home)], check=True)
        words = ["compare", "--env", str(env), "--layout", f"other={home}/other", "--cache", "cold", "--runs", "2"]
        words += ["-o", f"{home}/c.fsprobe", "--json", "--", "python", "-c", CODE]
        done = subprocess.run(
            as_user_argv(tmp_path / "scratch", home, fsprobe_argv(*words, python=python)),
            capture_output=True,
            env=fsprobe_environment(),
            timeout=60,
            cwd="/",
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        result = json.loads(done.stdout)
        assert {row["cache"] for row in result["rows"]} == {"unknown"}
        assert all(len(row["wall_s"]["runs"]) == 2 for row in result["rows"])
        assert [note for note in result["notes"] if note.startswith("no cold runs") and "--make-cold" in note]
        assert result["differences"]["other"]["n_paths"] == 0


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--env", "HERE/none", "--squashfs", "--", "true"], 3, "no environment"),
        (["--env", "HERE/nobin", "--squashfs", "--", "true"], 3, "no bin directory"),
        (["--env", "ENV", "--layout", "x=HERE/nobin", "--", "touch", "HERE/ran"], 3, "no bin directory"),
        (["--env", "ENV", "--layout", "x", "--", "touch", "HERE/ran"], 2, "not LABEL=DIR"),
        (["--env", "ENV", "--", "touch", "HERE/ran"], 2, "nothing to compare with"),
        (["--env", "ENV", "--flash", "HERE"], 2, "no command given"),
        (["--env", "ENV", "--flash", "HERE/none", "--", "true"], 3, "no such directory"),
        (["--env", "ENV", "--flash", "HERE", "--layout", "flash=ENV", "--", "touch", "HERE/ran"], 2, "two layouts"),
        (["--env", "ENV", "--flash", "HERE", "--", "nonesuch"], 3, "nonesuch: No such file"),
        (["--env", "ENV", "--flash", "HERE", "--", "sh", "-c", "exit 7"], 3, "ends with 7 in the layout plain"),
        (["--env", "ENV", "--squashfs", "HERE/text", "--", "true"], 3, "not a SquashFS image"),
        (["--env", "ENV", "--flash", "HERE", "--plot", "x.txt", "--", "touch", "HERE/ran"], 2, "neither .png nor .svg"),
        (["HERE/text", "HERE/other"], 3, "not an fsprobe file"),
        (["HERE/text"], 2, "nothing to compare"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_with_a_hint(
    env: Path, tmp_path: Path, words: list[str], status: int, said: str
) -> None:
    (tmp_path / "nobin").mkdir()
    (tmp_path / "text").write_text("x" * 200)
    (tmp_path / "other").write_text("y" * 200)
    words = [word.replace("HERE", str(tmp_path)).replace("ENV", str(env)) for word in words]
    done = fsprobe("compare", *words, cwd=tmp_path)
    lines = [line for line in done.stderr.decode().splitlines() if "the first run" not in line]
    assert done.returncode == status, lines
    assert len(lines) == 2, lines
    assert said in lines[0]
    assert lines[1].startswith("fsprobe: hint: ")
    assert done.stdout == b""
    # what can be told beforehand is told before the command runs for the first time
    assert not (tmp_path / "ran").exists()


def test_without_a_way_to_mount_copies_run_in_place(env: Path, tmp_path: Path) -> None:
    """A user whom nobody lets mount anything: capabilities and namespaces are taken away."""
    need("strace", "setpriv", "unshare", root=True)
    (tmp_path / "flash").mkdir()
    # user namespaces are switched off in a user namespace of its own, where root has no rights outside
    line = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"',
        "sh",
    ]
    line += ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--", "sh", "-c", 'exec "$@"', "sh"]
    words = ["compare", "--env", str(env), "--flash", f"{tmp_path}/flash", "--squashfs", "--runs", "1", "--json"]
    done = subprocess.run(
        [*line, *fsprobe_argv(*words, "--", "python", "-c", CODE)],
        capture_output=True,
        env=fsprobe_environment(PATH=path_without("bwrap", tmp_path)),
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    result = json.loads(done.stdout)
    rows = {row["layout"]: row for row in result["rows"]}
    assert set(rows) == {"plain", "flash"}
    assert rows["flash"]["in_place"]
    assert any("flash ran from" in note for note in result["notes"])
    assert any("squashfs is left out" in note for note in result["notes"])


def path_without(name: str, tmp_path: Path) -> str:
    """PATH with all programs but one."""
    place = tmp_path / "bin"
    place.mkdir()
    for directory in os.environ["PATH"].split(":"):
        for program in Path(directory).iterdir() if Path(directory).is_dir() else ():
            if program.name != name and not os.path.lexists(place / program.name):
                (place / program.name).symlink_to(program)
    return str(place)


def test_two_recordings(env: Path, tmp_path: Path) -> None:
    need("strace")
    other = tmp_path / "other"
    shutil.copytree(env, other, symlinks=True)
    files = []
    for number, (place, code) in enumerate([(env, "import apples"), (other, "import apples"), (env, "import pears")]):
        files.append(str(tmp_path / f"{number}.fsprobe"))
        python = str(place / "bin" / "python")
        done = fsprobe("run", "--record-only", "-q", "-o", files[-1], "--", python, "-c", code, cwd=tmp_path)
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


# -- a file server that counts ----------------------------------------------------------------------------------------


def test_what_the_server_counts_is_what_was_predicted(env: Path, tmp_path: Path) -> None:
    """Cold by mounting anew: requests for the environment, and for an image with its mounting, one by one."""
    need("strace", "mksquashfs", "squashfuse_ll", "/dev/fuse", root=True)
    images, mount = tmp_path / "images", tmp_path / "mnt"
    images.mkdir()
    mount.mkdir()
    fsprobe("pack", str(env), "-o", str(images / "env.sqsh"))
    with serve(env, env, meta_ms=0, read_ms=0) as plain, serve(images, mount, meta_ms=0, read_ms=0) as packed:

        def empty() -> None:
            plain.remount()
            packed.remount()

        def counted() -> dict[str, int]:
            both = [server.counters().as_json() for server in (plain, packed)]
            return {name: both[0][name] + both[1][name] for name in both[0]}

        plan = experiment.Plan(
            env=env,
            command=["python", "-c", CODE],
            images=tuple(
                experiment.Image(label=way, kind="squashfs", image=mount / "env.sqsh", way=way)
                for way in ("root+kernel", "root+fuse")
            ),
            n_runs=1,
            caches=("cold", "warm"),
            output_dir=tmp_path,
        )
        result, _ = experiment.run(plan, server=counted, empty=empty)
    rows = {(row["layout"], row["cache"]): row for row in result["rows"]}
    plain_row = rows["plain", "cold"]
    kinds = ("lookup", "negative", "open", "opendir", "readlink", "readdir")
    served = {kind: plain_row["server_requests"][kind]["median"] for kind in kinds}
    predicted = {kind: plain_row["requests"]["environment_counts"][kind] for kind in kinds}
    assert served == predicted
    # warm: names, listings and links are known, every open is a request all the same
    warm = rows["plain", "warm"]["server_requests"]
    assert warm["lookup"]["median"] == warm["readdir"]["median"] == warm["readlink"]["median"] == 0
    assert warm["open"]["median"] == served["open"]
    for way in ("root+kernel", "root+fuse"):
        cold = rows[way, "cold"]
        asked = {name: value["median"] for name, value in cold["server_requests"].items()}
        counts = cold["requests"]["environment_counts"]
        assert asked["lookup"] == counts["lookup"] == 1
        assert asked["open"] >= counts["open"] >= 1
        assert asked["read"] > 0, "a cold image must be read"
        assert asked["metadata"] < served["lookup"] / 5
        assert rows[way, "warm"]["server_requests"]["metadata"]["median"] == 0
    assert rows["root+fuse", "cold"]["cpu_s"]["around"]["median"] > 0
    assert rows["root+kernel", "cold"]["cpu_s"]["around"]["median"] == 0


def test_a_command_that_fails_in_one_layout_is_a_note_and_exit_code_1(env: Path, tmp_path: Path) -> None:
    """It writes into its environment, which an image does not take and an overlay does."""
    need("strace", "mksquashfs", root=True)
    code = "import sys, pathlib; p = pathlib.Path(sys.prefix, 'note'); p.write_text('x'); p.unlink()"
    result = compare(tmp_path, env, "--squashfs", "--overlay", "--runs", "2", code=code, status=1)
    rows = {row["layout"]: row for row in result["rows"]}
    assert {label: row["exit_codes"] for label, row in rows.items()} == {"plain": [0], "squashfs": [1], "overlay": [0]}
    assert rows["squashfs"]["verdict"] == "not compared: the command failed in squashfs"
    assert rows["squashfs"]["clear"] is None
    assert len(rows["squashfs"]["wall_s"]["runs"]) == 2
    (note,) = [note for note in result["notes"] if "failed" in note]
    assert "the traced run (exit code 1) and 2 of 2 timed runs (exit code 1)" in note
    assert f"{tmp_path}/c.fsprobe.output/squashfs-*" in note
    said = (tmp_path / "c.fsprobe.output" / "squashfs-traced.err").read_text()
    assert "Read-only file system" in said
    shown = b" ".join(fsprobe("report", str(tmp_path / "c.fsprobe")).stdout.split())
    assert b"note: the command failed in squashfs" in shown


def test_what_there_is_survives_an_error_in_between(env: Path, tmp_path: Path) -> None:
    need("strace", root=True)
    (tmp_path / "flash").mkdir()
    # the caches can be made cold three times
    cold = f"echo x >> {tmp_path}/n; test $(wc -l < {tmp_path}/n) -le 3"
    words = ["compare", "--env", str(env), "--flash", f"{tmp_path}/flash", "--cache", "cold", "--make-cold", cold]
    done = fsprobe(*words, "-o", f"{tmp_path}/c.fsprobe", "--", "true", cwd=tmp_path)
    assert done.returncode == 4
    assert b"could not be emptied" in done.stderr
    comparison = Recording(str(tmp_path / "c.fsprobe")).manifest
    assert comparison["order"] == [["plain", "cold"], ["flash", "cold"], ["flash", "cold"]]
    assert comparison["notes"][0].startswith("ended early: the caches could not be emptied")
    assert list((tmp_path / "flash").iterdir()) == []


def test_a_file_that_cannot_be_written_is_told_before_the_command_runs(env: Path, tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "none" / "c.fsprobe"):
        words = ["compare", "--env", str(env), "--flash", str(tmp_path), "-o", str(output), "--", "touch"]
        done = fsprobe(*words, f"{tmp_path}/ran", cwd=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (3, 2)
        assert not (tmp_path / "ran").exists()
        assert not (tmp_path / "none").exists()


def test_a_shell_command_makes_cold(env: Path, tmp_path: Path) -> None:
    need("strace", root=True)
    result = compare(
        tmp_path,
        env,
        "--flash",
        str(tmp_path),
        "--runs",
        "1",
        "--cache",
        "cold",
        "--make-cold",
        f"echo x >> {tmp_path}/cold",
    )
    assert {row["cache"] for row in result["rows"]} == {"cold"}
    assert (tmp_path / "cold").read_text() == "x\nx\n"
    assert result["make_cold"]
    done = fsprobe(
        "compare", "--env", str(env), "--flash", str(tmp_path), "--runs", "1", "--cache", "cold",
        "--make-cold", "exit 9", "--", "python", "-c", "pass", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 4
    assert b"ended with 9" in done.stderr


# -- interruptions ----------------------------------------------------------------------------------------------------

SLOW = "import time, pears; time.sleep(0.4)"


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.02)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["copying or packing", "traced", "timed"])
def test_interrupted_at_any_moment(env: Path, tmp_path: Path, signum: signal.Signals, when: str) -> None:
    need("strace", "mksquashfs", root=True)
    file, output = tmp_path / "c.fsprobe", tmp_path / "c.fsprobe.output"
    (tmp_path / "flash").mkdir()
    words = ["compare", "--env", str(env), "--flash", f"{tmp_path}/flash", "--squashfs", "--runs", "20"]
    with subprocess.Popen(
        fsprobe_argv(*words, "-o", str(file), "--", "python", "-c", SLOW),
        env=fsprobe_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        start_new_session=True,
        # under nohup SIGHUP is ignored, and compare rightly lets it be
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    ) as process:
        if when == "copying or packing":
            wait_until(lambda: list((tmp_path / "flash").iterdir()))
        elif when == "traced":
            wait_until(lambda: list(output.glob("flash-traced.out")))
        else:
            wait_until(lambda: len(list(output.glob("*-warm.out"))) >= 5)
        if signum == signal.SIGINT:
            os.killpg(process.pid, signum)  # as a terminal does
        else:
            process.send_signal(signum)
        assert process.wait(30) == 128 + signum
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert list((tmp_path / "flash").iterdir()) == []
    assert list(tmp_path.glob("venv-fsprobe-*")) == []
    if when == "copying or packing":
        assert not file.exists()
        return
    comparison = Recording(str(file)).manifest
    assert comparison["interrupted"] == signum.name
    assert len(comparison["order"]) >= (3 if when == "timed" else 0)
    n_runs = sum(len(row["wall_s"]["runs"]) for row in comparison["rows"] if row["wall_s"])
    assert n_runs == len(comparison["order"])
    assert fsprobe("report", str(file)).returncode == 0


def scratch_directories() -> set[str]:
    """Where recorders keep their logs."""
    return {str(path) for path in Path("/dev/shm").glob("fsprobe-*")}


def name_of_ours(directory: str, tmp_path: Path) -> bool:
    """Is this the scratch of a recorder that this test started? Other tests may run meanwhile."""
    try:
        return str(tmp_path) in Path(directory, "state.json").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("when", ["the first run", "copying or packing", "tracing", "timed"])
def test_killed_with_its_runs_in_the_file(env: Path, tmp_path: Path, when: str) -> None:
    """kill -9 leaves no mount, no process, no lost run, and no copy or image either: somebody else takes them away."""
    need("strace", "mksquashfs", root=True)
    flash, scratch = tmp_path / "flash", tmp_path / "scratch"
    flash.mkdir()
    scratch.mkdir()
    file = tmp_path / "c.fsprobe"
    words = ["compare", "--env", str(env), "--flash", str(flash), "--squashfs", "--runs", "20", "-o", str(file)]
    output = tmp_path / "c.fsprobe.output"
    reached = {
        "the first run": lambda: [path for path in output.glob("plain-first.out") if path.read_bytes()],
        "copying or packing": lambda: list(flash.iterdir()),
        "tracing": lambda: [path for path in output.glob("plain-traced.out") if path.read_bytes()],
        "timed": lambda: len(list(output.glob("*-warm.out"))) >= 5,
    }[when]
    # one that would go on for long, were it not ended
    last = {"the first run": 1, "tracing": 2}.get(when, 99)
    code = (
        f"import os, time; n = len(os.listdir('{output}')) // 2; print(n, flush=True); time.sleep(60 * (n == {last}))"
    )
    before = scratch_directories()
    with subprocess.Popen(
        fsprobe_argv(*words, "--", "python", "-c", code),
        env=fsprobe_environment(TMPDIR=str(scratch)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    ) as process:
        wait_until(reached)
        process.kill()
    if when == "timed":
        assert len(Recording(str(file)).manifest["order"]) >= 3
    wait_until(lambda: not left_behind(str(tmp_path)))
    wait_until(lambda: not [*flash.iterdir(), *scratch.iterdir(), *tmp_path.glob("venv-fsprobe-*")])
    wait_until(lambda: not [name for name in scratch_directories() - before if name_of_ours(name, tmp_path)])


def test_what_is_to_be_kept_stays(env: Path, tmp_path: Path) -> None:
    need("strace", "mksquashfs", root=True)
    (tmp_path / "flash").mkdir()
    compare(tmp_path, env, "--flash", f"{tmp_path}/flash", "--squashfs", "--runs", "1", "--keep")
    (copy,) = (tmp_path / "flash").glob("venv-fsprobe-*/copy")
    (image,) = tmp_path.glob("venv-fsprobe-*/venv.sqsh")
    assert (copy / "bin" / "python").exists()
    # and can be given the next time
    result = compare(tmp_path, env, "--layout", f"flash={copy}", "--squashfs", str(image), "--runs", "1")
    assert [row["layout"] for row in result["rows"]] == ["plain", "flash", "squashfs"]
    assert image.exists()
