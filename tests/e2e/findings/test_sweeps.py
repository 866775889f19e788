"""Rules on many paths: sweeps, files written, real paths at import, workers that are started again; each just, and just not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fsprobe.analysis.findings.evidence import Evidence
from fsprobe.analysis.findings.thresholds import DEFAULTS
from fsprobe.model.events import Mount
from tests.e2e.findings.runs import evidence_of, findings_of, n_metadata, plant, record, run

pytestmark = pytest.mark.usefixtures("strace_program")

PYTHON = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
ENOUGH = 1000
"""As the thresholds of paths have it."""


def on_lustre(place: Path) -> Callable[[bytes], Mount | None]:
    mount = Mount(path=os.fsencode(place), fstype="lustre", fs_class="network", source=b"mds:/pfs", options="rw")
    return lambda path: mount if path.startswith(mount.path) else None


def fill(place: Path, n: int) -> Path:
    place.mkdir()
    for number in range(n):
        (place / f"{number:040x}").touch()
    return place


class TestSweeps:
    @staticmethod
    def sweep(place: Path, body: str) -> Evidence:
        program = f"import os\nfor e in os.scandir({str(place)!r}): {body}"
        return evidence_of(record([PYTHON, "-c", program], place.parent), on_lustre(place.parent))

    def test_files_that_are_only_looked_at(self, tmp_path: Path) -> None:
        # the directory itself is one of the paths
        place = fill(tmp_path / "data", ENOUGH - 1)
        finding = findings_of(self.sweep(place, "e.stat()"))["FSP028"]
        assert f"{ENOUGH:,} paths below {place} were looked at" in finding.evidence
        assert finding.commands[0].startswith(f"mksquashfs {place} ")
        assert finding.saves["requests"] >= ENOUGH - 2
        (place / f"{0:040x}").unlink()
        assert "FSP028" not in findings_of(self.sweep(place, "e.stat()"))

    def test_the_mount_of_what_was_swept_counts(self, tmp_path: Path) -> None:
        # the data alone lie on Lustre, not the directory above
        place = fill(tmp_path / "data", ENOUGH)
        program = f"import os\nfor e in os.scandir({str(place)!r}): e.stat()"
        seen = evidence_of(record([PYTHON, "-c", program], tmp_path), on_lustre(place))
        finding = findings_of(seen)["FSP028"]
        assert f"below {place} were" in finding.evidence
        assert finding.saves["requests"] >= ENOUGH

    def test_files_that_are_read_are_a_data_set(self, tmp_path: Path) -> None:
        place = fill(tmp_path / "data", ENOUGH)
        found = findings_of(self.sweep(place, "open(e.path).read()"))
        assert f"{ENOUGH:,} data files were opened below {place}" in found["FSP019"].evidence
        assert "FSP028" not in found
        (place / f"{0:040x}").unlink()
        assert "FSP019" not in findings_of(self.sweep(place, "open(e.path).read()"))

    def test_walked_again(self, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        for n in range(ENOUGH - 1):
            (tree / f"d{n}").mkdir(parents=True)
        program = f"import os\nfor n in range({{}}): list(os.walk({str(tree)!r}))"
        before = run([PYTHON, "-c", program.format(3)], tmp_path)
        finding = findings_of(before)["FSP028"]
        assert finding.severity == "info"  # a local disk
        assert "3.0 times" in finding.evidence
        assert finding.commands == ()
        after = run([PYTHON, "-c", program.format(1)], tmp_path)
        assert finding.saves["calls"] == n_metadata(before) - n_metadata(after)
        (tree / "d0").rmdir()
        assert "FSP028" not in findings_of(run([PYTHON, "-c", program.format(3)], tmp_path))

    def test_looked_for_again_and_not_there(self, tmp_path: Path) -> None:
        program = "import os\nfor n in range({}):\n    for m in range(1200): os.path.exists('out/%d.done' % m)"
        before = run([PYTHON, "-c", program.format(5)], tmp_path)
        after = run([PYTHON, "-c", program.format(1)], tmp_path)
        assert findings_of(before)["FSP028"].saves["calls"] == n_metadata(before) - n_metadata(after)


class TestWritten:
    PROGRAM = "import os\nfor n in range({}):\n    with open('out/%d' % n, 'w') as file: file.write('x')"
    ONE = "import os\nwith open('out/all', 'w') as file:\n    for n in range({}): file.write('x')"

    def test_many_files(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        before = run([PYTHON, "-c", self.PROGRAM.format(ENOUGH)], tmp_path)
        after = run([PYTHON, "-c", self.ONE.format(ENOUGH)], tmp_path)
        finding = findings_of(before)["FSP030"]
        assert finding.saves["calls"] == n_metadata(before) - n_metadata(after)
        assert not {"FSP019", "FSP028"} & set(findings_of(before))
        assert "FSP030" not in findings_of(run([PYTHON, "-c", self.PROGRAM.format(ENOUGH - 1)], tmp_path))


class TestRealPaths:
    def look(self, place: Path, n: int) -> Evidence:
        """A module that asks for n real paths while it is imported."""
        plant(place, "planted", 1)
        body = f"import os.path\nfor n in range({n}): os.path.realpath({str(place / 'planted')!r} + '/m%d.py' % n)"
        (place / "asks.py").write_text(body)
        return run([PYTHON, "-B", "-c", "import asks"], place, {"PYTHONPATH": str(place)})

    def test_at_import(self, tmp_path: Path) -> None:
        depth = len((tmp_path / "x" / "planted" / "m0.py").parts) - 1
        enough = -(-ENOUGH // depth)
        finding = findings_of(self.look(tmp_path / "x", enough))["FSP031"]
        assert f"While asks was imported, {enough * depth:,} lstat" in finding.evidence
        assert finding.saves["calls"] == (enough - 1) * (depth - 1)
        # a directory less on the way saves what the advice says
        assert f"saves up to {enough:,} of them" in finding.advice
        assert "FSP031" not in findings_of(self.look(tmp_path / "y", enough - 1))

    def test_outside_imports_it_is_the_programs_own_work(self, tmp_path: Path) -> None:
        program = f"import os\nfor n in range(2000): os.path.realpath({str(tmp_path)!r} + '/%d' % (n % 20))"
        assert "FSP031" not in findings_of(run([PYTHON, "-c", program], tmp_path))


class TestRestarts:
    ENOUGH = int(DEFAULTS["restarts"].info)

    def look(self, place: Path, line: str) -> Evidence:
        body = "import sys, email.message, xml.dom.minidom, sqlite3, unittest.mock\n"
        (place / "worker.py").write_text(body + "if sys.argv[1:] == ['wait']: print(flush=True); sys.stdin.read()\n")
        return run(["bash", "-c", line.replace("PYTHON", PYTHON)], place)

    def test_one_after_the_other(self, tmp_path: Path) -> None:
        line = "for n in $(seq {}); do PYTHON worker.py $n; done"
        before = self.look(tmp_path, line.format(self.ENOUGH + 1))
        finding = findings_of(before)["FSP029"]
        assert f"{self.ENOUGH + 1} interpreters of {os.path.basename(PYTHON)} worker.py" in finding.evidence
        assert "at most 1 of them at the same time" in finding.evidence
        once = self.look(tmp_path, line.format(1))
        # a worker that lives on makes its own exec and script again only once, too
        saved = n_metadata(before) - n_metadata(once)
        assert 0.9 * saved <= finding.saves["calls"] <= saved
        assert "FSP029" not in findings_of(self.look(tmp_path, line.format(self.ENOUGH)))

    def test_all_at_once_nothing_is_started_again(self, tmp_path: Path) -> None:
        (tmp_path / "all.py").write_text("""
import subprocess, sys
workers = [subprocess.Popen([sys.executable, "worker.py", "wait"], stdin=-1, stdout=-1) for n in range(7)]
for worker in workers: worker.stdout.readline()
for worker in workers: worker.communicate(b"")
""")
        assert "FSP029" not in findings_of(self.look(tmp_path, "PYTHON all.py"))

    def test_workers_of_a_pool_that_take_one_task_each(self, tmp_path: Path) -> None:
        program = """
import multiprocessing, email.message, xml.dom.minidom, sqlite3
def f(x): return x
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        print(pool.map(f, range(7), chunksize=1))
        pool.close()
        pool.join()
"""
        (tmp_path / "pool.py").write_text(program)
        assert "FSP029" in findings_of(run([PYTHON, "pool.py"], tmp_path))
        (tmp_path / "pool.py").write_text(program.replace(", maxtasksperchild=1", ""))
        assert "FSP029" not in findings_of(run([PYTHON, "pool.py"], tmp_path))
