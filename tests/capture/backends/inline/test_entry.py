"""How the recorder gets in, and when it stays out."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.capture.backends.inline import recorded
from tests.capture.backends.inline.recorded import PYTHON, ringfile

LOOK = [PYTHON, "-c", "import os; os.stat('/etc/passwd'); print('done')"]


def run_with(library: Path, ring: Path | str, command: list[str] = LOOK) -> subprocess.CompletedProcess[bytes]:
    env = ringfile.environment(dict(os.environ), str(library), str(ring))
    return subprocess.run(command, env=env, capture_output=True, timeout=60)


def is_untouched(ring: Path) -> bool:
    data = ring.read_bytes()
    return int.from_bytes(data[ringfile.NEXT_AT : ringfile.NEXT_AT + 8], "little") == 0


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    path = tmp_path / "ring"
    ringfile.create(str(path), 5000, 10000)
    return path


def test_a_ring_is_used(library: Path, ring: Path) -> None:
    done = run_with(library, ring)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"done\n", b"")
    assert not is_untouched(ring)


def test_without_its_ring_nothing_is_done(library: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, "/dev/null", "", "/proc/self/mem"):
        done = run_with(library, path)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"done\n", b""), path
    env = dict(os.environ, LD_AUDIT=str(library))
    env.pop("FSPROBE_RING", None)
    done = subprocess.run(LOOK, env=env, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"done\n", b"")


def _link(ring: Path) -> Path:
    path = ring.with_name("link")
    path.symlink_to(ring)
    return path


def _others_may_write(ring: Path) -> Path:
    ring.chmod(0o620)
    return ring


def _foreign(ring: Path) -> Path:
    os.chown(ring, 12345, -1)
    return ring


def _no_magic(ring: Path) -> Path:
    with ring.open("r+b") as target:
        target.write(b"\0" * 8)
    return ring


def _other_version(ring: Path) -> Path:
    with ring.open("r+b") as target:
        target.seek(8)
        target.write(b"\2")
    return ring


def _short(ring: Path) -> Path:
    os.truncate(ring, ringfile.HEADER_BYTES + 100)
    return ring


def _too_large(ring: Path) -> Path:
    with ring.open("r+b") as target:
        target.write(ringfile.HEAD.pack(ringfile.MAGIC, 1, 256, 5000, 1 << 62, 0))
    return ring


def _cap_beyond_most(ring: Path) -> Path:
    with ring.open("r+b") as target:
        target.write(ringfile.HEAD.pack(ringfile.MAGIC, 1, 256, 20000, 10000, 0))
    return ring


def _fifo(ring: Path) -> Path:
    path = ring.with_name("fifo")
    os.mkfifo(path, 0o600)
    return path


@pytest.mark.parametrize(
    "change",
    [_link, _others_may_write, _foreign, _no_magic, _other_version, _short, _too_large, _cap_beyond_most, _fifo],
)
def test_what_is_not_the_recorders_ring_is_not_used(library: Path, ring: Path, change: Callable[[Path], Path]) -> None:
    if change is _foreign and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = change(ring)
    before = ring.read_bytes()
    done = run_with(library, path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"done\n", b"")
    assert ring.read_bytes() == before
    if change is _fifo:
        assert stat.S_ISFIFO(path.stat().st_mode)


def test_no_library_and_no_writable_code_stay(library: Path, program: Callable[[str], str]) -> None:
    run = recorded.record(library, [program("maps")])
    assert b"writable and executable" not in run.stdout
    assert b"object" in run.stdout
    assert library.name.encode() not in run.stdout


def test_no_descriptor_stays(library: Path) -> None:
    script = "import os; print(sorted(os.listdir('/proc/self/fd')))"
    plain = subprocess.run([PYTHON, "-c", script], capture_output=True, stdin=subprocess.DEVNULL, timeout=60).stdout
    assert recorded.record(library, [PYTHON, "-c", script]).stdout == plain


def test_where_nothing_may_become_executable_the_program_runs_unseen(library: Path, tmp_path: Path) -> None:
    """PR_SET_MDWE (Linux 6.3) refuses what a policy of SELinux would."""
    script = tmp_path / "mdwe.py"
    script.write_text(
        "import ctypes, os, sys\n"
        "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit(99)\n"
        "os.execv('/bin/cat', ['cat', '/etc/hosts'])\n"
    )
    run = recorded.record(library, [PYTHON, str(script)])
    if run.returncode == 99:
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert (run.returncode, run.stdout, run.stderr) == (0, Path("/etc/hosts").read_bytes(), b"")
    assert [loss.path for loss in run.facts.unseen] == [b"/bin/cat"]


def test_where_changed_text_may_not_become_executable_a_copy_takes_its_place(tmp_path: Path) -> None:
    other = tmp_path / recorded.build.NAME
    recorded.need(not recorded.build.why_not(), recorded.build.why_not())
    assert recorded.build.build(str(other), ("FSP_REFUSE_EXEC=1",)) == ""
    run = recorded.record(other, [PYTHON, "-c", "import json, subprocess; subprocess.run(['true'])"])
    normal = recorded.record(other, [PYTHON, "-c", "import json, subprocess; subprocess.run(['true'])"])
    assert run.returncode == 0
    assert len(run.calls) == len(normal.calls) > 100


def test_a_loader_that_must_keep_it(tmp_path: Path) -> None:
    """Before glibc 2.30 la_version must not return 0: the module stays, and records the same."""
    other = tmp_path / recorded.build.NAME
    recorded.need(not recorded.build.why_not(), recorded.build.why_not())
    assert recorded.build.build(str(other), ("FSP_STAY=1",)) == ""
    run = recorded.record(other, ["/bin/cat", "/etc/hosts"])
    assert (run.returncode, run.stdout) == (0, Path("/etc/hosts").read_bytes())
    assert b"/etc/hosts" in run.paths("openat")


STATIC = "int main(void) { return 3; }"


def test_programs_that_are_not_seen_are_named(library: Path, tmp_path: Path) -> None:
    (tmp_path / "static.c").write_text(STATIC)
    static = recorded.compiled(tmp_path / "static.c", tmp_path / "static", "-static")
    script = (
        "import os, subprocess, sys\n"
        f"print(subprocess.call([{static!r}]))\n"
        "subprocess.run(['/bin/true'], env={})\n"
        "print(subprocess.call(['/bin/sh', '-c', 'exit 127']))\n"
    )
    run = recorded.record(library, [PYTHON, "-c", script])
    assert (run.returncode, run.stdout, run.stderr) == (0, b"3\n127\n", b"")
    assert [loss.path for loss in run.facts.unseen] == [static.encode(), b"/bin/true"]
    assert run.facts.not_started == [], "sh was seen, so its 127 is its own"


def test_a_loader_that_fails_is_heard(library: Path, tmp_path: Path) -> None:
    """A program whose loader ends with 127 before it lets the recorder in."""
    (tmp_path / "program.c").write_text(STATIC)
    broken = recorded.compiled(tmp_path / "program.c", tmp_path / "broken", "-static")
    script = f"import subprocess; print(subprocess.call(['/bin/sh', '-c', 'exec {broken} || exit 127']))"
    assert recorded.record(library, [PYTHON, "-c", script]).facts.not_started == []
    (tmp_path / "exits.c").write_text("int main(void) { return 127; }")
    exits = recorded.compiled(tmp_path / "exits.c", tmp_path / "exits", "-static")
    run = recorded.record(library, [PYTHON, "-c", f"import subprocess; subprocess.call([{exits!r}])"])
    assert [loss.path for loss in run.facts.not_started] == [exits.encode()]


def test_setuid_programs_are_left_alone(library: Path, tmp_path: Path, ring: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a program setuid for another")
    place = recorded.scratch() / "setuid"
    place.mkdir(exist_ok=True)
    if os.statvfs(place).f_flag & os.ST_NOSUID:
        place = tmp_path
    if os.statvfs(place).f_flag & os.ST_NOSUID:
        pytest.skip("no filesystem here takes setuid programs")
    copy = place / "true"
    shutil.copy("/bin/true", copy)
    os.chown(copy, 12345, -1)
    copy.chmod(0o4755)
    done = run_with(library, ring, [str(copy)])
    shutil.rmtree(recorded.scratch() / "setuid", ignore_errors=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert is_untouched(ring)


def test_after_the_run_a_daemon_starts_programs_in_silence(library: Path, ring: Path) -> None:
    script = "import os, subprocess, sys; os.unlink(os.environ['FSPROBE_RING']); sys.exit(subprocess.call(['/bin/cat', '/etc/hosts']))"
    done = run_with(library, ring, [PYTHON, "-c", script])
    assert (done.returncode, done.stdout, done.stderr) == (0, Path("/etc/hosts").read_bytes(), b"")


def test_another_auditor_beside_it(library: Path, tmp_path: Path) -> None:
    source = tmp_path / "other.c"
    source.write_text(
        "#include <stdio.h>\n"
        "unsigned la_version(unsigned v) { return v; }\n"
        "unsigned la_objopen(void *map, long id, void *cookie) { return 0; }\n"
        'void la_preinit(void *cookie) { fputs("audited\\n", stderr); }\n'
    )
    other = recorded.compiled(source, tmp_path / "other.so", "-shared", "-fPIC")
    env = dict(os.environ, LD_AUDIT=other)
    run = recorded.record(library, ["/bin/cat", "/etc/hosts"], env=env)
    assert (run.returncode, run.stdout, run.stderr) == (0, Path("/etc/hosts").read_bytes(), b"audited\n")
    assert b"/etc/hosts" in run.paths("openat")
