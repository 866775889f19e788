"""FSP016: workers of each kind, and what the printed lines do where they are typed in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fsprobe.analysis.findings.evidence import Evidence
from fsprobe.analysis.findings.watch import FORK_SERVER, LOKY, SPAWN, Watch
from tests.analysis.findings.evidence import fact, found, make, process
from tests.e2e.findings.runs import findings_of, n_metadata, run

PYTHON = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
N_WORKERS = 4
PROGRAM = """
import multiprocessing, email.message, xml.dom.minidom, sqlite3
def f(x): return x
if __name__ == "__main__":
    {line}
    context = multiprocessing.get_context("{method}")
    workers = [context.Process(target=f, args=(n,)) for n in range({n})]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
"""


def worker_of_dask(pid: int) -> tuple[Watch, str]:
    key = f"{pid} python -c (multiprocessing)"
    seen = Watch(first_import={key: SPAWN}, modules={key: {"distributed"}})
    seen.worker_imports[key] = {"dask.distributed": {"distributed": 400}}
    seen.run_paths[key] = {b"/tmp/dask-scratch-space/worker-x": 2, b"/dev/null": 1}
    return seen, key


def machinery(evidence: Evidence) -> list[int]:
    """What each spawned worker's imports cost, but for those of the program."""
    seen = evidence.watch
    assert seen is not None
    return [
        seen.phases[key]["import"] - sum(sum(of.values()) for of in seen.worker_imports[key].values())
        for key, first in seen.first_import.items()
        if first == SPAWN
    ]


def merged(*parts: Watch) -> Watch:
    whole = Watch()
    for part in parts:
        for name in ("first_import", "modules", "worker_imports", "run_paths", "phases"):
            getattr(whole, name).update(getattr(part, name))
    return whole


@pytest.mark.usefixtures("strace_program")
class TestForkServer:
    def test_its_line_in_place(self, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.format(line="", method="forkserver", n=N_WORKERS))
        before = run([PYTHON, str(program)], tmp_path)
        finding = findings_of(before)["FSP016"]
        assert f"{N_WORKERS} workers of multiprocessing's forkserver" in finding.evidence
        (line,) = finding.commands
        program.write_text(PROGRAM.format(line=line, method="forkserver", n=N_WORKERS))
        after = run([PYTHON, str(program)], tmp_path)
        assert "FSP016" not in findings_of(after)
        saved = n_metadata(before) - n_metadata(after)
        assert 0.9 * saved <= finding.saves["calls"] <= saved

    def test_spawn_has_the_same_list_and_its_own_saving(self, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.format(line="", method="spawn", n=N_WORKERS))
        before = run([PYTHON, str(program)], tmp_path)
        finding = findings_of(before)["FSP016"]
        told = int(finding.advice.partition("saves at least ")[2].partition(" calls")[0].replace(",", ""))
        preload = finding.commands[1].partition("; ")[2]
        program.write_text(PROGRAM.format(line=preload, method="forkserver", n=N_WORKERS))
        after = run([PYTHON, str(program)], tmp_path)
        saved = n_metadata(before) - n_metadata(after)
        # left out is the machinery, which a fork server imports once: what it costs depends on the Python
        costs = sorted(machinery(before))
        assert len(costs) == N_WORKERS
        assert saved - sum(costs[:-1]) <= told <= saved
        assert told < finding.saves["calls"]


class TestOthers:
    def test_dask_reads_its_own_configuration(self) -> None:
        rows = [
            process(10, "python program.py", 100),
            *(process(n, "python -c (multiprocessing)", 500, 10) for n in (11, 12)),
        ]
        finding = found(make(facts=[fact()], processes=rows, watch=merged(*(worker_of_dask(n)[0] for n in (11, 12)))))[
            "FSP016"
        ]
        assert finding.commands == (
            "export DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD=fork",
            "# or, where a forked worker hangs:",
            "export DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD=forkserver",
        )

    def test_dask_fills_the_list_of_its_server_itself(self) -> None:
        rows = [process(10, "python -c (multiprocessing)", 100), process(11, "python -c (multiprocessing)", 500, 10)]
        rows.append(process(12, "python -c (multiprocessing)", 500, 10))
        seen = merged(*(worker_of_dask(n)[0] for n in (11, 12)))
        seen.first_import = {"10 python -c (multiprocessing)": FORK_SERVER}
        assert "FSP016" not in found(make(facts=[fact()], processes=rows, watch=seen))

    @pytest.mark.parametrize(("package", "n_commands"), [("joblib.externals.", 1), ("", 0)])
    def test_loky(self, package: str, n_commands: int) -> None:
        label = f"python -m {package}{LOKY}"
        rows = [process(10, "python program.py", 100), *(process(n, label, 500, 10) for n in (11, 12, 13))]
        seen = Watch(phases={f"{n} {label}": {"import": 450, "run": 50} for n in (11, 12, 13)})
        finding = found(make(facts=[fact()], processes=rows, watch=seen))["FSP016"]
        assert finding.evidence.startswith("3 workers of loky")
        assert finding.saves == {"calls": 1350}
        assert len(finding.commands) == n_commands
        alone = make(facts=[fact()], processes=rows[:2], watch=seen)
        assert "FSP016" not in found(alone)
