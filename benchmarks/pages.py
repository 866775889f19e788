"""The HTML pages in a real browser: what axe-core finds wrong, and how soon a page answers a click.

    python -m benchmarks.pages [--runs N] [--axe FILE] [-o reports]

Three pages are looked at, each 1440 and 400 pixels wide, in light and dark colours: of a run and of a job that are recorded now
(`import pandas`; the same as eight ranks), and of the committed case's comparison of storage layouts. axe-core is loaded with npm into
a temporary directory. The time is that of a page with 100,000 metadata calls, recorded now: from the command that opens the file until a
click on a bar of the icicle has zoomed in and the frame after it is drawn; clicks are tried as soon as there is a bar.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import evidence
from benchmarks.environments import fsprobe_of
from benchmarks.evidence import REPORTS, Json, say
from benchmarks.ranks import write_ranks
from tests.report.browser import CHROMIUM, Page, browser

WIDTHS = (1440, 400)
N_RANKS = 8
N_CALLS = 100_000
N_MODULES = 1_500
"""Of the package that the large page's program imports; about 8 calls each."""
AXE = "axe-core@4"
MOST_S = 3.0
"""What the first answered click may take."""
COMPARISON = REPORTS / "case" / "recordings" / "02.fsprobe"
VIOLATIONS = (
    "axe.run(document, {resultTypes: ['violations']}).then(r => ({version: r.testEngine.version, "
    "found: r.violations.map(v => ({rule: v.id, impact: v.impact, n: v.nodes.length}))}))"
)
BAR = (
    "(() => { const bar = document.querySelectorAll('#icicle .cell')[1]; if (!bar) return null; bar.scrollIntoView({block: 'center'}); "
    "const at = bar.getBoundingClientRect(); return [at.x + at.width / 2, at.y + at.height / 2]; })()"
)
CRUMBS = "document.querySelectorAll('#icicle-crumbs button').length"


def record(fsprobe: Sequence[str], file: Path, command: Sequence[str]) -> Path:
    """A recording of a command."""
    words = [*fsprobe, "run", "-q", "--record-only", "--force", "-o", str(file), "--", *command]
    subprocess.run(words, check=True, cwd=file.parent)
    return file


def make_page(fsprobe: Sequence[str], file: Path) -> Path:
    """The page of a recording, a job or a comparison."""
    page = file.with_suffix(".html")
    subprocess.run([*fsprobe, "report", str(file), "--force", "-o", str(page)], check=True, stderr=subprocess.DEVNULL)
    return page


def pages(fsprobe: Sequence[str], python: str, place: Path) -> dict[str, Path]:
    """The three pages."""
    run = record(fsprobe, place / "run.fsprobe", [python, "-c", "import pandas"])
    write_ranks([run], place / "ranks", N_RANKS)
    job = place / "job.fsprobe"
    subprocess.run([*fsprobe, "merge", str(place / "ranks"), "-o", str(job)], check=True, stdout=subprocess.DEVNULL)
    comparison = place / "compare.fsprobe"
    comparison.write_bytes(COMPARISON.read_bytes())
    return {file.stem: make_page(fsprobe, file) for file in (run, comparison, job)}


def large(fsprobe: Sequence[str], python: str, place: Path) -> tuple[Path, int]:
    """The page of a program with at least `N_CALLS` metadata calls, most of them on names of their own; how many it made."""
    package = place / "large"
    package.mkdir()
    for number in range(N_MODULES):
        # chains of ten, so that there is something to zoom into
        text = f"from large import m{number + 1}\n" if number % 10 < 9 and number + 1 < N_MODULES else ""
        (package / f"m{number}.py").write_text(text)
    (package / "__init__.py").write_text("")
    program = place / "program.py"
    program.write_text(
        f"import importlib, os\nfor n in range({N_MODULES}):\n    importlib.import_module(f'large.m{{n}}')\n"
        f"for n in range({N_CALLS} - 4 * {N_MODULES}):\n    os.path.exists(f'data/{{n % 500}}/{{n}}')\n"
    )
    file = record(fsprobe, place / "large.fsprobe", [python, str(program)])
    done = subprocess.run([*fsprobe, "report", str(file), "--format", "json"], check=True, capture_output=True)
    return make_page(fsprobe, file), json.loads(done.stdout)["metrics"]["n_metadata"]


def axe_source(place: Path) -> Path:
    """axe-core, by npm."""
    words = ["npm", "install", "--prefix", str(place), "--no-audit", "--no-fund", "--silent", AXE]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return place / "node_modules" / "axe-core" / "axe.min.js"


def check(page: Page, axe: str, name: str, file: Path) -> tuple[list[Json], str]:
    """What axe-core finds in each width and colour scheme, and its version."""
    rows, version = [], ""
    for width in WIDTHS:
        for dark in (False, True):
            page.open(file, width=width, dark=dark)
            said = page.complaints()
            page.js(f"{axe}; 0")
            found = page.js(VIOLATIONS)
            version = found["version"]
            row = {"page": name, "width": width, "colours": "dark" if dark else "light", "violations": found["found"]}
            row["is_wider_than_the_window"] = page.js("document.documentElement.scrollWidth") > width
            rows.append({**row, "n_complaints": len(said)})
            say(f"{name}, {width}, {row['colours']}: {len(found['found'])} violations")
    return rows, version


def first_click_s(page: Page, file: Path) -> float:
    """Seconds from opening a page until a click on the icicle was answered and drawn."""
    page.send("Page.navigate", url="about:blank")
    page.settle()
    page.events.clear()
    begin = time.perf_counter()
    page.send("Page.navigate", url=file.as_uri())
    while time.perf_counter() - begin < 60:
        at = page.js(BAR)
        if at is None:
            continue
        for kind in ("mousePressed", "mouseReleased"):
            page.send("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)
        if page.js(CRUMBS):
            page.settle()
            return time.perf_counter() - begin
    raise RuntimeError("no click was answered within a minute")


def measure(place: Path, axe_file: Path | None, n_runs: int) -> Json:
    """Violations of the three pages, and times of the large one."""
    fsprobe = fsprobe_of(sys.executable)
    say("recording")
    made = pages(fsprobe, sys.executable, place)
    big, n_calls = large(fsprobe, sys.executable, place)
    axe = (axe_file or axe_source(place)).read_text(encoding="utf-8")
    rows, version = [], ""
    with browser() as page:
        product = str(page.send("Browser.getVersion")["product"]).rpartition("/")[2]
        for name, file in made.items():
            found, version = check(page, axe, name, file)
            rows += found
        page.resize(1440, 900)
        page.colours(dark=False)
        times = []
        for number in range(n_runs):
            times.append(first_click_s(page, big))
            say(f"first answered click {number + 1}: {times[-1]:.2f} s")
    return {
        "axe": rows,
        "n_violations": sum(len(row["violations"]) for row in rows),
        "first_click": {
            "n_calls": n_calls,
            "page_mb": round(big.stat().st_size / 1e6, 2),
            "s": evidence.spread(times, 2),
            "most_s": MOST_S,
            "load_1_min": round(os.getloadavg()[0], 1),
        },
        "axe_core": version,
        "chromium": product,
    }


def markdown(result: Json) -> str:
    """The report."""
    rows = [
        [
            row["page"],
            row["width"],
            row["colours"],
            len(row["violations"]),
            ", ".join(f"{one['rule']} ({one['n']})" for one in row["violations"]) or "-",
            "yes" if row["is_wider_than_the_window"] else "no",
        ]
        for row in result["axe"]
    ]
    click = result["first_click"]
    return "\n".join(
        [
            "# The HTML pages in a browser\n",
            evidence.about(result),
            f"## axe-core {result['axe_core']}: {result['n_violations']} violations\n",
            evidence.table(["page", "width", "colours", "violations", "rules", "wider than the window"], rows),
            "The pages of the run and the job are of recordings that were made for this (`import pandas`, and the same as "
            f"{N_RANKS} ranks); that of the comparison is the committed case's. What axe-core can't decide is not counted.\n",
            f"## First answered click, {click['n_calls']:,} metadata calls\n",
            evidence.table(
                ["page", "median", "least", "most", "at most wanted", "load then"],
                [
                    [
                        f"{click['page_mb']} MB",
                        *(f"{click['s'][key]:.2f} s" for key in ("median", "min", "max")),
                        f"{click['most_s']:g} s",
                        click["load_1_min"],
                    ]
                ],
            ),
            "From the command that opens the file (headless Chromium, already running) until a click on a bar of the icicle has "
            "zoomed in and the frame after it is drawn.\n",
        ]
    )


def main() -> int:
    """Measure and report; 1 where axe-core finds something or the first click takes too long."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="openings of the large page")
    parser.add_argument("--axe", type=Path, metavar="FILE", help="axe.min.js, where npm is not to load it")
    parser.add_argument("-o", "--output", type=Path, help="directory for pages.json and .md")
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("no chromium on PATH")
    with tempfile.TemporaryDirectory(prefix="fsprobe-pages-") as name:
        found = measure(Path(name), options.axe, options.runs)
    versions = {"chromium": found.pop("chromium"), "axe-core": found["axe_core"]}
    result = {**evidence.head("pages", ["-o reports"], n_runs=options.runs, versions=versions), **found}
    print(evidence.save(result, markdown, None, options.output))
    wide = any(row["is_wider_than_the_window"] for row in result["axe"])
    return int(bool(result["n_violations"]) or wide or result["first_click"]["s"]["median"] > MOST_S)


if __name__ == "__main__":
    sys.exit(main())
