"""From a recording to an image in use, or to nothing at all."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from benchmarks.fileserver import serve
from fsprobe.recording.file import Recording
from tests.e2e.layouts.compare.comparing import wait_until
from tests.e2e.layouts.fix.conftest import recorded
from tests.layouts.environments import fsprobe, fsprobe_argv, fsprobe_environment, snapshot


def test_on_a_slow_server_one_command_leads_to_an_image_in_use(env: Path, tmp_path: Path) -> None:
    mount = tmp_path / "mnt"
    mount.mkdir()
    with serve(env.parent, mount, meta_ms=2, read_ms=0, writable=True):
        recorded(tmp_path / "a.fsprobe", mount / "venv", "import pears")
        before = snapshot(env)
        words = ["fix", str(tmp_path / "a.fsprobe"), "--yes", "--runs", "5", "-o", str(tmp_path / "c.fsprobe")]
        done = fsprobe(*words, cwd="/")
        printed = done.stdout.decode()
        assert done.returncode == 0, printed + done.stderr.decode()
        assert snapshot(env) == before
        assert sorted(path.name for path in env.parent.iterdir()) == ["venv", "venv.sqsh", "venv.sqsh.json"]
        # the printed line does what it says
        (line,) = [line.strip() for line in printed.splitlines() if " exec --image " in line]
        assert line.startswith(shlex.join(fsprobe_argv("exec")))
        again = subprocess.run(line, shell=True, capture_output=True, env=fsprobe_environment(), timeout=60, cwd="/")
        assert again.returncode == 0, again.stderr.decode()
        # and a second fix touches nothing that is there
        second = fsprobe(*words[:-1], str(tmp_path / "d.fsprobe"), cwd="/")
        assert second.returncode == 3
        assert b"is there already" in second.stderr
    comparison = Recording(str(tmp_path / "c.fsprobe")).manifest
    (image,) = [row for row in comparison["rows"] if row["layout"] == "squashfs"]
    assert image["ratio_requests"] < 0.1
    # what is shown afterwards names the image that was kept, and packs no other
    assert image["where"] == str(mount / "venv.sqsh")
    page = fsprobe("report", str(tmp_path / "c.fsprobe"), "--format", "html", "-o", str(tmp_path / "c.html"))
    assert page.returncode == 0
    html = (tmp_path / "c.html").read_text()
    assert ("exec --image" in html, "pack --compile" in html) == (True, False)


def test_on_a_local_disk_nothing_is_kept(env: Path, tmp_path: Path) -> None:
    recorded(tmp_path / "a.fsprobe", env, "import pears")
    before = (snapshot(env), os.listdir(env.parent))
    file = str(tmp_path / "a.fsprobe")
    plan = fsprobe("fix", file, "--dry-run")
    assert plan.returncode == 0
    assert f"{env}:".encode() in plan.stdout
    unasked = fsprobe("fix", file, stdin=subprocess.DEVNULL)
    assert (unasked.returncode, b"add --yes" in unasked.stderr) == (2, True)
    assert (snapshot(env), os.listdir(env.parent)) == before
    failing = fsprobe("fix", file, "--yes", "--", "python", "-c", "import pears; raise SystemExit('no luck')")
    assert failing.returncode == 3
    assert b"no luck" in failing.stderr
    assert (snapshot(env), os.listdir(env.parent)) == before
    done = fsprobe("fix", file, "--yes", "--runs", "5", "--cache", "warm")
    assert done.returncode == 1, done.stderr.decode()
    assert b"Nothing is kept" in done.stdout
    assert (snapshot(env), os.listdir(env.parent)) == before


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_leaves_nothing(env: Path, tmp_path: Path, signum: signal.Signals) -> None:
    recorded(tmp_path / "a.fsprobe", env, "import pears")
    before = snapshot(env)
    with subprocess.Popen(
        fsprobe_argv("fix", str(tmp_path / "a.fsprobe"), "--yes", "--runs", "300"),
        env=fsprobe_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        wait_until(lambda: list(env.parent.glob("venv-fsprobe-*/*.sqsh")))
        os.kill(process.pid, signum)
        assert process.wait(60) == (128 + signum if signum == signal.SIGTERM else -signum)
    wait_until(lambda: [path.name for path in env.parent.iterdir()] == ["venv"])
    assert snapshot(env) == before
