"""Rules that need a cluster to be seen for real: each with evidence that just triggers it and evidence that just does not."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fsprobe.analysis.attribution import not_found
from fsprobe.analysis.findings.evidence import Watch, quote
from fsprobe.analysis.findings.rules import RULES, explanation
from fsprobe.analysis.findings.thresholds import DEFAULTS
from fsprobe.model.profile import Metrics
from fsprobe.model.rows import Counts
from tests.analysis.findings.evidence import (
    LOCAL,
    SQUASHFUSE,
    SQUASHFUSE_LL,
    fact,
    found,
    make,
    missed,
    opened,
    process,
)


def files(root: bytes, n: int, suffix: bytes = b".pyc") -> dict[bytes, Counts]:
    return {b"%b/f%d%b" % (root, number, suffix): opened() for number in range(n)}


VENV = b"/project/me/venv/lib/python3.11/site-packages/pkg"


class TestEnvironments:
    @pytest.mark.parametrize(("n", "severity"), [(67, None), (68, "info"), (408, "warn"), (1360, "critical")])
    def test_venv_on_lustre(self, n: int, severity: str | None) -> None:
        finding = found(make(files(VENV, n), facts=[fact("/project/me/venv")])).get("FSP001")
        assert (finding.severity if finding else None) == severity

    def test_its_commands(self) -> None:
        finding = found(make(files(VENV, 500), facts=[fact("/project/me/venv")]))["FSP001"]
        assert finding.commands == (
            "mksquashfs /project/me/venv /project/me/venv.sqsh -noappend -processors 1 -no-xattrs",
            "fsprobe run --image /project/me/venv.sqsh --at /project/me/venv -- python train.py",
            '$(command -v apptainer || echo singularity) exec -B /project/me/venv.sqsh:/project/me/venv:image-src=/ "$SIF" python train.py',
        )
        assert finding.saves == {}
        assert "Of the last two lines one is enough" in finding.advice

    @pytest.mark.parametrize("there", ["apptainer", "singularity"])
    def test_its_container_line_runs_what_is_on_path(self, there: str, tmp_path: Path) -> None:
        program = tmp_path / there
        program.write_text(f'#!/bin/sh\necho {there} "$@"\n')
        program.chmod(0o755)
        line = found(make(files(VENV, 500), facts=[fact("/project/me/venv")]))["FSP001"].commands[2]
        told = subprocess.run(
            ["/bin/sh", "-c", line],
            env={"PATH": str(tmp_path), "SIF": "/a b.sif"},
            capture_output=True,
            text=True,
            check=True,
        )
        where = "/project/me/venv.sqsh:/project/me/venv:image-src=/"
        assert told.stdout == f"{there} exec -B {where} /a b.sif python train.py\n"

    @pytest.mark.parametrize(
        ("variables", "program"),
        [
            ({"APPTAINER_CONTAINER": "/a.sif", "SINGULARITY_CONTAINER": "/a.sif"}, "apptainer"),
            ({"SINGULARITY_CONTAINER": "/a.sif"}, "singularity"),
        ],
    )
    def test_in_a_container_the_line_starts_it_with_what_had_started_it(
        self, variables: dict[str, str], program: str
    ) -> None:
        finding = found(make(files(VENV, 500), facts=[fact("/project/me/venv")], environment=variables))["FSP001"]
        assert finding.commands[1].startswith(f"{program} exec -B ")

    def test_in_a_container_the_commands_name_it(self) -> None:
        inside = {"SINGULARITY_CONTAINER": "/appl/my image.sif"}
        finding = found(make(files(VENV, 500), facts=[fact("/project/me/venv")], environment=inside))["FSP001"]
        assert "'/appl/my image.sif' python train.py" in finding.commands[1]

    def test_its_saving(self) -> None:
        finding = found(make(files(VENV, 500), facts=[fact("/project/me/venv")], with_requests=True))["FSP001"]
        assert finding.saves == {"requests": 500 * 2 - 2}

    def test_the_same_venv_on_a_local_disk(self) -> None:
        local = make(files(VENV, 5000), facts=[fact("/project/me/venv")], mounts=[LOCAL])
        assert not {"FSP001", "FSP017", "FSP018", "FSP020", "FSP021"} & set(found(local))

    def test_a_venv_in_an_image(self) -> None:
        squashed = make(
            files(b"/image/lib/python3.11/site-packages/p", 5000), facts=[fact("/image")], mounts=[LOCAL, SQUASHFUSE]
        )
        assert "FSP001" not in found(squashed)

    def test_conda_is_told_as_conda(self) -> None:
        codes = found(
            make(
                files(b"/project/me/miniconda3/lib/x", 500),
                facts=[fact("/project/me/miniconda3", base_prefix="/project/me/miniconda3")],
            )
        )
        assert "FSP021" in codes
        assert "FSP001" not in codes
        few = make(files(b"/project/me/miniconda3/lib/x", 60), facts=[fact("/project/me/miniconda3")])
        assert "FSP021" not in found(few)

    def test_flash(self) -> None:
        root = b"/flash/project_1/venv"
        assert "FSP020" in found(make(files(root + b"/lib/p", 100), facts=[fact(root.decode())]))
        assert "FSP020" not in found(make(files(VENV, 100), facts=[fact("/project/me/venv")]))

    @pytest.mark.parametrize(("n", "expected"), [(4, False), (5, True)])
    def test_path_files(self, n: int, expected: bool) -> None:
        evidence = make(files(b"/project/v/lib/python3.11/site-packages", n, b".pth"), facts=[fact("/project/v")])
        assert ("FSP006" in found(evidence)) is expected

    def test_one_editable_install_on_lustre(self) -> None:
        name = b"/project/v/lib/python3.11/site-packages/__editable__.mine-1.0.pth"
        assert "editable" in found(make({name: opened()}, facts=[fact("/project/v")]))["FSP006"].evidence
        assert "FSP006" not in found(make({name: opened()}, facts=[fact("/project/v")], mounts=[LOCAL]))


class TestProcesses:
    def test_ranks(self) -> None:
        paths, facts = files(VENV, 500), [fact("/project/me/venv")]
        step = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "3"}
        finding = found(make(paths, facts=facts, job={**step, "SLURM_NTASKS": "256"}))["FSP017"]
        assert finding.severity == "warn"
        assert "128,000" in finding.evidence
        assert "FSP017" not in found(make(paths, facts=facts, job={**step, "SLURM_NTASKS": "19"}))
        assert "FSP017" not in found(make(paths, facts=facts, job={"SLURM_PROCID": "0", "SLURM_NTASKS": "256"}))
        mpi = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "256", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}
        assert "256 processes" in found(make(paths, facts=facts, job=mpi))["FSP017"].evidence
        assert "FSP017" not in found(make(paths, facts=facts))

    def test_ranks_in_the_recording(self) -> None:
        rows = [process(10 + n, "python train.py", 10, parent=5) for n in range(50)]
        paths = {path: Counts(n_open=50) for path in files(VENV, 300)}
        assert found(make(paths, facts=[fact("/project/me/venv")] * 50, processes=rows))["FSP017"].severity == "info"
        assert "FSP017" not in found(make(paths, facts=[fact("/project/me/venv")], processes=rows[:1]))

    def test_nodes(self) -> None:
        paths, facts = files(VENV, 500), [fact("/project/me/venv")]
        step = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "3"}
        finding = found(make(paths, facts=facts, job={**step, "SLURM_JOB_NUM_NODES": "16"}))["FSP018"]
        assert finding.severity == "warn"
        assert finding.commands == (
            "mksquashfs /project/me/venv /project/me/venv.sqsh -noappend -processors 1 -no-xattrs",
            "sbcast -f /project/me/venv.sqsh /tmp/venv.sqsh",
            'srun $(command -v apptainer || echo singularity) exec -B /tmp/venv.sqsh:/project/me/venv:image-src=/ "$SIF" python train.py',
        )
        assert "FSP018" not in found(make(paths, facts=facts, job={**step, "SLURM_JOB_NUM_NODES": "1"}))
        assert "FSP018" not in found(make(paths, facts=facts, job={"SLURM_JOB_NUM_NODES": "16"}))
        mpi = {"PMI_RANK": "3", "PMI_SIZE": "256", "SLURM_JOB_NUM_NODES": "16"}
        assert "FSP018" in found(make(paths, facts=facts, job=mpi))

    @pytest.mark.parametrize(("n", "expected"), [(9, False), (10, True)])
    def test_short_interpreters(self, n: int, expected: bool) -> None:
        rows = [process(10 + number, "python helper.py", 100) for number in range(n)]
        watch = Watch(phases={f"{row.pid} {row.label}": {"init": 60, "site": 30, "import": 10} for row in rows})
        assert ("FSP014" in found(make(processes=rows, watch=watch))) is expected

    def test_interpreters_that_work(self) -> None:
        rows = [process(10 + number, "python work.py", 300) for number in range(20)]
        watch = Watch(phases={f"{row.pid} {row.label}": {"init": 60, "site": 30, "import": 210} for row in rows})
        assert "FSP014" not in found(make(processes=rows, watch=watch))


class TestData:
    @pytest.mark.parametrize(("n", "expected"), [(999, False), (1000, True)])
    def test_small_files(self, n: int, expected: bool) -> None:
        assert ("FSP019" in found(make(files(b"/project/data/train", n, b".jpg")))) is expected

    def test_small_files_on_a_local_disk(self) -> None:
        assert "FSP019" not in found(make(files(b"/project/data/train", 5000, b".jpg"), mounts=[LOCAL]))

    def test_data_of_packages_is_no_data_set(self) -> None:
        assert "FSP019" not in found(make(files(VENV, 5000, b".csv"), facts=[fact("/project/me/venv")]))

    def test_squashfuse(self) -> None:
        paths, two = files(b"/image/lib/p", 1000), [fact("/image")] * 2
        assert found(make(paths, facts=two, mounts=[LOCAL, SQUASHFUSE]))["FSP012"].audience == "site"
        assert "FSP012" not in found(make(paths, facts=two, mounts=[LOCAL, SQUASHFUSE_LL]))
        assert "FSP012" not in found(make(paths, facts=two[:1], mounts=[LOCAL, SQUASHFUSE]))

    @pytest.mark.parametrize(("n", "expected"), [(49, False), (50, True)])
    def test_caches(self, n: int, expected: bool) -> None:
        finding = found(make(files(b"/project/home/.triton/cache", n, b".json"))).get("FSP027")
        assert (finding is not None) is expected
        if finding:
            assert "TRITON_CACHE_DIR" in finding.commands[0]
        assert "FSP027" not in found(make(files(b"/project/home/.triton/cache", n), mounts=[LOCAL]))


class TestLookups:
    @pytest.mark.parametrize(("n", "expected"), [(199, False), (200, True)])
    def test_run_path(self, n: int, expected: bool) -> None:
        misses = {(not_found.LIBRARY, b"/project/lib%d/libx.so" % number): 1 for number in range(n)}
        assert ("FSP026" in found(make(not_found=misses))) is expected

    def test_misses_of_the_variable_are_not_those_of_rpath(self) -> None:
        misses = {(not_found.LIBRARY, b"/project/lib/x%d/libx.so" % number): 1 for number in range(500)}
        assert "FSP026" not in found(make(not_found=misses, environment={"LD_LIBRARY_PATH": "/project/lib"}))

    def test_a_dead_entry_on_lustre_weighs_more(self) -> None:
        paths = {b"/project/gone": missed(300), b"/project": Counts(n_stat=1)}
        variables = {"PYTHONPATH": "/project/gone"}
        assert found(make(paths, environment=variables))["FSP002"].severity == "warn"
        assert found(make(paths, environment=variables, mounts=[LOCAL]))["FSP002"].severity == "info"


def test_codes_are_stable_and_explained() -> None:
    assert [rule.code for rule in RULES] == sorted({rule.code for rule in RULES})
    for rule in RULES:
        title, parts = explanation(rule)
        assert title, rule.code
        assert not title.endswith("."), rule.code
        assert set(parts) == {"Seen", "Costs", "Do", "Saving"}, rule.code
        assert rule.source
        assert set(rule.thresholds) <= set(DEFAULTS)


def test_thresholds_reach_the_rules() -> None:
    evidence = make(files(VENV, 10), facts=[fact("/project/me/venv")])
    assert "FSP001" not in found(evidence)
    row = replace(DEFAULTS["environment_files"], info=5)
    assert "FSP001" in found(replace(evidence, thresholds={**DEFAULTS, "environment_files": row}))


@pytest.mark.parametrize(
    ("word", "typed"),
    [
        (b"/plain/path", "/plain/path"),
        (b"/with space", "'/with space'"),
        (b"/it's", "'/it'\"'\"'s'"),
        (b"/\xff'\n$x", "$'/\\xff\\x27\\x0a$x'"),
        ("/caf\u00e9".encode(), "'/caf\u00e9'"),
    ],
)
def test_what_is_to_be_typed_is_quoted(word: bytes, typed: str) -> None:
    assert quote(word) == typed


class TestEstimatedByPackage:
    """Where estimated imports are known by package alone, no finding names a module."""

    def test_who_scanned_is_not_told(self) -> None:
        watch = Watch(scanners={"torch.utils.inner": 300})
        paths = {b"/v/lib/python3.11/site-packages/p%d-1.dist-info/entry_points.txt" % i: opened() for i in range(300)}
        for by, words in (
            ("module", "300 opens were of entry_points.txt, while torch.utils.inner"),
            ("package", "can't be told from the paths"),
        ):
            metrics = Metrics(n_open=300, imports_by=by)
            seen = found(make(paths, facts=[fact()], watch=watch, metrics=metrics))["FSP010"]
            assert words in seen.evidence
            assert ("inner" in seen.evidence) is (by == "module")

    def test_real_paths_are_those_of_the_package(self) -> None:
        paths = {b"/v/lib/%d" % i: 30 for i in range(100)}
        watch = Watch(components={"big.one": dict(paths), "big.two": dict(paths)})
        evidence = make(
            {path: Counts(n_stat=60) for path in paths},
            facts=[fact()],
            watch=watch,
            metrics=Metrics(imports_by="package"),
        )
        assert "While big was imported" in found(evidence)["FSP031"].evidence
        assert "6,000 lstat" in found(evidence)["FSP031"].evidence
