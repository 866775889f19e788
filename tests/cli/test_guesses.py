"""What people type before they have read anything: the right thing happens, or one line names it."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fsprobe
from fsprobe.capture import options
from fsprobe.cli import group, run
from fsprobe.cli.report import recordings_in
from fsprobe.errors import EXIT_BAD_INPUT, EXIT_USAGE
from tests.conftest import FSPROBE, ROOT, clean_environment, run_plain

RECORDED = ROOT / "tests" / "data" / "format1"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two recordings, a script and a file of somebody's own."""
    shutil.copy(RECORDED / "run-time.fsprobe", tmp_path / "old.fsprobe")
    shutil.copy(RECORDED / "run-ptrace.fsprobe", tmp_path / "new.fsprobe")
    os.utime(tmp_path / "old.fsprobe", (1, 1))
    (tmp_path / "x.py").write_text("print(6 * 7)\n")
    (tmp_path / "mine.html").write_text("mine")
    (tmp_path / "x.pyz").write_text("mine")
    (tmp_path / "x.zip").write_text("mine")
    (tmp_path / "recordings").mkdir()
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["repotr", "x"], "did you mean `fsprobe report`?"),
        (["show", "new.fsprobe"], "did you mean `fsprobe report new.fsprobe`?"),
        (["info", "new.fsprobe", "old.fsprobe"], "did you mean `fsprobe report new.fsprobe old.fsprobe`?"),
        (["info"], "did you mean `fsprobe doctor`?"),
        (["info", "--all"], "did you mean `fsprobe doctor`?"),
        (["trace", "x.py"], "did you mean `fsprobe run x.py`?"),
        (["import", "torch"], "did you mean `fsprobe run -c 'import torch'`?"),
        (["html", "new.fsprobe"], "did you mean `fsprobe report new.fsprobe --format html`?"),
        (["stat", "ls", "/"], "did you mean `fsprobe run -- ls /`?"),
        (["stat", "new.fsprobe"], "did you mean `fsprobe report new.fsprobe`?"),
        (["live", "x.py"], "did you mean `fsprobe run --live x.py`?"),
        (["report", "--open", "new.fsprobe"], "see `fsprobe help report`"),
        (["x.py", "a b"], "did you mean `fsprobe run -- x.py 'a b'`?"),
        (["sh", "-c", "true"], "did you mean `fsprobe run -- sh -c true`?"),
        (["help", "rnu"], "did you mean `fsprobe run`?"),
        (["qqqqqq"], "`fsprobe --help` lists them"),
        (["python3", "x.py"], "did you mean `fsprobe run -- python3 x.py`?"),
        (["./x.py"], "did you mean `fsprobe run -- ./x.py`?"),
        (["-m", "mod"], "did you mean `fsprobe run -m ...`?"),
        (["--", "x.py"], "did you mean `fsprobe run -- x.py`?"),
        (
            ["-o", "y.fsprobe", "x.py"],
            "options come after the command: `fsprobe run -o ...`; `fsprobe --help` lists all commands",
        ),
        (
            ["--color", "never", "report"],
            "options come after the command: `fsprobe run --color ...`; `fsprobe --help` lists all commands",
        ),
        (["recordings"], "did you mean `fsprobe report recordings`?"),
        (["venv"], "did you mean `fsprobe scan venv`?"),
        (["report", "new.fsprobe", "--json"], "did you mean --format json?"),
        (["check", "new.fsprobe", "--json"], "did you mean --format json?"),
        (["merge", "new.fsprobe", "--html"], "did you mean --format html?"),
        (["report", "new.fsprobe", "--colour", "never"], "did you mean --color?"),
        (["diff", "new.fsprobe"], "`fsprobe diff before.fsprobe after.fsprobe`; see `fsprobe help diff`"),
        (
            ["attach", "1", "--format", "html"],
            "what is written is a recording: `fsprobe report FILE --format FORMAT` shows it",
        ),
        (
            ["load", "x", "--format", "html"],
            "what is written is a recording: `fsprobe report FILE --format FORMAT` shows it",
        ),
        (
            ["fix", "new.fsprobe", "--json"],
            "-o FILE keeps the comparison: `fsprobe report FILE --format FORMAT` shows it",
        ),
        (
            ["ticket", "x", "--format", "md"],
            "a ticket is a ZIP archive that holds the page, the JSON and the recording",
        ),
        (["pack", "venv", "--format", "zip"], "an image is SquashFS; --comp chooses the compressor"),
        (["check", "new.fsprobe", "--force"], "`fsprobe check` replaces no file: leave --force out"),
        (["scan", "venv", "--force"], "`fsprobe scan` replaces no file: leave --force out"),
        (["ticket", "new.fsprobe", "-o", "t.html"], "-o t.zip"),
        (["pack", "venv", "-o", "env.zip"], "-o env.sqsh"),
        (["recorder", "-o", "r.fsprobe"], "-o r.pyz"),
    ],
)
def test_a_word_that_is_no_command(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], hint: str
) -> None:
    assert group.main(words) == EXIT_USAGE
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1] == f"fsprobe: hint: {hint}"


@pytest.mark.parametrize("word", ["-V", "--version", "version"])
def test_the_version(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert group.main([word]) == 0
    assert capsys.readouterr().out == f"fsprobe, version {fsprobe.__version__}\n"


@pytest.mark.parametrize(
    ("words", "status", "hint"),
    [
        ([], 125, "`fsprobe run -- python train.py`"),
        (["recordings"], 127, "it is a directory: name a program in it"),
        (["mine.html"], 127, "it is in this directory, not on PATH: ./mine.html"),
        (["qqqqqq"], 127, "check the name and PATH"),
        (["--json", "x.py"], 125, "did you mean --format json?"),
        (["--html", "x.py"], 125, "did you mean --format html?"),
        (["--timeout", "5", "x.py"], 125, "see `fsprobe run --help`"),
        (["-o", "x.docx", "x.py"], 2, "name it NAME.fsprobe, or with one of .html, .htm, .md, .json, .csv, .png, .svg"),
    ],
)
def test_what_run_can_not_run(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, hint: str
) -> None:
    assert run.main(words) == status
    assert capsys.readouterr().err.splitlines()[1] == f"fsprobe: hint: {hint}"


def test_what_can_only_mean_one_thing_is_done(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert group.main(["new.fsprobe", "--short"]) == 0
    assert "recording: new.fsprobe" in capsys.readouterr().out
    assert group.main(["nosuch.fsprobe"]) == EXIT_BAD_INPUT
    assert capsys.readouterr().err.startswith("fsprobe: cannot read nosuch.fsprobe")
    for words in (["x.py"], ["--", sys.executable, "x.py"]):
        done = run_plain([*FSPROBE, *words], cwd=place)
        assert (done.status, done.out) == (0, b"42\n"), done.err
        assert b"metadata calls" in done.err


def test_a_reader_that_has_read_enough_is_no_failure(place: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([*FSPROBE, "report", "new.fsprobe"], stdout=write, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(("words", "first"), [(["help"], "Usage: fsprobe "), (["help", "run"], "Usage: fsprobe run ")])
def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str], words: list[str], first: str) -> None:
    assert group.main(words) == 0
    assert capsys.readouterr().out.startswith(first)


def test_report_without_a_file_is_that_of_the_newest_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recordings_in(".") == ["old.fsprobe", "new.fsprobe"]
    assert group.main(["report", "--short"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "fsprobe: the newest recording here: new.fsprobe\n"
    assert "recording: new.fsprobe" in shown.out


def test_report_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link.fsprobe").symlink_to(RECORDED / "run-time.fsprobe")
    monkeypatch.chdir(tmp_path)
    assert group.main(["report"]) == EXIT_USAGE
    assert "no recording of yours" in capsys.readouterr().err
    assert group.main(["report", "."]) == EXIT_BAD_INPUT


def test_several_recordings_are_shown_one_after_the_other(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert group.main(["report", "old.fsprobe", "new.fsprobe"]) == 0
    one_by_one = capsys.readouterr().out
    assert group.main(["report", "."]) == 0
    assert capsys.readouterr().out == one_by_one
    assert [line for line in one_by_one.splitlines() if line.startswith("recording: ")] == [
        "recording: old.fsprobe",
        "recording: new.fsprobe",
    ]
    assert group.main(["report", ".", "--format", "html"]) == EXIT_USAGE
    assert "fsprobe diff A B" in capsys.readouterr().err


def test_ranks_of_one_job_are_shown_as_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    ranks = sorted((RECORDED / "ranks1").glob("*.fsprobe"))
    assert len(ranks) > 1
    assert group.main(["report", *map(str, ranks)]) == 0
    assert f"{len(ranks)} ranks" in " ".join(capsys.readouterr().out.split())


def test_diff_is_compare_of_two(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for words in (["diff"], ["compare"], ["diff", "--format", "json"], ["compare", "--json"]):
        group.main([*words, "old.fsprobe", "new.fsprobe"])
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] != ""
    assert shown[2] == shown[3]
    assert shown[2].startswith("{")


@pytest.mark.parametrize("name", ["run.docx", "run.html.gz", "run.fsprobe"])
def test_a_report_in_a_format_that_nobody_knows_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert group.main(["report", "new.fsprobe", "-o", name]) == EXIT_USAGE
    assert "says no format" in capsys.readouterr().err
    assert not (place / name).exists()


@pytest.mark.parametrize(
    "words",
    [
        ["report", "new.fsprobe", "-o", "mine.html"],
        ["recorder", "-o", "x.pyz"],
        ["ticket", "new.fsprobe", "-o", "x.zip"],
        ["run", "-o", "mine.html", "--", "touch", "started"],
        ["run", "--format", "html", "-o", "mine.fsprobe", "--", "touch", "started"],
        ["run", "-o", "old.fsprobe", "--", "touch", "started"],
        ["load", "x.py", "-o", "old.fsprobe"],
        ["merge", "new.fsprobe", "-o", "old.fsprobe"],
    ],
)
def test_nothing_is_overwritten_unasked(place: Path, words: list[str]) -> None:
    before = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    done = run_plain([*FSPROBE, *words], cwd=place)
    assert done.status == EXIT_USAGE
    assert "is there already" in done.own_lines[0]
    assert "--force" in done.own_lines[1]
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()} == before, (
        "and the command was not started"
    )


def test_with_force_it_is(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert group.main(["report", "new.fsprobe", "-o", "mine.html", "--force"]) == 0
    assert capsys.readouterr().err == "fsprobe: wrote mine.html\n"
    assert (place / "mine.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("words", [["load", "x.py"], ["merge", "new.fsprobe"]])
def test_a_recording_is_not_called_a_page(place: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert group.main([*words, "-o", "job.html"]) == EXIT_USAGE
    assert "job.fsprobe" in capsys.readouterr().err
    assert not (place / "job.html").exists()


def test_run_of_a_script_writes_the_recording_and_the_page(place: Path, strace_program: str) -> None:
    # a python3 of PATH that is not fsprobe's own
    (place / "bin").mkdir()
    (place / "bin" / "python3").write_text(f'#!/bin/sh\necho "by PATH" >&2\nexec {sys.executable} "$@"\n')
    (place / "bin" / "python3").chmod(0o755)
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    done = run_plain([*FSPROBE, "run", "-o", "all.html", "x.py"], cwd=place, env=clean_environment(PATH=path))
    assert (done.status, done.out) == (0, b"42\n")
    text = done.err.decode()
    assert text.startswith("by PATH\n")
    assert "fsprobe: wrote all.html\n" in text
    assert "fsprobe  python3 x.py\n" in text
    assert "recording: all.fsprobe\n" in text
    assert text.count("\n") <= 16
    assert (place / "all.fsprobe").exists()
    assert (place / "all.html").read_text().startswith("<!doctype html>")


def test_a_failed_command_is_no_acquittal(place: Path, strace_program: str) -> None:
    done = run_plain([*FSPROBE, "run", "-o", "f.fsprobe", "--", "sh", "-c", "exit 3"], cwd=place)
    assert done.status == 3
    lines = done.err.decode().splitlines()
    assert lines[0] == "fsprobe: the command failed (exit code 3)"
    assert "not the filesystem" not in done.err.decode()


def test_a_recording_is_not_lost_to_a_file_that_appeared_meanwhile(place: Path, strace_program: str) -> None:
    done = run_plain(
        [*FSPROBE, "run", "-q", "-o", "late.fsprobe", "--", "sh", "-c", "echo theirs > late.fsprobe"], cwd=place
    )
    assert done.status == 0
    assert (place / "late.fsprobe").read_text() == "theirs\n"
    assert (place / "late-2.fsprobe").read_bytes()[:7] == (place / "new.fsprobe").read_bytes()[:7]


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("words", "is_drawn"), [([], False), (["--live"], True), (["--live", "-q"], False)])
def test_the_live_line_is_drawn_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, words: list[str], is_drawn: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert (run.start_live(options.parse([*words, "--", "true"])) is not None) == is_drawn
