"""Rules on starts: real libraries with a long RPATH, real .pth files, an image behind squashfuse, many small interpreters."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fsprobe.analysis.findings.evidence import Evidence
from fsprobe.analysis.findings.thresholds import DEFAULTS
from fsprobe.model.events import is_under
from fsprobe.model.rows import Counts
from tests.conftest import need
from tests.e2e.findings.runs import findings_of, import_some, n_metadata, plant, run, type_line

pytestmark = pytest.mark.usefixtures("strace_program")

PYTHON = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")


def by_path(evidence: Evidence) -> Iterator[tuple[bytes, Counts]]:
    for path, counted in evidence.tally.by_path.items():
        yield path, counted.counts


class TestRunPath:
    N_LIBRARIES = 8

    @pytest.fixture
    def build(self, tmp_path: Path) -> Callable[[int], None]:
        """Build a library that needs others, with so many directories in its RPATH before the one that has them."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        need(compiler, "no C compiler on PATH")
        assert compiler is not None
        good = tmp_path / "good"
        good.mkdir()
        names = [f"part{n}" for n in range(self.N_LIBRARIES)]
        for name in names:
            (tmp_path / f"{name}.c").write_text(f"int {name}(void) {{ return 0; }}\n")
            words = [compiler, "-shared", "-fPIC", f"{name}.c", "-o", str(good / f"lib{name}.so")]
            subprocess.run(words, check=True, cwd=tmp_path)
        calls = " + ".join(f"{name}()" for name in names)
        declared = "".join(f"int {name}(void);\n" for name in names)
        (tmp_path / "whole.c").write_text(f"{declared}int whole(void) {{ return {calls}; }}\n")

        def build(n_directories: int) -> None:
            places = [tmp_path / f"empty{n}" for n in range(n_directories)]
            for place in places:
                place.mkdir(exist_ok=True)
            listed = ":".join(map(str, [*places, good]))
            words = [compiler, "-shared", "-fPIC", "whole.c", "-o", "libwhole.so", f"-L{good}"]
            words += [f"-l{name}" for name in names] + [f"-Wl,-rpath,{listed}"]
            subprocess.run(words, check=True, cwd=tmp_path)

        return build

    def measure(self, place: Path) -> Evidence:
        program = f"import ctypes; ctypes.CDLL({str(place / 'libwhole.so')!r})"
        return run([PYTHON, "-c", program], place)

    @staticmethod
    def n_misses(evidence: Evidence) -> int:
        """What the rule counts, with those of the interpreter's own libraries."""
        row = replace(DEFAULTS["rpath_misses"], info=1)
        seen = findings_of(replace(evidence, thresholds={**DEFAULTS, "rpath_misses": row}))["FSP026"]
        return int(seen.evidence.split()[0].replace(",", ""))

    def test_a_long_list(self, build: Callable[[int], None], tmp_path: Path) -> None:
        build(30)
        before = self.measure(tmp_path)
        finding = findings_of(before)["FSP026"]
        # the line names the library that carries the list
        assert f"from file {tmp_path / 'libwhole.so'}" in type_line(finding.commands[0], tmp_path)
        build(0)
        after = self.measure(tmp_path)
        assert finding.saves["calls"] == n_metadata(before) - n_metadata(after)
        assert finding.saves["calls"] >= 30 * self.N_LIBRARIES
        assert "FSP026" not in findings_of(after)

    def test_just_enough_directories_and_one_less(self, build: Callable[[int], None], tmp_path: Path) -> None:
        enough = int(DEFAULTS["rpath_misses"].info)

        def with_directories(n: int) -> tuple[int, set[str]]:
            build(n)
            evidence = self.measure(tmp_path)
            return self.n_misses(evidence), set(findings_of(evidence))

        first, second = with_directories(1)[0], with_directories(2)[0]
        assert second - first >= self.N_LIBRARIES
        n = 1 + math.ceil((enough - first) / (second - first))
        n_just, codes = with_directories(n)
        assert n_just >= enough
        assert "FSP026" in codes
        n_below, codes = with_directories(n - 1)
        assert n_below < enough
        assert "FSP026" not in codes


class TestImages:
    N_MODULES = 600

    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        need(os.geteuid() == 0 or shutil.which("fusermount3"), "no way to mount by FUSE")
        need(shutil.which("mksquashfs"), "no mksquashfs on PATH")
        need(os.access("/dev/fuse", os.R_OK | os.W_OK), "no /dev/fuse")
        plant(tmp_path / "tree", "planted", self.N_MODULES)
        subprocess.run([PYTHON, "-m", "compileall", "-q", str(tmp_path / "tree")], check=True)
        words = ["mksquashfs", str(tmp_path / "tree"), str(tmp_path / "tree.sqsh"), "-quiet", "-no-progress"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return tmp_path / "tree.sqsh"

    @staticmethod
    @contextmanager
    def mounted(program: str, image: Path) -> Iterator[Path]:
        need(shutil.which(program), f"no {program} on PATH")
        at = image.parent / "mnt"
        at.mkdir(exist_ok=True)
        subprocess.run([program, str(image), str(at)], check=True)
        try:
            yield at
        finally:
            subprocess.run(["umount", str(at)], check=True)

    def look(self, image: Path, program: str, n: int, n_processes: int = 2) -> Evidence:
        with self.mounted(program, image) as at:
            line = f"for n in $(seq {n_processes}); do {PYTHON} -c {shlex.quote(import_some('planted', n))}; done"
            return run(["bash", "-c", line], image.parent, {"PYTHONPATH": str(at)})

    @staticmethod
    def n_calls(evidence: Evidence, image: Path) -> int:
        return sum(c.n_metadata for path, c in by_path(evidence) if is_under(path, os.fsencode(image.parent / "mnt")))

    def test_squashfuse(self, image: Path) -> None:
        enough = int(DEFAULTS["fuse_image_calls"].info)
        per_module = (
            self.n_calls(self.look(image, "squashfuse", 11), image)
            - self.n_calls(self.look(image, "squashfuse", 1), image)
        ) / 10
        rest = self.n_calls(self.look(image, "squashfuse", 1), image) - per_module
        n = math.ceil((enough - rest) / per_module)
        just = self.look(image, "squashfuse", n)
        assert self.n_calls(just, image) >= enough
        finding = findings_of(just)["FSP012"]
        assert f"2 interpreters made {self.n_calls(just, image):,} calls on {image.parent / 'mnt'}" in finding.evidence
        below = self.look(image, "squashfuse", n - 1)
        assert self.n_calls(below, image) < enough
        assert "FSP012" not in findings_of(below)
        # one process waits for nobody
        assert "FSP012" not in findings_of(self.look(image, "squashfuse", self.N_MODULES, n_processes=1))

    def test_squashfuse_ll_is_another_program(self, image: Path) -> None:
        assert "FSP012" not in findings_of(self.look(image, "squashfuse_ll", self.N_MODULES))

    def test_its_advice(self, image: Path) -> None:
        evidence = self.look(image, "squashfuse", self.N_MODULES)
        look, change = findings_of(evidence)["FSP012"].commands
        need(shutil.which("fusermount3"), "no fusermount3 on PATH")
        at = image.parent / "mnt"
        subprocess.run(["squashfuse", str(image), str(at)], check=True)
        try:
            assert f"{image} {at}" in type_line(look, image.parent)
            type_line(change, image.parent, {"IMAGE": str(image)})
            mounts = Path("/proc/self/mountinfo").read_text().splitlines()
            assert [line for line in mounts if f" {at} " in line and "fuse.squashfuse_ll" in line]
        finally:
            subprocess.run(["umount", str(at)], check=True)


class TestHelpers:
    def look(self, n: int, program: str, place: Path) -> Evidence:
        return run(["bash", "-c", f"for n in $(seq {n}); do {PYTHON} -c {shlex.quote(program)}; done"], place)

    def test_many_that_only_start(self, tmp_path: Path) -> None:
        enough = int(DEFAULTS["short_interpreters"].info)
        just = self.look(enough, "pass", tmp_path)
        finding = findings_of(just)["FSP014"]
        assert finding.evidence.startswith(f"{enough} interpreters (-c) spent ")
        assert "FSP026" not in findings_of(just)  # the look-ups for libpython of many are no long list
        assert "FSP014" not in findings_of(self.look(enough - 1, "pass", tmp_path))

    def test_many_that_work(self, tmp_path: Path) -> None:
        # as many interpreters, and each does more than it takes to start one
        work = "import os\nfor n in range(2000): os.path.exists('/gone%d' % n)"
        assert "FSP014" not in findings_of(self.look(20, work, tmp_path))

    def test_what_the_flags_leave_out(self, tmp_path: Path) -> None:
        n = 12
        before = self.look(n, "pass", tmp_path)
        assert "FSP014" in findings_of(before)
        after = run(["bash", "-c", f"for n in $(seq {n}); do {PYTHON} -I -S -c pass; done"], tmp_path)
        # the phase site is what the finding shows as the most that can go: it is gone
        assert before.tally.by_phase["site"].n_metadata >= 10 * n
        assert "site" not in after.tally.by_phase
        assert n_metadata(before) - n_metadata(after) >= before.tally.by_phase["site"].n_metadata


class TestPathFiles:
    @pytest.fixture
    def venv(self, tmp_path: Path) -> Path:
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
        return tmp_path / "venv"

    @staticmethod
    def site(venv: Path) -> Path:
        return next(venv.glob("lib/python*/site-packages"))

    def test_many(self, venv: Path, tmp_path: Path) -> None:
        enough = int(DEFAULTS["path_files"].info)
        for n in range(enough - 1):
            (self.site(venv) / f"entry{n}.pth").write_text("import sys\n")
        command = [str(venv / "bin" / "python"), "-c", "pass"]
        assert "FSP006" not in findings_of(run(command, tmp_path))
        (self.site(venv) / "last.pth").write_text("import sys\n")
        finding = findings_of(run(command, tmp_path))["FSP006"]
        assert finding.evidence.startswith(f"{enough} .pth files read")
        assert f"{self.site(venv)}/last.pth:import sys" in type_line(finding.commands[0], tmp_path)

    def test_two_environments_are_not_one(self, venv: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(other)], check=True)
        for place in (venv, other):
            for n in range(3):
                (self.site(place) / f"entry{n}.pth").write_text("import sys\n")
        line = f"{venv}/bin/python -c pass; {other}/bin/python -c pass"
        assert "FSP006" not in findings_of(run(["bash", "-c", line], tmp_path))
