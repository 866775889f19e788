"""Cold and warm caches: what a real (slow) file server counts, and who makes cold."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.fileserver import serve
from fsprobe import experiment
from fsprobe.model import serial
from tests.e2e.layouts.compare.comparing import CODE, compare
from tests.layouts.environments import (
    USER,
    as_user_argv,
    fsprobe,
    fsprobe_argv,
    fsprobe_environment,
    make_venv,
    need,
    public_python,
    user_home,
)


def test_cold_without_root_and_without_a_command_is_refused_at_once(tmp_path: Path) -> None:
    need("setpriv", root=True)
    with user_home() as home:
        python = public_python()
        env = make_venv(home / "venv", python=python)
        subprocess.run(["chown", "-R", f"{USER}:{USER}", str(home)], check=True)
        words = ["compare", "--env", str(env), "--flash", str(home), "--cache", "both", "-o", f"{home}/c.fsprobe"]
        done = subprocess.run(
            as_user_argv(tmp_path / "scratch", home, fsprobe_argv(*words, "--", "touch", f"{home}/ran", python=python)),
            capture_output=True,
            env=fsprobe_environment(),
            timeout=60,
            cwd="/",
            check=False,
        )
        assert done.returncode == 4
        assert done.stderr.count(b"\n") == 2
        assert b"no cold runs: emptying the caches takes root" in done.stderr
        assert b"--make-cold CMD, or --cache warm" in done.stderr
        assert sorted(path.name for path in home.iterdir() if not path.name.startswith(".")) == ["venv"]


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
        compared, _ = experiment.run(plan, server=counted, empty=empty)
    result = serial.to_json(compared)
    rows = {(row["layout"], row["cache"]): row for row in result["rows"]}
    plain_row = rows["plain", "cold"]
    kinds = ("lookup", "negative", "open", "opendir", "readlink", "readdir")
    served = {kind: plain_row["server_requests"][kind]["median"] for kind in kinds}
    predicted = {kind: plain_row["environment_requests"][kind] for kind in kinds}
    assert served == predicted
    # warm: names, listings and links are known, every open is a request all the same
    warm = rows["plain", "warm"]["server_requests"]
    assert warm["lookup"]["median"] == warm["readdir"]["median"] == warm["readlink"]["median"] == 0
    assert warm["open"]["median"] == served["open"]
    for way in ("root+kernel", "root+fuse"):
        cold = rows[way, "cold"]
        asked = {name: value["median"] for name, value in cold["server_requests"].items()}
        counts = cold["environment_requests"]
        assert asked["lookup"] == counts["lookup"] == 1
        assert asked["open"] >= counts["open"] >= 1
        assert asked["read"] > 0, "a cold image must be read"
        assert asked["metadata"] < served["lookup"] / 5
        assert rows[way, "warm"]["server_requests"]["metadata"]["median"] == 0
    assert rows["root+fuse", "cold"]["cpu_s"]["around"]["median"] > 0
    assert rows["root+kernel", "cold"]["cpu_s"]["around"]["median"] == 0


def test_a_shell_command_makes_cold(env: Path, tmp_path: Path) -> None:
    need("strace", root=True)
    result = compare(
        tmp_path,
        env,
        "--flash",
        str(tmp_path),
        "--runs",
        "5",
        "--cache",
        "cold",
        "--make-cold",
        f"echo x >> {tmp_path}/cold",
    )
    assert {row["cache"] for row in result["rows"]} == {"cold"}
    assert (tmp_path / "cold").read_text() == "x\n" * 10
    assert result["make_cold"]
    done = fsprobe(
        "compare", "--env", str(env), "--flash", str(tmp_path), "--runs", "5", "--cache", "cold",
        "--make-cold", "exit 9", "--", "python", "-c", "pass", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 4
    assert b"ended with 9" in done.stderr
