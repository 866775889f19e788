"""Files that are no recording, and words that are missing: one line that names it, one that says what to type."""

from __future__ import annotations

import marshal
import zipfile
from pathlib import Path

import pytest

from fsprobe.capture import shipped
from fsprobe.cli import group
from fsprobe.errors import EXIT_BAD_INPUT, EXIT_USAGE

FILES = {
    "empty.fsprobe": (b"", "it is empty", "fsprobe run -o FILE -- CMD"),
    "x.py": (b"print(1)\n", "it is a Python script", "fsprobe run -- python3 x.py"),
    "job": (b"#!/bin/sh\ntrue\n", "it is a script", "fsprobe run -- ./job"),
    "prog": (b"\x7fELF\x02\x01", "it is a program", "fsprobe run -- ./prog"),
    "p.pstats": (marshal.dumps({("f", 1, "g"): (1, 1, 0.0, 0.0, {})}), "no filesystem calls", "fsprobe run -o FILE -- CMD"),
    "profile": (marshal.dumps({("f", 1, "g"): (1, 1, 0.0, 0.0, {})}), "no filesystem calls", "fsprobe run -o FILE -- CMD"),
    "a b.log": (b'12 1764369000.123456 openat(AT_FDCWD, "/x", O_RDONLY) = 3 <0.000009>\n', "strace log", "fsprobe load 'a b.log' -o FILE"),
    "plain.log": (b'execve("/bin/ls", ["ls"], 0x7ffc /* 20 vars */) = 0\n', "strace log", "fsprobe load plain.log -o FILE"),
    "clock.log": (b'[pid  77] 10:11:12.5 stat("/x", 0x1) = -1 ENOENT\n', "strace log", "fsprobe load clock.log -o FILE"),
    "log.gz": (b"\x1f\x8b\x08\x00", "it is compressed", "fsprobe load log.gz -o FILE"),
    "page.html": (b"<!DOCTYPE html>\n", "it is a page", "browser"),
    "report.json": (b'{"kind": "profile"}', "it is JSON", "name the recording"),
    "env.sqsh": (b"hsqs\x01\x02", "SquashFS image", "fsprobe exec --image env.sqsh"),
    "notes.txt": (b"hello\n", "notes.txt is not an fsprobe file", "fsprobe load LOG -o FILE"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(FILES))
def test_a_file_of_another_kind_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, what, hint = FILES[name]
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    assert group.main(["report", name]) == EXIT_BAD_INPUT
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"fsprobe: {name} is not an fsprobe file")
    assert what in lines[0]
    assert hint in lines[1]


def test_an_archive_is_told_from_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as out:
        out.writestr("a", "b")
    assert group.main(["report", str(tmp_path / "t.zip")]) == EXIT_BAD_INPUT
    assert "it is a ZIP archive" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "example"),
    [
        (["whatif"], "fsprobe whatif slow.fsprobe"),
        (["fix"], "fsprobe fix slow.fsprobe --dry-run"),
        (["check"], "fsprobe check slow.fsprobe --max-metadata 3000"),
        (["load", "x.log"], "fsprobe load trace.log -o old.fsprobe"),
        (["pack", "venv"], "fsprobe pack --compile VENV -o env.sqsh"),
        (["ticket", "x.fsprobe"], "fsprobe ticket slow.fsprobe --redact -o ticket.zip"),
        (["completion"], "source <(fsprobe completion bash)"),
    ],
)
def test_a_word_that_is_missing_is_shown_by_an_example(
    words: list[str], example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert group.main(words) == EXIT_USAGE
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("fsprobe: Missing ")
    assert lines[1].startswith(f"fsprobe: hint: `{example}")


def test_usage_begins_as_fsprobe_was_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("report", "whatif"):
        assert group.main([command, "--help"]) == 0  # their examples are made once, here as usual
    capsys.readouterr()
    monkeypatch.setattr(shipped, "typed", lambda is_whole=False: "python3 fsprobe.pyz")
    monkeypatch.setattr(group.command, "help", group.command.help)  # put back at the end
    assert group.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: python3 fsprobe.pyz [OPTIONS] COMMAND")
    assert "python3 fsprobe.pyz run -- python train.py" in shown
    assert group.main(["report", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: python3 fsprobe.pyz report [OPTIONS]")
    assert group.main(["whatif", "--wrong"]) == EXIT_USAGE
    assert capsys.readouterr().err.splitlines() == [
        "fsprobe: whatif has no option --wrong",
        "fsprobe: hint: see `python3 fsprobe.pyz help whatif`",
    ]
