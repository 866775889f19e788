"""python -m benchmarks.fileserver, as root and as a plain user."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.conftest import is_mounted

REPOSITORY = Path(__file__).resolve().parents[3]
NOBODY = 65534  # fusermount3 wants a user with a name


def run(*arguments: object, python: str = sys.executable, **options: object) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "benchmarks.fileserver", *map(str, arguments)]
    settings: dict[str, object] = {"cwd": REPOSITORY, "capture_output": True, "text": True, "check": False, **options}
    return subprocess.run(command, **settings)  # type: ignore[call-overload, no-any-return]


def test_counts_and_log_of_a_command(src: Path, mnt: Path, tmp_path: Path) -> None:
    (src / "file").write_bytes(b"content")
    log = tmp_path / "log"
    done = run(src, mnt, "--meta-ms", 0.1, "--json", "--log", log, "--", "cat", mnt / "file")
    assert (done.returncode, done.stdout) == (0, "content")
    counted = json.loads(done.stderr)
    assert (counted["lookup"], counted["open"], counted["read_bytes"], counted["metadata"]) == (1, 1, 7, 2)
    records = log.read_bytes().split(b"\0")
    assert records[:2] == [b"lookup " + os.fsencode(mnt / "file"), b"open " + os.fsencode(mnt / "file")]
    assert not is_mounted(mnt)


def test_the_table_leaves_out_what_never_came(src: Path, mnt: Path) -> None:
    done = run(src, mnt, "--", "ls", mnt)
    assert "opendir            1" in done.stderr
    assert "readlink" not in done.stderr


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_commands(src: Path, mnt: Path, script: str, code: int) -> None:
    assert run(src, mnt, "--", "sh", "-c", script).returncode == code


def test_a_command_that_is_not_there(src: Path, mnt: Path) -> None:
    assert run(src, mnt, "--", "/no/such/command").returncode == 127
    assert not is_mounted(mnt)


def test_what_can_not_be_served(src: Path, mnt: Path) -> None:
    done = run(src / "missing", mnt, "--", "true")
    assert done.returncode == 3
    assert "is not a directory" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_without_a_command_it_serves_until_told_to_end(src: Path, mnt: Path, how: signal.Signals) -> None:
    (src / "file").touch()
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fileserver", src, mnt, "--json"],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    assert "serving" in server.stderr.readline()
    (mnt / "file").stat()
    server.send_signal(how)
    assert json.loads(server.stderr.read())["lookup"] == 1
    assert server.wait(15) == (0 if how == signal.SIGINT else 128 + signal.SIGTERM)
    assert not is_mounted(mnt)


def readable_by_all(path: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


def test_a_plain_user_can_serve(src: Path, mnt: Path, tmp_path: Path) -> None:
    helper, device = shutil.which("fusermount3"), Path("/dev/fuse").stat().st_mode
    python = next(
        (
            found
            for found in ("/usr/bin/python3", os.path.realpath(sys.executable))
            if os.path.exists(found) and readable_by_all(Path(found).resolve())
        ),
        None,
    )
    if not device & 0o006:
        pytest.skip("/dev/fuse is not for all users here, which is the machine's choice and no missing tool")
    missing = [
        what
        for what, there in (
            ("fusermount3", helper),
            ("/dev/fuse for all", device & 0o006),
            ("a python for all", python),
        )
        if not there
    ]
    if missing:
        reason = f"a plain user needs {', '.join(missing)}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    # A place that the user can reach: the test's own directory is for its owner only.
    place = Path(f"/tmp/fileserver-user-{os.getpid()}-{time.monotonic_ns()}")
    place.mkdir()
    try:
        for package in ("benchmarks", "fsprobe"):
            shutil.copytree(REPOSITORY / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("src", "mnt"):
            (place / name).mkdir()
            os.chown(place / name, NOBODY, NOBODY)
        (place / "src" / "file").write_bytes(b"content")
        arguments = (place / "src", place / "mnt", "--json", "--", "cat", place / "mnt" / "file")
        done = run(*arguments, python=str(python), cwd=place, user=NOBODY, group=NOBODY, extra_groups=[])
        assert (done.returncode, done.stdout) == (0, "content"), done.stderr
        counted = json.loads(done.stderr)
        assert (counted["lookup"], counted["open"], counted["metadata"]) == (1, 1, 2)
        assert not is_mounted(place / "mnt")
    finally:
        shutil.rmtree(place)
