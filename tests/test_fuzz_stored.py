"""Damaged and foreign files of jobs and comparisons: each command gives a result or an error of ours, never a traceback."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from fsprobe.__main__ import main
from fsprobe.errors import BadInput
from fsprobe.model.serial import to_json
from fsprobe.recording.file import Recording, write
from fsprobe.recording.stored import stored
from tests.model.test_serial import parts_of

PLACE = Path(__file__).parent / "data" / "format1"
N_MUTATIONS = int(os.environ.get("FSPROBE_FUZZ", "250")) // 10
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, -5, 1, 2**62, 2**70, 0.0, -0.5, 1e308, -1e308, 1e-300),
    *("", "x", "\x1b[31m", "\udcff", "\ud800", "a" * 3000, [], {}, [[]], {"a": 1}),
)


def mutated(data: Any, draw: random.Random) -> Any:
    """The same with some parts replaced (by others of their type, more often than not), left out or doubled."""
    made = copy.deepcopy(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        place, key = draw.choice(list(parts_of(made)))
        how = draw.random()
        if how < 0.1 and isinstance(place, dict):
            del place[key]
        elif how < 0.2 and isinstance(place, list):
            place.append(copy.deepcopy(place[key]))
        elif how < 0.4:
            place[key] = copy.deepcopy(draw.choice(ODD))
        else:
            alike = [odd for odd in ODD if type(odd) is type(place[key])]
            place[key] = copy.deepcopy(draw.choice(alike or ODD))
    return made


def run(*words: object) -> tuple[int, str]:
    """Run a command line in this process: its exit code, and what it said to the terminal's error stream."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["fsprobe", *map(str, words)])
        status = main()
    assert "\x1b" not in out.getvalue()
    return status, err.getvalue()


@pytest.mark.parametrize("name", ["job.fsprobe", "job-stream.fsprobe", "comparison.fsprobe"])
@pytest.mark.parametrize("version", [1, 2])
def test_every_view_of_it(name: str, version: int, tmp_path: Path) -> None:
    opened, path = Recording(str(PLACE / name)), tmp_path / "x.fsprobe"
    data = opened.manifest if version == 1 else json.loads(json.dumps(to_json(stored(opened))))
    views: list[tuple[object, ...]] = [
        ("report", path, "--format", style) for style in ("terminal", "md", "html", "json", "csv")
    ]
    views.append(("whatif", path))
    if opened.kind == "job":
        views += [("compare", path, PLACE / "job2.fsprobe"), ("check", path, "--max-metadata", 5)]
    n_read = 0
    for seed in range(N_MUTATIONS):
        made = mutated(data, random.Random(f"{name} {version} {seed}"))
        write(str(path), opened.kind, [("manifest", json.dumps(made).encode())], version)
        with contextlib.suppress(BadInput):
            stored(Recording(str(path)))
            n_read += 1
        for words in views:
            status, err = run(*words)
            assert status in (0, 1, 3, 4), (seed, words, err)
            assert "Traceback" not in err, (seed, words, err)
    assert 0 < n_read < N_MUTATIONS, "some are read, some are refused"
