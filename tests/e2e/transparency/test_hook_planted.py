"""What outlives a run names nothing that another user could make: a daemon's environment, a job that was submitted with it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsprobe.cli.recorder import build
from fsprobe.recording.file import Recording
from tests.conftest import clean_environment, need

pytestmark = pytest.mark.needs_root
VICTIM, OTHER = 60123, 60124
PYTHON = "/usr/bin/python3"
"""One that other users can run too; so fsprobe is the recorder, which needs nothing else."""


def as_user(uid: int, command: list[str], env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=env,
        cwd=cwd,
        user=uid,
        group=uid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class Users:
    """Two users; one has a directory below one of root's, as /run/user/UID is, and both have one where everybody may write."""

    def __init__(self, place: Path) -> None:
        place.chmod(0o755)
        self.own = place / str(VICTIM)
        self.own.mkdir(0o700)
        os.chown(self.own, VICTIM, VICTIM)
        self.work = Path(tempfile.mkdtemp(prefix="planted-", dir="/tmp"))
        self.work.chmod(0o1777)
        build(self.work / "rec.pyz")
        self.env = clean_environment(HOME="/nonexistent", TMPDIR=None, XDG_CACHE_HOME=None, XDG_RUNTIME_DIR=None)

    def record(self, backend: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        words = [PYTHON, str(self.work / "rec.pyz"), "--backend", backend, "-o", str(self.work / "x.fsprobe")]
        return as_user(VICTIM, [*words, "--", *command], {**self.env, **variables}, self.work)

    def submit(self, backend: str, **variables: str) -> dict[str, str]:
        """The environment that a program in a run hands on, as `sbatch --export=ALL` does."""
        done = self.record(backend, "/bin/sh", "-c", "env -0 >job", **variables)
        assert done.returncode == 0, done.stderr
        text = (self.work / "job").read_text()
        return dict(entry.split("=", 1) for entry in text.split("\0") if entry)

    def plant(self, directory: str) -> None:
        """Another user makes a directory and puts code into it, as far as that can be done."""
        code = f"import os; open({str(self.work / 'pwned')!r} + str(os.getuid()), 'w')"
        line = (
            f"mkdir -p {shlex.quote(directory)}; cd {shlex.quote(directory)} && echo {shlex.quote(code)} >sitecustomize.py; "
            f"chmod -R a+rX {shlex.quote(directory)}"
        )
        as_user(OTHER, ["/bin/sh", "-c", line], self.env, self.work)

    def harmed(self) -> list[str]:
        """Users as whom planted code ran."""
        return [path.name for path in self.work.glob("pwned*")]


@pytest.fixture
def users() -> Iterator[Users]:
    need(os.geteuid() == 0, "to be two users takes root")
    need(os.access(PYTHON, os.X_OK), f"no {PYTHON}")
    need(os.path.isdir("/run") and os.stat("/run").st_mode & 0o022 == 0, "no /run that is root's alone")
    place = Path(tempfile.mkdtemp(prefix="planted-", dir="/run"))
    made = Users(place)
    try:
        yield made
    finally:
        shutil.rmtree(place)
        shutil.rmtree(made.work)


def ways(users: Users) -> dict[str, dict[str, str]]:
    """How a user may be set up; in the last three there is no place that is safe."""
    (users.work / "link").symlink_to(users.own)
    (users.work / "mine").mkdir(0o700)
    os.chown(users.work / "mine", VICTIM, VICTIM)
    return {
        "runtime": {"XDG_RUNTIME_DIR": str(users.own)},
        "cache": {"XDG_CACHE_HOME": str(users.own / "cache")},
        "home": {"HOME": str(users.own)},
        "runtime in /tmp": {"XDG_RUNTIME_DIR": str(users.work / "mine"), "HOME": str(users.work / "mine")},
        "link": {"XDG_RUNTIME_DIR": str(users.work / "link")},
        "nothing": {},
    }


@pytest.mark.parametrize("how", ["runtime", "cache", "home", "runtime in /tmp", "link", "nothing"])
@pytest.mark.parametrize("backend", ["strace", "ptrace", "audit"])
def test_a_submitted_job_finds_nothing_of_others(users: Users, backend: str, how: str) -> None:
    variables = ways(users)[how]
    has_place = how in ("runtime", "cache", "home")
    if not has_place and backend == "audit":
        done = users.record(backend, "/bin/true", **variables)
        assert done.returncode == 125
        assert "nobody else can write" in done.stderr
        return
    job = users.submit(backend, **variables)
    assert ("fsprobe" in job.get("PYTHONPATH", "")) is has_place
    manifest = Recording(str(users.work / "x.fsprobe")).manifest
    assert bool(manifest["no_hook"]) is not has_place
    assert (manifest["markers"] == "none") is not has_place
    for entry in filter(None, job.get("PYTHONPATH", "").split(":")):
        for parent in (Path(os.path.realpath(entry)), *Path(os.path.realpath(entry)).parents):
            assert not parent.stat().st_mode & 0o022, f"{parent} can be written by others"
        users.plant(entry)
        users.plant(os.path.dirname(entry))
    done = as_user(VICTIM, [PYTHON, "-c", "import json; print(7)"], job, users.work)
    assert (done.stdout, done.stderr, users.harmed()) == ("7\n", "", [])


@pytest.mark.parametrize("backend", ["strace", "audit"])
@pytest.mark.parametrize("marks", ["directory", "link", "fifo"])
def test_a_later_job_writes_nothing_where_another_user_made_the_runs_directory_again(
    users: Users, backend: str, marks: str
) -> None:
    """Its name can be had of the environment; what is there now may lead into the victim's own directories."""
    job = users.submit(backend, XDG_RUNTIME_DIR=str(users.own))
    scratch = "/dev/shm/fsprobe-" + "".join(job["PYTHONPATH"].split(":")[0].split("/")[-13:-1])
    need(Recording(str(users.work / "x.fsprobe")).manifest["scratch"] == scratch, "no room in /dev/shm")
    assert not os.path.exists(scratch)
    trap = users.own / "trap"
    trap.mkdir(0o700)
    os.chown(trap, VICTIM, VICTIM)
    make = {"directory": "mkdir -m 777 marks", "link": f"ln -s {trap} marks", "fifo": "mkfifo -m 666 marks"}[marks]
    done = as_user(OTHER, ["/bin/sh", "-c", f"mkdir -m 755 {scratch} && cd {scratch} && {make}"], users.env, users.work)
    try:
        assert done.returncode == 0, done.stderr
        done = as_user(VICTIM, [PYTHON, "-c", "import json, csv; print(7)"], job, users.work)
        assert (done.stdout, done.stderr) == ("7\n", "")
        assert list(trap.iterdir()) == []
        assert marks == "fifo" or list(Path(scratch, "marks").iterdir()) == []
    finally:
        shutil.rmtree(scratch)
