"""What `whatif` says of logs: what was not observed is no zero, and no server is asked for what lies in an image."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fsprobe.analysis.whatif import PROFILES, Demand, table
from fsprobe.cli import load
from fsprobe.cli import whatif as asked
from fsprobe.report.terminal.console import Screen

N = 40
CALL = '7 {t:.6f} openat(AT_FDCWD, "/proj/env/m{i}.py", O_RDONLY|O_CLOEXEC) = 3 <0.000050>\n'
MOUNTS = "22 1 0:20 / / rw - ext4 /dev/x rw\n31 22 0:45 / {at} rw - {fstype} {source} rw\n"


def whatif(folder: Path, at: str, fstype: str, source: str, *options: str) -> str:
    """What is printed of a log of 40 opens."""
    log, mounts, recording = folder / "log", folder / "mountinfo", folder / "a.fsprobe"
    log.write_text("".join(CALL.format(t=1.7e9 + i / 1000, i=i) for i in range(N)))
    mounts.write_text(MOUNTS.format(at=at, fstype=fstype, source=source))
    done = CliRunner().invoke(load.command, ["--mounts", str(mounts), str(log), "-o", str(recording)])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(asked.command, [str(recording), *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_cpu_that_nobody_observed_is_not_none(tmp_path: Path) -> None:
    said = whatif(tmp_path, "/proj", "lustre", "mgs:/p", "--env", "/proj/env")
    assert "CPU not observed" in said
    assert "not observed: CPU, so the times are those of waiting alone" in " ".join(said.split())
    assert "measured" not in said
    assert "CPU +" not in said
    busy = next(row for row in PROFILES if row.name == "Lustre, busy, cold")
    assert f"{N * busy.ms:.0f} ms" in said, "an open call waits once"


@pytest.mark.parametrize(("at", "env"), [("/proj/env", "/proj/env"), ("/proj", "/proj/env"), ("/proj/env", "/proj")])
def test_opens_inside_an_image_wait_for_no_server(tmp_path: Path, at: str, env: str) -> None:
    said = " ".join(whatif(tmp_path, at, "squashfs", "/dev/loop0", "--env", env).split())
    assert "2 requests" in said
    assert "was read from an image" in said
    assert "was looked up: another --env" not in said
    assert "17.4 ms/open 17 ms" in said, "the image is opened once"


def test_a_place_where_nothing_was_opened_is_named(tmp_path: Path) -> None:
    said = " ".join(whatif(tmp_path, "/proj", "lustre", "mgs:/p", "--env", "/elsewhere").split())
    assert "nothing at or below /elsewhere was looked up" in said


def test_the_first_line_is_the_answer(tmp_path: Path) -> None:
    asked_for = ("/proj", "lustre", "mgs:/p", "--env", "/proj/env", "--latency-ms", "1000")
    texts = []
    for name, options in (("a", ()), ("b", ("--json",))):
        (tmp_path / name).mkdir()
        texts.append(whatif(tmp_path / name, *asked_for, *options))
    rows = json.loads(texts[1])["rows"]
    assert [row["start_s"] for row in rows] == [row["n_requests"] for row in rows], "no CPU was observed: 1 s a request"
    plain, image = (f"{row['n_requests']:g} s" for row in rows)
    first = " ".join(texts[0].split("\n\n")[0].split())
    assert first == f"One start with empty caches takes: plain {plain}, squashfs {image} (estimates)."


def test_a_start_with_empty_caches_is_none_with_full_ones(tmp_path: Path) -> None:
    said = whatif(tmp_path, "/proj", "lustre", "mgs:/p", "--env", "/proj/env")
    answer = " ".join(said.split("\n\n")[0].split())
    assert "Lustre, hot 200 us/open 8 ms" in " ".join(said.split()), "quicker, but with full caches"
    assert "One start with empty caches takes: plain 22 ms to 696 ms" in answer


def test_a_local_disk_is_no_metadata_server(tmp_path: Path) -> None:
    said = whatif(tmp_path, "/proj", "lustre", "mgs:/p", "--env", "/proj/env", "--nodes", "64", "--ranks-per-node", "8")
    rows = {line.split("  ")[0]: line for line in said.split("squashfs")[1].splitlines()}
    ends = {
        name: row.rsplit("   ", 1)[1].strip() for name, row in rows.items() if name in {one.name for one in PROFILES}
    }
    assert ends["local SSD, cold"] == "never"
    assert ends["Lustre, hot"] == "not known"
    assert ends["Lustre, quiet"].startswith("at ")


@pytest.mark.parametrize("width", [40, 50, 58, 59, 70, 80])
@pytest.mark.parametrize("nodes", [1, 64])
def test_a_row_is_one_line(width: int, nodes: int) -> None:
    demand = Demand(layout="plain", cpu_s=0.5, lookup=900, open=700, opendir=50, readdir=20, readlink=5)
    question = asked.Question(demands=[demand], requests_of="for /proj/env", notes=[])
    out = io.StringIO()
    rows = table([demand], PROFILES, nodes=nodes, ranks_per_node=1, rate=75_000)
    asked.draw(Screen(file=out, width=width, color_system=None), question, rows)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    head = next(i for i, line in enumerate(lines) if line.startswith("if the server takes"))
    assert [line.split("  ")[0] for line in lines[head + 1 : head + 1 + len(PROFILES)]] == [
        one.name for one in PROFILES
    ]
    missing = " ".join(out.getvalue().split()).partition("no room here for: ")[2].partition(" (80 columns")[0]
    for column, words in (("/request", "the latency of each"), ("server saturates\n", "where the server saturates")):
        assert (column in out.getvalue()) is (words not in missing and (nodes > 1 or column == "/request"))


@pytest.mark.parametrize(
    ("nodes", "words"), [("1", "on 1 node with 4 processes takes"), ("2", "on 2 nodes with 4 processes each takes")]
)
def test_one_node_is_not_each(tmp_path: Path, nodes: str, words: str) -> None:
    said = whatif(
        tmp_path, "/proj", "lustre", "mgs:/p", "--env", "/proj/env", "--nodes", nodes, "--ranks-per-node", "4"
    )
    assert f"A start with empty caches {words} at least: plain" in " ".join(said.split())
