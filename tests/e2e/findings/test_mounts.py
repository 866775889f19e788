"""Rules on what lies on a file server: each with a real program on a real server that just triggers it, and one that just does not."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.fileserver import Server, serve
from fsprobe.analysis.findings.environment import network_roots
from fsprobe.analysis.findings.evidence import Evidence, n_calls
from fsprobe.analysis.findings.thresholds import DEFAULTS
from tests.conftest import need
from tests.e2e.findings.runs import (
    Measured,
    evidence_of,
    findings_of,
    import_some,
    plant,
    record,
    run,
    type_line,
    undisturbed,
)
from tests.job_recordings import rank_variables

pytestmark = [pytest.mark.usefixtures("strace_program"), pytest.mark.needs_root]

NAME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
PYTHON = os.path.join(sys.base_prefix, "bin", NAME)
N_MODULES = 300
N_DATA = 1000
ENOUGH = int(DEFAULTS["environment_files"].info)


@dataclass(frozen=True, slots=True)
class Far:
    """A file server with environments and data on it."""

    server: Server
    place: Path

    @property
    def venv(self) -> Path:
        return self.place / "project" / "venv"

    @property
    def flash_venv(self) -> Path:
        return self.place / "flash" / "project_1" / "venv"

    @property
    def conda(self) -> Path:
        return self.place / "project" / "miniconda3" / "envs" / "work"

    @property
    def data(self) -> Path:
        return self.place / "project" / "data" / "train"

    @property
    def home(self) -> Path:
        return self.place / "home"


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    """The server; what is written below it is seen by all tests of this module."""
    need(os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK), "the file server needs root and /dev/fuse")
    place = tmp_path_factory.mktemp("far")
    src, mnt = place / "src", place / "mnt"
    mnt.mkdir()
    make_venv(src / "project" / "venv")
    shutil.copytree(src / "project" / "venv", src / "flash" / "project_1" / "venv", symlinks=True)
    shutil.copytree(src / "project" / "venv", src / "home" / ".cache" / "pypoetry" / "venv", symlinks=True)
    make_conda(src / "project" / "miniconda3" / "envs" / "work")
    data = src / "project" / "data" / "train"
    for n in range(N_DATA):
        (data / f"{n % 10}").mkdir(parents=True, exist_ok=True)
        (data / f"{n % 10}" / f"{n}.jpg").write_bytes(b"picture")
    (src / "home" / ".triton" / "cache" / "k").mkdir(parents=True)
    for n in range(100):
        (src / "home" / ".triton" / "cache" / "k" / f"{n}.json").write_text("{}")
    with serve(src, mnt, meta_ms=0, read_ms=0, writable=True) as server:
        yield Far(server, mnt)


def make_venv(venv: Path) -> None:
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    plant(site, "planted", N_MODULES)
    subprocess.run([PYTHON, "-m", "compileall", "-q", str(site)], check=True)


def make_conda(prefix: Path) -> None:
    """An environment as conda makes it: an interpreter and a standard library of its own, and conda-meta."""
    library = Path(sys.base_prefix) / "lib"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta" / "history").write_text("==> 2024-01-01 00:00:00 <==\n")
    shutil.copy2(PYTHON, prefix / "bin" / NAME)
    (prefix / "bin" / "python").symlink_to(NAME)
    large = (
        "site-packages test tests idlelib tkinter ensurepip config-* lib2to3 pydoc_data unittest distutils *.opt-*.pyc"
    )
    skipped = shutil.ignore_patterns(*large.split())
    shutil.copytree(library / NAME, prefix / "lib" / NAME, ignore=skipped)
    plant(prefix / "lib" / NAME / "site-packages", "planted", N_MODULES)
    subprocess.run([PYTHON, "-m", "compileall", "-q", str(prefix / "lib" / NAME / "site-packages")], check=True)


def python_in(venv: Path, program: str) -> list[str]:
    return [str(venv / "bin" / "python"), "-c", program]


def n_files(evidence: Evidence) -> int:
    """Files that the run opened in the busiest environment on the server."""
    roots = network_roots(evidence)
    return roots[0].n_files if roots else 0


def enough_modules(venv: Path, where: Path) -> int:
    """With how many planted modules a program opens exactly as many files as make a finding."""
    one = n_files(run(python_in(venv, import_some("planted", 1)), where))
    return ENOUGH - one + 1


def cold(far: Far, do: Callable[[], Measured]) -> tuple[Measured, int]:
    """Do something with a client that knows nothing yet: what it gave, and the metadata requests that the server counted.

    Without GETATTR: where it may write, the client asks for the time of access again after each read.
    """

    def measure() -> tuple[Measured, int]:
        far.server.remount()
        earlier = far.server.counters()
        found = do()
        since = far.server.counters() - earlier
        return found, since.metadata - since.getattr

    return undisturbed(measure)


def check_packed(code: str, far: Far, command: list[str], where: Path) -> None:
    """Type what a finding says, and let the server count again: the saving in requests is the difference."""
    need(shutil.which("mksquashfs"), "no mksquashfs on PATH")
    file, n_before = cold(far, lambda: record(command, where))
    finding = findings_of(evidence_of(file))[code]
    pack, start = finding.commands[:2]
    type_line(pack, where)
    # to record is to look at the mount: counted without the recorder, then recorded
    _, n_after = cold(far, lambda: type_line(start.replace("fsprobe run ", "fsprobe exec "), where))
    type_line(start.replace("fsprobe run ", "fsprobe run -q --record-only -o packed.fsprobe "), where)
    assert finding.saves["requests"] > 2 * ENOUGH
    assert finding.saves["requests"] == pytest.approx(n_before - n_after, rel=0.02)
    assert code not in findings_of(evidence_of(where / "packed.fsprobe"))


class TestEnvironments:
    def test_a_venv(self, far: Far, tmp_path: Path) -> None:
        n = enough_modules(far.venv, tmp_path)
        just = run(python_in(far.venv, import_some("planted", n)), tmp_path)
        assert n_files(just) == ENOUGH
        assert findings_of(just)["FSP001"].severity == "info"
        below = run(python_in(far.venv, import_some("planted", n - 1)), tmp_path)
        assert n_files(below) == ENOUGH - 1
        assert not {"FSP001", "FSP020", "FSP021"} & set(findings_of(below))

    def test_data_beside_the_script_is_no_environment(self, far: Far, tmp_path: Path) -> None:
        script = far.place / "project" / "read.py"
        script.write_text(f"import pathlib\nfor f in pathlib.Path({str(far.data)!r}).rglob('*.jpg'): f.read_bytes()\n")
        found = findings_of(run([PYTHON, str(script)], tmp_path))
        assert "FSP019" in found
        assert "FSP001" not in found

    def test_flash(self, far: Far, tmp_path: Path) -> None:
        n = enough_modules(far.flash_venv, tmp_path)
        just = run(python_in(far.flash_venv, import_some("planted", n)), tmp_path)
        finding = findings_of(just)["FSP020"]
        assert str(far.flash_venv) in finding.evidence
        below = run(python_in(far.flash_venv, import_some("planted", n - 1)), tmp_path)
        assert "FSP020" not in findings_of(below)
        elsewhere = run(python_in(far.venv, import_some("planted", n)), tmp_path)
        assert "FSP020" not in findings_of(elsewhere)

    def test_flash_in_an_image(self, far: Far, tmp_path: Path) -> None:
        check_packed("FSP020", far, python_in(far.flash_venv, import_some("planted", 200)), tmp_path)

    def test_conda_in_an_image(self, far: Far, tmp_path: Path) -> None:
        check_packed("FSP021", far, python_in(far.conda, import_some("planted", 200)), tmp_path)

    def test_conda(self, far: Far, tmp_path: Path) -> None:
        n = enough_modules(far.conda, tmp_path)
        just = run(python_in(far.conda, import_some("planted", n)), tmp_path)
        found = findings_of(just)
        assert n_files(just) == ENOUGH
        assert "FSP001" not in found
        assert str(far.conda) in found["FSP021"].evidence
        below = run(python_in(far.conda, import_some("planted", n - 1)), tmp_path)
        assert "FSP021" not in findings_of(below)

    def test_conda_by_its_variable(self, far: Far, tmp_path: Path) -> None:
        command = python_in(far.venv, import_some("planted", ENOUGH))
        found = findings_of(run(command, tmp_path, {"CONDA_PREFIX": str(far.venv)}))
        assert "FSP021" in found
        assert "FSP001" not in found


EDITABLE = """
import zipfile

def build(directory, editable):
    name = "mine-1.0-py3-none-any.whl"
    files = {
        "mine-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: mine\\nVersion: 1.0\\n",
        "mine-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: here\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        **({"__editable__.mine-1.0.pth": SOURCE + "\\n"} if editable else {"mine.py": "x = 1\\n"}),
    }
    files["mine-1.0.dist-info/RECORD"] = "".join(f"{file},,\\n" for file in files) + "mine-1.0.dist-info/RECORD,,\\n"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return name

def build_editable(directory, settings=None, metadata=None):
    return build(directory, True)

def build_wheel(directory, settings=None, metadata=None):
    return build(directory, False)
"""
"""A build backend that packs an editable install as setuptools does, so that pip needs no network for it."""


def test_an_editable_install_is_replaced(far: Far, tmp_path: Path) -> None:
    has = subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True)
    need(has.returncode == 0, f"{PYTHON} has no pip")
    venv = far.place / "project" / "edited"
    shutil.copytree(far.venv, venv, symlinks=True)
    settings = venv / "pyvenv.cfg"
    settings.write_text(settings.read_text().replace("packages = false", "packages = true"))
    source = tmp_path / "source"
    source.mkdir()
    (source / "mine.py").write_text("x = 1\n")
    (source / "backend.py").write_text(f"SOURCE = {str(source)!r}\n" + EDITABLE)
    lines = ["[build-system]", "requires = []", 'build-backend = "backend"', 'backend-path = ["."]']
    (source / "pyproject.toml").write_text("\n".join([*lines, "[project]", 'name = "mine"', 'version = "1.0"', ""]))
    command = python_in(venv, "import mine; print(mine.__file__)")
    no_network = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    type_line(f"{venv}/bin/python -m pip install --no-deps -e {source}", tmp_path, no_network)
    finding = findings_of(run(command, tmp_path))["FSP006"]
    assert "1 of editable installs" in finding.evidence
    (line,) = finding.commands
    type_line(line, tmp_path, no_network)
    after = run(command, tmp_path)
    assert os.fsencode(next(venv.glob("lib/python*/site-packages")) / "mine.py") in after.tally.by_path
    assert "FSP006" not in findings_of(after)


def calls_on_server(evidence: Evidence) -> int:
    return sum(n_calls(root.rows) for root in network_roots(evidence))


class TestJobs:
    def test_ranks(self, far: Far, tmp_path: Path) -> None:
        command = python_in(far.venv, import_some("planted", 100))
        one = calls_on_server(run(command, tmp_path))
        enough = math.ceil(DEFAULTS["start_calls"].info / one)
        just = findings_of(run(command, tmp_path, rank_variables(0, size=enough, per_node=8)))["FSP017"]
        assert just.severity == "info"
        assert f"{enough} processes x {one:,} calls" in just.evidence
        below = run(command, tmp_path, rank_variables(0, size=enough - 1, per_node=8))
        assert calls_on_server(below) * (enough - 1) < DEFAULTS["start_calls"].info
        assert "FSP017" not in findings_of(below)

    def test_a_batch_script_is_no_rank(self, far: Far, tmp_path: Path) -> None:
        job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4096", "SLURM_NNODES": "32", "SLURM_JOB_NUM_NODES": "32"}
        command = python_in(far.venv, import_some("planted", 100))
        found = findings_of(run(command, tmp_path, {**job, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}))
        assert "FSP001" in found
        assert not {"FSP017", "FSP018"} & set(found)

    def test_ranks_that_the_recording_holds(self, far: Far, tmp_path: Path) -> None:
        script = tmp_path / "rank.py"
        script.write_text(import_some("planted", N_MODULES))
        line = f"for n in $(seq {{}}); do {far.venv}/bin/python {script} & done; wait"
        one = calls_on_server(run(["bash", "-c", line.format(1)], tmp_path))
        n = math.ceil(DEFAULTS["start_calls"].info / one)
        assert n > 2
        just = run(["bash", "-c", line.format(n)], tmp_path)
        assert f"{n} processes x {one:,} calls" in findings_of(just)["FSP017"].evidence
        assert "FSP017" not in findings_of(run(["bash", "-c", line.format(n - 1)], tmp_path))

    def test_ranks_in_an_image(self, far: Far, tmp_path: Path) -> None:
        script = tmp_path / "rank.py"
        script.write_text(import_some("planted", N_MODULES))
        # one after the other: of ranks that ask in the same moment more than one may be sent on, which nothing can predict
        line = f"for n in $(seq 12); do {far.venv}/bin/python {script}; done"
        check_packed("FSP017", far, ["bash", "-c", line], tmp_path)

    def test_nodes(self, far: Far, tmp_path: Path) -> None:
        n = enough_modules(far.venv, tmp_path)
        command = python_in(far.venv, import_some("planted", n))
        two = findings_of(run(command, tmp_path, rank_variables(0, size=2, per_node=1)))["FSP018"]
        assert two.evidence.startswith(f"2 nodes each open {ENOUGH} files")
        one = run(command, tmp_path, rank_variables(0, size=2, per_node=2))
        assert "FSP018" not in findings_of(one)
        little = run(
            python_in(far.venv, import_some("planted", n - 1)), tmp_path, rank_variables(0, size=2, per_node=1)
        )
        assert "FSP018" not in findings_of(little)


READ_ALL = """
import os, sys
n = 0
for place, _, names in os.walk(sys.argv[1]):
    for name in sorted(names):
        if n < int(sys.argv[2]):
            n += 1
            with open(os.path.join(place, name), "rb") as file:
                file.read()
"""
READ_CACHE = """
import os, sys
place = os.environ.get("TRITON_CACHE_DIR") or os.path.expanduser("~/.triton/cache")
for n in range(int(sys.argv[1])):
    try:
        open(f"{place}/k/{n}.json").close()
    except OSError:
        pass
"""


class TestData:
    def test_small_files(self, far: Far, tmp_path: Path) -> None:
        command = [PYTHON, "-c", READ_ALL, str(far.data)]
        found = findings_of(run([*command, str(N_DATA)], tmp_path))["FSP019"]
        assert found.evidence == f"1,000 data files were opened below {far.data}: 1,000 calls."
        assert "FSP019" not in findings_of(run([*command, str(N_DATA - 1)], tmp_path))

    def test_they_are_packed_and_counted_again(self, far: Far, tmp_path: Path) -> None:
        check_packed("FSP019", far, [PYTHON, "-c", READ_ALL, str(far.data), str(N_DATA)], tmp_path)

    @pytest.mark.parametrize(("n", "expected"), [(49, False), (50, True)])
    def test_caches(self, far: Far, tmp_path: Path, n: int, expected: bool) -> None:
        evidence = run([PYTHON, "-c", READ_CACHE, str(n)], tmp_path, {"HOME": str(far.home)})
        assert ("FSP027" in findings_of(evidence)) is expected

    def test_a_cache_is_moved_and_counted_again(self, far: Far, tmp_path: Path) -> None:
        command = [PYTHON, "-c", READ_CACHE, "100"]

        def measured(environment: dict[str, str]) -> tuple[Evidence, int]:
            file, n = cold(far, lambda: record(command, tmp_path, {"HOME": str(far.home), **environment}))
            return evidence_of(file), n

        before, n_before = measured({})
        finding = findings_of(before)["FSP027"]
        (line,) = finding.commands
        place = type_line(line + '; echo "$TRITON_CACHE_DIR"', tmp_path, {"USER": tmp_path.name}).strip()
        try:
            after, n_after = measured({"TRITON_CACHE_DIR": place})
        finally:
            shutil.rmtree(Path("/tmp") / tmp_path.name)
        assert finding.saves["requests"] == pytest.approx(n_before - n_after, rel=0.02)
        assert "FSP027" not in findings_of(after)

    def test_an_environment_below_cache_is_no_cache(self, far: Far, tmp_path: Path) -> None:
        venv = far.home / ".cache" / "pypoetry" / "venv"
        found = findings_of(run(python_in(venv, import_some("planted", 100)), tmp_path))
        assert "FSP001" in found
        assert "FSP027" not in found
