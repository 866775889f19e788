"""Programs in namespaces of their own, as containers make them: paths and mounts are those that the program sees."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fsprobe import pipeline
from fsprobe.analysis.counting.tally import check_sums
from fsprobe.capture import options, record
from fsprobe.model.events import Op, ParseQuality
from fsprobe.model.profile import Profile
from fsprobe.recording.file import Recording
from fsprobe.report.terminal import run
from tests.conftest import as_shown, need

SYSTEM = "/usr/bin/python3"
N_OPENS = 9
IN_ROOT = ("bin", "lib", "lib64", "sbin")

WORK = (
    "import os, sys\n"
    f"for i in range({N_OPENS}):\n    os.close(os.open('/data/file-%d' % i, os.O_RDONLY))\n"
    "import json.tool\n"
)


@pytest.fixture(autouse=True)
def without_python_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        monkeypatch.delenv(name)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A directory with a package whose import opens files in /data, and those files."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("")
    (tmp_path / "app" / "work.py").write_text(WORK)
    data = tmp_path / "data"
    data.mkdir()
    for i in range(N_OPENS):
        (data / f"file-{i}").write_text("")
    return tmp_path


def analyse(path: Path, *command: str, words: tuple[str, ...] = ()) -> Profile:
    """Record a command that must succeed."""
    recorded = record.record(options.parse([*words, "--force", "-o", str(path), "--", *command]))
    assert recorded.outcome.exit_status == 0
    analysis = pipeline.read(path)
    assert check_sums(analysis.tally) == []
    assert (analysis.profile.quality.n_unparsed, analysis.profile.quality.n_partial) == (0, 0)
    return analysis.profile


def rows(profile: Profile, grouping: str) -> dict[str, Any]:
    return {row.key: row for row in getattr(profile.metrics, grouping) or ()}


def opens_by_module(path: Path) -> Counter[str]:
    """Module -> opens of the planted files that count for it."""
    recording = Recording(str(path))
    events = pipeline.read_events(recording, ParseQuality(), pipeline.read_hooks(recording))
    return Counter(
        row.module
        for row in pipeline.attributed(recording, events, pipeline.Notes())
        if row.call.op is Op.OPEN and b"/file-" in row.call.path
    )


def need_unshare(*words: str) -> None:
    program = shutil.which("unshare")
    allowed = program and subprocess.run([program, *words, "true"], capture_output=True, check=False).returncode == 0
    need(allowed, f"unshare {' '.join(words)} is not allowed here")


def need_bwrap() -> None:
    allowed = (
        shutil.which("bwrap")
        and subprocess.run(["bwrap", "--ro-bind", "/", "/", "true"], capture_output=True, check=False).returncode == 0
    )
    need(allowed, "bubblewrap is missing or not allowed here")


def assert_marked(profile: Profile) -> None:
    """Imports were marked, and the planted opens counted for the module that made them."""
    assert (profile.quality.n_estimated, profile.quality.unmarked) == (0, {})
    assert profile.quality.n_marks_unread == 0
    assert rows(profile, "by_module")["json.tool"].parent == "app.work"
    assert rows(profile, "by_path")["/data/file-3"].n_open == 1


def assert_estimated(profile: Profile, why: str) -> None:
    """The hook could not run: the counts are there, the imports an estimate, and the report says so."""
    assert profile.quality.unmarked == {why: 1}
    assert profile.quality.n_estimated > N_OPENS
    assert as_shown(profile, "app.work") <= set(rows(profile, "by_module"))
    assert rows(profile, "by_path")["/data/file-3"].n_open == 1
    assert profile.manifest.python is not None
    assert profile.manifest.python.from_paths
    said = " ".join(run.render(profile, recording="x.fsprobe").split())
    assert "estimate" in said
    assert "fsprobe's directory is not there for it" in said


@pytest.mark.needs_root
def test_tmpfs_mounted_over_a_directory(app: Path, tmp_path: Path, strace_program: str) -> None:
    """`unshare -m`: the program's own mount table is recorded, which no other process sees."""
    need_unshare("-m", "true")
    data = tmp_path / "covered"
    data.mkdir()
    (app / "app" / "work.py").write_text(WORK.replace("/data/", f"{data}/"))
    inner = f"mount -t tmpfs planted {data} && cp {app}/data/* {data}/ && cd {app} && exec {sys.executable} -m app.work"
    profile = analyse(tmp_path / "x.fsprobe", "unshare", "-m", "sh", "-c", inner)
    mounts = {row.path: row for row in profile.manifest.mounts}
    assert (mounts[str(data)].fstype, mounts[str(data)].fs_class) == ("tmpfs", "memory")
    on_it = rows(profile, "by_mount")[str(data)]
    assert on_it.n_open >= N_OPENS
    assert rows(profile, "by_path")[f"{data}/file-3"].n_open >= 1
    assert rows(profile, "by_module")["json.tool"].parent is None  # app.work is the program here, not an import
    assert str(data).encode() not in Path("/proc/self/mountinfo").read_bytes()
    assert profile.quality.unmarked == {}


@pytest.mark.needs_root
def test_directory_bound_over_another(app: Path, tmp_path: Path, strace_program: str) -> None:
    need_unshare("-m", "true")
    point = tmp_path / "point"
    point.mkdir()
    (app / "app" / "work.py").write_text(WORK.replace("/data/", f"{point}/"))
    inner = f"mount --bind {app}/data {point} && cd {app} && exec {sys.executable} -c 'import app.work'"
    profile = analyse(tmp_path / "x.fsprobe", "unshare", "-m", "sh", "-c", inner)
    assert str(point) in {row.path for row in profile.manifest.mounts}
    assert rows(profile, "by_mount")[str(point)].n_open == N_OPENS
    assert rows(profile, "by_path")[f"{point}/file-3"].n_open == 1
    assert rows(profile, "by_module")["app.work"].n_open >= N_OPENS


@pytest.mark.needs_root
@pytest.mark.parametrize("flags", [["-p", "-f"], ["-p", "-f", "--mount-proc"]])
@pytest.mark.parametrize("markers", ["time", "access"])
def test_process_numbers_of_its_own(
    flags: list[str], markers: str, app: Path, tmp_path: Path, strace_program: str
) -> None:
    """`unshare -pf`: the hook and the tracer see other process numbers; they are matched all the same."""
    need_unshare(*flags)
    body = f"import sys; sys.path.insert(0, {str(app)!r}); import app.work, os; assert os.getpid() == 1"
    (app / "app" / "work.py").write_text(WORK.replace("/data/", f"{app}/data/"))
    command = ["unshare", *flags, sys.executable, "-c", body]
    profile = analyse(tmp_path / "x.fsprobe", *command, words=(f"--markers={markers}",))
    assert (profile.quality.n_estimated, profile.quality.n_marks_unread) == (0, 0)
    assert opens_by_module(tmp_path / "x.fsprobe") == Counter({"app.work": N_OPENS})
    assert rows(profile, "by_module")["json.tool"].parent == "app.work"
    assert all(row.pid > 1 for row in profile.metrics.by_process)  # the host's numbers


def bwrap(app: Path, *binds: str) -> list[str]:
    """A root that holds the system's Python and nothing else, with the app and its data at other places than outside."""
    need_bwrap()
    need(os.access(SYSTEM, os.X_OK), f"no {SYSTEM}")
    words = ["bwrap", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for name in IN_ROOT:
        if os.path.islink(f"/{name}"):
            words += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            words += ["--ro-bind", f"/{name}", f"/{name}"]
    words += ["--ro-bind", str(app / "app"), "/srv/app", "--ro-bind", str(app / "data"), "/data", *binds]
    return [*words, "--unshare-pid", "--chdir", "/srv", SYSTEM, "-c", "import app.work"]


def test_container_in_which_the_scratch_is_not_there(app: Path, tmp_path: Path, strace_program: str) -> None:
    profile = analyse(tmp_path / "x.fsprobe", *bwrap(app))
    assert_estimated(profile, "hidden")
    # asked for in vain on the way to the first import, but by us
    assert profile.quality.own_calls.get("stat", 0) >= 1
    assert not any(re.search("/fsprobe-[0-9a-f]{12}", key) for key in rows(profile, "by_path"))


def test_container_that_is_given_the_scratch(app: Path, tmp_path: Path, strace_program: str) -> None:
    """With `--tmp-dir` at a place of the user's own that is bound into the container the imports are marked, the mounts its own."""
    with tempfile.TemporaryDirectory(prefix="shared-", dir=Path.home()) as place:
        words = (f"--tmp-dir={place}",)
        profile = analyse(tmp_path / "x.fsprobe", *bwrap(app, "--bind", place, place), words=words)
        assert os.listdir(place) == []
    assert_marked(profile)
    assert opens_by_module(tmp_path / "x.fsprobe") == Counter({"app.work": N_OPENS})
    mounts = {row.path: row for row in profile.manifest.mounts}
    assert {"/usr", "/srv/app", "/data", "/tmp"} <= set(mounts)
    assert mounts["/tmp"].fstype == "tmpfs"
    assert rows(profile, "by_mount")["/data"].n_open == N_OPENS
    assert rows(profile, "by_mount")["/srv/app"].n_open >= 2
    assert profile.manifest.python.executable == SYSTEM


def test_container_with_the_machines_devices(app: Path, tmp_path: Path, strace_program: str) -> None:
    """`--dev-bind / /` leaves /dev/shm, and so the scratch, where it was."""
    need_bwrap()
    need(os.access("/dev/shm", os.W_OK), "no /dev/shm")
    (app / "app" / "work.py").write_text(WORK.replace("/data/", f"{app}/data/"))
    body = f"import sys; sys.path.insert(0, {str(app)!r}); import app.work"
    profile = analyse(tmp_path / "x.fsprobe", "bwrap", "--dev-bind", "/", "/", sys.executable, "-c", body)
    assert profile.quality.unmarked == {}
    assert opens_by_module(tmp_path / "x.fsprobe") == Counter({"app.work": N_OPENS})


@pytest.mark.needs_root
def test_changed_root(app: Path, tmp_path: Path, strace_program: str) -> None:
    need(os.getuid() == 0, "only root may change the root")
    need(os.access(SYSTEM, os.X_OK), f"no {SYSTEM}")
    need_unshare("-m", "true")
    root = tmp_path / "root"
    for name in ("usr", "srv/app", "data", "proc", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    for name in IN_ROOT:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), root / name)
    binds = [("/usr", "usr"), (f"{app}/app", "srv/app"), (f"{app}/data", "data"), ("/dev", "dev")]
    lines = [f"mount --bind {source} {root}/{target}" for source, target in binds]
    enter = f"exec chroot {root} {SYSTEM} -c 'import sys; sys.path.insert(0, \"/srv\"); import app.work'"
    profile = analyse(tmp_path / "x.fsprobe", "unshare", "-m", "sh", "-ec", "\n".join([*lines, enter]))
    assert_estimated(profile, "hidden")
    assert "/data/file-3" in rows(profile, "by_path")


def test_same_rows_inside_and_outside(app: Path, tmp_path: Path, strace_program: str) -> None:
    """The interpreter's calls in a container that shows the same tree are those that it makes outside."""
    need_bwrap()
    body = "import json.tool, email.mime.text"

    def counts(profile: Profile) -> dict[str, tuple[int, ...]]:
        return {
            key: tuple(getattr(row, name) for name in ("n_open", "n_stat", "n_readlink", "n_list", "n_not_found"))
            for key, row in rows(profile, "by_module").items()
            if key != "(program)"
        }

    outside = analyse(tmp_path / "o.fsprobe", sys.executable, "-c", body)
    inside = analyse(tmp_path / "i.fsprobe", "bwrap", "--dev-bind", "/", "/", sys.executable, "-c", body)
    assert counts(inside) == counts(outside)
    assert len(counts(inside)) > 20
