"""What goes wrong in a comparison is one line with a hint, or a note, and loses no run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from fsprobe.recording.file import Recording
from tests.e2e.layouts.compare.comparing import CODE, compare
from tests.layouts.environments import fsprobe, fsprobe_argv, fsprobe_environment, need


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
        (
            ["--env", "ENV", "--flash", "HERE", "--runs", "4", "--", "touch", "HERE/ran"],
            2,
            "too few timed runs to tell two layouts apart: 4",
        ),
        (["--env", "ENV", "--flash", "HERE", "--keep-image", "HERE/i", "--", "true"], 2, "no image is packed"),
        (["--env", "ENV", "--squashfs", "--keep-image", "HERE/i", "--keep", "--", "true"], 2, "both say what stays"),
        (["--env", "ENV", "--squashfs", "--keep-image", "HERE/i", "--runs", "0", "--", "true"], 2, "needs timed runs"),
        (["--env", "ENV", "--squashfs", "--keep-image", "HERE/text", "--", "true"], 2, "is there already"),
        (["--env", "ENV", "--squashfs", "--keep-image", "HERE/no/i", "--", "true"], 3, "no such directory"),
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
    announced = ("the first run", "timed runs of each", "copy in")
    lines = [line for line in done.stderr.decode().splitlines() if not any(words in line for words in announced)]
    assert done.returncode == status, lines
    assert len(lines) == 2, lines
    assert said in lines[0]
    assert lines[1].startswith("fsprobe: hint: ")
    assert done.stdout == b""
    # what can be told beforehand is told before the command runs for the first time
    assert not (tmp_path / "ran").exists()


def test_a_name_that_is_nowhere_is_not_one_that_is_forbidden(
    env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where exec can't look into a directory of PATH, it says why that is so: "Permission denied", or as here for root too."""
    monkeypatch.setenv("PATH", f"/{'x' * 300}:{os.environ['PATH']}")
    done = fsprobe("compare", "--env", str(env), "--flash", str(tmp_path), "--", "nonesuch", cwd=tmp_path)
    assert done.returncode == 3
    assert b"fsprobe: nonesuch: No such file or directory" in done.stderr


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
    words = ["compare", "--env", str(env), "--flash", f"{tmp_path}/flash", "--squashfs", "--runs", "0", "--json"]
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


def test_a_command_that_fails_in_one_layout_is_a_note_and_exit_code_1(env: Path, tmp_path: Path) -> None:
    """It writes into its environment, which an image does not take and an overlay does."""
    need("strace", "mksquashfs", root=True)
    code = "import sys, pathlib; p = pathlib.Path(sys.prefix, 'note'); p.write_text('x'); p.unlink()"
    result = compare(tmp_path, env, "--squashfs", "--overlay", "--runs", "5", code=code, status=1)
    rows = {row["layout"]: row for row in result["rows"]}
    assert {label: row["exit_codes"] for label, row in rows.items()} == {"plain": [0], "squashfs": [1], "overlay": [0]}
    assert rows["squashfs"]["verdict"] == "not compared: the command failed in squashfs"
    assert rows["squashfs"]["clear"] is None
    assert len(rows["squashfs"]["wall_s"]["runs"]) == 5
    (note,) = [note for note in result["notes"] if "failed" in note]
    assert "the traced run (exit code 1) and 5 of 5 timed runs (exit code 1)" in note
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
