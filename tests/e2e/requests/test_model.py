"""The request model against a server that counts: same paths, same requests, nothing estimated."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.accuracy.requests_check import COMPARED, EXACT, Comparison, compare, read_model, trace
from benchmarks.fileserver import serve
from fsprobe.capture.lookups import collect, starts, unresolved
from fsprobe.capture.machine import mounts
from fsprobe.model.requests import RequestCounts
from tests.benchmarks.conftest import is_mounted
from tests.conftest import need
from tests.e2e.requests.cases import READING, TREES, WRITING, Operation, Tree, at, build, sequences

PROGRAM = str(Path(__file__).with_name("program.py"))
PYTHON = [os.path.realpath(sys.executable), "-I", "-S"]

Case = tuple[Tree, list[Operation]]


@pytest.fixture(scope="module", autouse=True)
def _needs() -> None:
    need(os.geteuid() == 0, "the simulated file server is mounted as root here")
    need(os.access("/dev/fuse", os.R_OK | os.W_OK), "no /dev/fuse")
    need(shutil.which("strace"), "no strace on PATH")


@pytest.fixture
def mnt(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    assert not is_mounted(path), "a test left its mount behind"


@pytest.fixture
def src(tmp_path: Path) -> Path:
    path = tmp_path / "src"
    path.mkdir()
    return path


def run_cases(cases: list[Case], *, writable: bool) -> Comparison:
    """Play each case in a tree of its own, cold, in one traced program."""
    with tempfile.TemporaryDirectory(prefix="requests-") as place:
        source, mount, operations = Path(place, "src"), Path(place, "mnt"), Path(place, "operations.json")
        source.mkdir()
        mount.mkdir()
        for number, (tree, _) in enumerate(cases):
            build(tree, source / str(number), f"{mount}/{number}")
        operations.write_text(json.dumps([at(calls, f"{mount}/{n}") for n, (_, calls) in enumerate(cases)]))
        with serve(source, mount, meta_ms=0, read_ms=0, log_paths=True, writable=writable) as server:
            return compare(server, [*PYTHON, PROGRAM, str(operations)])


SETTINGS = settings(
    max_examples=7,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture
def _unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    # twenty unrelated trees in one run leave more in doubt than a real program does
    monkeypatch.setattr(unresolved, "MAX_PLACES", 100_000)
    monkeypatch.setattr(starts, "MAX_PROGRAMS", 10_000)


@pytest.mark.usefixtures("_unlimited")
@SETTINGS
@given(st.lists(st.tuples(TREES, sequences(READING)), min_size=12, max_size=20))
def test_calls_that_read_any_tree(cases: list[Case]) -> None:
    assert run_cases(cases, writable=False).difference(COMPARED) == {}


@pytest.mark.usefixtures("_unlimited")
@SETTINGS
@given(st.lists(st.tuples(TREES, sequences(st.one_of(READING, WRITING))), min_size=12, max_size=20))
def test_calls_that_also_change_the_tree(cases: list[Case]) -> None:
    assert run_cases(cases, writable=True).difference(COMPARED) == {}


def run_program(src: Path, mnt: Path, code: str, *arguments: str) -> Comparison:
    """Compare for a Python program whose interpreter lies elsewhere; `mnt` is sys.argv[1]."""
    with serve(src, mnt, meta_ms=0, read_ms=0, log_paths=True) as server:
        return compare(server, [*PYTHON, "-c", code, str(mnt), *arguments])


WALK = """
import os, sys
for top, directories, files in os.walk(sys.argv[1]):
    for name in files:
        with open(os.path.join(top, name), "rb") as file:
            file.read()
"""


def test_a_program_that_walks_and_reads_small_files(src: Path, mnt: Path) -> None:
    for number in range(2000):
        path = src / str(number % 7) / str(number % 3) / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * number)
    result = run_program(src, mnt, WALK)
    assert result.difference(COMPARED) == {}
    assert result.totals()["open"] == (2000, 2000)
    assert result.read_max is not None
    assert 0 < result.n_reads <= result.read_max


def test_links_and_dots(src: Path, mnt: Path) -> None:
    (src / "a" / "b").mkdir(parents=True)
    (src / "a" / "b" / "file").write_bytes(b"1")
    (src / "a" / "up").symlink_to("../a/b")
    (src / "chain").symlink_to("a/up/")
    (src / "absolute").symlink_to(mnt / "chain")
    (src / "dangling").symlink_to("a/nothing/here")
    (src / "loop").symlink_to("loop")
    code = """
import os, sys
top = sys.argv[1]
for path in ("absolute/file", "absolute/../b//file/", "chain/../up/file", "dangling", "loop/x", "a/./up/no", "chain/file"):
    for look in (os.stat, os.lstat, os.readlink):
        try:
            look(top + "/" + path)
        except OSError:
            pass
os.chdir(top + "/absolute")
os.close(os.open("../up/file", os.O_RDONLY))
"""
    result = run_program(src, mnt, code)
    assert result.difference(COMPARED) == {}
    assert result.totals()["readlink"][0] >= 4


def test_scripts_and_programs_on_the_mount(src: Path, mnt: Path) -> None:
    """The kernel opens what a script names, and what that names: no call of the program shows it."""
    shutil.copy("/bin/true", src / "program")
    (src / "inner").write_text(f"#!{mnt}/program\n")
    (src / "link").symlink_to("inner")
    (src / "outer").write_text(f"#! {mnt}/link -x\n")
    (src / "orphan").write_text(f"#!{mnt}/nothing\n")
    for name in ("inner", "outer", "orphan"):
        (src / name).chmod(0o755)
    code = """
import os, sys
for name in ("outer", "outer", "orphan", "nowhere", "program"):
    try:
        os.waitpid(os.posix_spawn(sys.argv[1] + "/" + name, [name], {}), 0)
    except OSError:
        pass
"""
    result = run_program(src, mnt, code)
    assert result.difference(COMPARED) == {}
    # outer twice: itself, inner, program; orphan; program once more
    assert result.totals()["open"] == (8, 8)


POOL = """
import os, sys
top = sys.argv[1]
take, give = os.pipe()
os.write(give, b".")
children = []
for worker in range(4):
    pid = os.fork()
    if pid == 0:
        for number in range(50):
            os.read(take, 1)
            with open(f"{top}/data/{number}", "rb") as file:
                file.read()
            try:
                os.stat(f"{top}/data/no{number}")
            except OSError:
                pass
            os.write(give, b".")
        os.readlink(f"{top}/link")
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
"""


def test_processes_on_one_node_share_look_ups_but_not_opens(src: Path, mnt: Path) -> None:
    """They take turns: of two that look one name up in the same microseconds, FUSE itself may ask twice."""
    (src / "data").mkdir()
    (src / "link").symlink_to("data")
    for number in range(50):
        (src / "data" / str(number)).write_bytes(b"x")
    result = run_program(src, mnt, POOL)
    assert result.difference(COMPARED) == {}
    assert result.totals()["open"] == (200, 200)
    assert result.totals()["lookup"] == (102, 102)
    assert result.totals()["negative"] == (50, 50)
    assert result.totals()["readlink"] == (1, 1)


IMPORT = "import sys; sys.path.insert(0, sys.argv[1] + '/lib'); import json.tool, email.mime.text"


def install(place: Path) -> None:
    """Two packages of the standard library, compiled."""
    for name in ("json", "email"):
        found = Path(os.path.dirname(json.__file__)).parent / name
        shutil.copytree(found, place / "lib" / name, ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(place, quiet=1)


def test_an_import(src: Path, mnt: Path) -> None:
    install(src)
    result = run_program(src, mnt, IMPORT)
    assert result.difference(COMPARED) == {}
    assert result.totals()["open"][0] > 10


def test_an_import_that_compiles(src: Path, mnt: Path) -> None:
    """No .pyc yet: each is made under another name and renamed, in directories that are made for them."""
    install(src)
    for cache in list(src.rglob("__pycache__")):
        shutil.rmtree(cache)
    with serve(src, mnt, meta_ms=0, read_ms=0, log_paths=True, writable=True) as server:
        first = compare(server, [*PYTHON, "-c", IMPORT, str(mnt)])
        second = compare(server, [*PYTHON, "-c", IMPORT, str(mnt)])
    assert first.difference(COMPARED) == {}
    assert second.difference(COMPARED) == {}
    assert first.totals()["negative"][0] > second.totals()["negative"][0]
    assert list(src.rglob("*.pyc"))


def test_a_run_on_a_local_disk_says_what_it_would_ask_a_server(src: Path, mnt: Path) -> None:
    """Traced where the tree lies on the disk; counted where the same tree is served at the same path."""
    install(src)
    (src / "many").mkdir()
    for number in range(3000):
        (src / "many" / f"{number:0{number % 40 + 4}}").touch()
    (src / "link").symlink_to("lib")
    code = f"{IMPORT}; import os; os.listdir(sys.argv[1] + '/many'); os.stat(sys.argv[1] + '/link/json/decoder.py')"
    command = [*PYTHON, "-c", code, str(mnt)]
    with serve(src, mnt, meta_ms=0, read_ms=0, log_paths=True) as server:
        table = mounts.read_own()
        served = compare(server, command).served
    shutil.copytree(src, mnt, symlinks=True, dirs_exist_ok=True)
    log = mnt.parent / "log"
    trace(command, log, cwd="/")
    data = log.read_bytes()
    found = collect.collect([data])
    shutil.rmtree(mnt)
    requests = read_model(data, found, table=table).count()
    predicted = Counter(
        {
            (op, path): getattr(row, op)
            for path, row in requests.per_path.items()
            for op in COMPARED
            if getattr(row, op) and path.startswith(os.fsencode(mnt))
        }
    )
    mnt.mkdir()
    exact = {key: n for key, n in served.items() if key[0] in EXACT}
    assert {key: n for key, n in predicted.items() if key[0] in EXACT} == exact
    for key in served:
        if key[0] == "readdir":
            # the size of a server's listing is estimated from the disk's
            assert abs(predicted[key] - served[key]) <= (1 if b"/many" in key[1] else 0)


def test_the_answer_does_not_need_the_tree(src: Path, mnt: Path) -> None:
    install(src)
    result = run_program(src, mnt, IMPORT)
    table = mounts.read_own() + os.fsencode(f"99 1 0:99 / {mnt} ro - fuse.standin standin ro\n")
    shutil.rmtree(src)
    again = read_model(result.log, result.found, table=table).count()
    row = again.by_mount()[str(mnt)]
    counted = {op: both[0] for op, both in result.totals().items()}
    # each further process opens for itself
    n_opens = counted["open"] + counted["opendir"]
    assert row.value() == RequestCounts(**counted, again=n_opens, read_max=result.read_max)
    assert row.n_metadata == sum(both[0] for op, both in result.totals().items() if op != "negative")
    assert read_model(result.log, result.found, table=table).count() == again


def test_leaving_calls_out_says_what_would_be_saved(src: Path, mnt: Path) -> None:
    """The same program without an entry of its path: the saving is computed, then measured."""
    install(src)
    for name in ("first", "second"):
        (src / name).mkdir()
    code = "import sys; sys.path[:0] = [sys.argv[1] + '/' + name for name in sys.argv[2:]]; import json.tool, email.mime.text"
    with serve(src, mnt, meta_ms=0, read_ms=0, log_paths=True) as server:
        long = compare(server, [*PYTHON, "-c", code, str(mnt), "first", "second", "lib"])
        short = compare(server, [*PYTHON, "-c", code, str(mnt), "lib"])
        table = mounts.read_own()
    model = read_model(long.log, long.found, table=table)
    dead = tuple(os.fsencode(mnt / name) for name in ("first", "second"))
    saved = model.count(leave_out=lambda path: path.startswith(dead)).by_mount()[str(mnt)]
    assert model.count().by_mount()[str(mnt)].n_metadata > saved.n_metadata
    assert saved.n_metadata == sum(both[0] for op, both in short.totals().items() if op != "negative")
