"""What is written down of the machine, and whether a command can be started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fsprobe.capture.machine import host
from tests.conftest import need


def test_nothing_but_the_listed_variables_is_recorded() -> None:
    environment = {"SECRET_TOKEN": "s3cret", "SLURM_JOB_ID": "7", "LD_PRELOAD": "x.so", "AWS_KEY": "s3cret"}
    facts = host.facts(environment)
    assert "s3cret" not in json.dumps(facts)
    assert facts["job"]["SLURM_JOB_ID"] == "7"
    assert facts["environment"]["LD_PRELOAD"] == "x.so"
    assert facts["n_cpus"] == len(os.sched_getaffinity(0))


def test_programs_are_found_as_execvp_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place, mode in (("a", 0o644), ("b", 0o755)):
        (tmp_path / place).mkdir()
        (tmp_path / place / "tool").write_text("#!/bin/sh\n")
        (tmp_path / place / "tool").chmod(mode)
    (tmp_path / "a" / "folder").mkdir()
    (tmp_path / "here").write_text("#!/bin/sh\n")
    (tmp_path / "here").chmod(0o755)
    path = {"PATH": f"{tmp_path}/a:{tmp_path}/b"}
    assert host.find_program("tool", path) == (f"{tmp_path}/b/tool", "")
    assert host.find_program("tool", {"PATH": f"{tmp_path}/a"}) == (f"{tmp_path}/a/tool", "is not executable")
    assert host.find_program("folder", path) == (None, "not found")
    assert host.find_program(f"{tmp_path}/a/folder", path)[1] == "is a directory"
    assert host.find_program("here", path) == (None, "not found")
    assert host.find_program("here", {"PATH": f"{tmp_path}/a:"}) == ("./here", "")
    assert host.find_program("./here", path) == ("./here", "")
    assert host.find_program("sh", {})[0] is not None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"#!/bin/sh\n", ""),
        (b"#! /bin/sh -e\n", ""),
        (b"#!\n", ""),
        (b"#!/no/such/thing\n", "/no/such/thing does not exist"),
        (b"\x7fELF\0\0\0", ""),
    ],
)
def test_first_bytes_of_a_program(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x").write_bytes(content)
    reason, hint, status = host.why_not_started(str(tmp_path / "x"))
    assert says in reason
    assert bool(says) == bool(hint) == bool(status)


@pytest.mark.parametrize("registered", [False, True])
def test_other_formats_are_left_to_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: bool
) -> None:
    (tmp_path / "x").write_bytes(b"MZ")
    monkeypatch.setattr(host, "_has_other_formats", lambda: registered)
    assert bool(host.why_not_started(str(tmp_path / "x"))[0]) != registered


def test_what_a_program_gains(tmp_path: Path) -> None:
    program = tmp_path / "x"
    program.write_text("")
    for mode, gain in ((0o755, ""), (0o4755, "setuid"), (0o2755, "setgid"), (0o2744, "")):
        program.chmod(mode)
        assert host.privilege_of(str(program)) == gain
    assert host.privilege_of(str(tmp_path / "missing")) == ""
    assert host.privilege_of(str(tmp_path)) == ""


def test_file_capabilities_are_seen(tmp_path: Path) -> None:
    setcap = shutil.which("setcap") or "/sbin/setcap"
    need(os.geteuid() == 0 and os.path.exists(setcap), "needs root and setcap")
    shutil.copy("/bin/true", tmp_path / "x")
    done = subprocess.run([setcap, "cap_net_raw+ep", str(tmp_path / "x")], capture_output=True, check=False)
    need(done.returncode == 0, f"this filesystem takes no capabilities: {done.stderr!r}")
    assert host.privilege_of(str(tmp_path / "x")) == "file capabilities"
