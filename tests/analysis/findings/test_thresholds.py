"""Overrides of thresholds, and the explanations of findings."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fsprobe.analysis.findings.rules import RULES
from fsprobe.analysis.findings.thresholds import DEFAULTS, Threshold, cold_ms, read
from fsprobe.cli.explain import command
from fsprobe.errors import EXIT_USAGE, BadInput, FsprobeError


def written(directory: Path, text: str, name: str = "t.json") -> Path:
    (directory / name).write_text(text)
    return directory / name


def test_json_list_and_table(tmp_path: Path) -> None:
    table = read(written(tmp_path, '{"data_files": [1, null, 3], "nodes": {"warn": 20}}'))
    assert (table["data_files"].info, table["data_files"].warn, table["data_files"].critical) == (1, None, 3)
    assert (table["nodes"].info, table["nodes"].warn, table["nodes"].critical) == (2, 20, 128)
    assert "t.json" in table["nodes"].source
    assert table["rpath_misses"] == DEFAULTS["rpath_misses"]


def test_toml(tmp_path: Path) -> None:
    file = written(tmp_path, "data_files = [1, 2, 3]\n[nodes]\nwarn = 20\n", "t.toml")
    if sys.version_info < (3, 11):
        with pytest.raises(BadInput, match="before 3.11") as caught:
            read(file)
        assert "JSON" in caught.value.hint
    else:
        assert read(file)["nodes"].warn == 20


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('{"data_file": [1, 2, 3]}', "no threshold 'data_file'", "did you mean data_files?"),
        ('{"zzz": [1, 2, 3]}', "no threshold 'zzz'", "fsprobe explain"),
        ('{"nodes": [3, 2, 1]}', "must rise", ""),
        ('{"nodes": [1, 2]}', "must be", "null"),
        ('{"nodes": {"warm": 2}}', "must be", "null"),
        ('{"nodes": [null, 2, 3]}', "not a number", ""),
        ('{"nodes": [true, 2, 3]}', "not a number", ""),
        ('{"nodes": ["1", 2, 3]}', "not a number", ""),
        ("[]", "table of names", ""),
        ("{", "not JSON", ""),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(written(tmp_path, text))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read"):
        read(tmp_path / "none.json")


def test_levels() -> None:
    row = Threshold(name="x", info=1, warn=None, critical=10, unit="", source="")
    assert [row.level(value) for value in (0, 1, 9, 10)] == [None, "info", "info", "critical"]


def test_every_threshold_has_a_source_and_a_reader() -> None:
    used = {name for rule in RULES for name in rule.thresholds}
    in_verdict = set(
        "start_calls sustained_calls_per_s sustained_opens_per_s_process share_time wait_s cold_wait_s slow_call_ms".split()
    )
    assert used | in_verdict == set(DEFAULTS)
    assert all(row.source for row in DEFAULTS.values())


def test_cold_latencies() -> None:
    assert cold_ms("lustre")[0] == 17.4
    assert cold_ms("nfs4") == cold_ms("nfs")
    assert cold_ms("beegfs") == cold_ms("")


def explained(*words: str) -> str:
    done = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_the_list_names_all() -> None:
    text = explained()
    assert all(rule.code in text and rule.title in text for rule in RULES)
    assert all(name in text for name in DEFAULTS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_each_explanation(rule) -> None:
    text = explained(rule.code)
    assert text.startswith(f"{rule.code}: {rule.title}\n")
    for heading in ("What was seen", "Why it costs", "What to do", "How the saving is computed", "Source"):
        assert heading in text
    assert max(map(len, text.splitlines())) <= 100
    assert explained(str(int(rule.code[3:]))) == text == explained(rule.code.lower())


def test_overridden_thresholds_are_shown(tmp_path: Path) -> None:
    file = written(tmp_path, '{"environment_files": [1, 2, 3]}')
    assert "1, 2, 3 (info, warn, critical)" in explained("FSP001", "--thresholds", str(file))


def test_an_unknown_code() -> None:
    with pytest.raises(FsprobeError, match="no finding FSP999") as caught:
        CliRunner().invoke(command, ["FSP999"], catch_exceptions=False)
    assert caught.value.exit_code == EXIT_USAGE


def test_the_page_holds_all() -> None:
    page = explained("--markdown")
    assert all(f"## {rule.code}: {rule.title}" in page for rule in RULES)
    assert all(f"| `{name}` |" in page for name in DEFAULTS)
