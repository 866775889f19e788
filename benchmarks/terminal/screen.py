"""A terminal of a given width: a command on a pseudo-terminal, and what xterm.js in a headless Chromium makes of its output."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.evidence import Json
from tests.report.browser import Page

XTERM = "@xterm/xterm@5"
COLOURS = "black red green yellow blue magenta cyan white".split()
COLOURS += ["bright" + name.capitalize() for name in COLOURS]
N_ROWS = 400
LEAST_CONTRAST = 4.5
"""WCAG 2, level AA, for text."""
_STYLES = re.compile(r"\x1b\[([\d;]*)m")


@dataclass(frozen=True, slots=True)
class Theme:
    """Sixteen colours as a terminal sets them, and the two that stand for none."""

    name: str
    background: str
    foreground: str
    colours: tuple[str, ...]

    def contrast(self, style: str) -> float:
        """Of text in a style (`default` or a colour's name) on this background: 1 to 21, as WCAG 2 defines it."""
        ink = self.foreground if style == "default" else self.colours[COLOURS.index(style)]
        return contrast(ink, self.background)


def contrast(ink: str, ground: str) -> float:
    """Of two colours (`#rrggbb`), 1 to 21."""
    light, dark = sorted((_luminance(ink), _luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def output_of(
    command: Sequence[str], n_columns: int, env: Mapping[str, str], cwd: Path, timeout_s: float = 120
) -> tuple[str, int]:
    """What a command writes on a terminal of so many columns, and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", N_ROWS, n_columns, 0, 0))
    words = {**env, "TERM": "xterm-256color"}
    words.pop("COLUMNS", None)
    words.pop("NO_COLOR", None)
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=words, cwd=cwd, start_new_session=True
    )
    os.close(theirs)
    found, end = b"", time.monotonic() + timeout_s
    try:
        while time.monotonic() < end:
            if not select.select([ours], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # EIO: the last who had it open has gone
                break
            if not data:
                break
            found += data
        else:
            process.kill()
    finally:
        os.close(ours)
        code = process.wait()
    return found.decode("utf-8", "replace"), code


def styles_of(output: str) -> set[str]:
    """The colours that an output uses for its letters, by name; `dim` where it asks for that."""
    found = set()
    for match in _STYLES.finditer(output):
        # of the 256 colours those from 16 on are the same everywhere
        for word in re.sub(r"[34]8;5;\d+", "", match[1]).split(";"):
            number = int(word or 0)
            if number == 2:
                found.add("dim")
            elif 30 <= number <= 37:
                found.add(COLOURS[number - 30])
            elif 90 <= number <= 97:
                found.add(COLOURS[number - 90 + 8])
    return found


def load(page: Page, place: Path) -> str:
    """Have xterm.js in a page; it is loaded by npm into `place`. Returns its version."""
    words = ["npm", "install", "--prefix", str(place), "--no-audit", "--no-fund", "--silent", XTERM]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    package = place / "node_modules" / "@xterm" / "xterm"
    html = place / "terminal.html"
    html.write_text(
        f'<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="{package}/css/xterm.css">'
        f'<script src="{package}/lib/xterm.js"></script><style>body{{margin:12px}}</style><div id="t"></div>'
    )
    page.open(html)
    return str(json.loads((package / "package.json").read_text())["version"])


def draw(page: Page, output: str, n_columns: int, theme: Theme, picture: Path | None) -> Json:
    """Show an output; what stands on the screen, and which of its lines the terminal had to wrap.

    Args:
        picture: where a PNG of it goes, if anywhere.

    Returns:
        `lines` as they stand, and `wrapped`: the numbers of those that go on from the one before.
    """
    colours = {"background": theme.background, "foreground": theme.foreground, "cursor": theme.background}
    colours.update(zip(COLOURS, theme.colours, strict=True))
    options = {"cols": n_columns, "rows": N_ROWS, "theme": colours, "fontFamily": "DejaVu Sans Mono", "fontSize": 13}
    script = (
        "new Promise(done => { document.body.style.background = %s; const box = document.getElementById('t'); box.innerHTML = ''; "
        "const term = new Terminal(%s); term.open(box); term.write(%s, () => { const lines = [], wrapped = []; "
        "const all = term.buffer.active; for (let i = 0; i < all.length; i++) { const line = all.getLine(i); "
        "lines.push(line.translateToString(true)); if (line.isWrapped) wrapped.push(i); } "
        "while (lines.length && !lines[lines.length - 1].trim()) lines.pop(); const n = lines.length + 1; "
        "term.resize(%d, n); setTimeout(() => { const at = box.querySelector('.xterm-screen').getBoundingClientRect(); "
        "done({lines, wrapped, width: at.width + 24, height: at.height + 24}); }, 150); }); })"
    ) % (json.dumps(theme.background), json.dumps(options), json.dumps(output), n_columns)
    found: Json = page.js(script)
    if picture is not None:
        page.resize(int(found["width"]) + 1, int(found["height"]) + 1)
        page.settle()
        page.screenshot(picture)
        page.resize(1280, 900)
    return found
