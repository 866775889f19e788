"""Savings are real: do what a finding says, measure again, and the difference is what it said, call for call."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fsprobe.analysis.findings.evidence import Evidence
from fsprobe.analysis.findings.thresholds import DEFAULTS
from fsprobe.model.events import Mount
from tests.conftest import need
from tests.e2e.findings.runs import evidence_of, findings_of, n_metadata, record, run, type_line

pytestmark = pytest.mark.usefixtures("strace_program")

PYTHON = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
SMALL = [PYTHON, "-c", "import json, email.message"]
INFO = re.compile(rb"\.(dist|egg)-info/")  # Debian's packages have both
LUSTRE = Mount(path=b"/pfs", fstype="lustre", fs_class="network", source=b"mds:/pfs", options="rw")


def check_saving(code: str, before: Evidence, after: Evidence) -> None:
    """The finding's saving is the difference, and following the advice ends the finding."""
    found = findings_of(before)
    assert code in found, list(found)
    assert found[code].saves["calls"] == n_metadata(before) - n_metadata(after)
    assert found[code].saves["calls"] > 0
    assert code not in findings_of(after)


class TestSearchPaths:
    def test_dead_entries(self, tmp_path: Path) -> None:
        dead = [tmp_path / "gone", tmp_path / "gone" / "deeper", Path("/not/here/at/all"), tmp_path / "away"]
        before = run(SMALL, tmp_path, {"PYTHONPATH": ":".join(map(str, dead))})
        check_saving("FSP002", before, run(SMALL, tmp_path))

    def test_dead_entries_between_a_good_one(self, tmp_path: Path) -> None:
        good = tmp_path / "good"
        good.mkdir()
        (good / "mine.py").write_text("x = 1\n")
        command = [PYTHON, "-B", "-c", "import mine, json"]
        paths = [*(str(tmp_path / f"gone{n}") for n in range(4)), str(good)]
        before = run(command, tmp_path, {"PYTHONPATH": ":".join(paths)})
        after = run(command, tmp_path, {"PYTHONPATH": str(good)})
        check_saving("FSP002", before, after)
        assert findings_of(before)["FSP002"].commands == (f"export PYTHONPATH={good}",)

    def test_one_dead_entry_is_not_worth_a_word(self, tmp_path: Path) -> None:
        assert "FSP002" not in findings_of(run(SMALL, tmp_path, {"PYTHONPATH": str(tmp_path / "gone")}))

    def test_unused_entries(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        before = run(SMALL, tmp_path, {"PYTHONPATH": str(tmp_path / "empty")})
        check_saving("FSP004", before, run(SMALL, tmp_path))

    def test_what_remains_of_unused_entries_are_those_that_exist(self, tmp_path: Path) -> None:
        for name in ("empty", "good"):
            (tmp_path / name).mkdir()
        (tmp_path / "good" / "mine.py").write_text("x = 1\n")
        paths = ":".join(str(tmp_path / name) for name in ("gone", "empty", "good"))
        found = findings_of(run([PYTHON, "-B", "-c", "import mine, json"], tmp_path, {"PYTHONPATH": paths}))
        assert "FSP002" not in found
        assert found["FSP004"].commands == (f"export PYTHONPATH={tmp_path / 'good'}",)

    def test_an_entry_that_gave_a_module_is_used(self, tmp_path: Path) -> None:
        (tmp_path / "used").mkdir()
        (tmp_path / "used" / "mine.py").write_text("x = 1\n")
        after = run([PYTHON, "-c", "import json, mine"], tmp_path, {"PYTHONPATH": str(tmp_path / "used")})
        assert "FSP004" not in findings_of(after)

    def test_library_path(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        entries = [str(tmp_path / "there"), *(str(tmp_path / f"lib{n}") for n in range(20))]
        before = run(SMALL, tmp_path, {"LD_LIBRARY_PATH": ":".join(entries)})
        check_saving("FSP003", before, run(SMALL, tmp_path))
        assert findings_of(before)["FSP003"].commands == ("unset LD_LIBRARY_PATH",)

    def test_a_library_path_that_is_used(self, tmp_path: Path) -> None:
        library = tmp_path / "lib"
        library.mkdir()
        # every interpreter loads the C library
        maps = Path("/proc/self/maps").read_text().split()
        (libc,) = {word for word in maps if os.path.basename(word) in ("libc.so.6", "libc.musl-x86_64.so.1")}
        shutil.copy(libc, library / os.path.basename(libc))
        used = run(SMALL, tmp_path, {"LD_LIBRARY_PATH": str(library)})
        assert used.tally.by_path[os.fsencode(library / os.path.basename(libc))].resolved is not None
        assert "FSP003" not in findings_of(used)
        (library / os.path.basename(libc)).unlink()
        assert "FSP003" in findings_of(run(SMALL, tmp_path, {"LD_LIBRARY_PATH": str(library)}))

    def test_user_site(self, tmp_path: Path) -> None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        (tmp_path / "home" / ".local" / "lib" / f"python{version}" / "site-packages").mkdir(parents=True)
        home = {"HOME": str(tmp_path / "home")}
        before = run(SMALL, tmp_path, {**home, "PYTHONNOUSERSITE": ""})
        check_saving("FSP005", before, run(SMALL, tmp_path, home))

    def test_a_user_site_that_hides_modules_is_told_without_a_saving(self, tmp_path: Path) -> None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        site = tmp_path / "home" / ".local" / "lib" / f"python{version}" / "site-packages"
        site.mkdir(parents=True)
        (site / "mine.py").write_text("x = 1\n")
        seen = run([PYTHON, "-c", "import mine"], tmp_path, {"HOME": str(tmp_path / "home"), "PYTHONNOUSERSITE": ""})
        finding = findings_of(seen)["FSP005"]
        assert finding.severity == "warn"
        assert finding.saves == {}
        assert "mine.py" in finding.evidence

    def test_no_user_site_directory(self, tmp_path: Path) -> None:
        seen = run(SMALL, tmp_path, {"HOME": str(tmp_path), "PYTHONNOUSERSITE": ""})
        assert "FSP005" not in findings_of(seen)


class TestBytecode:
    N_MODULES = 30

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        package = tmp_path / "tree" / "planted"
        (package / "inner").mkdir(parents=True)
        (package / "inner" / "__init__.py").write_text("x = 1\n")
        for n in range(self.N_MODULES):
            (package / f"m{n}.py").write_text(f"y = {n}\n")
        (package / "__init__.py").write_text(
            "from . import inner\n" + "".join(f"from . import m{n}\n" for n in range(self.N_MODULES))
        )
        (tmp_path / "tree" / "top.py").write_text("import planted\n")
        return tmp_path / "tree"

    def measure(self, tree: Path, more: Mapping[str, str] | None = None) -> Evidence:
        return run([PYTHON, "-c", "import top, json"], tree.parent, {"PYTHONPATH": str(tree), **(more or {})})

    def compile(self, finding_commands: tuple[str, ...]) -> None:
        subprocess.run(["bash", "-ec", finding_commands[0]], check=True)

    @staticmethod
    def refusing(tree: Path) -> tuple[list[str], dict[str, str]]:
        """The same program where nothing can be written: only a mount refuses root."""
        need(os.geteuid() == 0 and shutil.which("unshare"), "a read-only mount of one's own needs root and unshare")
        script = f'mount --bind "{tree}" "{tree}" && mount -o remount,bind,ro "{tree}" && exec "{PYTHON}" -c "import top, json"'
        return ["unshare", "-m", "bash", "-c", script], {"PYTHONPATH": str(tree)}

    def test_written_in_the_first_run(self, tree: Path) -> None:
        before = self.measure(tree)
        check_saving("FSP007", before, self.measure(tree))

    def test_compiled_beforehand(self, tree: Path, tmp_path: Path) -> None:
        shutil.copytree(tree, tmp_path / "copy")
        before = self.measure(tree)
        shutil.rmtree(tree)
        shutil.copytree(tmp_path / "copy", tree)
        self.compile(tuple(findings_of(before)["FSP007"].commands))
        check_saving("FSP007", before, self.measure(tree))

    def test_stale(self, tree: Path) -> None:
        self.measure(tree)
        for path in tree.rglob("*.py"):
            os.utime(path, (1e9, 1e9))
        before = self.measure(tree)
        check_saving("FSP007", before, self.measure(tree))

    def test_switched_off(self, tree: Path) -> None:
        off = {"PYTHONDONTWRITEBYTECODE": "1"}
        before = self.measure(tree, off)
        assert "FSP007" not in findings_of(before)
        self.compile(tuple(findings_of(before)["FSP025"].commands))
        check_saving("FSP025", before, self.measure(tree, off))

    @pytest.mark.needs_root
    def test_refused(self, tree: Path) -> None:
        command, paths = self.refusing(tree)
        before = run(command, tree.parent, paths)
        assert "FSP007" not in findings_of(before)
        commands = tuple(findings_of(before)["FSP008"].commands)
        assert commands[0].endswith("  # by whoever may write there")
        self.compile(commands)
        check_saving("FSP008", before, run(command, tree.parent, paths))

    def test_few_modules_are_not_worth_a_word(self, tree: Path) -> None:
        self.measure(tree)
        self.forget(tree, 10)
        assert "FSP007" in findings_of(self.measure(tree))
        self.forget(tree, 9)
        assert "FSP007" not in findings_of(self.measure(tree))

    def test_few_modules_with_writing_off(self, tree: Path) -> None:
        self.measure(tree)
        self.forget(tree, 10)
        off = {"PYTHONDONTWRITEBYTECODE": "1"}
        assert "FSP025" in findings_of(self.measure(tree, off))
        self.measure(tree)
        self.forget(tree, 9)
        assert "FSP025" not in findings_of(self.measure(tree, off))

    @pytest.mark.needs_root
    def test_few_modules_with_writing_refused(self, tree: Path) -> None:
        command, paths = self.refusing(tree)
        self.measure(tree)
        self.forget(tree, 10)
        assert "FSP008" in findings_of(run(command, tree.parent, paths))
        self.measure(tree)
        self.forget(tree, 9)
        assert "FSP008" not in findings_of(run(command, tree.parent, paths))

    @staticmethod
    def forget(tree: Path, n: int) -> None:
        """Take the bytecode of n modules away."""
        for number in range(n):
            (path,) = (tree / "planted" / "__pycache__").glob(f"m{number}.*.pyc")
            path.unlink()


class TestLibraries:
    def test_package_resources(self, tmp_path: Path) -> None:
        has = subprocess.run([PYTHON, "-c", "import pkg_resources"], capture_output=True, cwd=tmp_path)
        need(has.returncode == 0, f"{PYTHON} has no pkg_resources (setuptools)")
        before = run([PYTHON, "-c", "import pkg_resources"], tmp_path)
        check_saving("FSP009", before, run([PYTHON, "-c", "pass"], tmp_path))

    def test_entry_points_scanned_again(self, tmp_path: Path) -> None:
        self.plant_distributions(tmp_path / "site", 20)
        program = "import importlib.metadata as m\nfor n in range({}): list(m.entry_points())"
        paths = {"PYTHONPATH": str(tmp_path / "site")}
        before = run([PYTHON, "-c", program.format(9)], tmp_path, paths)
        after = run([PYTHON, "-c", program.format(1)], tmp_path, paths)
        saved = findings_of(before)["FSP010"].saves["calls"]
        assert saved == self.n_opens(before) - self.n_opens(after)
        # each scan also asks the directories of sys.path: the saving is no exaggeration
        assert saved <= n_metadata(before) - n_metadata(after)
        single = findings_of(after).get("FSP010")  # this Python may have many distributions of its own
        assert single is None or single.saves == {}

    def test_just_enough_entry_points_and_one_less(self, tmp_path: Path) -> None:
        venv = tmp_path / "venv"
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(venv)], check=True)
        site = next(venv.glob("lib/python*/site-packages"))
        command = [str(venv / "bin" / "python"), "-c", "import importlib.metadata as m; list(m.entry_points())"]
        enough = int(DEFAULTS["entry_point_files"].info)
        self.plant_distributions(site, 10)
        per_distribution = self.n_opens(run(command, tmp_path)) / 10
        n = math.ceil(enough / per_distribution)
        self.plant_distributions(site, n)
        just = run(command, tmp_path)
        assert self.n_opens(just) >= enough
        assert findings_of(just)["FSP010"].saves == {}  # a single scan
        shutil.rmtree(site / f"planted_{n - 1}-1.0.dist-info")
        below = run(command, tmp_path)
        assert 0 < self.n_opens(below) < enough
        assert "FSP010" not in findings_of(below)

    @staticmethod
    def n_opens(evidence: Evidence) -> int:
        return sum(c.counts.n_open for path, c in evidence.tally.by_path.items() if INFO.search(path))

    @staticmethod
    def plant_distributions(site: Path, n: int) -> None:
        for number in range(n):
            info = site / f"planted_{number}-1.0.dist-info"
            info.mkdir(parents=True, exist_ok=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: planted-{number}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text("[console_scripts]\nx = y:z\n")

    def test_without_package_resources(self, tmp_path: Path) -> None:
        # the advice: the same question without the scan
        program = "import importlib.metadata as m\ntry: m.version('pip')\nexcept m.PackageNotFoundError: pass"
        assert "FSP009" not in findings_of(run([PYTHON, "-c", program], tmp_path))

    def test_font_list(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        directory = tmp_path / "mpl"
        directory.mkdir()
        command = [sys.executable, "-c", "import matplotlib.pyplot"]
        before = run(command, tmp_path, {"MPLCONFIGDIR": str(directory)})
        check_saving("FSP011", before, run(command, tmp_path, {"MPLCONFIGDIR": str(directory)}))


class TestLaunchers:
    def test_a_shim(self, tmp_path: Path) -> None:
        shim = tmp_path / "shims" / "python"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/bash\nname=$(basename "$0"; cat /dev/null | head -1)\nexec {PYTHON} "$@"\n')
        shim.chmod(0o755)
        before = run([str(shim), "-c", "import json"], tmp_path)
        after = run([PYTHON, "-c", "import json"], tmp_path)
        check_saving("FSP022", before, after)

    def test_the_search_along_path(self, tmp_path: Path) -> None:
        name = os.path.basename(PYTHON)
        path = ":".join([*(f"/no/such/bin{n}" for n in range(8)), os.path.dirname(PYTHON), os.environ["PATH"]])
        before = run(["env", name, "-c", "import json"], tmp_path, {"PATH": path})
        after = run([PYTHON, "-c", "import json"], tmp_path, {"PATH": path})
        check_saving("FSP022", before, after)
        assert findings_of(before)["FSP022"].commands == (f"{PYTHON} -c 'import json'",)

    def test_a_script_of_the_user_is_no_shim(self, tmp_path: Path) -> None:
        script = tmp_path / "job.sh"
        script.write_text(f"#!/bin/bash\nls / > /dev/null\n{PYTHON} -c 'import json'\n:\n")
        script.chmod(0o755)
        assert "FSP022" not in findings_of(run([str(script)], tmp_path))


class TestProcesses:
    PROGRAM = """
import multiprocessing, json, email.message, sys

def work(n):
    import csv
    open("/dev/null").read()

if __name__ == "__main__":
    if sys.argv[1] == "fork":
        import csv
    context = multiprocessing.get_context(sys.argv[1])
    workers = [context.Process(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
"""

    def test_spawned_workers(self, tmp_path: Path) -> None:
        program = tmp_path / "workers.py"
        program.write_text(self.PROGRAM)
        before = run([PYTHON, str(program), "spawn"], tmp_path)
        check_saving("FSP016", before, run([PYTHON, str(program), "fork"], tmp_path))

    POOLS = """
import multiprocessing, json, email.message, os, sys
from concurrent.futures import ProcessPoolExecutor

def work(n):
    import csv
    os.stat("/etc")
    return n

if __name__ == "__main__":
    if sys.argv[1] == "fork":
        import csv
    context = multiprocessing.get_context(sys.argv[1])
    if sys.argv[2] == "Pool":
        with context.Pool(4) as pool:
            pool.map(work, range(40))
            if sys.argv[3] == "joined":
                pool.close()
                pool.join()
    else:
        with ProcessPoolExecutor(4, mp_context=context) as pool:
            list(pool.map(work, range(40)))
"""

    @pytest.mark.parametrize("kind", ["Pool", "ProcessPoolExecutor"])
    def test_spawned_pools(self, tmp_path: Path, kind: str) -> None:
        program = tmp_path / "pools.py"
        program.write_text(self.POOLS)
        before = run([PYTHON, str(program), "spawn", kind, "joined"], tmp_path)
        check_saving("FSP016", before, run([PYTHON, str(program), "fork", kind, "joined"], tmp_path))
        assert '"email.message"' in findings_of(before)["FSP016"].commands[1]

    def test_a_pool_that_ends_its_workers_while_they_start(self, tmp_path: Path) -> None:
        program = tmp_path / "pools.py"
        program.write_text(self.POOLS)
        before = run([PYTHON, str(program), "spawn", "Pool", "ended"], tmp_path)
        after = run([PYTHON, str(program), "fork", "Pool", "ended"], tmp_path)
        # a forked worker makes one call before its first task, and the pool may end it before that
        difference = n_metadata(before) - n_metadata(after) - findings_of(before)["FSP016"].saves["calls"]
        assert 0 <= difference <= 4

    def test_one_worker_is_not_worth_a_word(self, tmp_path: Path) -> None:
        program = tmp_path / "workers.py"
        program.write_text(self.PROGRAM.replace("range(4)", "range(1)"))
        assert "FSP016" not in findings_of(run([PYTHON, str(program), "spawn"], tmp_path))


class TestEnvironments:
    def test_a_venv_of_another_python(self, tmp_path: Path) -> None:
        other = next(
            (str(p) for p in sorted(Path(sys.base_prefix).parent.glob("3.*/bin/python3.[0-9]*")) if self.is_other(p)),
            None,
        )
        need(other, "there is only one version of Python here")
        assert other is not None
        venv = tmp_path / "venv"
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", "--symlinks", str(venv)], check=True)
        right = run([str(venv / "bin" / "python"), "-c", "import json"], tmp_path)
        assert "FSP024" not in findings_of(right)
        (venv / "bin" / "python").unlink()
        (venv / "bin" / "python").symlink_to(other)
        wrong = run([str(venv / "bin" / "python"), "-c", "import json"], tmp_path)
        finding = findings_of(wrong)["FSP024"]
        assert finding.severity == "critical"
        # and the advice cures it
        keep, build, fill = finding.commands
        has_pip = subprocess.run([other, "-m", "pip", "--version"], capture_output=True)
        need(has_pip.returncode == 0, f"{other} has no pip")
        info = next(venv.glob("lib/python3.*/site-packages")) / "planted-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
        type_line(keep, tmp_path)
        assert (tmp_path / "requirements.txt").read_text() == "planted==1.0\n"
        type_line(build + " --without-pip", tmp_path)
        assert fill == f"{venv}/bin/python -m pip install -r requirements.txt"
        cured = run([str(venv / "bin" / "python"), "-c", "import json"], tmp_path)
        assert "FSP024" not in findings_of(cured)

    @staticmethod
    def is_other(path: Path) -> bool:
        minor = path.name.partition(".")[2]
        return minor.isdigit() and int(minor) >= 10 and int(minor) != sys.version_info[1]

    def test_an_activated_venv_that_is_not_used(self, tmp_path: Path) -> None:
        venv = tmp_path / "venv"
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(venv)], check=True)
        finding = findings_of(run(SMALL, tmp_path, {"VIRTUAL_ENV": str(venv)}))["FSP024"]
        assert finding.severity == "warn"
        assert finding.commands == (f"{venv}/bin/python -c 'import json, email.message'",)
        command = [str(venv / "bin" / "python"), *SMALL[1:]]
        assert "FSP024" not in findings_of(run(command, tmp_path, {"VIRTUAL_ENV": str(venv)}))

    def test_a_venv_on_a_network_filesystem(self, tmp_path: Path) -> None:
        venv = tmp_path / "venv"
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(venv)], check=True)
        site = next(venv.glob("lib/python*/site-packages"))
        (site / "planted").mkdir()
        (site / "planted" / "__init__.py").write_text("".join(f"from . import m{n}\n" for n in range(80)))
        for n in range(80):
            (site / "planted" / f"m{n}.py").write_text("")
        file = record([str(venv / "bin" / "python"), "-c", "import planted"], tmp_path)
        root = os.fsencode(venv)
        far = evidence_of(file, lambda path: LUSTRE if path.startswith(root) else None)
        finding = findings_of(far)["FSP001"]
        assert any(f"mksquashfs {venv} {venv}.sqsh" in command for command in finding.commands)
        assert any(f"{venv}.sqsh:{venv}:image-src=/" in command for command in finding.commands)
        assert far.requests is not None
        assert finding.saves == {"requests": far.requests.environment(root).n_metadata - 2}
        # the very same run on the local disk: nothing to be done
        assert not {"FSP001", "FSP017", "FSP018", "FSP020", "FSP021"} & set(findings_of(evidence_of(file)))


def test_a_plain_start_has_no_finding(tmp_path: Path) -> None:
    assert findings_of(run([PYTHON, "-c", "pass"], tmp_path)) == {}


def test_a_polling_loop(tmp_path: Path) -> None:
    program = "import os\nfor n in range({}): os.path.exists('/tmp/flag')"
    finding = findings_of(run([PYTHON, "-c", program.format(2000)], tmp_path))["FSP023"]
    once = run([PYTHON, "-c", program.format(1)], tmp_path)
    assert finding.saves["calls"] == 1999
    assert "FSP023" not in findings_of(once)
    assert "FSP023" in findings_of(run([PYTHON, "-c", program.format(1000)], tmp_path))
    assert "FSP023" not in findings_of(run([PYTHON, "-c", program.format(999)], tmp_path))
