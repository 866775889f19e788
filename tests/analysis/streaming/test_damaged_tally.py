"""Damaged and foreign tallies of streamed runs: each view gives a result or one error of ours, never a traceback."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from fsprobe.analysis.streaming import tally_file
from fsprobe.errors import BadInput
from fsprobe.pipeline import TALLY, read_tally
from fsprobe.recording.file import Recording, write
from tests.model.test_serial import parts_of
from tests.test_fuzz_stored import N_MUTATIONS, mutated, run

STREAMED = Path(__file__).parents[2] / "data" / "format1" / "run-stream.fsprobe"
NUMBERS = (float("nan"), float("inf"), -float("inf"), "²", "1e999", 10**400, -1, True, 0.5, 1 << 63)


@pytest.fixture(scope="module")
def sections() -> dict[str, bytes]:
    """A streamed run in today's format."""
    opened = Recording(str(STREAMED))
    found = {name: b"".join(opened.section(name)) for name in opened.names()}
    found[TALLY] = b"".join(tally_file.write(*tally_file.read(found[TALLY], "x")))
    return found


def written(sections: dict[str, bytes], data: Any, path: Path) -> Path:
    changed = {**sections, TALLY: json.dumps(data).encode()}
    write(str(path), "recording", list(changed.items()))
    return path


def views(path: Path) -> list[tuple[object, ...]]:
    made = [("report", path, "--format", style) for style in ("terminal", "md", "html", "json", "csv", "folded")]
    return [*made, ("check", path, "--max-metadata", 5), ("merge", path, path), ("whatif", path)]


def test_every_view_of_it(sections: dict[str, bytes], tmp_path: Path) -> None:
    data, n_read = json.loads(sections[TALLY]), 0
    for seed in range(N_MUTATIONS * 2):
        made = mutated(data, random.Random(f"tally {seed}"))
        path = written(sections, made, tmp_path / "x.fsprobe")
        with contextlib.suppress(BadInput):
            read_tally(Recording(str(path)), [])
            n_read += 1
        for words in views(path):
            status, err = run(*words)
            assert status in (0, 1, 3, 4), (seed, words, err)
    assert n_read < N_MUTATIONS * 2, "some are refused"


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_no_number_that_is_none(number: Any, sections: dict[str, bytes], tmp_path: Path) -> None:
    """In the place of each tenth count there is: refused, in one line that names the file."""
    data = json.loads(sections[TALLY])
    data.update(first_ns=0, last_ns=1)
    places = list(parts_of(data))
    counts = [at for at, (place, key) in enumerate(places) if type(place[key]) is int and key != "version"]
    counts = counts[:: max(1, len(counts) // 12)]
    assert len(counts) > 5
    for at in counts:
        place, key = places[at]
        before, place[key] = place[key], number
        path = written(sections, data, tmp_path / "x.fsprobe")
        place[key] = before
        with pytest.raises(BadInput, match="damaged"):
            read_tally(Recording(str(path)), [])


def test_an_intact_one_is_read_as_it_was(sections: dict[str, bytes]) -> None:
    found = tally_file.read(sections[TALLY], "x")
    assert b"".join(tally_file.write(*found)) == sections[TALLY]
    assert found[0].total.n_metadata > 100
