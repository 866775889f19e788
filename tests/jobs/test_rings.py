"""Ranks that were recorded inline: whichever way their rings are read, the job's profile is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fsprobe import jobs, pipeline
from fsprobe.events.ring import mapped
from fsprobe.model import serial
from fsprobe.recording import file
from tests.analysis.columns.test_columns import Made
from tests.job_recordings import rank_variables

N_RANKS = 9


def write_ranks(place: Path) -> None:
    for rank in range(N_RANKS):
        manifest = {
            "backend": "inline", "capabilities": ["durations", "results", "stats"], "command": ["python3"], "cwd": "/w",
            "exit_code": 0, "host": "n", "wall_s": 1.5, "scratch": f"/dev/shm/fsprobe-{rank}",
            "job": rank_variables(rank, size=N_RANKS, per_node=4),
        }  # fmt: skip
        # three kinds of ranks, which differ in their calls
        sections = [("manifest", json.dumps(manifest).encode()), ("marks", b""), ("ring", Made(rank % 3).ring(300))]
        file.write(str(place / f"r{rank}.fsprobe"), "recording", sections)


def test_large_rings_are_read_as_columns_and_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ranks(tmp_path)
    asked: list[str] = []
    read = pipeline.ring_events
    monkeypatch.setattr(pipeline, "ring_events", lambda *args: asked.append("events") or read(*args))
    one_by_one = serial.to_json(jobs.merge(jobs.gather([str(tmp_path)])))
    assert len(asked) > N_RANKS, "each, and those that stand for their kind once more"
    asked.clear()
    monkeypatch.setattr(mapped, "LARGE_BYTES", 0)
    assert serial.to_json(jobs.merge(jobs.gather([str(tmp_path)]))) == one_by_one
    assert not asked
