"""The command line of `fsprobe run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsprobe.capture.options import OPTIONS, parse, parse_size
from fsprobe.errors import EXIT_OWN_FAILURE, EXIT_USAGE, FsprobeError


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("500M", 500 << 20), ("2G", 2 << 30), ("1.5k", 1536), (" 3T ", 3 << 40), ("1e3", 1000)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "0", "x", "1X", "nan", "inf", "1e999G", "2 G B"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(FsprobeError) as caught:
        parse_size(text)
    assert caught.value.exit_code == EXIT_OWN_FAILURE


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["--", "a", "-b"], ["a", "-b"]),
        (["a", "--", "-b"], ["a", "--", "-b"]),
        (["a", "--label", "x"], ["a", "--label", "x"]),
        (["-q", "a"], ["a"]),
        (["--label", "--", "--", "a"], ["a"]),
        (["--label=x=y", "a"], ["a"]),
        (["--live", "--full", "--force", "a", "--full"], ["a", "--full"]),
        (["-ofile", "a"], ["a"]),
        (["-o", "-", "--", "--", "a"], ["--", "a"]),
        (["--", "--", "a"], ["--", "a"]),
        (["-", "a"], ["-", "a"]),
        ([""], [""]),
    ],
)
def test_where_the_command_starts(words: list[str], command: list[str]) -> None:
    assert parse(words).command == command


def test_values_and_defaults() -> None:
    options = parse(["--label=x=y", "-o", "f", "--max-log", "1K", "--wait-descendants=0", "--record-only", "--", "a"])
    assert (options.label, options.output, options.max_log_bytes, options.wait_descendants_s) == ("x=y", "f", 1024, 0.0)
    assert options.record_only
    options = parse(["a"])
    assert (options.backend, options.max_log_bytes, options.wait_descendants_s) == ("auto", 2 << 30, 5.0)
    assert (options.record_only, options.no_markers, options.quiet) == (False, False, False)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--"],
        ["-q"],
        ["--no-such", "a"],
        ["-x", "a"],
        ["--label"],
        ["--quiet=yes", "a"],
        ["--backend", "gdb", "a"],
        ["--markers=loud", "a"],
        ["--max-log=", "a"],
        ["--wait-descendants=soon", "a"],
        ["--wait-descendants=-1", "a"],
        ["--wait-descendants=nan", "a"],
        ["--format", "pdf", "a"],
        ["--color", "sometimes", "a"],
        ["--record-only", "--full", "a"],
        ["--record-only", "-o", "x.html", "a"],
        ["-o", "", "a"],
        ["--image", "x", "a"],
        ["--at", "x", "a"],
    ],
)
def test_wrong_usage_has_its_exit_code_and_a_hint(words: list[str]) -> None:
    with pytest.raises(FsprobeError) as caught:
        parse(words)
    assert caught.value.exit_code == EXIT_OWN_FAILURE
    assert caught.value.hint


def test_the_table_names_every_option_once() -> None:
    names = [name for row in OPTIONS for name in row[0].split(", ")]
    assert len(names) == len(set(names))
    for names_of_one, attribute, metavar, help_text in OPTIONS:
        assert help_text.strip()
        given = ["1"] if metavar else []
        if attribute in ("backend", "image", "at", "ranks", "style", "color"):
            continue  # they take certain values, or come in pairs
        assert getattr(parse([names_of_one.split(", ")[-1], *given, "--", "a"]), attribute, None) is not None or metavar


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of scripts, and a PATH that has a python3 of its own in front and no other."""
    (tmp_path / "bin").mkdir()
    for name in ("python3", "tool.py"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    for name, text, mode in (
        ("plain.py", "1", 0o644),
        ("own.py", "#!/bin/sh\n", 0o755),
        ("unmarked.py", "1", 0o755),
        ("tool.py", "1", 0o644),
        ("data.txt", "1", 0o644),
        ("app.pyz", "PK", 0o644),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    (tmp_path / "directory.py").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["plain.py", "-m", "x"], ["python3", "plain.py", "-m", "x"]),
        (["./plain.py"], ["python3", "./plain.py"]),
        (["app.pyz"], ["python3", "app.pyz"]),
        (["own.py"], ["python3", "own.py"]),  # a shell would not find it either: this directory is not on PATH
        (["./own.py", "a"], ["./own.py", "a"]),
        (["./unmarked.py"], ["python3", "./unmarked.py"]),
        (["tool.py"], ["tool.py"]),  # PATH has one: that is what a shell starts
        (["-m", "mod", "--label", "x"], ["python3", "-m", "mod", "--label", "x"]),
        (["--label", "x", "-m", "mod"], ["python3", "-m", "mod"]),
        (["-mmod.sub"], ["python3", "-mmod.sub"]),
        (["-c", "import a; b()", "-q"], ["python3", "-c", "import a; b()", "-q"]),
        (["--", "-m", "mod"], ["python3", "-m", "mod"]),
        (["gone.py"], ["gone.py"]),
        (["directory.py"], ["directory.py"]),
        (["data.txt"], ["data.txt"]),
        (["python3", "plain.py"], ["python3", "plain.py"]),
    ],
)
def test_a_script_and_a_module_get_the_python_of_path(scripts: Path, words: list[str], command: list[str]) -> None:
    assert parse(words).command == command


def test_where_there_is_no_python3_it_is_python(scripts: Path) -> None:
    (scripts / "bin" / "python3").rename(scripts / "bin" / "python")
    assert parse(["plain.py"]).command == ["python", "plain.py"]


@pytest.mark.parametrize(
    ("given", "recording", "page"),
    [
        (["-o", "x.fsprobe"], "x.fsprobe", ""),
        (["-o", "x"], "x", ""),
        (["-o", "a.b/x"], "a.b/x", ""),
        (["-o", "new/"], "new/", ""),
        (["-o", "x.html"], "x.fsprobe", "x.html"),
        (["-o", "d.e/x.JSON"], "d.e/x.fsprobe", "d.e/x.JSON"),
        (["-o", "x.svg"], "x.fsprobe", "x.svg"),
        (["--format", "html"], "", ".html"),
        (["--format", "terminal"], "", ""),
        (["--format", "chrome", "-o", "x.fsprobe"], "x.fsprobe", "x.chrome.json"),
        (["--format", "md", "-o", "x.txt.md"], "x.txt.fsprobe", "x.txt.md"),
        (["-o", "/dev/null"], "/dev/null", ""),
    ],
)
def test_what_an_output_s_name_means(given: list[str], recording: str, page: str) -> None:
    options = parse([*given, "--", "a"])
    assert (options.output, options.page) == (recording, page)


@pytest.mark.parametrize("name", ["x.docx", "x.fsprobe.gz", "x.pdf", "x.1", "d/x.htmll"])
def test_a_suffix_that_says_nothing_is_refused(name: str) -> None:
    with pytest.raises(FsprobeError, match="says no format") as caught:
        parse(["-o", name, "--", "a"])
    assert caught.value.exit_code == EXIT_USAGE
    assert ".html" in caught.value.hint


def test_a_directory_may_be_called_anything(tmp_path: Path) -> None:
    place = tmp_path / "run.2026"
    place.mkdir()
    assert parse(["-o", str(place), "--", "a"]).output == str(place)


def test_a_mistyped_option_is_named_rightly() -> None:
    with pytest.raises(FsprobeError) as caught:
        parse(["--lable", "x", "a"])
    assert caught.value.hint == "did you mean --label?"
