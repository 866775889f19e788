"""Programs that trace others: a job names those of all its ranks, and how many ranks started each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fsprobe.jobs import total
from fsprobe.jobs.reading.recordings import gather
from fsprobe.model.profile import Profile
from fsprobe.model.serial import from_json, to_json
from fsprobe.recording import file as recording
from fsprobe.report import markdown
from fsprobe.report.terminal import job as terminal
from tests.job_recordings import rank_variables

SOURCE = Path(__file__).parents[1] / "data" / "servers" / "nfs-s4_stat.fsprobe"


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    place = tmp_path_factory.mktemp("ranks")
    opened = recording.Recording(str(SOURCE))
    sections = [(name, b"".join(opened.section(name))) for name in opened.names() if name != "manifest"]
    for number, tracers in enumerate(([], ["gdb"], ["strace", "gdb"], [])):
        manifest = dict(opened.manifest, job=rank_variables(number, size=4, per_node=2), tracers=tracers)
        path = str(place / f"r{number}.fsprobe")
        recording.write(path, "recording", [("manifest", json.dumps(manifest).encode()), *sections])
    return total.merge(gather([str(place)]))


def test_the_first_rank_started_none_and_all_are_named(profile: Profile) -> None:
    assert profile.manifest.tracers == ("gdb", "strace")
    assert profile.job is not None
    assert profile.job.tracers == {"gdb": 2, "strace": 1}
    assert from_json(Profile, to_json(profile)) == profile


def test_a_report_names_them_with_their_ranks(profile: Profile) -> None:
    for text in (terminal.render(profile, "job"), markdown.render(profile)):
        assert "gdb in 2 ranks, strace in 1 rank" in " ".join(text.split())
