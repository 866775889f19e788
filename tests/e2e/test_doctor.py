"""fsprobe doctor on machines that lack something, as far as that can be played here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fsprobe.capture import backends, doctor
from fsprobe.capture.backends.ptrace.backend import Ptrace
from fsprobe.capture.directories import hook_place
from fsprobe.cli import doctor as cli_doctor
from tests.conftest import need
from tests.layouts.environments import as_user_argv, fsprobe_argv, fsprobe_environment, public_python, user_home


def run_doctor(path: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        [sys.executable, "-m", "fsprobe", "doctor", *words], capture_output=True, text=True, env=environment
    )


def checks_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    return {check["check"]: check for check in json.loads(done.stdout)["checks"]}


def fake_strace(directory: Path, says: str) -> str:
    directory.mkdir(exist_ok=True)
    program = directory / "strace"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return str(directory)


def test_a_machine_with_strace(strace_program: str) -> None:
    done = run_doctor(os.environ["PATH"], "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["backend"], answer["why"]) == ("strace", "")
    checks = checks_of(done)
    assert checks["strace"]["status"] == "ok"
    assert strace_program in checks["strace"]["found"]
    assert os.path.basename(checks["hook"]["found"]) == "fsprobe"
    assert {"scratch", "hook", "network filesystems", "images", "packing", "interpreters"} <= set(checks)
    text = run_doctor(os.environ["PATH"]).stdout
    assert "fsprobe run uses strace" in text
    # a path is never broken
    assert max(len(line) for line in text.splitlines() if len(line.split()) > 1) <= 80


def test_a_machine_without_strace(tmp_path: Path) -> None:
    done = run_doctor(str(tmp_path), "--json")
    answer = json.loads(done.stdout)
    assert answer["backend"] != "strace"
    assert "no strace" in answer["why"]
    checks = checks_of(done)
    assert checks["strace"]["status"] == "no"
    assert "conda install" in checks["strace"]["hint"]
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("says", "status", "lacks"),
    [
        ("strace -- version 6.1", "ok", ()),
        ("strace -- version 5.5", "limited", ("ns stamps",)),
        ("strace -- version 5.2", "limited", ("seccomp-bpf", "ns stamps")),
        ("strace -- version 4.8", "no", ("4.8",)),
        ("nonsense", "no", ("does not run",)),
    ],
)
def test_what_a_version_lacks(says: str, status: str, lacks: tuple[str, ...], tmp_path: Path) -> None:
    found = doctor.check_backend("strace")({"PATH": fake_strace(tmp_path / "bin", says)})
    assert found is not None
    assert found["status"] == status
    for word in lacks:
        assert word in found["found"]


def test_tracing_that_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ptrace, "why_not", lambda self, machine: "can't trace: Operation not permitted")
    found = doctor.check_backend("ptrace")({})
    assert found is not None
    assert found["status"] == "no"
    assert "--backend audit" in found["hint"]


def test_a_check_that_fails_is_a_line_of_its_own() -> None:
    def broken(environment: object) -> dict[str, str]:
        raise RuntimeError("boom")

    found = doctor.isolated("x", broken, {})
    assert found is not None
    assert "boom" in found["found"]


def test_a_setuid_starter_is_named(tmp_path: Path) -> None:
    for directory in ("bin", "libexec/apptainer/bin"):
        (tmp_path / directory).mkdir(parents=True)
    for program in ("bin/apptainer", "libexec/apptainer/bin/starter-suid"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    assert "without a setuid" in doctor.check_containers({"PATH": str(tmp_path / "bin")})["found"]
    (tmp_path / "libexec/apptainer/bin/starter-suid").chmod(0o4755)
    found = doctor.check_containers({"PATH": str(tmp_path / "bin")})
    assert "with a setuid starter" in found["found"]
    assert "inside" in found["hint"]


@pytest.mark.parametrize("place", ["libexec", "lib", "lib/x86_64-linux-gnu"])
def test_a_link_to_apptainer_is_not_another_program(place: str, tmp_path: Path) -> None:
    starter = tmp_path / place / "apptainer/bin/starter-suid"
    starter.parent.mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for program in (tmp_path / "bin/apptainer", starter):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    starter.chmod(0o4755)
    (tmp_path / "bin/singularity").symlink_to("apptainer")
    assert doctor.check_containers({"PATH": str(tmp_path / "bin")})["found"] == "apptainer with a setuid starter"


def test_every_python_that_a_target_may_run_on_is_named(tmp_path: Path) -> None:
    names = [f"python3.{minor}" for minor in range(6, 16)]  # as the README says
    for name in names:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert doctor.check_interpreters({"PATH": str(tmp_path)})["found"].endswith("; on PATH: " + ", ".join(names))


def test_helpers_outside_of_path_are_found_as_exec_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setattr(doctor, "MORE_PLACES", str(tmp_path))
    found = doctor.check_fuse({"PATH": str(tmp_path / "none")})["found"]
    assert "; bwrap; not there: squashfuse_ll, fusermount3" in found


def test_a_choice_that_fails_leaves_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(machine: object) -> backends.protocol.Backend:
        raise OSError("boom")

    monkeypatch.setattr(backends, "best", broken)
    answer = cli_doctor.examine()
    assert answer["backend"] == ""
    assert "boom" in answer["why"]
    assert len(answer["checks"]) > 8


def test_user_namespaces_are_tried() -> None:
    found = doctor.check_user_namespaces({})
    allowed = subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode == 0
    assert found["status"] == ("ok" if allowed else "no")


def test_missing_fuse_tools_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MORE_PLACES", str(tmp_path / "none"))
    found = doctor.check_fuse({"PATH": str(tmp_path)})
    assert "not there: squashfuse_ll, fusermount3, bwrap" in found["found"]
    assert found["hint"]
    for name in ("squashfuse", "fusermount3", "bwrap"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o4755 if name == "fusermount3" else 0o755)
    found = doctor.check_fuse({"PATH": str(tmp_path)})
    assert "squashfuse, fusermount3 (setuid), bwrap" in found["found"]


def test_no_place_for_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsprobe.capture.directories.scratch.candidates", lambda environment: [str(tmp_path / "gone")])
    found = doctor.check_scratch({})
    assert found["status"] == "no"
    assert "--tmp-dir" in found["hint"]


def test_where_the_hook_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsprobe.capture.directories.hook_place._own_home", lambda: "")
    monkeypatch.setattr("fsprobe.capture.directories.hook_place.SYSTEM", "")
    root = Path(tempfile.mkdtemp(dir=Path.home()))
    try:
        (root / "cache").mkdir(mode=0o700)
        found = doctor.check_hook({"XDG_CACHE_HOME": str(root / "cache")})
        assert (found["status"], found["found"]) == ("ok", str(root / "cache" / "fsprobe"))
        assert list((root / "cache").iterdir()) == []
        found = doctor.check_hook({"HOME": str(root)})
        assert (found["status"], found["found"]) == ("ok", str(root / ".cache" / "fsprobe"))
        assert not (root / ".cache").exists()
        # and that is where a run puts it
        place, _ = hook_place.install("x = 1\n", "/dev/shm/fsprobe-0123456789ab", {"HOME": str(root)})
        assert place.startswith(found["found"] + "/")
        found = doctor.check_hook({"XDG_CACHE_HOME": str(tmp_path / "none" / "at" / "all")})
        assert found["status"] == "limited"
        assert "XDG_CACHE_HOME" in found["hint"]
        (root / "open").mkdir()
        (root / "open").chmod(0o777)
        found = doctor.check_hook({"XDG_CACHE_HOME": str(root / "open")})
        assert "others can write to" in found["found"]
    finally:
        shutil.rmtree(root)


def test_where_tracing_is_denied_it_says_audit(strace_program: str) -> None:
    # a program that is traced already can't be traced again: that is how tracing is denied here
    outer = [strace_program, "-f", "-q", "-o", os.devnull, "-e", "trace=none"]
    done = subprocess.run([*outer, sys.executable, "-m", "fsprobe", "doctor", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["backend"] == "audit"
    assert "trace" in answer["why"]
    assert checks_of(done)["ptrace"]["status"] == "no"


def test_no_backend_at_all_is_exit_code_4(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from fsprobe.capture.directories import scratch\n"
        f"scratch.candidates = lambda environment: [{str(tmp_path / 'gone')!r}]\n"
        "from fsprobe.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "doctor"], capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    assert "no backend works here" in done.stdout
    assert "--tmp-dir" in done.stdout


@pytest.mark.needs_root
def test_a_plain_user_gets_an_answer(tmp_path_factory: pytest.TempPathFactory) -> None:
    need(os.geteuid() == 0, "becoming another user needs root")
    with user_home() as home:
        argv = as_user_argv(home, home, fsprobe_argv("doctor", "--json", python=public_python()))
        done = subprocess.run(argv, capture_output=True, text=True, env=fsprobe_environment(), cwd=home, timeout=60)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["backend"] in ("strace", "ptrace", "audit")
    assert all("the check itself failed" not in check["found"] for check in answer["checks"])
