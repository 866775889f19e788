"""The verdict on made profiles: each level, just reached and just not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fsprobe.analysis.findings.watch import Watch
from fsprobe.analysis.verdict import CAN_NOT_TELL, DANGER, HEAVY, NOT, NOTICEABLE, verdict
from fsprobe.analysis.whatif import PROFILES
from fsprobe.model.profile import Metrics, Quality, Verdict
from fsprobe.model.rows import Counts, MountRow, Rates, Row
from fsprobe.model.time.account import MountTime, TimeAccount
from tests.analysis.findings.evidence import make

OVERHEAD_US = 10.0


def judge(
    *,
    fs_class: str | None = "network",
    fstype: str = "nfs4",
    n: int = 1000,
    n_open: int = 100,
    ms: float = 0.02,
    wall_s: float = 10.0,
    cpu_s: float = 1.0,
    rates: Rates | None = None,
    ranks: int = 1,
    manifest: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
) -> Verdict:
    """The verdict on a run with n calls of `ms` each on one mount."""
    counts = {"n_open": n_open, "n_stat": n - n_open}
    row = MountRow(
        key="/project",
        fstype=fstype,
        fs_class=fs_class,
        **counts,
        time_s=n * (ms / 1e3 + OVERHEAD_US / 1e6),
        p50_ms=ms + OVERHEAD_US / 1e3,
    )
    made = Metrics(
        **counts,
        by_mount=(row,),
        by_phase=(Row(key="import", **counts),),
        by_module=(),
        time_s=1.0,
        tracing_overhead_us=OVERHEAD_US,
        rates=rates or Rates(),
    )
    return verdict(
        make(
            {b"/project/x": Counts(n_stat=n)},
            job={"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": str(ranks)},
            manifest={"wall_s": wall_s, "user_s": cpu_s, "sys_s": 0.0, "majflt": 3, **(manifest or {})},
            metrics=replace(made, **(metrics or {})),
        )
    )


@pytest.mark.parametrize(
    ("ms", "wall_s", "level"),
    [
        (0.02, 10.0, NOT),
        (0.9, 10.0, NOT),
        (1.1, 10.0, NOTICEABLE),
        (3.9, 10.0, NOTICEABLE),
        (4.1, 10.0, HEAVY),
        (0.2, 0.5, NOT),
    ],
)
def test_time(ms: float, wall_s: float, level: str) -> None:
    # 1,000 calls: 0.9 ms are 9 % of 10 s, 4.1 ms are 41 % and more than 3 s; 0.2 s is little, whatever the share
    assert judge(ms=ms, wall_s=wall_s).level == level


@pytest.mark.parametrize(
    ("ranks", "level"), [(9, NOT), (10, NOTICEABLE), (99, NOTICEABLE), (100, HEAVY), (1000, DANGER)]
)
def test_ranks(ranks: int, level: str) -> None:
    assert judge(ranks=ranks).level == level


@pytest.mark.parametrize(("per_s", "level"), [(999, NOT), (1000, NOTICEABLE), (5000, HEAVY), (30000, DANGER)])
def test_rates(per_s: float, level: str) -> None:
    rates = Rates(sustained_metadata_per_s=per_s, sustained_open_per_s_process=10.0)
    assert judge(rates=rates).level == level


@pytest.mark.parametrize(("per_s", "level"), [(99, NOT), (100, NOTICEABLE)])
def test_opens_per_process(per_s: float, level: str) -> None:
    rates = Rates(sustained_metadata_per_s=per_s, sustained_open_per_s_process=per_s)
    assert judge(rates=rates).level == level


def test_rates_of_the_job() -> None:
    rates = Rates(sustained_metadata_per_s=300.0, sustained_open_per_s_process=10.0)
    assert judge(rates=rates, ranks=2, n=100).level == NOT
    assert judge(rates=rates, ranks=20, n=100).level == HEAVY


@pytest.mark.parametrize(("n_open", "level"), [(280, NOT), (290, NOTICEABLE)])
def test_a_warm_run_may_be_cold_elsewhere(n_open: int, level: str) -> None:
    # 17.4 ms an open on a production Lustre, 5 s
    judged = judge(fstype="lustre", n_open=n_open)
    assert judged.level == level
    assert any("empty caches" in reason for reason in judged.reasons) is (level == NOTICEABLE)


def test_it_waits_as_long_as_whatif_says() -> None:
    # 1,000 opens on a busy Lustre: published per open call, whatever is predicted beside
    busy = next(row for row in PROFILES if row.name == "Lustre, busy, cold")
    said = judge(fstype="lustre", n=3000, n_open=1000).reasons
    assert f"with empty caches the same start may wait {1000 * busy.ms / 1e3:.0f} s" in " ".join(said)


def test_a_rate_claims_no_longer_time_than_the_run_had() -> None:
    # 3,000 opens in a run of 3 s are 300/s in a window of 10 s: the sentence counts, it does not extrapolate
    made = judge(
        n=3000, n_open=3000, wall_s=3.0, rates=Rates(sustained_metadata_per_s=300, sustained_open_per_s_process=300)
    )
    assert made.sentence == "The filesystem is noticeable: one process opens 3,000 files within 10 s (300/s)."


@pytest.mark.parametrize("fs_class", ["local", "memory", "image"])
def test_no_server_no_danger(fs_class: str) -> None:
    rates = Rates(sustained_metadata_per_s=90000.0, sustained_open_per_s_process=9000.0)
    judged = judge(fs_class=fs_class, n=2_000_000, n_open=900_000, ms=0.001, rates=rates, ranks=1000, cpu_s=9.0)
    assert judged.level == NOT
    assert "none of them to a file server" in judged.sentence


def test_a_cold_local_disk_is_noticeable_at_most() -> None:
    assert judge(fs_class="local", ms=8.0, cpu_s=1.0).level == NOTICEABLE
    assert judge(fs_class="local", ms=8.0, cpu_s=7.0).level == NOT  # then processors were busy
    assert judge(fs_class="local", ms=0.2, cpu_s=1.0).level == NOT


def test_what_is_not_known_is_said() -> None:
    judged = judge(fs_class=None, metrics={"time_s": None, "tracing_overhead_us": None, "by_module": None})
    said = " ".join(judged.unseen)
    for word in ("page fault", "warm", "durations", "mount table", "imports were not timed"):
        assert word in said
    slow = judge(fs_class=None, ms=5.0)
    assert slow.level == HEAVY


def test_what_tracing_changed_is_said() -> None:
    judged = judge(
        manifest={
            "privileged": (("/usr/bin/sudo", "setuid"),),
            "descendants_left": True,
            "log_truncated": "size",
            "capabilities": ("results",),
        }
    )
    said = " ".join(judged.unseen)
    for word in ("privileges", "outlived", "cut off", "loader"):
        assert word in said


def test_cpu_faults_and_wall_stand_beside() -> None:
    assert any("10.00 s wall, 1.00 s CPU" in reason and "3 major page faults" in reason for reason in judge().reasons)


def test_a_run_without_calls() -> None:
    judged = verdict(make())
    assert judged.level == NOT
    assert judged.unseen


def test_what_was_not_observed_acquits_nobody() -> None:
    """A log of somebody else: whether there was a file server among the mounts, nobody said, and nobody timed the calls."""
    judged = judge(fs_class=None, fstype="", metrics={"time_s": None, "tracing_overhead_us": None})
    assert judged.level == CAN_NOT_TELL
    assert "on which filesystems the paths lie" in judged.sentence
    assert "--mounts" in judged.sentence
    assert "strace -T" in judged.sentence


def test_calls_to_a_server_that_nobody_timed_acquit_nobody() -> None:
    judged = judge(n=100, n_open=10, metrics={"time_s": None, "tracing_overhead_us": None})
    assert judged.level == CAN_NOT_TELL
    assert "strace -T" in judged.sentence
    assert "--mounts" not in judged.sentence


def test_local_calls_need_no_durations_to_be_no_file_servers() -> None:
    assert judge(fs_class="local", metrics={"time_s": None, "tracing_overhead_us": None}).level == NOT


@pytest.mark.parametrize(("n_opens", "n_stats", "absent"), [(0, 900, "no open"), (900, 0, "no stat"), (450, 450, "")])
def test_a_log_of_other_calls_acquits_nobody(n_opens: int, n_stats: int, absent: str) -> None:
    counts = {"n_open": n_opens, "n_stat": n_stats}
    judged = judge(fs_class="local", manifest={"logs": ("strace.log",)}, metrics=counts)
    assert judged.level == (CAN_NOT_TELL if absent else NOT)
    assert absent in judged.sentence


def test_heavy_is_heavy_whatever_else_is_not_known() -> None:
    assert judge(ms=4.1, manifest={"logs": ("strace.log",)}, metrics={"n_stat": 0}).level == HEAVY


@pytest.mark.parametrize(
    ("end", "level"),
    [
        ({"exit_code": 0}, NOT),
        ({"exit_code": None}, NOT),  # nobody saw it end: a log from elsewhere, a program that was attached to
        ({"exit_code": 1}, CAN_NOT_TELL),
        ({"exit_code": 143, "signal": 15}, CAN_NOT_TELL),
    ],
)
def test_a_command_that_failed_is_not_acquitted(end: dict[str, Any], level: str) -> None:
    assert judge(manifest=end).level == level
    # what it did until then convicts all the same
    assert judge(ms=4.1, manifest=end).level == HEAVY


@pytest.mark.parametrize(("path", "level"), [(b"/project/out/x", CAN_NOT_TELL), (b"/tmp/x", NOT)])
def test_waiting_beside_files_that_were_written_acquits_nobody(path: bytes, level: str) -> None:
    """Writing is timed by no backend: a program that wrote to a file server for 8 of 10 s waited for that or for something else."""
    row = MountRow(key="/project", fstype="lustre", fs_class="network", n_open=10)
    made = make(
        {path: Counts(n_open=10)},
        watch=Watch(written={path: 10}),
        metrics=Metrics(n_open=10, by_mount=(row,), time_s=1.0),
    )
    time = TimeAccount(
        wall_s=10.0, cpu_s=1.0, metadata_s=0.5, reads_s=0.5, other_s=8.0, by_mount=(MountTime(key="/project"),)
    )
    judged = verdict(replace(made, profile=replace(made.profile, time=time)))
    assert judged.level == level
    assert ("1 file was written there" in judged.sentence) is (level == CAN_NOT_TELL)


@pytest.mark.parametrize(("other_s", "level"), [(8.0, CAN_NOT_TELL), (2.0, NOT)])
def test_what_was_not_seen_is_not_acquitted(other_s: float, level: str) -> None:
    """`env -i python x.py` under the inline recorder: 33 calls of env, and an interpreter that waited unseen."""
    row = MountRow(key="/", fstype="ext4", fs_class="local", n_open=10)
    made = make({b"/usr/bin/env": Counts(n_open=10)}, metrics=Metrics(n_open=10, by_mount=(row,), time_s=0.1))
    time = TimeAccount(wall_s=10.0, cpu_s=10.0 - other_s, metadata_s=0.0, reads_s=0.0, other_s=other_s)
    profile = replace(made.profile, time=time, quality=Quality(unseen={"python": 1}))
    assert verdict(replace(made, profile=profile)).level == level


@pytest.mark.parametrize(
    ("manifest", "quality", "level"),
    [
        ({"log_truncated": "the log reached --max-log"}, Quality(n_lines=1000), CAN_NOT_TELL),
        ({}, Quality(n_lines=1000, n_lost=900), CAN_NOT_TELL),
        ({}, Quality(n_lines=1000, n_lost=2), NOT),
    ],
)
def test_a_part_of_a_run_is_not_acquitted(manifest: dict[str, Any], quality: Quality, level: str) -> None:
    row = MountRow(key="/", fstype="ext4", fs_class="local", n_open=10)
    made = make({b"/x": Counts(n_open=10)}, manifest=manifest, metrics=Metrics(n_open=10, by_mount=(row,), time_s=0.1))
    judged = verdict(replace(made, profile=replace(made.profile, quality=quality)))
    assert judged.level == level
    assert ("is not complete" in judged.sentence or "900 records were lost" in judged.sentence) is (level != NOT)


def test_what_was_read_has_the_unit_that_reports_give_it() -> None:
    assert judge(manifest={"read_bytes": 3 << 20}).reasons[-1].endswith("3 major page faults, 3 MiB read")


@pytest.mark.parametrize(("number", "name"), [(15, "SIGTERM"), (9, "SIGKILL"), (40, "signal 40")])
def test_a_signal_has_its_name(number: int, name: str) -> None:
    said = judge(fs_class="local", fstype="ext4", manifest={"signal": number})
    assert said.level == CAN_NOT_TELL
    assert f"the command was ended by {name}, so" in said.sentence
