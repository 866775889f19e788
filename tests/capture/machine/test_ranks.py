"""Which rank a process is, which ranks are meant, and what one that is left out costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fsprobe.capture import naming
from fsprobe.capture.machine import ranks
from fsprobe.capture.options import parse
from fsprobe.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_OWN_FAILURE, FsprobeError
from tests.conftest import FSPROBE, ROOT, clean_environment

SLURM = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NNODES": "2"}
BATCH_SCRIPT = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "4", "SLURM_NNODES": "2"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "PMIX_RANK": "3",
}
MPICH = {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "2", "MPI_LOCALNRANKS": "4"}


def facts(environment: dict[str, str]) -> tuple[object, ...] | None:
    rank = ranks.identify(environment)
    return None if rank is None else (rank.number, rank.size, rank.local_rank, rank.local_size, rank.node, rank.n_nodes)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "6", "SLURM_NTASKS": "8"}, (5, 6, 1, None, 1, 2)),
        ({**SLURM, "SLURM_NTASKS": "8"}, (5, 8, 1, None, 1, 2)),
        (BATCH_SCRIPT, None),
        (OPEN_MPI, (3, 8, 0, 4, None, None)),
        (MPICH, (2, 4, 2, 4, None, None)),
        # mpirun in a batch script: Slurm's number is 0 in all of them
        ({**BATCH_SCRIPT, **MPICH}, (2, 4, 2, 4, None, None)),
        # a hydra proxy is a Slurm task itself, and its ranks inherit that task's number
        ({**SLURM, **MPICH}, (2, 4, 2, 4, None, None)),
        # srun --mpi=pmi2: both say the same, and Slurm knows the nodes
        ({**SLURM, "PMI_RANK": "5", "PMI_SIZE": "8"}, (5, 8, 1, None, 1, 2)),
        ({"PMIX_RANK": "7"}, (7, None, None, None, None, None)),
        ({"PALS_RANKID": "4", "PALS_LOCAL_RANKID": "0", "PALS_NODEID": "1"}, (4, None, 0, None, 1, None)),
        ({"PMI_RANK": "no number"}, None),
    ],
)
def test_identify(environment: dict[str, str], expected: tuple[object, ...] | None) -> None:
    assert facts(environment) == expected


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        ("all", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("0", [0]),
        ("0,5-6", [0, 5, 6]),
        ("one-per-node", [0, 4]),
        ("one-per-node,7", [0, 4, 7]),
        ("100-200", []),
    ],
)
def test_selects(selection: str, chosen: list[int]) -> None:
    found = []
    for number in range(8):
        rank = ranks.identify({**SLURM, "SLURM_PROCID": str(number), "SLURM_LOCALID": str(number % 4)})
        assert rank is not None
        if ranks.selects(selection, rank):
            found.append(number)
    assert found == chosen


def test_one_per_node_where_nobody_knows_the_nodes_is_rank_0() -> None:
    found = [number for number in range(4) if ranks.selects("one-per-node", ranks.Rank(number, "PMIX_RANK"))]
    assert found == [0]
    assert "only rank 0" in ranks.selection_warning("one-per-node", ranks.Rank(0, "PMIX_RANK"))
    assert "traced" in ranks.selection_warning("0", None)
    assert ranks.selection_warning("all", None) == ""


@pytest.mark.parametrize("selection", ["", "x", "3-1", "-1", "1,", "one-per-nod", "1-", "1-2-3"])
def test_wrong_selections_are_wrong_usage(selection: str) -> None:
    if not selection:
        assert parse(["--ranks", "", "--", "true"]).ranks == ""
        return
    with pytest.raises(FsprobeError) as caught:
        parse(["--ranks", selection, "--", "true"])
    assert caught.value.exit_code == EXIT_OWN_FAILURE
    assert "one-per-node" in caught.value.hint


def test_names_of_ranks_never_collide(tmp_path: Path) -> None:
    eight = [ranks.identify({**SLURM, "SLURM_PROCID": str(number), "SLURM_NTASKS": "8"}) for number in range(8)]
    assert len({naming.output_path("", ["python", "x.py"], "nid1", rank) for rank in eight}) == 8
    assert len({naming.output_path("a.b/x.fsprobe", ["python"], "nid1", rank) for rank in eight}) == 8
    assert naming.output_path("a.b/x.fsprobe", ["python"], "nid1", eight[3]) == "a.b/x.rank0003.fsprobe"
    assert naming.output_path("a.b/x", ["python"], "nid1", eight[3]) == "a.b/x.rank0003"
    assert naming.output_path("x.fsprobe", ["python"], "nid1", None) == "x.fsprobe"
    made = naming.output_path(f"{tmp_path}/new/", ["python"], "nid1", eight[3])
    assert os.path.dirname(made) == f"{tmp_path}/new"
    assert "rank0003-nid1-" in made
    assert (tmp_path / "new").is_dir()
    alone = ranks.identify({**SLURM, "SLURM_NTASKS": "1"})
    assert naming.output_path("x.fsprobe", ["python"], "nid1", alone) == "x.fsprobe"


def run_left_out(*command: str, before: object = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*FSPROBE, "run", "--ranks", "0", "--force", "-o", "/nowhere/x", "--", *command],
        env=clean_environment(**SLURM),
        capture_output=True,
        input=b"in",
        preexec_fn=before,  # type: ignore[arg-type]
        check=False,
    )


def test_a_rank_left_out_is_its_command() -> None:
    script = "cat; grep -E 'SigIgn|SigBlk|TracerPid' /proc/self/status; ls /proc/self/fd; echo err >&2; exit 7"
    plain = subprocess.run(
        ["sh", "-c", script], env=clean_environment(**SLURM), capture_output=True, input=b"in", check=False
    )
    left_out = run_left_out("sh", "-c", script)
    assert left_out.returncode == 7
    assert (left_out.stdout, left_out.stderr) == (plain.stdout, plain.stderr)
    assert run_left_out("sh", "-c", "kill -9 $$").returncode == -signal.SIGKILL


def test_a_rank_left_out_says_what_cannot_be_started(tmp_path: Path) -> None:
    no_program = tmp_path / "file"
    no_program.write_text("text")
    assert run_left_out("/no/such/program").returncode == EXIT_NOT_FOUND
    assert run_left_out(str(no_program)).returncode == EXIT_NOT_EXECUTABLE
    assert b"hint:" in run_left_out("/no/such/program").stderr


def test_a_rank_left_out_loads_next_to_nothing(strace_program: str, tmp_path: Path) -> None:
    # the bound is far below the 500 calls that importing the recorder takes
    def n_calls(*command: str) -> int:
        log = tmp_path / "log"
        subprocess.run(
            [strace_program, "-f", "-qq", "-o", str(log), "-e", "trace=%file,getdents64", *command],
            env=clean_environment(**SLURM),
            capture_output=True,
            check=True,
        )
        return sum(b', "", ' not in line for line in log.read_bytes().splitlines())

    bare = n_calls(sys.executable, "-I", "-c", "pass")
    alone = n_calls("/bin/true")
    left_out = n_calls(*FSPROBE, "run", "--ranks", "0", "--", "/bin/true")
    assert left_out - bare - alone < 100, (bare, alone, left_out)


def test_what_a_left_out_rank_imports() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from fsprobe.cli import untraced; "
        "import os; os.execvpe = lambda *_: print(*sorted(n for n in sys.modules if n.startswith('fsprobe.'))); "
        "untraced.main(['--ranks', '0', '--', 'true'])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], env=clean_environment(**SLURM), capture_output=True, check=True
    )
    assert done.stdout.decode().split() == [
        "fsprobe.capture",
        "fsprobe.capture.machine",
        "fsprobe.capture.machine.environment",
        "fsprobe.capture.machine.ranks",
        "fsprobe.capture.options",
        "fsprobe.cli",
        "fsprobe.cli.untraced",
        "fsprobe.errors",
    ]


@pytest.mark.parametrize(
    ("selection", "local_rank", "is_left"),
    [("", 0, False), ("", 1, True), ("", None, False), ("all", 1, False), ("one-per-node", 0, False), ("5", 5, False)],
)
def test_lookups_are_left_where_the_first_rank_of_the_node_is_recorded(
    selection: str, local_rank: int | None, is_left: bool
) -> None:
    rank = ranks.Rank(7, "SLURM_PROCID")
    rank.local_rank = local_rank
    assert ranks.leaves_lookups(selection, rank) is is_left
    assert ranks.leaves_lookups(selection, None) is False
