"""The snapshot: what the recorder imports in one file, as good as the byte code, never another user's, never a stale one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fsprobe
from fsprobe import __main__ as entry
from tests.conftest import clean_environment

PACKAGE = Path(fsprobe.__file__).parent
CODE = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); shown = sys.argv.pop(1); from fsprobe import __main__\n"
    "try: __main__.main()\n"
    "finally: eval(compile(shown, 'shown', 'exec'))"
)
WAYS = (
    "m = sys.modules['fsprobe.errors']; k = sum(type(n.__loader__).__name__ == 'KeptCode' for n in list(sys.modules.values()) "
    "if hasattr(n, '__loader__')); print(k, type(m.__loader__).__name__, m.__file__)"
)


def run(site: Path, *options: str, shown: str = WAYS, words: tuple[str, ...] = ("run", "--no-such-option")) -> str:
    command = [sys.executable, "-I", *options, "-c", CODE, str(site), shown, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), cwd=site, timeout=60)
    assert done.stderr.startswith("fsprobe: "), done.stderr
    return done.stdout


def snapshot_of(site: Path) -> Path:
    (found,) = (site / "fsprobe" / "__pycache__").glob("start.*.snapshot")
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site directory with an installed fsprobe, whose snapshot is written."""
    place = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, place / "fsprobe", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    record = place / f"fsprobe-{fsprobe.__version__}.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("fsprobe/errors.py,sha256=first,1\n")
    assert run(place).startswith("0 SeenSource ")
    assert snapshot_of(place).stat().st_mode & 0o777 == 0o644 & ~_umask()
    return place


@pytest.fixture
def site(installed: Path) -> Iterator[Path]:
    """The same, as it was afterwards."""
    record = installed / f"fsprobe-{fsprobe.__version__}.dist-info" / "RECORD"
    kept = {
        path: (path.read_bytes(), path.stat())
        for path in (snapshot_of(installed), record, installed / "fsprobe/errors.py")
    }
    yield installed
    record.parent.mkdir(exist_ok=True)
    for path, (data, status) in kept.items():
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(status.st_mode)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_second_run_takes_its_modules_from_it(site: Path) -> None:
    n, way, file = run(site).split()
    assert int(n) > 20
    assert (way, file) == ("KeptCode", f"{site}/fsprobe/errors.py")


def test_modules_are_what_python_makes_of_their_files(site: Path) -> None:
    """Source lines in tracebacks, `importlib.resources`, `__spec__`."""
    shown = (
        "import importlib.resources, inspect, json, traceback\n"
        "from fsprobe.capture.machine import ranks\n"
        "from fsprobe.capture import machine\n"
        "assert type(ranks.__loader__).__name__ == type(machine.__loader__).__name__ == 'KeptCode'\n"
        "try: ranks.selects(None, None)\n"
        "except Exception as e: print(traceback.extract_tb(e.__traceback__)[-1].line)\n"
        "assert inspect.getsource(ranks) == open(ranks.__file__).read()\n"
        "assert importlib.resources.files(machine).joinpath('ranks.py').read_text() == open(ranks.__file__).read()\n"
        "assert machine.__path__ == [machine.__file__[:-len('/__init__.py')]] and ranks.__spec__.parent == machine.__name__\n"
        "assert ranks.__spec__.cached.endswith('.pyc') and ranks.__package__ == 'fsprobe.capture.machine'\n"
        "import collections.abc, re\n"
        "assert re.__path__ if hasattr(re, '__path__') else True\n"
        "print('well')"
    )
    line, well = run(site, shown=shown).splitlines()
    assert line.strip() in (PACKAGE / "capture" / "machine" / "ranks.py").read_text()
    assert line.strip()
    assert well == "well"


READS = "from fsprobe.capture import shipped; print(shipped.read('hook', 'room.py').splitlines()[-1])"


def test_files_beside_the_modules_are_in_it_too(site: Path) -> None:
    """What is put into the target. Where nothing is installed each is read anew."""
    run(site, shown=READS + "; __main__.keep_snapshot()")
    file = site / "fsprobe" / "capture" / "hook" / "room.py"
    text = file.read_text()
    try:
        file.write_text(text + "# edited\n")
        assert run(site, shown=READS) == text.splitlines()[-1] + "\n"
        shutil.rmtree(site / f"fsprobe-{fsprobe.__version__}.dist-info")
        assert run(site, shown=READS + "; __main__.keep_snapshot()") == "# edited\n"
        file.write_text(text + "# edited again\n")
        assert run(site, shown=READS) == "# edited again\n"
    finally:
        file.write_text(text)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def through_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def other_record(path: Path) -> None:
    info = path.parent.parent.parent / f"fsprobe-{fsprobe.__version__}.dist-info"
    (info / "RECORD").write_text("fsprobe/errors.py,sha256=other,1\n")


SPOILED: dict[str, Callable[[Path], object]] = {
    "damaged": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 7),
    "empty": lambda path: os.truncate(path, 0),
    "through a link": through_link,
    "no file": make_pipe,
    "others can write to it": lambda path: path.chmod(0o646),
    "its group can write to it": lambda path: path.chmod(0o664),
    "of another fsprobe": other_record,
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_speaks_against_it_leaves_it_alone(site: Path, how: str) -> None:
    SPOILED[how](snapshot_of(site))
    # -B: nor is it written anew
    assert run(site, "-B").split()[:2] == ["0", "SeenSource"]


@pytest.mark.needs_root
def test_another_users_is_left_alone(site: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a file to another user needs root")
    os.chown(snapshot_of(site), 12345, 12345)
    assert run(site, "-B").split()[:2] == ["0", "SeenSource"]
    # unless the package is his as well
    os.chown(site / f"fsprobe-{fsprobe.__version__}.dist-info" / "RECORD", 12345, 12345)
    assert run(site, "-B").split()[1] == "KeptCode"


def test_a_stale_one_is_written_anew(site: Path) -> None:
    other_record(snapshot_of(site))
    assert run(site).split()[1] == "SeenSource"
    assert run(site).split()[1] == "KeptCode"


def test_where_nothing_is_installed_each_source_is_looked_at(site: Path) -> None:
    """An editable install, a checkout: an edit counts at once."""
    shutil.rmtree(site / f"fsprobe-{fsprobe.__version__}.dist-info")
    run(site)
    assert run(site).split()[1] == "KeptCode"
    source = site / "fsprobe" / "errors.py"
    status = source.stat()
    source.write_text(source.read_text() + "\nEDITED = True\n")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))  # the size tells
    shown = WAYS + "; print(m.EDITED)"
    n, way, _, edited = run(site, shown=shown).split()
    assert int(n) > 20
    assert (way, edited) == ("SeenSource", "True")
    assert run(site, shown=shown).split()[1] == "KeptCode"


def test_one_rank_of_a_job_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "start.snapshot"
    monkeypatch.setattr(entry, "snapshot_path", lambda: str(path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.delitem(sys.modules, "fsprobe.analysis", raising=False)
    monkeypatch.setattr(entry.Shortcut, "loaded", {"x": (_loader(), compile("1", "/x.py", "exec"))})
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    entry.keep_snapshot()
    assert not path.exists()
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    entry.keep_snapshot()
    assert path.exists()
    path.unlink()
    monkeypatch.delenv("OMPI_COMM_WORLD_RANK")
    tmp_path.chmod(0o500)
    try:
        entry.keep_snapshot()  # what can't be written is not there
        assert path.exists() == (os.geteuid() == 0)
    finally:
        tmp_path.chmod(0o700)


def _loader() -> entry.SeenSource:
    return entry.SeenSource("x", "/x.py", os.stat("/"))


def test_others_commands_do_without_it(site: Path) -> None:
    shown = "print(__main__.Shortcut.kept)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", CODE, str(site), shown, "--version"],
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "{}", done.stderr
