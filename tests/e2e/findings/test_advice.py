"""What findings print is typed as printed, in the situation that triggered it; and it is printed only where it applies."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fsprobe.analysis.findings.watch import Watch
from fsprobe.model.rows import Counts
from tests.analysis.findings.evidence import fact, found, make, opened
from tests.e2e.findings.runs import findings_of, import_some, plant, run, type_line

pytestmark = pytest.mark.usefixtures("strace_program")

PYTHON = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")


class TestLaunchers:
    @pytest.mark.parametrize(
        "words",
        [
            ["./tool.py", "--x", "1"],
            ["env", "FOO=1", "BAR=2", "python3", "-u", "tool.py", "a"],
            ["timeout", "20", "python3", "tool.py", "a b"],
            ["timeout", "20", "env", "FOO=1 b", "BAR=", "python3", "tool.py"],
            ["python3", "tool.py", "a"],
        ],
    )
    def test_its_command_does_the_same(self, tmp_path: Path, words: list[str]) -> None:
        environment = self.with_a_shim(tmp_path)
        expected = subprocess.run(
            words, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True
        )
        (line,) = findings_of(run(words, tmp_path, environment))["FSP022"].commands
        assert PYTHON in line
        assert not re.search(r"\benv\b", line), "it is a launcher too"
        assert type_line(line, tmp_path, environment) == expected.stdout != ""

    @pytest.mark.parametrize("words", [["bash", "-c", "FOO=3 python3 tool.py a; true"], ["./job.sh", "a"]])
    def test_where_the_command_does_not_name_the_interpreter_nothing_is_printed(
        self, tmp_path: Path, words: list[str]
    ) -> None:
        finding = findings_of(run(words, tmp_path, self.with_a_shim(tmp_path))).get("FSP022")
        assert finding is not None
        assert finding.commands == ()

    @staticmethod
    def with_a_shim(place: Path) -> dict[str, str]:
        (place / "shims").mkdir()
        files = {
            "shims/python3": f'#!/bin/bash\nx=$(basename "$0")\nexec {PYTHON} "$@"\n',
            "tool.py": "#!/usr/bin/env python3\nimport os, sys\nprint(os.environ.get('FOO'), sys.argv[1:])\n",
            "job.sh": '#!/bin/sh\nexport FOO=9\nexec python3 tool.py "$@"\n',
        }
        for name, body in files.items():
            (place / name).write_text(body)
            (place / name).chmod(0o755)
        return {"PATH": f"{place / 'shims'}:{os.environ['PATH']}"}


class TestBytecode:
    @pytest.mark.parametrize("look", ["stat", "mkdir"])
    def test_a_program_that_looks_at_the_directory_was_refused_nothing(self, tmp_path: Path, look: str) -> None:
        tree = tmp_path / "tree"
        plant(tree, "planted", 30)
        directory = str(tree / "planted" / "__pycache__")
        lines = [
            import_some("planted", 30),
            "import os",
            "for n in range(60):",
            f"    try: os.{look}({directory!r})",
            "    except FileExistsError: pass",
        ]
        program = "\n".join(lines)
        found = findings_of(run([PYTHON, "-c", program], tmp_path, {"PYTHONPATH": str(tree)}))
        assert "FSP008" not in found
        assert "31 .pyc files were written" in found["FSP007"].evidence


class TestEntryPoints:
    @pytest.mark.parametrize(("module", "commands"), [("torch", 1), ("scanner", 0)])
    def test_who_scans_is_named(self, tmp_path: Path, module: str, commands: int) -> None:
        for number in range(120):
            distribution = tmp_path / "site" / f"planted_{number}-1.0.dist-info"
            distribution.mkdir(parents=True)
            (distribution / "METADATA").write_text(f"Name: planted_{number}\nVersion: 1.0\n")
            (distribution / "entry_points.txt").write_text("[some]\nx = json:dumps\n")
        body = "import os, importlib.metadata as m\n"
        body += "if os.environ.get('TORCH_DEVICE_BACKEND_AUTOLOAD') != '0': m.entry_points(group='none')\n"
        (tmp_path / "site" / f"{module}.py").write_text(body)
        paths = {"PYTHONPATH": str(tmp_path / "site")}
        finding = findings_of(run([PYTHON, "-c", f"import {module}"], tmp_path, paths))["FSP010"]
        assert f"while {module} was imported" in finding.evidence
        assert "group=" not in finding.advice
        assert len(finding.commands) == commands
        for line in finding.commands:
            name, _, value = line.removeprefix("export ").partition("=")
            after = run([PYTHON, "-c", f"import {module}"], tmp_path, {**paths, name: value})
            assert "FSP010" not in findings_of(after)

    def test_a_program_that_looks_for_environments_is_no_interpreter(self, tmp_path: Path) -> None:
        # as uv does: for pyvenv.cfg upwards, then for what is beside each distribution's metadata
        line = "[ -e pyvenv.cfg ]; for n in $(seq 120); do cat < site/p$n.dist-info/uv_cache.json; done; PYTHON -c 'import json'"
        evidence = run(["bash", "-c", line.replace("PYTHON", PYTHON) + "; true"], tmp_path)
        finding = findings_of(evidence)["FSP010"]
        assert (
            "120 metadata files of installed distributions, 120 of which do not exist. 120 by bash" in finding.evidence
        )
        assert [p.kind for p in evidence.tally.by_process.values()].count("python") == 1

    def test_pydantic_looks_for_plugins_and_a_program_reads_metadata(self) -> None:
        paths = {b"/v/site-packages/p%d-1.dist-info/entry_points.txt" % n: opened() for n in range(120)}
        evidence = make(paths, facts=[fact()], watch=Watch(scanners={"models": 120}, foreign_scanners={"uv": 7}))
        evidence.notes.imports["pydantic.plugin._loader"] = {"models": 1}
        finding = found(evidence)["FSP010"]
        assert finding.commands == ("export PYDANTIC_DISABLE_PLUGINS=__all__",)
        assert "7 by uv" in finding.evidence
        evidence.notes.imports["pydantic.plugin._loader"] = {"others": 1}
        assert found(evidence)["FSP010"].commands == ()


class TestRepeatedPath:
    def test_a_directory_that_a_program_puts_on_its_path_is_not_polled(self, tmp_path: Path) -> None:
        (tmp_path / "late").mkdir()
        program = f"""
import sys
sys.path.insert(0, {str(tmp_path / "late")!r})
for n in range(1200):
    try: __import__('gone%d' % n)
    except ImportError: pass
"""
        assert "FSP023" not in findings_of(run([PYTHON, "-c", program], tmp_path))

    def test_components_of_many_real_paths_are_not_polled(self, tmp_path: Path) -> None:
        plant(tmp_path / "a" / "b", "planted", 30)
        program = f"""
import os
for n in range(1200): os.path.realpath({str(tmp_path / "a" / "b" / "planted")!r} + '/m%d.py' % (n % 30))
"""
        assert "FSP023" not in findings_of(run([PYTHON, "-c", program], tmp_path))

    def test_nor_is_a_directory_whose_files_are_asked_for(self, tmp_path: Path) -> None:
        plant(tmp_path, "planted", 30)
        program = f"""
import os
d = {str(tmp_path / "planted")!r}
for n in range(1200): os.stat(d); os.stat(d + '/m%d.py' % (n % 30))
"""
        assert "FSP023" not in findings_of(run([PYTHON, "-c", program], tmp_path))

    @pytest.mark.parametrize("name", ["", "/flag"])
    def test_what_is_polled_is_named(self, tmp_path: Path, name: str) -> None:
        program = f"import os\nfor n in range(1200): os.path.exists({str(tmp_path / 'box') + name!r})"
        assert f"{tmp_path / 'box'}{name} was" in findings_of(run([PYTHON, "-c", program], tmp_path))["FSP023"].evidence


class TestArchives:
    @pytest.mark.parametrize("inside", ["", "/inner"])
    def test_a_zip_that_gives_the_modules_stays_on_the_path(self, tmp_path: Path, inside: str) -> None:
        archive = tmp_path / "lib.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for n in range(30):
                file.writestr(f"{inside}/m{n}.py".lstrip("/"), "x = 1")
        program = "import importlib\nfor n in range(30): importlib.import_module('m%d' % n)"
        found = findings_of(run([PYTHON, "-c", program], tmp_path, {"PYTHONPATH": f"{archive}{inside}"}))
        assert not {"FSP002", "FSP004"} & set(found)


class TestLists:
    """A list in a command is never cut."""

    def test_directories_to_compile(self, tmp_path: Path) -> None:
        for n in range(8):
            plant(tmp_path / f"tree{n}", f"planted{n}", 4)
        program = "; ".join(f"import planted{n}.m0, planted{n}.m1" for n in range(8))
        paths = {"PYTHONPATH": ":".join(str(tmp_path / f"tree{n}") for n in range(8))}
        (line,) = findings_of(run([PYTHON, "-c", program], tmp_path, {**paths, "PYTHONDONTWRITEBYTECODE": "1"}))[
            "FSP025"
        ].commands
        type_line(line, tmp_path)
        assert all(list((tmp_path / f"tree{n}").rglob("m1.*.pyc")) for n in range(8))

    def test_editable_installs(self) -> None:
        site = b"/venv/lib/python3.11/site-packages"
        paths = {b"%b/__editable__.pkg%d-1.0.pth" % (site, n): opened() for n in range(9)}
        commands = found(make(paths, facts=[fact("/venv")]))["FSP006"].commands
        assert len(commands) == 9


class TestVenvs:
    def test_the_venv_that_fsprobe_runs_in_is_not_the_targets(self, tmp_path: Path) -> None:
        assert sys.prefix != sys.base_prefix, "these tests run in a venv"
        program = [PYTHON, "-c", "import json"]
        assert "FSP024" not in findings_of(run(program, tmp_path, {"VIRTUAL_ENV": sys.prefix}))
        link = tmp_path / "link"
        link.symlink_to(sys.prefix)
        assert "FSP024" not in findings_of(run(program, tmp_path, {"VIRTUAL_ENV": str(link)}))
        assert "FSP024" in findings_of(run(program, tmp_path, {"VIRTUAL_ENV": str(tmp_path / "other")}))

    def test_a_command_that_names_no_interpreter_gets_no_line(self, tmp_path: Path) -> None:
        words = ["bash", "-c", f"{PYTHON} -c pass; true"]
        assert findings_of(run(words, tmp_path, {"VIRTUAL_ENV": str(tmp_path)}))["FSP024"].commands == ()


class TestFonts:
    def test_not_the_directory_that_was_refused(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        (tmp_path / "home").write_text("a file: nothing can be made below it")
        home = {"HOME": str(tmp_path / "home")}
        command = [sys.executable, "-c", "import matplotlib.font_manager"]
        first, fill = findings_of(run(command, tmp_path, home))["FSP011"].commands
        assert str(tmp_path / "home") not in first
        assert "HOME" not in first
        place = type_line(f"{first}; {fill}; echo $MPLCONFIGDIR", tmp_path, home).strip()
        assert list(Path(place).glob("fontlist-*.json"))


class TestContainers:
    def test_lines_for_a_container_only_inside_one(self) -> None:
        place = "/home/me/.local/lib/python3.11/site-packages"
        paths = {os.fsencode(place): Counts(n_stat=300)}
        facts = [fact(user_site=place, enable_user_site=True)]
        assert found(make(paths, facts=facts))["FSP005"].commands == ("export PYTHONNOUSERSITE=1",)
        inside = {"APPTAINER_CONTAINER": "/x.sif"}
        assert (
            "export APPTAINERENV_PYTHONNOUSERSITE=1"
            in found(make(paths, facts=facts, environment=inside))["FSP005"].commands
        )


class TestHelpers:
    def test_its_line_where_it_can_be_known(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "tool.py").write_text("import keyword\nprint('ran')\n")
        loop = f"for n in $(seq 10); do {PYTHON} sub/tool.py; done"
        (line,) = findings_of(run(["bash", "-c", loop], tmp_path))["FSP014"].commands
        assert type_line(line, tmp_path) == "ran\n"
        (tmp_path / "sub" / "beside.py").write_text("")
        (tmp_path / "sub" / "tool.py").write_text("import beside\n")
        assert findings_of(run(["bash", "-c", loop], tmp_path))["FSP014"].commands == ()


class TestPreload:
    def test_the_list_is_what_the_workers_import(self, tmp_path: Path) -> None:
        for name in ("aa", "bb", "cc", "dd"):
            plant(tmp_path, name, 6)
            imports = "".join(f"from {name} import m{n}\n" for n in range(1, 6))
            (tmp_path / name / "m0.py").write_text(imports)
        program = """
import multiprocessing, {imports}
def f(x):
    import dd.m0
    return x
if __name__ == "__main__":
    {method}
    with multiprocessing.Pool(3) as pool: print(sum(pool.map(f, range(30), chunksize=1)))
"""
        names = "aa.m0, bb.m0, cc.m0"
        (tmp_path / "spawn.py").write_text(
            program.format(imports=names, method='multiprocessing.set_start_method("spawn")')
        )
        line = findings_of(run([PYTHON, "spawn.py"], tmp_path))["FSP016"].commands[-1]
        listed = json.loads(line[line.index("[") : line.rindex("]") + 1])
        assert {"aa.m0", "bb.m0", "cc.m0", "dd.m0"} <= set(listed)
        (tmp_path / "again.py").write_text(program.format(imports=names, method=line))
        after = run([PYTHON, "again.py"], tmp_path, {"PYTHONPATH": str(tmp_path)})
        assert "FSP016" not in findings_of(after)
        opened = after.tally.by_path[os.fsencode(tmp_path / "dd" / "m5.py")].counts.n_open
        assert opened <= 1  # by the server alone
