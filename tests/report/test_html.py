"""The HTML report without a browser: what is in the page, and that no foreign text gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from html.parser import HTMLParser
from typing import Any

import pytest

from fsprobe.layouts.pack.usage import adoption_lines
from fsprobe.model import serial
from fsprobe.model.profile import Profile
from fsprobe.model.rows import PathRow, TimelineRow
from fsprobe.report import comparison_facts
from fsprobe.report.html import page as html
from fsprobe.report.html import tables
from tests.report.profiles import (
    HOSTILE,
    bare,
    changed,
    comparison,
    counts,
    hand_built,
    hostile,
    module,
    spread,
)


class Page(HTMLParser):
    """Every element with its attributes; the text of the page; the scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open != "style":
            self.text += data

    def data(self) -> Any:
        return json.loads(self.scripts[0])


@pytest.mark.parametrize("make", [hand_built, bare, hostile, comparison])
def test_a_page_loads_nothing_and_allows_only_its_own_script(make: Any) -> None:
    source = html.render(make(), "/tmp/run.fsprobe")
    page = Page(source)
    assert len(page.scripts) == 2
    policy = next(attrs["content"] for tag, attrs in page.elements if "http-equiv" in attrs)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    own = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"'sha256-{own}'" in policy
    assert not [tag for tag, _ in page.elements if tag in ("link", "img", "iframe", "object", "embed", "base", "form")]
    for _, attributes in page.elements:
        assert not {"src", "srcset", "onclick", "onerror", "onload"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")


def test_hostile_text_adds_no_element_and_stays_text() -> None:
    # the same page with harmless text in the same places has the very same elements
    page, harmless = Page(html.render(hostile())), hostile()
    text = json.dumps(serial.to_json(harmless))
    for bad in HOSTILE:
        text = text.replace(json.dumps(bad)[1:-1], "harmless")
    twin = Page(html.render(serial.from_json(Profile, json.loads(text))))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in twin.elements]
    assert "<img src=x onerror=alert(1)>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "\u202e" not in page.text
    assert "\\u202egnp" in page.text
    assert "\\x0abreak" in page.text


def test_the_embedded_data_can_end_neither_script_nor_line() -> None:
    source = html.render(hostile())
    data = re.search(r'<script type="application/json" id="data">(.*)</script>\n<script>', source)
    assert data is not None
    assert not set("<>&\u2028\u2029\n") & set(data.group(1))
    assert json.loads(data.group(1))["total"] == hostile().metrics.n_metadata


@pytest.mark.parametrize(
    "words",
    [
        "python -c 'import big'",
        "node1",
        "2023-11-14 22:13:20 UTC",
        "strace 6.1",
        "cold",
        "One start asks 100 requests",
        "up to 14%",
        "FSP002",
        "saves 5 calls (5%) and 1 request (1%)",
        "10 (excluded): 3 open, 7 stat.",
        "by the rules of each mount's own client where they are known",
        "page faults of mapped files",
        "120 ms",
        "extension suffixes",
        "/gone",
        "/tmp/run.fsprobe",
    ],
)
def test_what_a_reader_needs_is_there_without_javascript(words: str) -> None:
    assert words in Page(html.render(hand_built(), "/tmp/run.fsprobe")).text


def test_critical_findings_come_first() -> None:
    text = Page(html.render(hand_built())).text
    assert text.index("FSP002") < text.index("FSP003")


def test_what_was_not_observed_is_never_a_zero() -> None:
    page = Page(html.render(bare()))
    assert "Not observed: there was no interpreter that fsprobe could ask." in page.text
    assert "Not observed: this backend does not time calls." in page.text
    assert "Not observed: this recording does not time calls." in page.text
    assert "page faults not observed" in page.text
    assert page.data()["icicle"] is None
    assert page.data()["timeline"] is None
    modules = next(table for table in page.data()["tables"] if table["id"] == "modules")
    assert modules["observed"] is False


def test_what_a_profile_does_not_have_is_no_error() -> None:
    profile = changed(hand_built(), verdict=None, findings=(), requests=None)
    assert "No finding for this run." in Page(html.render(profile)).text


def test_the_icicle_holds_every_call_once() -> None:
    icicle = Page(html.render(hand_built())).data()["icicle"]
    assert sum(icicle["calls"]) == 100
    assert icicle["names"][icicle["parents"][icicle["names"].index("a")]] == "a.b"
    assert all(parent < number for number, parent in enumerate(icicle["parents"]))
    assert icicle["requests"][icicle["names"].index("big")] == 70


def test_the_smallest_modules_are_added_up_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "MAX_NODES", 3)
    rows = hand_built().metrics.by_module
    assert rows is not None
    more = tuple(module(f"big.m{n}", "big", counts(1, 0), 1) for n in range(9))
    profile = changed(hand_built(), metrics__by_module=rows + more)
    icicle = html.icicle(profile)
    assert icicle is not None
    assert sum(icicle["calls"]) == 109
    assert "(10 smaller imports)" in icicle["names"]
    assert sum(icicle["requests"]) == 102


def test_bins_of_a_long_run_are_joined_and_pauses_stay() -> None:
    rows = [
        TimelineRow(t_s=round(n / 10, 1), by_phase={"import": 2, "run": 1})
        for n in range(2_000)
        if not 500 <= n < 1_000
    ]
    made = html.timeline(rows)
    assert made is not None
    assert made["bin_s"] == 0.3
    assert made["n_bins"] == 667
    assert sum(sum(counts) for _, *counts in made["bins"]) == 3 * 1_500
    assert not [number for number, *_ in made["bins"] if 168 <= number < 332]


def test_steps_that_are_longer_than_a_tenth_of_a_second_keep_their_length() -> None:
    rows = [TimelineRow(t_s=round(n * 0.4, 1), by_phase={"run": 1}) for n in range(1_000)]
    made = html.timeline(rows, 0.4)
    assert made is not None
    assert (made["bin_s"], made["n_bins"]) == (0.8, 500)
    assert [n for _, n in made["bins"]] == [2] * 500


def test_tables_end_after_2000_rows_with_the_rest() -> None:
    rows = [PathRow(key=f"/p/{n}", **counts(1, 1)) for n in range(2_500)]
    rows.append(PathRow(key="(rest)", **counts(10, 10), n_paths=40))
    profile = changed(hand_built(), metrics__by_path=tuple(rows))
    paths = next(table for table in tables.all_tables(profile) if table["id"] == "paths")
    assert len(paths["rows"]) == 2_000
    assert paths["rest"][0] == "540 more"
    assert paths["rest"][1] == 500 * 2 + 20
    assert sum(row[1] for row in paths["rows"]) + paths["rest"][1] == 2_500 * 2 + 20


def test_a_comparison_says_which_layout_is_best_and_what_is_not_known() -> None:
    text = Page(html.render(comparison(), "c.fsprobe")).text
    best = "Against plain, squashfs does best with a cold cache: 4.0x faster (95%: 3.1x to 5.0x), 833x fewer requests."
    for words in (
        best,
        "python -c 'import pandas'",
        "1,513 at the server",
        "300 ms",
        "200 ms",
        "not observed",
        "squashfs: the same 2,970 metadata calls as plain.",
        "2,972 metadata calls against 2,970; they differ in 1 count by path and kind.",
        "the command failed in /p/</script>",
        "/p/line\\x0abreak",
        "c.fsprobe",
    ):
        assert words in text, words


def test_a_comparison_of_a_layout_with_itself_says_that_nothing_is_clear() -> None:
    unclear = {"clear": False, "ratio_wall": 0.98, "ratio_wall_low": 0.9, "ratio_wall_high": 1.1, "p": 0.4}
    rows = comparison().rows
    row = changed(rows[1], **unclear, ratio_requests=1.0, verdict="no clear difference")
    same = changed(comparison(), rows=(rows[0], row, *rows[2:]))
    text = Page(html.render(same)).text
    assert "No layout is clearly faster than plain." in text
    assert "no clear difference in wall time, the same number of requests" in text
    assert "0.98x the time, 95%: 0.90x to 1.10x, p 0.4" in text


def test_a_comparison_says_where_fewer_requests_would_tell_and_what_was_not_compared() -> None:
    rows = comparison().rows
    row = changed(
        rows[1],
        clear=None,
        ratio_wall=None,
        verdict="not compared: the command failed in squashfs",
        server_requests=None,
        client_counters={"metadata": spread(12)},
    )
    note = "the command failed in squashfs, in 3 of 3 timed runs"
    one = changed(comparison(), rows=(rows[0], row, *rows[2:]), notes=(note,))
    text = Page(html.render(one)).text
    assert "faster than plain. squashfs has 833x fewer requests to the file server" in text
    assert "not compared: the command failed in squashfs, 833x fewer requests" in text
    assert "12 by this node's client, of all its programs" in text
    assert text.count("the command failed in squashfs, in 3 of 3 timed runs") == 1


def test_latency_axis_is_logarithmic_and_closed() -> None:
    assert [html.log_position(value) for value in (0.0, 0.001, 1.0, 1_000.0, 9e9)] == [0.0, 0.0, 50.0, 100.0, 100.0]


def test_a_page_with_all_its_tables_full_is_under_3_mb() -> None:
    rows = hand_built().metrics.by_module
    assert rows is not None
    deep = "/project/some/where/lib/python3.11/site-packages/a_package/with/sub_packages/module_"
    profile = changed(
        hand_built(),
        metrics__by_path=tuple(PathRow(key=f"{deep}{n}.py", **counts(1, 1)) for n in range(2_500)),
        metrics__by_module=(
            *rows,
            *(module(f"package.sub.module_{n}", "big", counts(1, 1), 2) for n in range(7_000)),
        ),
    )
    assert len(html.render(profile).encode()) < 3_000_000


def test_a_comparison_says_the_seconds_and_how_to_adopt_the_winner() -> None:
    compared = comparison()
    winner = comparison_facts.winner(compared)
    assert winner is not None
    assert winner.layout == "squashfs"
    assert comparison_facts.seconds_lines(compared) == [
        ("cold", "2.8 s (2.7 s to 2.9 s) with plain, 710 ms (700 ms to 800 ms) with squashfs", "2.09 s less a start")
    ]
    stays = adoption_lines(compared, winner)
    assert list(stays) == ["In the job script, with fsprobe", "In the job script, with apptainer"], (
        "it is there already"
    )
    assert shlex.split(stays["In the job script, with fsprobe"][0])[2:4] == ["--image", winner.where]
    lines = adoption_lines(compared, changed(winner, where="/project/env-fsprobe-0123456789abcdef/env.sqsh"))
    assert lines["Once"] == ["fsprobe pack --compile /project/env -o /project/env.sqsh"]
    (run,) = lines["In the job script, with fsprobe"]
    assert shlex.split(run)[-3:] == ["python", "-c", "import pandas"]
    text = Page(html.render(compared, "c.fsprobe", lines)).text
    for words in ("Adopt squashfs", "2.09 s less a start", *lines["Once"], run):
        assert words in text, words
    assert "Adopt" not in Page(html.render(compared)).text


def test_nothing_is_to_be_adopted_where_nothing_is_better() -> None:
    rows = comparison().rows
    same = changed(rows[1], clear=False, ratio_wall=0.98, ratio_requests=1.0)
    assert comparison_facts.winner(changed(comparison(), rows=(rows[0], same))) is None
    fewer = changed(rows[1], clear=False, ratio_wall=0.98, ratio_requests=0.01)
    local = (changed(rows[0], fstype="ext4"), fewer)
    assert comparison_facts.winner(changed(comparison(), rows=local)) is None, "it asks no file server"
    assert comparison_facts.winner(changed(comparison(), rows=(rows[0], fewer))) == fewer
    failed = changed(rows[1], exit_codes=(1,))
    assert comparison_facts.winner(changed(comparison(), rows=(rows[0], failed))) is None


def test_a_copy_is_adopted_by_its_place() -> None:
    row = changed(comparison().rows[1], kind="copy", where="/flash/a b")
    compared = changed(comparison(), command=("/project/env/bin/python", "x.py"))
    bound = adoption_lines(compared, row)["In the job script, as root"][0]
    assert shlex.split(shlex.split(bound)[-1])[:4] == ["mount", "--bind", "/flash/a b", "/project/env"]
    in_place = adoption_lines(compared, changed(row, in_place=True))["In the job script"][0]
    assert shlex.split(in_place) == ["/flash/a b/bin/python", "x.py"]
    made = changed(row, where="/flash/env-fsprobe-0123456789abcdef/copy", in_place=True)
    lines = adoption_lines(compared, made)  # the directory of the comparison is gone
    assert list(lines.values()) == [["cp -a /project/env/. /flash/env"], ["/flash/env/bin/python x.py"]]
