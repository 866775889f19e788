"""Programs that are started with LD_PRELOAD: they live, and are recorded without their loader's own calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.capture.backends.inline import libcs, recorded
from tests.capture.backends.inline.recorded import PYTHON, ringfile

ALLOCATOR = """
/* as jemalloc: more initial-exec TLS than a loader keeps free for auditors' sake */
__attribute__((tls_model("initial-exec"))) __thread char room[2700] = {1};
static void begin(void) __attribute__((constructor));
static void begin(void) { room[5] = 7; }
int allocator_is_here(void) { return room[5]; }
"""
MAIN = """
#include <unistd.h>
int allocator_is_here(void);
int main(void) { return access("/etc/hosts", R_OK) ? 1 : allocator_is_here(); }
"""
CHILD = (
    "import ctypes, os, subprocess\n"
    "assert ctypes.CDLL(None).allocator_is_here() == 7\n"
    "os.stat('/etc/hosts')\n"
    "subprocess.run(['cat', '/etc/hostname'], stdout=subprocess.DEVNULL)\n"
    "print('lives')\n"
)


@pytest.fixture(scope="module")
def allocator(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("allocator")
    (place / "allocator.c").write_text(ALLOCATOR)
    return recorded.compiled(place / "allocator.c", place / "allocator.so", "-shared", "-fPIC")


def parent(preload: str, child: str = CHILD) -> list[str]:
    env = f"dict(os.environ, LD_PRELOAD={preload!r})"
    script = (
        f"import os, subprocess, sys\nsys.exit(subprocess.run([sys.executable, '-c', {child!r}], env={env}).returncode)"
    )
    return [PYTHON, "-c", script]


def test_under_audit_it_would_not_start(library: Path, allocator: str) -> None:
    """The case is real: with the recorder in LD_AUDIT the loader refuses the allocator."""
    done = subprocess.run(
        ["/bin/true"],
        env=dict(os.environ, LD_AUDIT=str(library), LD_PRELOAD=allocator),
        capture_output=True,
        timeout=60,
    )
    if done.returncode == 0:
        pytest.skip("this glibc has room for static TLS under LD_AUDIT")
    assert done.returncode == 127
    assert b"static TLS" in done.stderr


def test_a_child_with_an_allocator_lives_and_is_seen(library: Path, allocator: str) -> None:
    run = recorded.record(library, parent(allocator))
    assert (run.returncode, run.stdout, run.stderr) == (0, b"lives\n", b"")
    assert b"/etc/hosts" in run.paths(), "its own calls are there"
    assert b"/etc/hostname" in run.paths(), "and its children's"
    assert len(run.facts.by_preload) == 2
    assert run.facts.unseen == []
    assert run.facts.not_started == []
    # those of its loader are missing: nothing before its start
    tid = run.facts.by_preload[0].tid
    assert b"/etc/ld.so.preload" not in [call.path for call in run.calls if call.tid == tid]
    assert b"/etc/ld.so.preload" in run.paths("access")


def test_a_child_that_is_linked_with_too_much_lives_by_its_name(library: Path, tmp_path: Path) -> None:
    """As rustc, whose environment may or may not have a list of what is preloaded."""
    (tmp_path / "room.c").write_text(ALLOCATOR.replace("2700", "30000"))
    room = recorded.compiled(tmp_path / "room.c", tmp_path / "libroom.so", "-shared", "-fPIC")
    (tmp_path / "main.c").write_text(MAIN)
    program = recorded.compiled(tmp_path / "main.c", tmp_path / "rustc", room)
    for environment in ("", "LD_PRELOAD= ", f"LD_PRELOAD={room} "):
        run = recorded.record(library, ["/bin/sh", "-c", f"X=1 {environment}{program}; exit $?"])
        assert (run.returncode, run.stderr) == (7, b""), environment
        assert b"/etc/hosts" in run.paths("access")
        assert [loss.path for loss in run.facts.by_preload] == [os.fsencode(program)]


def test_the_program_itself_may_have_one(library: Path, allocator: str) -> None:
    env = dict(os.environ, LD_PRELOAD=allocator)
    changed = ringfile.environment(env, str(library), "/ring")
    assert changed["LD_PRELOAD"] == f"{allocator}:{library}"
    assert "LD_AUDIT" not in changed
    run = recorded.record(library, [PYTHON, "-c", CHILD], env=env)
    assert (run.returncode, run.stdout) == (0, b"lives\n")
    assert b"/etc/hosts" in run.paths()


@pytest.mark.parametrize("left", ["nothing", "another"])
def test_who_takes_the_allocator_away_from_its_children_takes_only_that(
    left: str, library: Path, allocator: str, tmp_path: Path
) -> None:
    """As ray's raylet does for the interpreters that it starts: LD_PRELOAD goes, and the recorder was in it."""
    (tmp_path / "small.c").write_text("int nothing;")
    small = recorded.compiled(tmp_path / "small.c", tmp_path / "small.so", "-shared", "-fPIC")
    preload = {"nothing": "", "another": small}[left]
    child = (
        "import os, subprocess\n"
        "env = {name: value for name, value in os.environ.items() if name != 'LD_PRELOAD'}\n"
        f"env.update({{'LD_PRELOAD': {preload!r}}} if {preload!r} else {{}})\n"
        "subprocess.run(['/bin/cat', '/etc/hosts'], env=env)\n"
        "subprocess.run(['/bin/cat', '/etc/hosts'], env={**env, 'FSPROBE_RING': ''})"
    )
    run = recorded.record(library, parent(allocator, child))
    assert (run.returncode, run.stdout, run.stderr) == (0, 2 * Path("/etc/hosts").read_bytes(), b"")
    assert run.paths("openat").count(b"/etc/hosts") == 1
    assert [loss.path for loss in run.facts.unseen] == [b"/bin/cat"], "who takes the ring away too is left alone"
    assert len(run.facts.by_preload) == 1 + (left == "another")


def test_an_empty_preload_is_none(library: Path) -> None:
    for empty in ("", " ", ":"):
        run = recorded.record(library, parent(empty, "import os; os.stat('/etc/hosts'); print('lives')"))
        assert run.stdout == b"lives\n"
        assert run.facts.by_preload == []
        assert run.paths().count(b"/etc/ld.so.cache") >= 2


def test_other_variables_and_auditors_stay(library: Path, allocator: str, tmp_path: Path) -> None:
    (tmp_path / "other.c").write_text("unsigned la_version(unsigned v) { return 0; }")
    other = recorded.compiled(tmp_path / "other.c", tmp_path / "other.so", "-shared", "-fPIC")
    child = "import os; print(sorted((k, v) for k, v in os.environ.items() if k not in ('LD_PRELOAD', 'FSPROBE_RING')))"
    env = dict(os.environ, LD_AUDIT=other, ODD="a=b:c", EMPTY="")
    # a small library is preloaded: another auditor alone would keep the allocator from starting
    (tmp_path / "small.c").write_text("int nothing;")
    small = recorded.compiled(tmp_path / "small.c", tmp_path / "small.so", "-shared", "-fPIC")
    plain = subprocess.run(parent(small, child), env=env, capture_output=True, timeout=60)
    run = recorded.record(library, parent(small, child), env=env)
    assert (run.returncode, run.stdout, run.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert other.encode() in run.stdout


def test_a_preload_that_is_too_long_leaves_the_program_unseen(library: Path, allocator: str) -> None:
    preload = ":".join([allocator] * (2100 // len(allocator) + 2))
    run = recorded.record(library, parent(preload, "print('lives')"))
    assert (run.returncode, run.stdout) in ((0, b"lives\n"), (127, b""))


def test_with_threads_before_it_nothing_is_rewritten(library: Path, tmp_path: Path) -> None:
    """Another library's constructor that starts a thread: whoever comes after it leaves the code alone."""
    (tmp_path / "early.c").write_text(
        "#include <pthread.h>\n#include <unistd.h>\n"
        "static void *run(void *p) { for (;;) pause(); }\n"
        "__attribute__((constructor)) static void begin(void) { pthread_t t; pthread_create(&t, 0, run, 0); }\n"
    )
    early = recorded.compiled(tmp_path / "early.c", tmp_path / "early.so", "-shared", "-fPIC")
    run = recorded.record(library, ["/bin/cat", "/etc/hosts"], env=dict(os.environ, LD_PRELOAD=f"{library}:{early}"))
    assert (run.returncode, run.stdout) == (0, Path("/etc/hosts").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "name"), [("libjemalloc2", "libjemalloc.so.2"), ("libtcmalloc-minimal4", "libtcmalloc_minimal.so.4")]
)
def test_allocators_of_the_archive(library: Path, tmp_path: Path, package: str, name: str) -> None:
    root, why = libcs.unpack("bookworm", tmp_path, [package])
    if root is None:
        pytest.skip(why)
    path = next(root.rglob(name))
    if subprocess.run(["/bin/true"], env=dict(os.environ, LD_PRELOAD=str(path)), capture_output=True).returncode:
        pytest.skip(f"{name} does not run here")
    child = "import json, os; os.stat('/etc/hosts'); print('lives')"
    run = recorded.record(library, parent(str(path), child))
    assert (run.returncode, run.stdout, run.stderr) == (0, b"lives\n", b"")
    assert b"/etc/hosts" in run.paths()
    assert len(run.facts.by_preload) == 1
