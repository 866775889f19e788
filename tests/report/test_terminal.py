"""The terminal report and its numbers: width, foreign text, what was not observed, a gold file."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fsprobe import numbers
from fsprobe.cli.report import json_text
from fsprobe.model.manifest import LayoutFacts
from fsprobe.model.rows import PROGRAM, ModuleRow, MountRow, ProcessRow, Rates
from fsprobe.model.time.account import TimeAccount
from fsprobe.report import exports, facts, markdown, sentences
from fsprobe.report.html import tables
from fsprobe.report.terminal import run
from fsprobe.report.terminal.console import as_text, clean
from tests.report.profiles import HOSTILE, changed, counts, hand_built, module, request_row, untimed

GOLD = Path(__file__).parent.parent / "gold" / "terminal.txt"


def test_the_report_is_as_the_gold_file() -> None:
    text = run.render(hand_built(), recording="x.fsprobe")
    if os.environ.get("UPDATE_GOLD"):
        GOLD.write_text(text)
    if text != GOLD.read_text():
        GOLD.with_suffix(".actual").write_text(text)
    assert text == GOLD.read_text(), "compare with tests/gold/terminal.actual; UPDATE_GOLD=1 takes it"


def test_no_line_is_wider_than_80_columns() -> None:
    for line in run.render(hand_built(), recording="x" * 200).splitlines():
        # the name of the recording is there to be copied: one line, never cut
        assert cell_len(line) <= 80 or line == "recording: " + "x" * 200, line


@pytest.mark.parametrize("name", HOSTILE)
def test_foreign_text_obeys_no_control_character(name: str) -> None:
    profile = hand_built()
    tables = ("by_mount", "by_module", "by_package", "by_process", "by_path")
    named = {
        f"metrics__{table}": tuple(changed(row, key=name + "\x1b[31m\x07") for row in getattr(profile.metrics, table))
        for table in tables
    }
    profile = changed(profile, **named, manifest__command=(name, "\x1b]0;title\x07"))
    text = run.render(profile, recording=name)
    assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]
    assert "\x1b" not in text


@given(st.text())
def test_clean_text_is_printable_and_short(value: str) -> None:
    assert clean(value).isprintable()
    assert len(clean(value, 10)) <= 10


def test_what_was_not_observed_says_so_and_is_never_zero() -> None:
    metrics = hand_built().metrics
    assert metrics.by_module is not None
    profile = changed(
        hand_built(),
        **dict.fromkeys(f"manifest__{name}" for name in ("wall_s", "user_s", "sys_s", "majflt", "read_bytes")),
        metrics__share_of_wall=None,
        metrics__by_phase=untimed(metrics.by_phase),
        metrics__by_package=untimed(metrics.by_package),
        metrics__by_module=tuple(changed(row, time_s=None, time_cum_s=None) for row in metrics.by_module),
        metrics__by_mount=tuple(
            changed(row, time_s=None, p50_ms=None, p95_ms=None, max_ms=None) for row in metrics.by_mount
        ),
        metrics__rates=Rates(),
    )
    text = run.render(profile, recording="x.fsprobe")
    for line in ("rate", "wall", "CPU"):
        assert any(found.startswith(line) and numbers.NOT_OBSERVED in found for found in text.splitlines()), line
    assert "not observed: median, p95, max" in text
    assert "None" not in text
    profile = changed(profile, metrics__by_module=None)
    assert numbers.NOT_OBSERVED in run.render(profile, recording="x.fsprobe")


def test_the_headline_can_be_pasted() -> None:
    profile = hand_built()
    assert str(profile.metrics.n_startup) in sentences.headline(profile)
    assert sentences.headline(profile).endswith(".")
    assert "\n" not in sentences.headline(profile)


def test_an_import_that_only_hands_on_is_left_out() -> None:
    own = counts(1, 0)
    rows = [
        module("a", None, own, 100),
        module("a.b", "a", own, 95),
        module("a.b.c", "a.b", own, 40),
        module(PROGRAM, None, own, 50),
    ]
    assert [row.key for row in sentences.costly_imports(rows, 8)] == ["a", "a.b.c"]


def test_the_module_with_the_most_calls_of_its_own_is_always_named() -> None:
    # a chain whose last module makes nearly all calls: each only hands on to the next
    chain = [module(f"a{n}", f"a{n - 1}" if n else None, counts(1, 0), 1_000 - n) for n in range(9)]
    leaf = module("a9", "a8", counts(900, 0), 990)
    others = [module(f"b{n}", None, counts(2, 0), 900) for n in range(9)]
    shown = sentences.costly_imports([*chain, leaf, *others], 8)
    assert [row.key for row in shown] == ["a0", "a9", "b0", "b1", "b2", "b3", "b4", "b5"]
    profile = changed(hand_built(), metrics__n_stat=1_000, metrics__by_module=(*chain, leaf, *others))
    line = next(line for line in run.render(profile, recording="x.fsprobe").splitlines() if line.startswith("a9 "))
    assert "900" in line.split()


def test_the_headlines_numbers_are_of_one_whole_each() -> None:
    text = sentences.headline(hand_built())
    # 90 calls and 15 failed lookups before the phase `run`, by the phases' own rows; 100 calls in all phases
    assert text.startswith("90 metadata calls to start and import, 15 of them failed lookups (not found), ")
    assert "the costliest import is big (80 calls); 100 in the whole run, 98% on /project (lustre)." in text


def test_the_headline_says_a_number_once_and_names_no_import_that_is_next_to_nothing() -> None:
    rows = tuple(dataclasses.replace(row, key="import") for row in hand_built().metrics.by_phase)
    whole = changed(hand_built(), metrics__by_phase=rows)
    assert sentences.headline(whole).startswith(
        "100 metadata calls, all to start and import, 20 of them failed lookups"
    )
    assert "whole run" not in sentences.headline(whole)
    site = ModuleRow(key="sitecustomize", n_stat=3, n_stat_cum=3, n_metadata_cum=3)
    assert "sitecustomize" not in sentences.headline(changed(whole, metrics__by_module=(site,)))
    assert sentences.importer(site, whole) == "site"
    big = dataclasses.replace(site, n_stat=60, n_metadata_cum=60)
    assert "the costliest import is sitecustomize (60 calls)" in sentences.headline(
        changed(whole, metrics__by_module=(big,))
    )


def test_where_no_python_started_no_timing_of_imports_is_claimed() -> None:
    rows = tuple(dataclasses.replace(row, kind="program") for row in hand_built().metrics.by_process)
    shell = changed(hand_built(), metrics__by_process=rows)
    assert sentences.backend_line(shell).endswith(", no Python started")
    assert sentences.process_kinds(changed(shell, metrics__processes={"program": 1})) == "no Python"
    assert (
        sentences.process_kinds(changed(shell, metrics__processes={"program": 1, "python": 3})) == "3 Python, 1 other"
    )


def test_a_cpu_time_of_no_tick_is_said_so() -> None:
    text = run.render(changed(hand_built(), manifest__user_s=0.0, manifest__sys_s=0.03), recording="x.fsprobe")
    assert "CPU   < 10 ms user, 30 ms system" in text
    account = TimeAccount(wall_s=2.0, cpu_s=0.0, metadata_s=0.0, other_s=2.0)
    assert [sentences.part(part) for part in account.parts] == ["< 10 ms (<1%)", "0 us (0%)", "2 s (100%)"]


def test_no_cure_is_offered_for_names_that_were_replaced() -> None:
    found = (dataclasses.replace(hand_built().findings[0], code="FSP001", commands=("mksquashfs a b",)),)
    own = changed(hand_built(), findings=found)
    assert facts.commands(found[0], own, "x.fsprobe") == ["fsprobe fix x.fsprobe", "mksquashfs a b"]
    assert facts.commands(found[0], changed(own, manifest__disclosed=True), "x.fsprobe") == ["mksquashfs a b"]


def test_requests_that_an_image_answers_are_none_of_a_server_in_any_view() -> None:
    image = request_row("/env", 2_000, 1_500, 100, 140, 5, fs_class="image", fstype="squashfs")
    server = request_row("/project", 2, 1, 0, 0, 0, fs_class="network", fstype="lustre")
    mounts = (
        MountRow(key="/env", **counts(20, 60, 10, 20), fs_class="image", fstype="squashfs"),
        MountRow(key="/project", **counts(5, 5), fs_class="network", fstype="lustre"),
    )
    profile = changed(hand_built(), metrics__by_mount=mounts, requests__by_mount=(image, server))
    assert profile.n_requests == 3
    assert "server requests, cold cache (predicted): 3 to /project\n" in run.render(profile, recording="x.fsprobe")
    assert {row.label: row.value for row in facts.key_figures(profile)}["Server requests, cold cache"] == "3"
    assert "| `/env` | squashfs (image) | 90 | 20 | 0 |" in markdown.render(profile)
    assert "| Server requests, cold cache | **3** |" in markdown.render(profile)
    mount_table = next(table for table in tables.all_tables(profile) if table["id"] == "mounts")
    at = [column["key"] for column in mount_table["columns"]].index("n_requests")
    assert [row[at] for row in mount_table["rows"]] == [0, 3]
    lines = [line.split(",") for line in exports.csv(profile).splitlines()]
    at = lines[0].index("n_requests")
    assert {(line[0], line[1]): line[at] for line in lines if line[0] in ("total", "mount")} == {
        ("total", "total"): "3",
        ("mount", "/env"): "0",
        ("mount", "/project"): "3",
    }


def test_every_view_shows_one_number_of_processes() -> None:
    # a launcher that became Python, a fork of it that became a shell, one that did not: three processes, five images
    rows = tuple(
        ProcessRow(key=f"{pid} {label}", pid=pid, label=label, kind=kind, **counts(1, 0))
        for pid, label, kind in (
            (10, "env python", "launcher"),
            (10, "python", "python"),
            (11, "python", "python"),
            (11, "sh", "program"),
            (12, "python", "python"),
        )
    )
    profile = changed(hand_built(), metrics__by_process=rows, metrics__processes={"python": 2, "program": 1})
    assert profile.metrics.n_processes == 3
    assert "processes 3 (2 Python, 1 other)" in run.render(profile, recording="x.fsprobe")
    assert "| Processes | **3** | 2 Python, 1 other;" in markdown.render(profile)
    assert {row.label: row.value for row in facts.key_figures(profile)}["Processes"] == "3"


def test_a_storage_layout_is_said_in_words() -> None:
    layout = LayoutFacts(label="squashfs", kind="squashfs", where="/p/env.sqsh", at="/p/env", mount_how="squashfuse")
    words = "squashfs, image /p/env.sqsh, at /p/env, mounted by squashfuse"
    assert ("Storage layout", words) in facts.head(changed(hand_built(), manifest__layout=layout), None)


def test_no_part_of_a_screen_is_obeyed() -> None:
    """Whatever is drawn and however: in text, markup, a table's title, cell or style of a cell, a status line."""
    foreign = "a\x1b[31mb\x1b]0;T\x07c\x9b31md\x7f\u202ee\rf\bg"

    def draw(console: Console) -> None:
        console.print(foreign, markup=False)
        console.print(Text(foreign), Text("x\n" + foreign))
        table = Table(foreign, title=foreign, caption=foreign)
        table.add_row(foreign)
        console.print(table)
        console.print(Panel(foreign, title=foreign))
        console.rule(foreign)

    shown = as_text(draw)
    assert shown.count("\\x1b[31m") >= 4
    assert all(letter == "\n" or letter.isprintable() for letter in shown)


def test_no_foreign_text_of_a_profile_is_obeyed_by_a_terminal() -> None:
    """Every text of a profile at once, also those that no view was thought to show."""
    foreign = "\x1b[31mRED\x9b\x7f"

    def spoilt(value: Any) -> Any:
        if isinstance(value, str):
            return value + foreign
        if isinstance(value, tuple):
            return tuple(spoilt(inner) for inner in value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.replace(
                value, **{f.name: spoilt(getattr(value, f.name)) for f in dataclasses.fields(value)}
            )
        return value

    profile = hand_built()
    spoilt_manifest = dataclasses.replace(profile, manifest=spoilt(profile.manifest))
    for one in (spoilt_manifest, dataclasses.replace(profile, metrics=spoilt(profile.metrics))):
        shown = run.render(one, recording="x" + foreign)
        assert all(letter == "\n" or letter.isprintable() for letter in shown)
        text = json_text(one)
        assert json.loads(text)
        assert all(letter == "\n" or letter.isprintable() for letter in text)
