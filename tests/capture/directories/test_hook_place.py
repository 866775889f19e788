"""The hook's directory: one that nobody but the user can ever make; and a hook that outlives its run does nothing."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsprobe.capabilities import MARKED_INSIDE
from fsprobe.capture import injection
from fsprobe.capture.backends.audit.backend import Audit
from fsprobe.capture.directories import hook_place, private, scratch
from tests.conftest import clean_environment, need

SHARED = "/dev/shm/fsprobe-0123456789ab"
TAIL = "0/1/2/3/4/5/6/7/8/9/a/b/hook"


@pytest.fixture
def own() -> Iterator[Path]:
    """A directory below which nobody else can write: pytest's own lie in /tmp, where everybody can."""
    # root's home, where others may not look, is no place for what root shares with all users
    home = Path.home() if os.geteuid() or mode_of(Path.home()) & stat.S_IXOTH else Path("/opt")
    with tempfile.TemporaryDirectory(prefix="fsprobe-test-", dir=home) as place:
        try:
            os.close(private.open_private(os.path.realpath(place)))
        except private.Unsafe as error:
            need(False, f"others can write to the home directory of these tests: {error}")
        yield Path(os.path.realpath(place))


@pytest.fixture(autouse=True)
def no_other_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_place, "_own_home", lambda: "")
    monkeypatch.setattr(hook_place, "SYSTEM", "")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_is_private_shared_and_written_once(own: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(own)}
    place, why_not = hook_place.install("x = 1\n", SHARED, environment)
    assert why_not == ""
    assert place.endswith(TAIL)
    file = Path(place, "sitecustomize.py")
    assert file.read_text() == "x = 1\n"
    (folder,) = (own / "fsprobe").iterdir()
    assert Path(os.path.realpath(place)) == folder / "hook"
    assert [mode_of(path) for path in (own / "fsprobe", folder, folder / "hook", file)] == [0o700, 0o700, 0o700, 0o600]
    before = file.stat()
    other, _ = hook_place.install("x = 1\n", "/dev/shm/fsprobe-ba9876543210", environment)
    assert other != place
    assert os.path.samefile(other, place)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    hook_place.remove(place, SHARED)
    assert file.exists(), "others may be using it"
    hook_place.install("x = 2\n", SHARED, environment)
    assert len(list((own / "fsprobe").iterdir())) == 2


@pytest.mark.parametrize("damage", ["link", "file"])
def test_what_is_damaged_is_made_anew(own: Path, damage: str) -> None:
    place, _ = hook_place.install("x = 1\n", SHARED, {"XDG_CACHE_HOME": str(own)})
    (folder,) = (own / "fsprobe").iterdir()
    if damage == "link":
        (folder / "b").unlink()
    else:
        (folder / "hook" / "sitecustomize.py").write_text("x = 3\n")
    assert hook_place.install("x = 1\n", SHARED, {"XDG_CACHE_HOME": str(own)}) == (place, "")
    assert Path(place, "sitecustomize.py").read_text() == "x = 1\n"


@pytest.mark.needs_root
def test_roots_hook_can_be_read_by_the_users_that_it_becomes(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need(os.geteuid() == 0, "needs root")
    own.chmod(0o755)
    monkeypatch.setattr(hook_place, "SYSTEM", str(own))
    before = os.umask(0o077)
    try:
        place, why_not = hook_place.install("x = 1\n", SHARED, {"HOME": str(own / "home")})
    finally:
        os.umask(before)
    assert why_not == ""
    hook = Path(os.path.realpath(place))
    assert hook.is_relative_to(own / "fsprobe")
    modes = [mode_of(path) for path in (own / "fsprobe", hook.parent, hook, hook / "sitecustomize.py")]
    assert modes == [0o755, 0o755, 0o755, 0o644]
    (own / "fsprobe").chmod(0o775)
    with pytest.raises(private.Unsafe):
        private.open_private(str(own / "fsprobe"), 1, for_all=True)
    place, _ = hook_place.install("x = 1\n", SHARED, {"XDG_CACHE_HOME": str(own / "cache")})
    assert place.startswith(str(own / "cache")), "where others could write there it goes elsewhere"


def test_a_read_only_home_will_do_where_the_hook_is_there(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"XDG_CACHE_HOME": str(own)}
    place, _ = hook_place.install("x = 1\n", SHARED, environment)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("mkdir", "symlink", "rename"):
        monkeypatch.setattr(os, name, refuse)
    assert hook_place.install("x = 1\n", SHARED, environment) == (place, "")
    place, why_not = hook_place.install("x = 2\n", SHARED, environment)
    assert place == ""
    assert "Read-only" in why_not


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda place: place.chmod(0o755), "mode 0700"),
        (lambda place: place.parent.chmod(0o1777), "others can write to"),
        (lambda place: place.parent.chmod(0o777), "others can write to"),
        (lambda place: (place.rmdir(), place.symlink_to(place.parent)), "no directory of this user's own"),
        (lambda place: place.rmdir(), "No such file"),
        (lambda place: (place.rmdir(), place.write_text("")), "no directory of this user's own"),
    ],
    ids=["mode", "sticky", "writable", "link", "missing", "file"],
)
def test_a_runtime_directory_that_will_not_do(own: Path, spoil: Callable[[Path], object], reason: str) -> None:
    runtime = own / "run" / "1000"
    runtime.mkdir(0o700, parents=True)
    environment = {"XDG_RUNTIME_DIR": str(runtime), "HOME": str(own)}
    place, _ = hook_place.install("x = 1\n", SHARED, environment)
    assert place.startswith(f"{runtime}/fsprobe/")
    hook_place.scratch_dir.remove(str(runtime / "fsprobe"))
    spoil(runtime)
    place, why_not = hook_place.install("x = 1\n", SHARED, environment)
    assert (place.startswith(f"{own}/.cache/fsprobe/"), why_not) == (True, "")
    assert stat.S_IMODE((own / ".cache").stat().st_mode) == 0o700
    place, why_not = hook_place.install("x = 1\n", SHARED, {"XDG_RUNTIME_DIR": str(runtime)})
    assert place == ""
    assert reason in why_not


def test_a_cache_that_others_can_write_to(own: Path) -> None:
    (own / "cache").mkdir()
    for mode, will_do in ((0o777, False), (0o1777, False), (0o755, True)):
        (own / "cache").chmod(mode)
        place, why_not = hook_place.install("x = 1\n", SHARED, {"XDG_CACHE_HOME": str(own / "cache")})
        assert bool(place) is will_do, (oct(mode), why_not)
    (own / "cache" / "fsprobe").chmod(0o750)
    place, why_not = hook_place.install("x = 1\n", SHARED, {"XDG_CACHE_HOME": str(own / "cache")})
    assert "not this user's alone" in why_not


def test_a_cache_that_is_a_link_to_another_place_of_the_user_is_followed_to_it(own: Path) -> None:
    (own / "big").mkdir()
    (own / ".cache").symlink_to(own / "big")
    place, _ = hook_place.install("x = 1\n", SHARED, {"HOME": str(own)})
    assert place.startswith(f"{own}/big/fsprobe/")


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "HOME", "XDG_RUNTIME_DIR", "TMPDIR"])
def test_nothing_below_what_everybody_can_write_to(tmp_path: Path, name: str) -> None:
    place, why_not = hook_place.install("x = 1\n", SHARED, {name: str(tmp_path)})
    assert place == ""
    assert why_not
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["", "relative", "../x"])
def test_relative_names_are_none(own: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    for name in ("XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
        place, _ = hook_place.install("x = 1\n", SHARED, {name: value, "HOME": str(own)})
        assert place.startswith(f"{own}/.cache/")


def test_a_job_directory_of_this_node_is_taken_when_it_says_whose_it_is(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, job, will_do in (("job.77", "77", True), ("slot3", "77", False), ("job.777", "77", False)):
        (own / name).mkdir(0o700)
        environment = {"TMPDIR": str(own / name), "SLURM_JOB_ID": job, "USER": "nobody-at-all"}
        place, why_not = hook_place.install("x = 1\n", SHARED, environment)
        assert bool(place) is will_do, why_not
    monkeypatch.setattr(hook_place.mounts, "classify", lambda fstype: "network")
    _, why_not = hook_place.install("x = 1\n", SHARED, {"TMPDIR": str(own / "job.77"), "SLURM_JOB_ID": "77"})
    assert "is not on this node" in why_not


def test_a_directory_of_another_user_is_refused(own: Path) -> None:
    need(os.geteuid() == 0, "only root can give a directory away")
    (own / "theirs" / "mine").mkdir(0o700, parents=True)
    os.chown(own / "theirs", 12345, 12345)
    place, why_not = hook_place.install("x = 1\n", SHARED, {"XDG_CACHE_HOME": str(own / "theirs" / "mine")})
    assert place == ""
    assert "belongs to another user" in why_not


# -- when the run is over ---------------------------------------------------------------------------------------------


class Run:
    """A hook that was installed for a scratch directory, without a tracer."""

    def __init__(self, mode: str) -> None:
        self.scratch = Path(scratch.make(None, {}, []))
        need(str(self.scratch).startswith("/dev/shm/"), "no /dev/shm")
        self.marks = self.scratch / "marks"
        self.environment = clean_environment()
        code = Audit().hook_code() if mode == MARKED_INSIDE else ""
        self.hook, why_not = injection.install(str(self.scratch), mode, self.environment, code)
        assert why_not == ""

    def python(self, program: str, *options: str) -> str:
        words = [sys.executable, *options, "-c", program]
        done = subprocess.run(words, capture_output=True, check=True, env=self.environment, text=True)
        assert done.stderr == ""
        return done.stdout


@pytest.fixture(params=["time", "inside"])
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.undo()  # here the real home is wanted
    started = Run(request.param)
    yield started
    subprocess.run(["rm", "-rf", str(started.scratch)], check=True)


STATE = (
    "import sys, os; print([p for p in sys.path if 'fsprobe' in p], sorted(sys.modules), hasattr(sys.modules['_frozen_importlib'], "
    "'_fsprobe'), [p for p in sys.path_importer_cache if 'fsprobe' in p], os.listdir('/proc/self/fd'), os.stat, 'custom' in sys.modules)"
)


def test_runs_while_its_run_does(run: Run) -> None:
    run.python("import json")
    assert list(run.marks.iterdir())


def gone(run: Run) -> None:
    scratch.remove(str(run.scratch))


def made_again_as_a_link(run: Run) -> None:
    run.scratch.rename(f"{run.scratch}-old")
    run.scratch.symlink_to(f"{run.scratch}-old")


def with_marks_that_lead_elsewhere(run: Run) -> None:
    run.marks.rmdir()
    (run.scratch / "elsewhere").mkdir(0o700)
    run.marks.symlink_to("elsewhere")


def open_to_others(run: Run) -> None:
    run.marks.chmod(0o777)


def of_another_user(run: Run) -> None:
    need(os.geteuid() == 0, "only root can give a directory away")
    os.chown(run.scratch, 12345, 12345)


OVER = [gone, made_again_as_a_link, with_marks_that_lead_elsewhere, open_to_others, of_another_user]


@pytest.mark.parametrize("end", OVER)
def test_does_nothing_when_its_run_is_over(run: Run, end: Callable[[Run], None]) -> None:
    plain = subprocess.run(
        [sys.executable, "-c", STATE], capture_output=True, check=True, env=clean_environment(), text=True
    )
    end(run)
    assert run.python(STATE) == plain.stdout
    assert [*Path(f"{run.scratch}-old", "marks").glob("*"), *run.scratch.rglob("marks.*")] == []
    subprocess.run(["rm", "-rf", f"{run.scratch}-old"], check=True)


@pytest.mark.parametrize("plant", ["link", "directory", "fifo"])
def test_a_process_that_outlives_its_run_writes_into_nothing_that_was_planted(
    run: Run, plant: str, tmp_path: Path
) -> None:
    """The hook is at work when fsprobe takes its directories away and somebody makes them again."""
    target = tmp_path / "target"
    target.mkdir(0o700)
    program = (
        "import os, shutil, sys, time\n"
        f"shutil.rmtree({str(run.scratch)!r})\n"
        f"os.mkdir({str(run.scratch)!r}, 0o700)\n"
        f"plant, marks, target = {plant!r}, {str(run.marks)!r}, {str(target)!r}\n"
        "if plant == 'link': os.symlink(target, marks)\n"
        "elif plant == 'directory': os.mkdir(marks, 0o777); os.chmod(marks, 0o777)\n"
        "else: os.mkfifo(marks)\n"
        "time.sleep(0.15)\n"
        "import csv, decimal, sqlite3, xml.dom.minidom\n"
        "if os.fork() == 0:\n    import email.message\n    os._exit(0)\n"
        "os.wait(); print('end')\n"
    )
    assert run.python(program) == "end\n"
    assert list(target.iterdir()) == []
    assert plant != "directory" or list(run.marks.iterdir()) == []


def test_the_users_own_sitecustomize_runs_then_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.seen = __file__\n")
    run.environment["PYTHONPATH"] += f":{tmp_path}"
    gone(run)
    assert run.python("import sys; print(sys.seen)") == f"{tmp_path}/sitecustomize.py\n"


@pytest.mark.parametrize("order", ["{0}:{1}", "{1}:{0}"])
def test_a_run_that_is_over_is_in_no_ones_way(run: Run, order: str) -> None:
    """A job that was submitted with its environment and is itself `fsprobe run`: two entries of one hook."""
    other = Run("time")
    try:
        gone(run)
        other.environment["PYTHONPATH"] = order.format(other.hook, run.hook)
        assert other.python("import json, sys; print([p for p in sys.path if '/fsprobe-' in p])") == "[]\n"
        assert list(other.marks.glob("marks.*"))
    finally:
        scratch.remove(str(other.scratch))


def test_what_nobody_has_used_for_long_is_taken_away(own: Path) -> None:
    """A hook of an older version, or of a run that was killed; never what is not a hook, nor what is in use."""
    environment = {"XDG_CACHE_HOME": str(own)}
    places = [Path(hook_place.install(f"x = {n}\n", SHARED, environment)[0]) for n in range(3)]
    strange = own / "fsprobe" / "fsprobe-0123456789ab"
    strange.mkdir()
    (strange / "mine").write_text("kept")
    (own / "fsprobe" / "fsprobe-ba9876543210").symlink_to(places[0])
    long_ago = 1_000_000_000
    for place in [*places, strange]:
        folder = Path(os.path.realpath(place)).parent if place != strange else strange
        for path in [folder, *folder.rglob("*")]:
            os.utime(path, (long_ago, long_ago), follow_symlinks=False)
    hook_place.install("x = 1\n", SHARED, environment)  # in use again
    assert all(place.exists() for place in places), "nothing is looked at where nothing is written"
    new = Path(hook_place.install("x = 4\n", SHARED, environment)[0])
    assert [place.exists() for place in [*places, new, strange]] == [False, True, False, True, True]


def test_a_list_of_other_users_is_no_private_group(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an access list the group's bits are its mask: mode 0770 may mean that any named user can write."""
    monkeypatch.setattr(private, "_is_private_group", lambda gid: True)
    place = own / "cache"
    place.mkdir()
    place.chmod(0o770)
    os.close(private.open_private(str(place)))
    nobody = 0xFFFFFFFF
    rows = [(1, 7, nobody), (2, 7, os.getuid() + 4321), (4, 0, nobody), (0x10, 7, nobody), (0x20, 0, nobody)]
    try:
        os.setxattr(
            place, "system.posix_acl_access", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)
        )
    except OSError as error:
        need(False, f"no access lists here: {error}")
    assert mode_of(place) == 0o770
    with pytest.raises(private.Unsafe, match="access list"):
        private.open_private(str(place))
