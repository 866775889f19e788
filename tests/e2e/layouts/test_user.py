"""The same as a plain user: no privilege, /dev/fuse as on a normal distribution, files of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fsprobe.layouts.mount.namespace import enter_argv
from fsprobe.layouts.mount.spec import Spec
from tests.layouts.environments import (
    USER,
    as_user_argv,
    fsprobe_argv,
    fsprobe_environment,
    left_behind,
    make_venv,
    need,
    public_python,
    site_of,
    snapshot,
    user_home,
)

WAYS = ["user+fuse", "bwrap+fuse"]
KIND = "import apples.core; print(apples.core.kind)"


@dataclass(frozen=True, kw_only=True)
class User:
    home: Path
    scratch: Path
    python: str
    venv: Path
    image: Path

    def argv(self, *argv: str) -> list[str]:
        return as_user_argv(self.scratch, self.home, argv)

    def fsprobe(self, *words: str, **more: str) -> subprocess.CompletedProcess[bytes]:
        line = self.argv(*fsprobe_argv(*words, python=self.python))
        return subprocess.run(line, capture_output=True, env=fsprobe_environment(**more), timeout=60, cwd=self.home)

    def enter(self, way: str, *cmd: str, kind: str = "squashfs") -> list[str]:
        prefix = enter_argv(Spec(kind=kind, source=str(self.image), at=str(self.venv), way=way))
        return self.argv(self.python, *prefix[1:], *cmd)


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """A user who packed an environment, and has changed it since."""
    need("mksquashfs", "unsquashfs", "squashfuse_ll", "bwrap", "fusermount3", "setpriv", "/dev/fuse", root=True)
    with user_home() as home:
        python = public_python()
        venv = make_venv(home / "venv", python=python)
        subprocess.run(["chown", "-R", f"{USER}:{USER}", home], check=True)
        made = User(
            home=home, scratch=tmp_path_factory.mktemp("user"), python=python, venv=venv, image=home / "env.sqsh"
        )
        done = made.fsprobe("pack", str(venv), "-o", str(made.image))
        assert done.returncode == 0, done.stderr
        (site_of(venv) / "apples" / "core.py").write_text("kind = 'directory'\n")
        yield made


def test_the_image_belongs_to_the_user(user: User) -> None:
    assert (user.image.stat().st_uid, user.image.stat().st_mode & 0o777) == (USER, 0o644)
    listed = subprocess.run(["unsquashfs", "-lln", user.image], capture_output=True, text=True, check=True).stdout
    owners = {line.split()[1] for line in listed.splitlines() if " squashfs-root" in line}
    assert owners == {f"{USER}/{USER}"}


@pytest.mark.parametrize("way", WAYS)
def test_a_user_sees_the_image_without_privilege(user: User, way: str) -> None:
    script = f"grep ' {user.venv} ' /proc/self/mountinfo >&2; grep CapEff /proc/self/status; id -u; id -g; "
    done = subprocess.run(
        user.enter(way, "sh", "-c", script + f"exec {user.venv}/bin/python -c '{KIND}'"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["CapEff:", "0" * 16, str(USER), str(USER), "image"]
    assert " - fuse.squashfuse_ll " in done.stderr
    assert {"ro", "nosuid", "nodev"} <= set(done.stderr.split(" ")[5].split(","))
    assert left_behind(str(user.image)) == []
    assert list(user.home.glob("fsprobe-mount-*")) == []


def test_the_command_line_as_a_user(user: User) -> None:
    words = ("exec", "--image", str(user.image), "--at", str(user.venv))
    done = user.fsprobe(*words, "--", str(user.venv / "bin/python"), "-c", KIND)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"image\n", b"")
    assert user.fsprobe(*words, "--", "sh", "-c", "exit 7").returncode == 7
    assert user.fsprobe(*words, "--", "nonesuch").returncode == 127
    assert user.fsprobe(*words, "--", "/etc/passwd").returncode == 126
    assert user.fsprobe(*words, "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


def test_writable_as_a_user(user: User) -> None:
    before, content = snapshot(user.venv), user.image.read_bytes()
    words = ("exec", "--image", str(user.image), "--at", str(user.venv), "--writable")
    core = site_of(user.venv) / "apples" / "core.py"
    script = f"set -e; echo more >> {core}; rm {user.venv}/bin/activate; mkdir {user.venv}/new; tail -1 {core}"
    done = user.fsprobe(*words, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, b"more\n"), done.stderr
    kept = user.home / "kept"
    kept.mkdir()
    os.chown(kept, USER, USER)
    assert user.fsprobe(*words, "--upper", str(kept), "--", "sh", "-c", script).returncode == 0
    done = user.fsprobe(*words, "--upper", str(kept), "--", "tail", "-1", str(core))
    assert done.stdout == b"more\n", done.stderr
    assert snapshot(user.venv) == before
    assert user.image.read_bytes() == content


@pytest.mark.parametrize("way", WAYS)
def test_kill_9_as_a_user_leaves_nothing(user: User, way: str) -> None:
    word = f"42.{os.getpid()}"
    script = f"setsid sleep {word} & echo ready; sleep {word}"
    process = subprocess.Popen(user.enter(way, "sh", "-c", script), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.kill()  # unshare, sh and setpriv have become fsprobe by exec
    process.wait(20)
    deadline = time.monotonic() + 15
    while (left := left_behind(f"sleep {word}") + left_behind(str(user.image))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert list(user.home.glob("fsprobe-mount-*")) == []


def test_without_fuse_each_reason_is_told(user: User) -> None:
    hidden = ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /dev/fuse && exec "$@"', "sh"]
    setpriv = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--", "sh", "-c", 'exec "$@"', "sh"]
    words = ("exec", "--image", str(user.image), "--at", str(user.venv), "--", "true")
    # /dev/null can be opened, but is no FUSE device: the reasons come from trying
    done = subprocess.run(
        [*hidden, *setpriv, *fsprobe_argv(*words, python=user.python)],
        capture_output=True,
        env=fsprobe_environment(),
        cwd=user.home,
    )
    assert done.returncode == 125, done.stderr
    said = done.stderr.decode()
    assert "root+kernel: needs root" in said
    assert "user+fuse: squashfuse_ll: " in said
    assert "bwrap+fuse: " in said
    assert "image-src=/" in said
    assert left_behind(str(user.image)) == []


def test_the_lines_to_use_by_hand_work(user: User) -> None:
    done = user.fsprobe("pack", str(user.venv), "-o", str(user.home / "two.sqsh"), "--compile")
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode()
    side = json.loads((user.home / "two.sqsh.json").read_text())
    assert side["environment"] == str(user.venv)
    script = user.home / "script.py"
    script.write_text(f"import os; {KIND}; os.remove('{user.venv}/pyvenv.cfg')")
    for heading, as_user in (("by hand, as a user", True), ("by hand, as root", False)):
        line = said.partition(f"{heading}:\n")[2].splitlines()[0].strip()
        argv = ["sh", "-c", line]
        done = subprocess.run(user.argv(*argv) if as_user else argv, capture_output=True, cwd=user.home)
        assert done.stdout == b"directory\n", done.stderr  # packed again after the change
        assert b"Read-only file system" in done.stderr or b"not implemented" in done.stderr
    assert (user.venv / "pyvenv.cfg").exists()
    for words in (
        f"-B {user.home}/two.sqsh:{user.venv}:image-src=/",
        "export SINGULARITYENV_PYTHONNOUSERSITE=1",
        f"export SINGULARITYENV_PREPEND_PATH={user.venv}/bin",
        f"export APPTAINERENV_PREPEND_PATH={user.venv}/bin",
    ):
        assert words in said
    assert left_behind(str(user.home / "two.sqsh")) == []
