"""The HTML report in a real browser: no complaint, no request, hostile text inert, everything usable by keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fsprobe.model.comparison import Comparison
from fsprobe.model.profile import Profile
from fsprobe.model.rows import PathRow
from fsprobe.report.html import page as html
from tests.conftest import need
from tests.report.browser import CHROMIUM, Page, browser
from tests.report.profiles import HOSTILE, bare, changed, comparison, counts, hand_built, hostile, module


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    need(CHROMIUM, "no chromium on PATH")
    with browser() as page:
        yield page


Opener = Callable[..., Page]


@pytest.fixture
def show(chromium: Page, tmp_path: Path) -> Iterator[Opener]:
    """Open the page of a profile; at the end of the test there must have been no complaint and no request but for it."""
    file = tmp_path / "report.html"

    def opener(profile: Profile | Comparison, **options: Any) -> Page:
        file.write_text(html.render(profile, "run.fsprobe"), encoding="utf-8")
        chromium.open(file, **options)
        chromium.js("try { localStorage.clear() } catch {}")
        return chromium

    yield opener
    assert chromium.complaints() == []
    assert set(chromium.requests()) == {file.as_uri()}


def texts(page: Page, selector: str) -> list[str]:
    found = page.js(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent.trim())")
    return [str(text) for text in found]


def focus(page: Page, selector: str) -> None:
    page.js(f"document.querySelector({json.dumps(selector)}).focus()")


def focused(page: Page) -> str:
    return str(page.js("document.activeElement.id || document.activeElement.textContent.trim()"))


@pytest.mark.parametrize("make", [hand_built, bare, hostile, comparison])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (800, False), (400, True)])
def test_every_page_opens_in_silence_and_is_no_wider_than_the_window(
    show: Opener, make: Any, width: int, dark: bool
) -> None:
    page = show(make(), width=width, dark=dark)
    assert page.js("document.documentElement.scrollWidth") == width


def test_hostile_text_is_inert_in_the_dom(show: Opener) -> None:
    page = show(hostile())
    assert page.js("document.querySelectorAll('img, iframe, object, embed, link, base, form').length") == 0
    assert page.js("document.scripts.length") == 2
    assert page.js("[...document.querySelectorAll('a')].every(a => a.getAttribute('href').startsWith('#'))") is True
    handlers = "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n => n.startsWith('on'))"
    assert page.js(handlers) == []
    paths = texts(page, "#panel-paths tbody td.name")
    assert HOSTILE[0] in paths
    assert "/p/line\\x0abreak\\x0d\\x09tab" in paths
    assert "/p/\\u202egnp.exe\\u2066" in paths
    assert "/p/\\xff\\x80" in paths
    assert "/p/\\u2028\\u2029" in paths
    # a module with a hostile name, found, zoomed to, described and listed
    focus(page, "#icicle-search")
    page.type("<img")
    page.key("Enter")
    assert texts(page, "#icicle-crumbs b") == [HOSTILE[0]]
    page.js("document.querySelector('#icicle-table').open = true")
    page.settle()
    assert HOSTILE[0] in texts(page, "#icicle-table th.name")
    assert page.js("document.querySelectorAll('img').length") == 0


def test_even_injected_markup_could_not_run(show: Opener) -> None:
    page = show(hand_built())
    page.js("document.body.insertAdjacentHTML('beforeend', '<img src=\"x:\" onerror=\"window.ran = 1\">')")
    page.js("new Promise(done => setTimeout(done, 50))")
    assert page.js("window.ran === undefined") is True
    assert page.complaints()  # the page's own policy said no
    page.events[:] = [event for event in page.events if event.get("method") == "Network.requestWillBeSent"]
    page.events[:] = [event for event in page.events if event["params"]["request"]["url"].startswith("file:")]


def test_a_table_sorts_and_filters_by_keyboard(show: Opener) -> None:
    page = show(hand_built())
    names = "#panel-modules tbody tr td:first-child"
    assert texts(page, names)[0] == "big"
    focus(page, "#panel-modules thead th:nth-child(3) button")  # the module's own calls
    page.key("Enter")
    assert texts(page, names)[0] == "big.core"
    assert page.js("document.querySelector('#panel-modules th:nth-child(3)').getAttribute('aria-sort')") == "descending"
    page.key(" ")
    assert texts(page, names)[-1] == "big.core"
    assert page.js("document.querySelector('#panel-modules th:nth-child(3)').getAttribute('aria-sort')") == "ascending"
    focus(page, "#panel-modules thead th:first-child button")
    page.key("Enter")
    assert texts(page, names) == sorted(texts(page, names))
    focus(page, "#panel-modules input")
    page.type("BIG.")
    assert texts(page, names) == ["big.core"]
    assert texts(page, "#panel-modules [role=status]") == ["1 of 6 rows"]


def test_the_row_for_the_rest_stays_last_and_leaves_a_filtered_table(show: Opener) -> None:
    page = show(hand_built())
    page.click("#tab-paths")
    focus(page, "#panel-paths thead th:nth-child(2) button")
    page.key("Enter")
    assert texts(page, "#panel-paths tbody tr:last-child td")[:2] == ["40 more", "20"]
    focus(page, "#panel-paths input")
    page.type("env/BIG")
    assert texts(page, "#panel-paths tbody td.name") == ["/project/env/big"]
    assert "together 60 calls" in texts(page, "#panel-paths [role=status]")[0]


def test_long_tables_open_bit_by_bit(show: Opener) -> None:
    rows = tuple(PathRow(key=f"/p/{n}", **counts(1, 1)) for n in range(2_500))
    page = show(changed(hand_built(), metrics__by_path=rows))
    rows = "document.querySelectorAll('#panel-paths tbody tr:not(.rest)').length"
    assert page.js(rows) == 50
    page.click("#tab-paths")
    for shown in (550, 1_050, 1_550, 2_000):
        page.click("#panel-paths .more")
        assert page.js(rows) == shown
    assert page.js("document.querySelector('#panel-paths .more').hidden") is True
    assert texts(page, "#panel-paths tr.rest td")[:2] == ["500 more", "1,000"]


def test_tabs_move_by_arrow_keys(show: Opener) -> None:
    page = show(hand_built())
    focus(page, "#tab-modules")
    page.key("ArrowRight", "ArrowRight")
    assert focused(page) == "tab-mounts"
    assert texts(page, ".panel.active h3") == ["Mounts"]
    page.key("End")
    assert texts(page, ".panel.active h3") == ["System calls"]
    assert page.js("document.querySelectorAll('[role=tab][tabindex=\"0\"]').length") == 1


def test_the_icicle_is_walked_zoomed_and_left_by_keyboard(show: Opener) -> None:
    page = show(hand_built())
    detail = "#icicle-detail b"
    focus(page, "#icicle")
    page.key("ArrowDown")
    assert texts(page, detail) == ["big"]
    page.key("ArrowDown")
    assert texts(page, detail) == ["big.core"]
    assert (
        page.js("document.querySelector('.cell.current').getAttribute('aria-label')")
        == "big.core, 25 calls, 25% of all"
    )
    page.key("ArrowRight")
    assert texts(page, detail) == ["small"]
    page.key("ArrowUp", "Enter")
    assert texts(page, "#icicle-crumbs b") == ["big"]
    assert page.js("document.querySelectorAll('.cell').length") == 3
    page.key("Escape")
    assert texts(page, "#icicle-crumbs b") == ["total"]
    active = page.js(
        "document.getElementById(document.querySelector('#icicle').getAttribute('aria-activedescendant')) !== null"
    )
    assert active is True


def test_bars_of_the_icicle_are_as_wide_as_their_sums(show: Opener) -> None:
    page = show(hand_built())
    wide = (
        "Object.fromEntries([...document.querySelectorAll('.cell')]"
        ".map(c => [c.getAttribute('aria-label'), parseFloat(c.style.width)]))"
    )
    widths = page.js(wide)
    assert widths["big, 55 calls, 55% of all"] == pytest.approx(55)
    assert widths["a.b, 25 calls, 25% of all"] == pytest.approx(25)
    assert widths["a, 10 calls, 10% of all"] == pytest.approx(10)
    assert widths["(program), 20 calls, 20% of all"] == pytest.approx(20)
    focus(page, "#icicle-measure [data-value=calls]")
    page.key("ArrowRight")  # requests: 70 of big, 32 of small, which big imported
    widths = page.js(wide)
    assert widths["big, 102 requests, 100% of all"] == pytest.approx(100)
    focus(page, "#icicle-arrange [data-value=importer]")
    page.key("ArrowRight")
    assert page.js("document.querySelector('#icicle-arrange [data-value=name]').getAttribute('aria-checked')") == "true"
    widths = page.js(wide)
    assert widths["small, 32 requests, 31% of all"] == pytest.approx(100 * 32 / 102, abs=0.01)


def test_a_click_zooms_and_the_breadcrumb_leads_back(show: Opener) -> None:
    page = show(hand_built())
    page.click(".cell[aria-label^='big.core']")
    assert texts(page, "#icicle-crumbs b") == ["big.core"]
    assert texts(page, "#icicle-crumbs button") == ["total", "big"]
    page.click("#icicle-crumbs button")
    assert texts(page, "#icicle-crumbs b") == ["total"]


def test_slash_finds_a_module_and_counts_it_once(show: Opener) -> None:
    page = show(hand_built())
    page.key("/")
    assert focused(page) == "icicle-search"
    page.type("big")
    assert texts(page, "#icicle-found") == ["2 found, self 45 calls"]
    assert page.js("document.querySelectorAll('.cell.hit').length") == 2
    page.key("/")  # while typing it is a letter
    assert page.js("document.querySelector('#icicle-search').value") == "big/"
    page.key("Escape")
    assert page.js("document.querySelectorAll('.cell.dim').length") == 0


def test_a_deep_chain_of_imports_is_drawn(show: Opener) -> None:
    rows = tuple(module(f"m{n}", f"m{n - 1}" if n else None, counts(0, 1), 1_500 - n) for n in range(1_500))
    page = show(changed(hand_built(), metrics__by_module=(*(hand_built().metrics.by_module or ()), *rows)))
    page.key("/")
    page.type("m1499")
    page.key("Enter")
    assert texts(page, "#icicle-crumbs b") == ["m1499"]


def test_the_timeline_keeps_its_pauses_and_moves_by_keyboard(show: Opener) -> None:
    page = show(hand_built())
    assert page.js("document.querySelectorAll('#timeline-chart rect:not(.cursor)').length") == 5
    edges = page.js(
        "[...document.querySelectorAll('#timeline-chart rect:not(.cursor)')].map(r => (r.x.baseVal.value - 56) / 996 * 13)"
    )
    assert [int(edge) for edge in edges] == [0, 0, 1, 12, 12]  # the bin that each bar stands in, of 13 in 996 px
    # how long the run took stands among the figures; whole bins are longer
    assert texts(page, "#timeline-lead") == ["Metadata calls in each 0.1 s of the run, by phase."]
    focus(page, "#timeline-chart svg")
    page.key("Home")
    assert texts(page, "#timeline-detail") == ["0 s to 0.1 s: 50 callsinit 20 · import 30"]
    page.key("ArrowRight", "ArrowRight")
    assert texts(page, "#timeline-detail") == ["0.2 s to 0.3 s: no calls"]
    page.key("End")
    assert page.js("document.querySelector('#timeline-chart svg').getAttribute('aria-valuetext')") == (
        "1.2 s to 1.3 s: 30 calls, import 20, run 10"
    )


def test_the_colours_follow_the_system_until_they_are_chosen(show: Opener) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    page = show(hand_built(), dark=True)
    dark = page.js(paper)
    page.colours(dark=False)
    light = page.js(paper)
    assert light != dark
    focus(page, "#theme")
    page.key("Enter", "Enter")
    assert (focused(page), page.js("document.querySelector('#theme').textContent")) == ("theme", "Theme: dark")
    assert page.js(paper) == dark
    page.colours(dark=True, media="print")
    assert page.js(paper) == "rgb(255, 255, 255)"
    page.colours(dark=False)
    page.key("Enter")
    assert page.js(paper) == light


def test_a_command_is_copied_as_it_stands(show: Opener) -> None:
    page = show(hostile())
    page.send("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.js("document.querySelectorAll('.copy')[1].focus()")
    page.key("Enter")
    page.js("new Promise(done => setTimeout(done, 50))")
    assert page.js("document.activeElement.textContent") == "Copied"
    assert page.js("navigator.clipboard.readText()") == "echo one\necho two"


def test_print_shows_every_table_and_no_control(show: Opener) -> None:
    page = show(hand_built())
    page.colours(dark=False, media="print")
    shown = "[...document.querySelectorAll({})].filter(e => e.getClientRects().length).length"
    assert page.js(shown.format("'.panel'")) == 6
    assert page.js(shown.format("'input, .copy, .tabs, .filter, .controls, .bar, .more'")) == 0
    page.colours(dark=False)


def test_everything_that_acts_has_a_name_and_is_reached_by_tab(show: Opener) -> None:
    page = show(hand_built())
    nameless = (
        "[...document.querySelectorAll('button, input, a, [tabindex]')]"
        ".filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.[0]?.textContent.trim()))"
        ".map(e => e.outerHTML)"
    )
    assert page.js(nameless) == []
    focus(page, ".skip")
    reached = set()
    for _ in range(60):
        page.key("Tab")
        reached.add(focused(page))
    for wanted in ("theme", "Copy", "icicle-search", "icicle", "tab-modules"):
        assert wanted in reached
    ids = page.js("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_a_link_restores_what_is_seen(show: Opener) -> None:
    page = show(hand_built())
    page.click(".cell[aria-label^='big.core']")
    assert page.js("location.hash") == "#imports/calls/importer/big.core"
    page.js("location.hash = '#imports/requests/name/big'")
    page.settle()
    assert texts(page, "#icicle-crumbs b") == ["big"]
    assert texts(page, "#icicle-measure [aria-checked=true]") == ["Requests"]
    assert texts(page, "#icicle-arrange [aria-checked=true]") == ["Self, by package"]
    for strange in ("#imports/%E0%A4%A", "#imports/nothing/nowhere/%3Cimg%20src%3Dx%3E", "#imports/"):
        page.js(f"location.hash = {json.dumps(strange)}")
        page.settle()
    assert texts(page, "#icicle-crumbs b") == ["big"]
    page.send("Page.navigate", url="about:blank")


def test_the_tooltip_is_at_the_cursor_and_inside_the_window(show: Opener) -> None:
    page = show(hostile(), width=400)
    page.js("document.querySelector('.icicle').scrollIntoView({block: 'center', behavior: 'instant'})")
    page.settle()
    at = page.js(
        "(() => { const r = document.querySelector('.cell').getBoundingClientRect(); return [r.right - 2, r.y + 9]; })()"
    )
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])
    page.settle()
    left, right, top = page.js(
        "(() => { const r = document.querySelector('.tip').getBoundingClientRect(); return [r.left, r.right, r.top]; })()"
    )
    assert 0 <= left < right <= 400
    assert 0 < abs(top - at[1]) < 250
    assert page.js("document.querySelectorAll('.tip img').length") == 0


def test_the_icicle_is_saved_as_a_drawing_and_as_a_picture(show: Opener) -> None:
    page = show(hostile())
    page.js(
        "window.made = []; window.names = []; URL.createObjectURL = (blob) => { made.push(blob); return '#'; };"
        "HTMLAnchorElement.prototype.click = function () { names.push(this.download); }; 0"
    )
    page.click("#icicle-svg")
    page.click("#icicle-png")
    page.js("new Promise(done => { const wait = () => made.length > 1 ? done() : setTimeout(wait, 10); wait(); })")
    assert page.js("names") == ["fsprobe-imports-total.svg", "fsprobe-imports-total.png"]
    drawn = ElementTree.fromstring(page.js("made[0].text()"))
    assert {element.tag.rpartition("}")[2] for element in drawn.iter()} == {"svg", "g", "rect", "text", "title"}
    assert any(HOSTILE[0] in (element.text or "") for element in drawn.iter())
    size = page.js("made[1].arrayBuffer().then(data => [...new Uint8Array(data.slice(1, 4))])")
    assert bytes(size) == b"PNG"


def test_names_of_modules_are_whole_or_absent(show: Opener) -> None:
    page = show(hand_built(), width=400)
    cut = "[...document.querySelectorAll('.icicle .cell')].filter(c => c.scrollWidth > c.clientWidth + 1 && c.textContent).map(c => c.textContent)"
    assert page.js(cut) == []


def test_the_timeline_names_modules_where_they_begin(show: Opener) -> None:
    rows = tuple(changed(row, first_s=0.0 if row.key == "big" else 1.2) for row in hand_built().metrics.by_module or ())
    page = show(changed(hand_built(), metrics__by_module=rows))
    names = texts(page, "#timeline-chart text.name")
    assert "big" in names
    focus(page, "#timeline-chart svg")
    page.key("Home")
    assert texts(page, "#timeline-detail")[0].endswith("begun here: big")
