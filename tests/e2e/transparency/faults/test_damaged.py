"""Recordings that were cut, changed or never were any: one clear line, never a traceback."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import Fsprobe, need


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording's bytes."""
    need(shutil.which("strace"), "no strace on PATH")
    tmp = tmp_path_factory.mktemp("whole")
    fsprobe = Fsprobe(tmp)
    done = fsprobe([sys.executable, "-c", "import json, decimal"])
    assert done.status == 0, done.err
    return done.recording.read_bytes()


def report(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    from fsprobe.__main__ import main

    monkeypatch.setattr(sys, "argv", ["fsprobe", "report", str(path), "--format", "json"])
    status = main()
    return status, capsys.readouterr().err


def assert_bad_input(status: int, err: str) -> None:
    assert status == 3, err
    lines = err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("fsprobe: ") for line in lines)
    assert "hint: " in lines[1]


def boundaries(data: bytes) -> list[int]:
    """Where each part of the file starts and ends: header, section headers, bodies, closing line."""
    places = [0, data.index(b"\n") + 1]
    at = places[-1]
    while not data.startswith(b"end ", at):
        size = int(data[at:].split(None, 3)[2])
        head = data.index(b"\n", at) + 1
        places += [head, head + size, head + size + 1]
        at = head + size + 1
    return [*places, at + 4, len(data) - 1]


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_recording_cut_at_each_boundary(
    whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    for place in boundaries(whole):
        (tmp_path / "x").write_bytes(whole[: max(0, place + shift)])
        if place + shift >= len(whole):
            continue
        assert_bad_input(*report(tmp_path / "x", capsys, monkeypatch))


@pytest.mark.parametrize("seed", range(6))
def test_recording_cut_anywhere(
    whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        (tmp_path / "x").write_bytes(whole[: chance.randrange(len(whole))])
        assert_bad_input(*report(tmp_path / "x", capsys, monkeypatch))


@pytest.mark.parametrize("seed", range(6))
def test_recording_with_a_flipped_byte(
    whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Every byte counts."""
    chance = random.Random(100 + seed)
    # half of them among the headers, where a flip changes what is found rather than what is in it
    near = [place + k for place in boundaries(whole) for k in range(-60, 90) if 0 <= place + k < len(whole)]
    for _ in range(40):
        place = chance.choice(near) if chance.random() < 0.5 else chance.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        (tmp_path / "x").write_bytes(damaged)
        assert_bad_input(*report(tmp_path / "x", capsys, monkeypatch))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 5000,
        b"fsprobe 1 recording\n",
        b"fsprobe 99 recording\n",
        b"fsprobe 1 novel\n",
        b"hello\n",
        os.urandom(3000),
    ],
    ids=["empty", "zeros", "header alone", "newer", "unknown kind", "text", "noise"],
)
def test_file_that_is_no_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "x").write_bytes(content)
    assert_bad_input(*report(tmp_path / "x", capsys, monkeypatch))


@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_recording_that_cannot_be_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "directory":
        (tmp_path / "x").mkdir()
    assert_bad_input(*report(tmp_path / "x", capsys, monkeypatch))
