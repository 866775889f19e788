"""Damaged and foreign recordings: a result or an FsprobeError, never anything else, from parse to report.

FSPROBE_FUZZ=10000 runs more mutations than the suite does.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.capture import options, record
from fsprobe.errors import FsprobeError
from fsprobe.model import serial
from fsprobe.recording.file import Recording, write
from fsprobe.report import markdown
from fsprobe.report.html import page
from fsprobe.report.terminal import run

N_MUTATIONS = int(os.environ.get("FSPROBE_FUZZ", "250"))
FRAGMENTS = (
    b"",
    b"\0",
    b"\n",
    b"\r",
    b"<",
    b">",
    b'"',
    b"\\",
    b" = ",
    b" <unfinished ...>\n",
    b"<... openat resumed>",
    b"-1",
    b"(+ ",
    b"+++ exited with 0 +++",
    b"fsprobe!ready ",
    b"fsprobe>",
    b"\xff\xfe",
    b"99999999999999999999",
    b"-0",
    b"=",
    b"@marks.1.x 5\n",
    b"{",
    b"]",
    b"null",
    b"1e999",
    b"NaN",
    b"\xe2\x80\xae",
    b"%s",
    b"O_CREAT",
    b"AT_FDCWD<",
    b"= 3<",
)


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("fuzz") / "x.fsprobe"
    program = "import json, threading, subprocess, os; subprocess.run(['true']); os.fork() or os._exit(0)"
    record.record(options.parse(["--force", "-o", str(path), "--", sys.executable, "-c", program]))
    recording = Recording(str(path))
    return {name: b"".join(recording.section(name)) for name in recording.names()}


def mutate(data: bytes, draw: random.Random) -> bytes:
    for _ in range(draw.choice((1, 1, 2, 8, 40))):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(6)
        if kind == 0:
            data = data[:at] + draw.choice(FRAGMENTS) + data[at:]
        elif kind == 1:
            data = data[:at] + data[at + draw.choice((1, 3, 30, 3000)) :]
        elif kind == 2:
            data = data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
        elif kind == 3:
            data = data[:at]
        elif kind == 4:
            other = draw.randrange(len(data) + 1)
            data = data[:at] + data[other : other + 200] + data[at:]
        else:
            lines = data.split(b"\n")
            i, j = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
            data = b"\n".join(lines)
    return data


def odd_value(value: object, draw: random.Random) -> object:
    """A JSON value with one part replaced by a value of another kind."""
    odd = draw.choice([None, True, -1, 0, 1e300, "", "\ud800", "x" * 500, [], {}, [[]], {"a": None}])
    if isinstance(value, dict) and value and draw.random() < 0.8:
        key = draw.choice(list(value))
        return {**value, key: odd_value(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        at = draw.randrange(len(value))
        return [*value[:at], odd_value(value[at], draw), *value[at + 1 :]]
    return odd


def test_a_mutated_recording_gives_a_result_or_an_error_of_ours(sections: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "m.fsprobe"
    n_results = n_errors = 0
    for seed in range(N_MUTATIONS):
        draw = random.Random(seed)
        mutated = dict(sections)
        for name in draw.sample(sorted(sections), draw.choice((1, 1, 2))):
            if name in ("manifest", "lookups") and draw.random() < 0.7:
                mutated[name] = json.dumps(odd_value(json.loads(sections[name]), draw)).encode()
            else:
                mutated[name] = mutate(sections[name], draw)
        write(str(path), "recording", list(mutated.items()))
        try:
            profile = pipeline.analyse(path)
            text = run.render(profile, recording="m.fsprobe")
            assert "\x1b" not in text
            if seed % 10 == 0:
                markdown.render(profile, recording="m.fsprobe")
                page.render(profile, recording="m.fsprobe")
                json.dumps(serial.to_json(profile)).encode()
            n_results += 1
        except FsprobeError:
            n_errors += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        path.unlink()
    assert n_results > N_MUTATIONS // 3
    assert n_errors > 0
