"""What fsprobe's commands look like on a terminal: 60 to 200 columns, dark and light.

    python -m benchmarks.terminal [--only NAME] [--pictures DIR] [-o reports]

Each command runs on a pseudo-terminal; xterm.js in a headless Chromium shows what it wrote (loaded by npm into a temporary directory).
Looked for are lines that the terminal had to wrap (a command that is there to be copied may be wider than the screen, nothing else may), and
the contrast of each colour that a letter has, with the colours of usual terminals. The pictures are there to be looked at.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import evidence
from benchmarks.environments import fsprobe_of
from benchmarks.evidence import REPORTS, Json, say
from benchmarks.ranks import write_ranks
from benchmarks.terminal import screen, themes
from tests.report.browser import CHROMIUM, Page, browser

WIDTHS = (60, 80, 120, 200)
CASE = REPORTS / "case" / "recordings"
IMPORT = "import email.mime.multipart, http.client, asyncio"
SCENES: dict[str, list[str]] = {
    "run": ["run", "--force", "-o", "slow.fsprobe", "--", "{python}", "-c", IMPORT],
    "run that fails": ["run", "--force", "-o", "fails.fsprobe", "--", "{python}", "-c", "import email, nosuchmodule"],
    "run --full": ["run", "--full", "--force", "-o", "slow.fsprobe", "--", "{python}", "-c", IMPORT],
    "report": ["report", "case.fsprobe"],
    "report of a job": ["report", "job.fsprobe"],
    "compare": ["report", "compare.fsprobe"],
    "diff": ["diff", "before.fsprobe", "case.fsprobe"],
    "check": ["check", "case.fsprobe", "--max-metadata", "5000", "--max-not-found", "1000"],
    "whatif": ["whatif", "case.fsprobe", "--nodes", "64", "--ranks-per-node", "8"],
    "whatif of a comparison": ["whatif", "compare.fsprobe"],
    "fix --dry-run": ["fix", "mine.fsprobe", "--dry-run"],
    "doctor": ["doctor"],
    "scan": ["scan", "{env}"],
    "help": ["--help"],
    "help run": ["run", "--help"],
    "an error": ["report", "nosuch.fsprobe"],
}


def prepare(fsprobe: list[str], place: Path) -> dict[str, str]:
    """The recordings that the commands are about; what stands for the names in braces."""
    shutil.copy(CASE / "01.fsprobe", place / "case.fsprobe")
    shutil.copy(CASE / "02.fsprobe", place / "compare.fsprobe")
    write_ranks([place / "case.fsprobe"], place / "ranks", 16)
    subprocess.run([*fsprobe, "merge", "ranks", "-o", "job.fsprobe"], check=True, cwd=place, stdout=subprocess.DEVNULL)
    env = place / "env"
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
    python = str(env / "bin" / "python")
    for name, code in (("before", "import json"), ("mine", "import pip._vendor.rich.console")):
        words = [*fsprobe, "run", "-q", "--record-only", "-o", f"{name}.fsprobe", "--", python, "-c", code]
        subprocess.run(words, check=True, cwd=place)
    return {"python": python, "env": str(env)}


def look(page: Page, name: str, words: list[str], place: Path, pictures: Path | None) -> list[Json]:
    """One command in all widths; its pictures in a dark and a light theme."""
    rows = []
    env = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}"}
    for width in WIDTHS:
        output, code = screen.output_of(words, width, env, place)
        for dark, theme in ((True, themes.DARK), (False, themes.LIGHT)):
            label = re.sub(r"\W+", "-", name)
            picture = pictures / f"{label}-{width}-{'dark' if dark else 'light'}.png" if pictures else None
            shown = screen.draw(page, output, width, theme, picture)
        lines, wrapped = shown["lines"], shown["wrapped"]
        # a line is what stands between two newlines, however many rows of the screen it takes
        starts = [row for row in range(len(lines)) if row not in wrapped]
        ends = [*starts[1:], len(lines)]
        whole = ["".join(lines[row:end]) for row, end in zip(starts, ends, strict=True) if row + 1 in wrapped]
        broken = [line for line in whole if not is_to_be_copied(line, width)]
        colours = sorted(screen.styles_of(output))
        rows.append(
            {
                "command": name,
                "width": width,
                "exit_code": code,
                "n_lines": len(lines),
                "n_wide": len(whole) - len(broken),
                "n_broken": len(broken),
                "own_colours": colours,
            }
        )
        say(
            f"{name}, {width}: {len(lines)} lines, {len(whole)} wrapped, {len(broken)} of them not to be copied {colours}"
        )
        for line in broken:
            say("   " + line)
    return rows


def is_to_be_copied(line: str, width: int) -> bool:
    """Whether a line is there to be copied: a shell's line, a recording's name, or one word that is wider than the screen."""
    is_named = bool(re.match(r" *(\$ |fsprobe |recording: |next: |run  |As a page: )", line))
    return is_named or any(len(word) + len(line) - len(line.lstrip()) > width for word in line.split())


def main() -> int:
    """Look at all, and report; 1 where something is wrapped that is no command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="NAME", help="one command of: " + ", ".join(SCENES))
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="keep the pictures there")
    parser.add_argument("-o", "--output", type=Path, help="directory for terminal.json and .md")
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("no chromium on PATH")
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    rows: list[Json] = []
    with tempfile.TemporaryDirectory(prefix="fsprobe-terminal-") as name, browser() as page:
        place = Path(name)
        fsprobe = list(fsprobe_of(sys.executable))
        names = prepare(fsprobe, place)
        version = screen.load(page, place)
        product = str(page.send("Browser.getVersion")["product"]).rpartition("/")[2]
        for scene, words in SCENES.items():
            if options.only in (None, scene):
                filled = [names.get(word[1:-1], word) if word[:1] == "{" else word for word in words]
                rows += look(page, scene, [*fsprobe, *filled], place, options.pictures)
    result = {
        **evidence.head("terminal", ["-o reports"], versions={"chromium": product, "xterm.js": version}),
        "screens": rows,
        "own_colours": sorted({one for row in rows for one in row["own_colours"]}),
        "contrast": {theme.name: {style: round(theme.contrast(style), 1) for style in STYLES} for theme in themes.ALL},
        "marks": {name: round(screen.contrast(*pair), 1) for name, pair in MARKS.items()},
    }
    print(evidence.save(result, markdown, None, options.output))
    return int(any(row["n_broken"] for row in rows))


STYLES = ("default", "red", "green", "yellow", "blue", "magenta", "cyan", "brightRed", "brightGreen", "brightBlue")
LOOKED_AT = """\
By eye, on 2026-11-28, some of the pictures (`--pictures DIR`), before this table was made:

- first screen (80 dark and light), one that fails (60 dark), report (80 light), job (120 dark and light), compare (80 dark, 200 light), check (80
  light), whatif (80 light, 60 dark), fix --dry-run and doctor (60 light). Bars fill their width, columns are aligned.
- Mended for it: yellow, green, cyan and dim text was hard to read on white; a styled label styled what followed; whatif's last column wrapped at 60
  columns; errors broke within words; doctor had a path wider than the screen.
- Left: names in the middle of wide tables are cut with an ellipsis; long commands are wrapped by the terminal, within words.
"""
MARKS = {
    "good": ("#ffffff", "#008700"),
    "mind": ("#000000", "#ffaf00"),
    "bad": ("#ffffff", "#d70000"),
    "info": ("#ffffff", "#005faf"),
}
"""The four grounds that words are marked with (231 on 28, 16 on 214, 231 on 160, 231 on 25 of the 256 colours), and their letters."""


def markdown(result: Json) -> str:
    """The report."""
    rows = [
        [
            row["command"],
            row["width"],
            row["n_lines"],
            row["n_wide"],
            row["n_broken"],
            ", ".join(row["own_colours"]) or "-",
        ]
        for row in result["screens"]
    ]
    contrast = [[name, *(f"{one:.1f}" for one in found.values())] for name, found in result["contrast"].items()]
    return "\n".join(
        [
            "# What the commands look like on a terminal\n",
            evidence.about(result),
            "## Lines\n",
            evidence.table(
                [
                    "command",
                    "columns",
                    "lines",
                    "to be copied, and wider",
                    "others that wrap",
                    "the terminal's own colours",
                ],
                rows,
            ),
            "Each command was shown in a dark and in a light theme; what it wrote is the same. A command or the name of a file that is "
            "there to be copied is one line, and the terminal wraps it where it is wider. Nothing else may wrap. "
            "The colours of `fix` and `scan` are those of a progress line that is wiped.\n",
            "## Looked at\n",
            LOOKED_AT,
            "## Contrast\n",
            "A marked word has a ground of its own, whatever the theme: "
            + ", ".join(f"{name} {one:.1f}" for name, one in result["marks"].items())
            + f"; WCAG 2 (AA) wants {screen.LEAST_CONTRAST}. All else has the terminal's foreground. No colour of a terminal's own "
            "is used, because none of them reaches 4.5 in all of these themes:\n",
            evidence.table(["theme", *STYLES], contrast),
            "That Solarized's own foreground is below 4.5 on its light ground is that theme's choice. On a terminal of 16 colours the "
            "four grounds become the nearest of its own.\n",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
