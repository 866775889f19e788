"""The command line of `fsprobe run`."""

from __future__ import annotations

import pytest

from fsprobe.capture.options import OPTIONS, parse, parse_size
from fsprobe.errors import EXIT_OWN_FAILURE, FsprobeError


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
    for names_of_one, attribute, metavar, _, help_text in OPTIONS:
        assert help_text.strip()
        given = ["1"] if metavar else []
        if attribute in ("backend", "image", "at", "ranks"):
            continue  # they take certain values, or come in pairs
        assert getattr(parse([names_of_one.split(", ")[-1], *given, "--", "a"]), attribute, None) is not None or metavar
