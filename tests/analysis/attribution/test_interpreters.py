"""What the paths of a log tell of its interpreters and variables, against what a hook says of the same run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from fsprobe import loading, pipeline
from fsprobe.analysis.interpreters import told_by_paths
from fsprobe.events.command import Command
from fsprobe.events.strace import parser
from fsprobe.model.events import Call, ParseQuality
from tests.analysis.attribution.logs import LIB, MAIN, SITE, START, module, package, searched, tally_of, visited

RUN = [
    *START,
    *MAIN,
    *visited("/work"),
    *visited(LIB),
    *module(LIB, "json"),
    *searched(LIB, SITE),
    *package(SITE, "pkg"),
]
MOUNTS = b"22 1 0:20 / / rw - ext4 /dev/x rw\n30 22 0:44 / /venv rw - lustre mgs:/p rw\n"


def test_prefix_version_and_search_path_are_told() -> None:
    tally, _ = tally_of(RUN)
    (fact,) = told_by_paths(tally, {"PYTHONPATH": "/mine"})
    assert fact["prefix"] == "/venv"
    assert fact["base_prefix"] == "/opt/py"
    assert fact["version"] == "3.11"
    assert fact["executable"] == "/venv/bin/python"
    assert fact["path"] == ["/mine", LIB, SITE]
    assert not fact["enable_user_site"]


def test_a_log_without_python_tells_nothing() -> None:
    tally, _ = tally_of(['1 execve("/bin/ls", ["ls"], 0x7ffc /* 9 vars */) = 0'])
    assert told_by_paths(tally, {}) == []


def test_a_loaded_log_has_findings_on_its_environment(tmp_path: Path) -> None:
    many = [line for number in range(80) for line in module(f"{SITE}/pkg", f"m{number}")]
    log = tmp_path / "log"
    log.write_text("\n".join([*RUN, *many]) + "\n")
    loading.load_logs([log], str(tmp_path / "x.fsprobe"), mounts=MOUNTS)
    profile = pipeline.analyse(tmp_path / "x.fsprobe")
    (finding,) = [finding for finding in profile.findings if finding.code == "FSP001"]
    # the files below the venv that were opened: pyvenv.cfg, the package and its modules
    assert "82 files of /venv (lustre)" in finding.evidence


def command_of(line: str) -> Command:
    command = Command()
    for event in parser.parse([line.encode() + b"\n"], ParseQuality()):
        if isinstance(event, Call):
            command.note(event, ["LD_LIBRARY_PATH", "PYTHONPATH"])
    return command


def test_variables_are_known_where_strace_shows_them_whole() -> None:
    start = '1 execve("/venv/bin/python", ["python", "p.py"], '
    shown = command_of(start + '["HOME=/root", "LD_LIBRARY_PATH=/a:/b"]) = 0')
    assert shown.variables == {"LD_LIBRARY_PATH": "/a:/b"}
    assert not shown.is_cut
    assert command_of(start + "0x7ffc /* 9 vars */) = 0").variables is None
    assert command_of(start + '["HOME=/root", "LD_LIBRARY_PATH=/a:/b"...]) = 0').variables is None
    assert command_of(start + '["HOME=/root/and/more"..., "PYTHONPATH=/a"]) = 0').variables == {"PYTHONPATH": "/a"}
    assert command_of('1 execve("/venv/bin/python", ["python", "/a/long/pa"...], 0x7f /* 9 vars */) = 0').is_cut


def test_a_search_list_is_no_rpath_where_the_variables_are_not_known(tmp_path: Path) -> None:
    probes = [
        f'1 openat(AT_FDCWD, "/mod/l{d}/lib{n}.so.1", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)'
        for d in range(12)
        for n in range(30)
    ]
    for name, variables in {"hidden": "0x7ffc /* 9 vars */", "shown": '["HOME=/root"]'}.items():
        log = tmp_path / name
        log.write_text("\n".join([START[0].replace("0x7ffc /* 9 vars */", variables), *probes, *RUN[1:]]) + "\n")
        loading.load_logs([log], str(tmp_path / f"{name}.fsprobe"))
    said = {
        name: next(f for f in pipeline.analyse(tmp_path / f"{name}.fsprobe").findings if f.code == "FSP026").evidence
        for name in ("hidden", "shown")
    }
    assert "LD_LIBRARY_PATH, RPATH or RUNPATH (the log shows no variables)" in said["hidden"]
    assert "LD_LIBRARY_PATH" not in said["shown"]


def test_what_is_told_is_what_the_interpreter_says(tmp_path: Path, strace_program: str) -> None:
    code = "import json, sys; print(json.dumps([sys.prefix, sys.base_prefix, sys.path[1:]]))"
    words = [strace_program, "-f", "-y", "-s", "4096", "-o", str(tmp_path / "log"), sys.executable, "-c", code]
    done = subprocess.run(words, check=True, capture_output=True)
    prefix, base_prefix, path = json.loads(done.stdout)
    loading.load_logs([tmp_path / "log"], str(tmp_path / "x.fsprobe"))
    (fact,) = told_by_paths(pipeline.read(tmp_path / "x.fsprobe").tally, {})
    assert (fact["prefix"], fact["base_prefix"]) == (prefix, base_prefix)
    assert {entry for entry in path if entry.endswith("site-packages")} >= set(fact["path"][2:])
    assert (
        fact["path"][:1]
        == [entry for entry in path if not entry.endswith((".zip", "lib-dynload", "site-packages"))][:1]
    )
