"""`fsprobe attach`: what a running program does is recorded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe.report import markdown
from fsprobe.report.html import page
from fsprobe.report.terminal import run as terminal
from tests.conftest import need
from tests.e2e.backends.attach.attaching import LIMIT_S, ask, asked_program, assert_untouched, attach_while, rows

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("scratch_of_the_test")]


def plant(place: Path) -> None:
    package = place / "planted"
    package.mkdir()
    (package / "__init__.py").write_text("from planted import inner\n")
    (package / "inner.py").write_text("import os\nos.path.exists('/nowhere/at-all')\n")
    for i in range(50):
        (place / f"file-{i}").write_text("")


def test_what_happens_meanwhile_is_counted_exactly(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    plant(tmp_path)
    one = asked_program(start, tmp_path)
    ask(one, "import glob")
    ask(one, f"[os.close(os.open({str(tmp_path)!r} + '/file-%d' % i, os.O_RDONLY)) for i in range(50)]")

    def act() -> None:
        ask(one, f"[os.close(os.open({str(tmp_path)!r} + '/file-%d' % (i % 25), os.O_RDONLY)) for i in range(75)]")
        ask(one, "[os.path.exists('/nowhere/%d' % i) for i in range(30)]")
        ask(one, "import planted")

    profile = attach_while(one, tmp_path / "x.fsprobe", scratch_of_the_test, act)
    paths = rows(profile, "by_path")
    assert {paths[f"{tmp_path}/file-{i}"].n_open for i in range(25)} == {3}
    assert f"{tmp_path}/file-40" not in paths
    assert {paths[f"/nowhere/{i}"].n_not_found for i in range(30)} == {1}
    assert paths["/nowhere/at-all"].n_stat == 1
    assert profile.metrics.n_exec == 0
    modules = rows(profile, "by_module")
    # 1 of its 6 opens and lookups is told by no path: too many for modules, so it is by package
    assert profile.metrics.imports_by == "package"
    assert "planted" in modules
    assert modules["planted"].n_open == sum(row.n_open for path, row in paths.items() if "/planted/" in path)
    assert "glob" not in modules
    assert profile.quality.n_estimated > 0
    (process,) = profile.metrics.by_process
    assert (process.pid, process.kind) == (one.pid, "python")
    manifest = profile.manifest
    assert manifest.command[0] == sys.executable
    assert (manifest.attached["pid"], manifest.attached["is_python"]) == (one.pid, True)
    # what only the start or the end of the program could tell
    assert [getattr(manifest, name) for name in ("exit_code", "signal", "python")] == [None, None, None]
    assert manifest.markers == "none"
    assert 0.2 < manifest.wall_s < LIMIT_S
    assert manifest.user_s >= 0
    assert manifest.read_bytes > 0
    for render in (terminal.render, page.render, markdown.render):
        assert len(render(profile, recording="x.fsprobe")) > 500
    ask(one, "assert os.path.exists('/etc')")
    out, _ = one.communicate()
    assert (out, one.returncode) == ("end\n", 0)


def test_children_and_threads_that_are_started_meanwhile(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = asked_program(start, tmp_path)
    ask(one, "import subprocess, threading")

    def act() -> None:
        ask(one, "subprocess.check_call(['/bin/sh', '-c', 'test -e /nowhere/child || true'])")
        ask(one, "t = threading.Thread(target=os.path.exists, args=('/nowhere/thread',)); t.start(); t.join()")
        ask(one, "pid = os.fork() or (os.path.exists('/nowhere/forked'), os._exit(0)); os.waitpid(pid, 0)")

    profile = attach_while(one, tmp_path / "x.fsprobe", scratch_of_the_test, act)
    paths = rows(profile, "by_path")
    assert [paths[f"/nowhere/{name}"].n_not_found for name in ("child", "thread", "forked")] == [1, 1, 1]
    assert profile.metrics.n_exec == 1
    kinds = Counter(row.kind for row in profile.metrics.by_process)
    assert kinds["python"] >= 2
    assert any(row.label.startswith("sh") for row in profile.metrics.by_process)


def test_other_programs_have_no_imports(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = start("/bin/sh", "-c", "while read line; do test -e $line; echo did it; done")

    profile = attach_while(one, tmp_path / "x.fsprobe", scratch_of_the_test, lambda: ask(one, "/nowhere/x"))
    assert profile.metrics.by_module is None
    assert rows(profile, "by_path")["/nowhere/x"].n_not_found == 1
    assert {row.key for row in profile.metrics.by_phase} == {"run"}


def test_a_program_that_does_nothing(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    one = start("/bin/sleep", "30")
    profile = attach_while(one, tmp_path / "x.fsprobe", scratch_of_the_test, lambda: None)
    assert profile.metrics.n_metadata == 0
    assert len(terminal.render(profile, recording="x.fsprobe")) > 100
    assert_untouched(one.pid)


@pytest.mark.needs_root
def test_mounts_are_those_of_the_program(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, scratch_of_the_test: Path
) -> None:
    need(
        os.getuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0,
        "unshare -m: not here",
    )
    point = tmp_path / "point"
    point.mkdir()
    script = (
        f"mount -t tmpfs planted {point} && echo ready && while read line; do test -e {point}/$line; echo did it; done"
    )
    one = start("unshare", "-m", "sh", "-c", script)
    assert one.stdout is not None
    assert one.stdout.readline() == "ready\n"
    profile = attach_while(one, tmp_path / "x.fsprobe", scratch_of_the_test, lambda: ask(one, "x"))
    assert str(point) in {row.path for row in profile.manifest.mounts}
    assert rows(profile, "by_mount")[str(point)].n_not_found == 1
