"""After the run, and where the recorder's file may not be: nobody hears of it.

LD_AUDIT is inherited: a daemon and a job that was submitted from inside have it when the run is over, and what they start may
run where the file is not: in a container, on another machine. There the loader would complain on stderr.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.capture.backends.inline import recorded
from tests.capture.backends.inline.recorded import PYTHON

AUDITOR = """
#include <stdio.h>
unsigned la_version(unsigned v) { return v; }
unsigned la_objopen(void *map, long id, void *cookie) { return 0; }
void la_preinit(void *cookie) { fputs("audited\\n", stderr); }
"""
SHOW = [
    PYTHON,
    "-I",
    "-c",
    "import os; print(os.environ['LD_AUDIT'], os.environ['FSPROBE_RING'], len(os.environ), sep='|')",
]


@pytest.fixture
def auditor(tmp_path: Path) -> str:
    (tmp_path / "auditor.c").write_text(AUDITOR)
    return recorded.compiled(tmp_path / "auditor.c", tmp_path / "auditor.so", "-shared", "-fPIC")


@pytest.fixture
def box(tmp_path: Path) -> list[str]:
    """A command that runs where the recorder's file is not: another root, with cat and its libraries alone."""
    if os.geteuid() != 0:
        pytest.skip("only root can enter another root")
    place = tmp_path / "box"
    said = subprocess.run(["ldd", "/bin/cat"], capture_output=True, text=True, check=True).stdout
    for path in ["/bin/cat", "/etc/hosts", *(word for word in said.split() if word.startswith("/"))]:
        (place / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / path[1:])
    return ["chroot", str(place), "/bin/cat", "/etc/hosts"]


def run_with(audit: str, ring: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, LD_AUDIT=audit, FSPROBE_RING=ring)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def test_without_its_ring_it_is_handed_on_to_nobody(library: Path, tmp_path: Path) -> None:
    n_variables = len({**os.environ, "LD_AUDIT": "", "FSPROBE_RING": ""})
    for ring in (str(tmp_path / "gone"), str(tmp_path), ""):
        done = run_with(str(library), ring, SHOW)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"||{n_variables}\n", "")


@pytest.mark.parametrize("order", ["{ours}:{other}", "{other}:{ours}", "{ours}:{other}:{ours}"])
def test_other_auditors_work_and_stay(order: str, library: Path, auditor: str, tmp_path: Path) -> None:
    audit = order.format(ours=library, other=auditor)
    done = run_with(audit, str(tmp_path / "gone"), SHOW)
    assert (done.returncode, done.stderr) == (0, "audited\n")
    handed_on = done.stdout.partition("|")[0]
    assert handed_on.strip(":") == auditor
    assert run_with(handed_on, "", ["/bin/true"]).stderr == "audited\n", "the loader skips what is empty"


def test_a_preload_of_ours_is_handed_on_to_nobody(library: Path, tmp_path: Path) -> None:
    env = dict(os.environ, LD_PRELOAD=f"libm.so.6:{library}", FSPROBE_RING=str(tmp_path / "gone"))
    script = "import os; print(os.environ['LD_PRELOAD'].strip(':'))"
    done = subprocess.run([PYTHON, "-I", "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "libm.so.6\n", "")


def test_where_its_file_is_not_nobody_hears_of_it(library: Path, box: list[str], tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    complaint = run_with("/no/such/fsprobe-inline.so", gone, ["/bin/cat", "/etc/hosts"]).stderr
    assert "cannot be preloaded" in complaint or "cannot open" in complaint, "what must not be heard"
    done = run_with(str(library), gone, box)
    assert (done.returncode, done.stdout, done.stderr) == (0, Path("/etc/hosts").read_text(), "")


@pytest.mark.parametrize("name", ["apptainer", "docker", "sbatch", "valgrind"])
def test_what_starts_containers_and_jobs_is_left_alone(name: str, library: Path, auditor: str, tmp_path: Path) -> None:
    starter = tmp_path / name
    starter.write_text('#!/bin/sh\necho "${LD_AUDIT-none}"\n')
    starter.chmod(0o755)
    script = f"import subprocess; subprocess.run([{str(starter)!r}]); subprocess.run(['/bin/cat', '/etc/hosts'])"
    for audit, handed_on in ((None, "none"), (auditor, auditor)):
        env = {name: value for name, value in os.environ.items() if name != "LD_AUDIT"}
        run = recorded.record(
            library, [PYTHON, "-I", "-c", script], env={**env, **({"LD_AUDIT": audit} if audit else {})}
        )
        assert (run.returncode, run.stdout.decode().splitlines()[0]) == (0, handed_on)
        assert [loss.path for loss in run.facts.unseen] == [os.fsencode(starter)]
        assert b"/etc/hosts" in run.paths("openat"), "others are followed"


def test_a_starter_that_is_not_there_fails_as_alone(library: Path) -> None:
    script = "import os\ntry: os.execv('/none/apptainer', ['apptainer'])\nexcept OSError as error: print(error.errno)"
    run = recorded.record(library, [PYTHON, "-I", "-c", script])
    assert (run.returncode, run.stdout, run.stderr) == (0, b"2\n", b"")
    assert run.facts.unseen == []
