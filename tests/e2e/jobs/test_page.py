"""The pages of a job: its ranks and nodes in HTML (in a real browser) and in Markdown, hostile names inert."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fsprobe.jobs.rank_rows import CLOCK, SPREADS
from fsprobe.jobs.sums import spread
from fsprobe.model.job import Absent, Ended, Job, JobTimeline, NodeRow, RankRow, RankSpreads, Scaled, Unreadable
from fsprobe.model.profile import Profile
from fsprobe.model.requests import RequestCounts
from fsprobe.model.rows import CallCounts
from fsprobe.report import job_rows, markdown
from fsprobe.report.html import page as html
from tests.conftest import need
from tests.report.browser import CHROMIUM, Page, browser
from tests.report.profiles import HOSTILE, changed, hand_built

RANK = RankRow(
    key="",
    exit_code=0,
    wall_s=1.5,
    startup_s=0.5,
    n_open=25,
    n_stat=65,
    n_list=10,
    n_not_found=20,
    time_s=0.25,
    peak_open_per_s=25.0,
)


def rank(number: int, node: str, **changes: Any) -> RankRow:
    row = changed(
        RANK,
        key=f"rank {number}",
        rank=number,
        node=node,
        file=f"r{number}.fsprobe",
        started_s=1_700_000_000.0 + number / 10,
    )
    return changed(row, **changes)


def node_of(name: str, rows: Sequence[RankRow]) -> NodeRow:
    return NodeRow(
        key=name,
        n_recordings=len(rows),
        **{count: sum(getattr(row, count) for row in rows) for count in ("n_open", "n_stat", "n_list", "n_not_found")},
        requests=RequestCounts(lookup=50, open=10 * len(rows), opendir=1, readdir=2, readlink=1),
        peak_metadata_per_s=100.0 * len(rows),
        peak_open_per_s=25.0,
        sustained_metadata_per_s=10.0,
        timeline=(60 * len(rows), 0, 40 * len(rows)),
        wall_s=max(row.wall_s or 0 for row in rows),
    )


def job_of(rows: Sequence[RankRow], **changes: Any) -> Profile:
    """A job's profile with these ranks; its metrics are those of one hand-built run."""
    names = dict.fromkeys(row.node for row in rows)
    nodes = tuple(node_of(name, [row for row in rows if row.node == name]) for name in names)
    columns = zip(*(node.timeline for node in nodes if node.timeline is not None), strict=True)
    job = Job(
        n_ranks=len(rows),
        n_ranks_traced=len(rows),
        n_nodes=len(nodes),
        n_nodes_traced=len(nodes),
        ranks=tuple(rows),
        nodes=nodes,
        spread=RankSpreads(**{name: spread([(row.key, getattr(row, name)) for row in rows]) for name in SPREADS}),
        slowest=tuple(row.key for row in sorted(rows, key=lambda row: -(row.wall_s or 0))[:5]),
        killed=tuple(Ended(of=row.key, signal=row.signal) for row in rows if row.signal),
        absent=Absent(ranks=(), n=0),
        clock=CLOCK,
        timeline=JobTimeline(start_s=1_700_000_000.0, slot_s=0.5, n_metadata=tuple(sum(column) for column in columns)),
    )
    return changed(
        hand_built(), kind="job", manifest__job_id="77.0", manifest__job_name="train", job=changed(job, **changes)
    )


def small() -> Profile:
    rows = [rank(number, f"n{number // 4}") for number in range(8)]
    rows[6] = rank(6, "n1", wall_s=9.0, signal=9)
    scaled = Scaled(
        label="scaled from 8 traced to 10 ranks: an estimate that assumes the others do the same",
        n_traced=8,
        n_ranks=10,
        n_nodes=3,
        metrics=CallCounts(n_open=250, n_stat=750),
        requests=RequestCounts(lookup=200, open=22),
    )
    return job_of(
        rows,
        absent=Absent(ranks=(8, 9), n=2),
        n_ranks=10,
        unreadable=(Unreadable(file="cut.fsprobe", why="cut short"),),
        scaled=scaled,
    )


def many() -> Profile:
    rows = [rank(number, f"n{number // 8}", wall_s=1.5 + number % 7 / 100) for number in range(2400)]
    rows[1234] = rank(1234, "n154", wall_s=30.0)
    return job_of(rows)


def hostile() -> Profile:
    rows = [rank(number, name, key=name, file=name) for number, name in enumerate(HOSTILE)]
    rows[0] = changed(rows[0], signal=9)
    unreadable = tuple(Unreadable(file=name, why=name) for name in HOSTILE[:4])
    return job_of(rows, unreadable=unreadable, incomplete=(HOSTILE[1],))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    need(CHROMIUM, "no chromium on PATH")
    with browser() as page:
        yield page


@pytest.fixture
def show(chromium: Page, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open the page of a job; in the end there must have been no complaint, and no request but for it."""
    file = tmp_path / "job.html"

    def opener(profile: Profile, **options: Any) -> Page:
        file.write_text(html.render(profile, "job.fsprobe"), encoding="utf-8")
        chromium.open(file, **options)
        return chromium

    yield opener
    assert chromium.complaints() == []
    assert set(chromium.requests()) == {file.as_uri()}


def texts(page: Page, selector: str) -> list[str]:
    found = page.js(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent.trim())")
    return [str(text) for text in found]


def table(page: Page, heading: str) -> list[list[str]]:
    """The rows of the table that a heading names."""
    rows = page.js(
        f"[...document.querySelectorAll('table[aria-labelledby={heading}] tbody tr')]"
        ".map(row => [...row.children].map(cell => cell.textContent.trim()))"
    )
    return [[str(cell) for cell in row] for row in rows]


@pytest.mark.parametrize("make", [small, many, hostile])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (400, False)])
def test_the_page_opens_in_silence_and_is_no_wider_than_the_window(
    show: Callable[..., Page], make: Callable[[], Profile], width: int, dark: bool
) -> None:
    page = show(make(), width=width, dark=dark)
    assert page.js("document.documentElement.scrollWidth") == width


def test_ranks_and_nodes_are_in_the_page(show: Callable[..., Page]) -> None:
    page = show(small())
    ranks_rows = table(page, "job-ranks-h")
    assert [row[0] for row in ranks_rows] == [f"rank {number}" for number in range(8)]
    assert [row[1] for row in ranks_rows] == ["n0"] * 4 + ["n1"] * 4
    assert ranks_rows[6][2] == "9 s"
    assert "killed by SIGKILL" in ranks_rows[6][-1]
    nodes = table(page, "job-nodes-h")
    # 50 lookups, 40 opens, a directory opened and listed twice, a link
    assert [(row[0], row[2], row[6], row[7]) for row in nodes] == [
        ("n0", "400", "94", "400"),
        ("n1", "400", "94", "400"),
    ]
    spreads = {row[0]: row[1:] for row in table(page, "job-spread-h")}
    assert spreads["wall, traced"][:3] == ["1.5 s", "1.5 s", "9 s"]
    assert spreads["wall, traced"][4:] == ["rank 6", "1 rank 6 (9 s)"]
    assert spreads["opens"][4:] == ["same", "none"]
    said = " ".join(texts(page, ".notices li") + texts(page, ".estimate"))
    for words in ("8, 9", "cut.fsprobe", "rank 6 (SIGKILL)", "222 server requests from 3 nodes", "an estimate"):
        assert words in said, words
    assert page.js("document.querySelectorAll('.spark path').length") == 2


def test_the_charts_are_moved_through_by_keyboard(show: Callable[..., Page]) -> None:
    page = show(small())
    page.js("document.querySelector('#job-rate svg').focus()")
    # the busiest slot comes first: 480 calls in 0.5 s
    assert texts(page, "#job-rate-detail b") == ["0 s to 0.5 s: 960/s"]
    assert texts(page, "#job-rate-detail span") == ["n0 480/s · n1 480/s"]
    page.key("ArrowRight")
    assert texts(page, "#job-rate-detail b") == ["0.5 s to 1 s: no calls"]
    page.key("End")
    assert texts(page, "#job-rate-detail b") == ["1 s to 1.5 s: 640/s"]
    page.js("document.querySelector('#job-each svg').focus()")
    assert texts(page, "#job-each-detail b") == ["rank 6 on n1: 9 s"]
    assert "outlier" in texts(page, "#job-each-detail span")[0]
    page.key("Home")
    assert texts(page, "#job-each-detail b") == ["rank 0 on n0: 1.5 s"]
    page.js("document.querySelector('#job-measure [aria-checked=true]').focus()")
    page.key("ArrowRight", "ArrowRight")
    assert page.js("document.activeElement.textContent") == "Calls"
    assert texts(page, "#job-each-detail b")[0].endswith(": 100")
    page.key("Home")
    page.js("document.querySelector('#job-order [aria-checked=true]').focus()")
    page.key("ArrowRight")
    page.js("document.querySelector('#job-each svg').focus()")
    page.key("End")
    assert texts(page, "#job-each-detail b") == ["rank 6 on n1: 9 s"]


def test_of_many_ranks_those_that_stand_out_and_a_row_for_the_rest(show: Callable[..., Page]) -> None:
    profile = many()
    page = show(profile)
    rows = table(page, "job-ranks-h")
    assert len(rows) <= job_rows.N_ROWS + 1
    assert any(row[0] == "rank 1234" and "outlier in wall" in row[-1] for row in rows)
    n_shown = len(rows) - 1
    assert rows[-1][0] == f"{2400 - n_shown:,} more"
    # the shown ones and the rest are all of them
    assert sum(int(row[4].replace(",", "")) for row in rows) == 100 * 2400
    nodes = table(page, "job-nodes-h")
    assert nodes[-1][0] == f"{300 - job_rows.N_NODES} more"
    assert sum(int(row[2].replace(",", "")) for row in nodes) == 100 * 2400
    # under Tables all stand, up to the most that a table holds
    assert texts(page, "#tab-ranks .n") == ["2,000"]
    assert texts(page, "#panel-ranks tbody tr.rest td:first-child") == ["400 more"]
    page.js("document.querySelector('#job-each svg').focus()")
    assert texts(page, "#job-each-detail b") == ["rank 1234 on n154: 30 s"]


def test_hostile_names_are_inert(show: Callable[..., Page]) -> None:
    page = show(hostile())
    assert page.js("document.querySelectorAll('img, iframe, object, embed, link, base, form').length") == 0
    assert page.js("document.scripts.length") == 2
    handlers = "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n => n.startsWith('on'))"
    assert page.js(handlers) == []
    assert HOSTILE[0] in [row[0] for row in table(page, "job-ranks-h")]
    assert HOSTILE[0] in [row[0] for row in table(page, "job-nodes-h")]
    page.js("document.querySelector('#job-each svg').focus()")
    page.key("Home")
    assert texts(page, "#job-each-detail b")[0].startswith(f"{HOSTILE[0]} on {HOSTILE[0]}")


@pytest.mark.parametrize("make", [small, many, hostile])
def test_markdown_says_the_same(make: Callable[[], Profile]) -> None:
    profile = make()
    made = markdown.render(profile, "job.fsprobe")
    section = made.partition("### Job: ranks and nodes")[2].partition("### Imports")[0]
    assert section
    rows = [line for line in section.splitlines() if line.startswith("|")]
    # hostile names end neither a cell nor a line: every row of a table has its columns
    for line in rows:
        bare = line.replace("\\|", "")
        assert bare.count("|") in (7, 10), line
    assert "<img" not in section.replace("`/p/<img src=x onerror=alert(1)>`", "").replace("\\<", "")
    if make is small:
        for words in ("rank 6", "killed by SIGKILL", "| `n1` | 4 | 400 |", "cut.fsprobe", "Estimate of the whole job"):
            assert words in section, words
    if make is many:
        assert f"| {300 - job_rows.N_NODES} more |" in section
        assert len(rows) < 50


def test_jobs_that_were_merged_before_there_were_times_are_shown() -> None:
    profile = small()
    assert profile.job is not None
    rates = ("timeline", "peak_metadata_per_s", "peak_open_per_s", "sustained_metadata_per_s")
    nodes = tuple(changed(node, **dict.fromkeys(rates)) for node in profile.job.nodes)
    profile = changed(profile, job__timeline=None, job__nodes=nodes)
    assert "Job: ranks and nodes" in html.render(profile, "job.fsprobe")
    assert "Job: ranks and nodes" in markdown.render(profile, "job.fsprobe")


@pytest.mark.parametrize("make", [small, many])
def test_the_sum_over_nodes_is_the_total_that_every_view_shows(make: Callable[[], Profile]) -> None:
    profile = make()
    assert profile.job is not None
    shown, rest = job_rows.node_rows(profile.job)
    n = sum(row.n_requests or 0 for row in shown) + ((rest.n_requests or 0) if rest is not None else 0)
    assert n == sum(50 + 10 * row.n_recordings + 4 for row in profile.job.nodes)
