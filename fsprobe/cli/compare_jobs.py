"""fsprobe compare A.fsprobe B.fsprobe, where both are jobs: merged recordings of ranks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from fsprobe.cli.report import json_text
from fsprobe.errors import EXIT_NO, BadInput
from fsprobe.jobs import comparison
from fsprobe.model.comparison import Comparison, LayoutRow
from fsprobe.model.profile import Profile
from fsprobe.recording.file import Recording
from fsprobe.recording.stored import stored
from fsprobe.report.terminal import jobs_compared


def compare_jobs(first: str, second: str, as_json: bool, recording_row: Callable[[str, Profile], LayoutRow]) -> int:
    """Two merged jobs side by side, by what all their ranks did and what their nodes ask for.

    Args:
        first: file of the baseline.
        second: file of the other job.
        as_json: print JSON.
        recording_row: makes the row of a comparison from a name and a profile.

    Returns:
        1 when the ranks made different calls.

    Raises:
        BadInput: one is no job, is damaged, or both are the same file.
    """
    if os.path.realpath(first) == os.path.realpath(second):
        raise BadInput("both jobs are the same file", "name two")
    profiles = [_load(file) for file in (first, second)]
    found = comparison.compare_jobs(*profiles)
    rows = [
        replace(recording_row(file, side), job=jobs_compared.summary_of(side))
        for file, side in zip((first, second), profiles, strict=True)
    ]
    labels = [row.layout for row in rows]
    if labels[0] == labels[1] or "" in labels or any(label in (first, second) for label in labels):
        names = [Path(file).name for file in (first, second)]
        labels = names if names[0] != names[1] else [first, second]
    ratios = (None, found.requests.ratio if found.requests is not None else None)
    result = Comparison(
        baseline=labels[0],
        rows=tuple(
            replace(row, layout=label, ratio_requests=ratio)
            for row, label, ratio in zip(rows, labels, ratios, strict=True)
        ),
        jobs=found,
        notes=found.notes,
    )
    if as_json:
        click.echo(json_text(result))
    else:
        jobs_compared.show(result, sys.stdout)
    return 0 if found.same_calls else EXIT_NO


def _load(file: str) -> Profile:
    opened = Recording(file)
    if opened.kind != "job":
        raise BadInput(f"{file} is no job, but the other one is", "make one of its ranks: `fsprobe merge DIR -o FILE`")
    profile = stored(opened)
    assert isinstance(profile, Profile)
    return profile
