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
        heads = [start for start in wrapped if start - 1 not in wrapped]
        broken = [lines[start - 1] for start in heads if not is_command(lines[start - 1])]
        rows.append(
            {
                "command": name,
                "width": width,
                "exit_code": code,
                "n_lines": len(lines),
                "n_wrapped": len(heads),
                "broken": broken,
                "colours": sorted(screen.styles_of(output)),
            }
        )
        say(
            f"{name}, {width}: {len(lines)} lines, {len(heads)} wrapped, {len(broken)} of them no command; {rows[-1]['colours']}"
        )
        for line in broken:
            say("   " + line)
    return rows


def is_command(line: str) -> bool:
    """Whether a line is there to be copied: a shell's line, or one that ends with a file's name."""
    return bool(re.match(r" *(\$ |fsprobe |recording: |next: |run  )", line))


def main() -> int:
    """Look at all, and report; 1 where something is wrapped that is no command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="NAME", help="one command of: " + ", ".join(SCENES))
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="keep the pictures there")
    parser.add_argument("-o", "--output", type=Path, help="directory for terminal.json and .md")
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("no chromium on PATH")
    rows: list[Json] = []
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fsprobe-terminal-") as name, browser() as page:
        place = Path(name)
        fsprobe = list(fsprobe_of(sys.executable))
        names = prepare(fsprobe, place)
        screen.load(page, place)
        for scene, words in SCENES.items():
            if options.only in (None, scene):
                rows += look(
                    page,
                    scene,
                    [*fsprobe, *(word.format(**names) if "{" in word else word for word in words)],
                    place,
                    options.pictures,
                )
    return int(any(row["broken"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
