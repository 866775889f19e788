"""Where a report is drawn: on a terminal as wide as it is, elsewhere and as text 80 columns wide."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TextIO, TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from fsprobe import numbers
from fsprobe.capture import shipped
from fsprobe.report.foreign import visible

WIDTH = 80
MAX_WIDTH = 110
"""A terminal may be wider; lines that are longer are hard to read."""
AUTO, ALWAYS, NEVER = COLORS = ("auto", "always", "never")
"""When there is colour."""
_color = [AUTO]
_WORD = re.compile(r" *[^ `]*`[^`]{,100}`[^ ]*| *[^ ]*\d (?:%|[mu]?s|B|[KMGT]iB)(?![^ ,.;:)\]])[^ ]*| *[^ ]+")
"""What stays on one line: a command in backquotes, a word, or a number with its unit."""
_PYTHON = re.compile(r"import |from \S+ import |[\w.]+\(")
"""How a line of Python begins, among those to type; it has no prompt of a shell."""
_COMMENTED = re.compile(r"(.*\S)  # (.*)")
_SHELL_WORD = re.compile(r"""\s+\#.*|\s*(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+|\s+$""")
"""A word of a command with the blanks before it; quotes are in one piece, and a comment is to the end."""

GOOD, MIND, BAD, INFO = (
    "bold color(231) on color(28)",
    "bold color(16) on color(214)",
    "bold color(231) on color(160)",
    "bold color(231) on color(25)",
)
"""Of a word that a colour marks. Both its letters and its ground are given, from the 256 colours that are alike everywhere: none of
a terminal's own sixteen can be read on a dark and on a light screen. All else is in the terminal's foreground."""
MIN_NAME, MIN_NAME_AT_80 = 20, 11
"""Room that a name has at least, before columns beside it are left out; less where a screen has the usual width."""
NOTE = {"note:": "bold"}
"""What marks a sentence that a reader has to mind."""


def set_color(when: str) -> None:
    """Say for this process when there is colour: `auto` is on a terminal alone, and not where NO_COLOR is set."""
    _color[0] = when


class Screen(Console):
    """A console that foreign text can't steer: what does not print is shown as an escape, wherever it comes from.

    Only what rich itself means as a control stays one. Who draws may still shorten and escape text before, for the sake of
    its width; nothing depends on it.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's; a text alone is broken between words, never within one: a path is there to be copied."""
        if len(objects) == 1 and isinstance(objects[0], Text) and not options:
            for line in broken(objects[0], self.width):
                super().print(line, soft_wrap=True)
        else:
            super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        """Whose reader has gone (`| head`) has read enough: that is no failure, as rich takes it for one.

        Raises:
            BrokenPipeError: always.
        """
        self.quiet = True
        if self.file is sys.stdout:
            # what is left in the buffer must not fail once more at the interpreter's end
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
        raise BrokenPipeError

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of something, each of them harmless."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.replace("\n", "").isprintable():
                yield segment
            else:
                yield Segment(visible(segment.text, keep="\n"), segment.style)


def clean(value: str, width: int = 0) -> str:
    """Foreign text for a terminal: control characters shown, not obeyed; the middle left out of what is too long."""
    safe = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in value)
    if width and len(safe) > width:
        keep = width - 1
        safe = safe[: keep // 3] + "…" + safe[-(keep - keep // 3) :]
    return safe


def marked(text: str, style: str = "", marks: Mapping[str, str] | None = None) -> Text:
    """A text with the first place of each of some words in a style of its own."""
    found = Text(clean(text), style=style)
    for words, mark in (marks or {}).items():
        at = found.plain.find(words)
        if words and at >= 0:
            found.stylize(mark, at, at + len(words))
    return found


def print_words(
    console: Console, text: str, style: str = "", indent: int = 0, marks: Mapping[str, str] | None = None
) -> None:
    """Print a sentence, foreign text in it or not, broken between words alone; nothing at all where there is none.

    Args:
        marks: words of it with a style of their own, each where it first stands.
    """
    shown = marked(shipped.retyped(text), style, marks)
    for line in broken(shown, max(20, console.width - indent)) if text else ():
        console.print(Text(" " * indent) + line, soft_wrap=True)


def broken(text: Text, width: int) -> list[Text]:
    """A text as lines of at most `width` columns, broken at spaces alone: a path that is wider stays in one piece."""
    lines: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        column, breaks = 0, []
        for word in _WORD.finditer(line.plain):
            if column and column + cell_len(word[0]) > width:
                breaks.append(word.end() - len(word[0].lstrip(" ")))
                column = 0
            column += cell_len(word[0] if column or not breaks else word[0].lstrip(" "))
        lines += line.divide(breaks)
    for line in lines:
        line.rstrip()
    return lines


def print_command(console: Console, command: str, before: str = "", style: str = "") -> None:
    """Print a line that is there to be copied; one that is wider than a terminal is continued, and runs as printed.

    Args:
        before: what stands before it, as a prompt.
        style: of that.
    """
    line, indent = clean(command), " " * cell_len(before)
    if _PYTHON.match(line):
        before = before.replace("$", " ")
    pieces = [line]
    if console.is_terminal and cell_len(before + line) > console.width:
        commented = _COMMENTED.fullmatch(line)
        if commented and _words(commented[1]):  # else the # is in quotes
            line, comment = commented.groups()
            for words in broken(Text(comment), console.width - len(indent) - 2):
                console.print(Text(indent + "# ") + words, soft_wrap=True)
        pieces = continued(line, console.width - len(indent))
    for piece in pieces:
        console.print(Text.assemble((before, style), piece), soft_wrap=True)
        before = indent


def continued(line: str, width: int) -> list[str]:
    """A line of shell or Python as lines of at most `width` columns, where its words allow it, each but the last with a backslash."""
    words = _words(line)
    if cell_len(line) <= width or line.startswith("#") or not words:
        return [line]
    lines = [words[0]]
    for i, word in enumerate(words[1:], 2):
        if cell_len(lines[-1] + word) + 2 * (i < len(words)) <= width:
            lines[-1] += word
        else:
            lines[-1] += " \\"
            lines.append("    " + word.lstrip())
    return lines


def _words(line: str) -> list[str]:
    """The words of a command, each with the blanks before it; none where its quotes don't close."""
    words = [found[0] for found in _SHELL_WORD.finditer(line)]
    return words if "".join(words) == line else []


def print_table(console: Console, table: Table, spare: Sequence[str] = ()) -> None:
    """Print a table; one that is wider than the screen first loses columns, then becomes words: no number is cut.

    Args:
        spare: headers of columns that can be spared, the first one first; what is left out is said.
    """
    left_out: list[str] = []
    for name in spare:
        if _natural(console, table) <= console.width:
            break
        if any(column.header == name for column in table.columns):
            table = without(table, (name,))
            left_out.append(name)
    if _natural(console, table) <= console.width:
        console.print(table)
        if left_out:
            print_words(console, f"no room here for: {', '.join(left_out)}")
        return
    for first, *cells in zip(*(column.cells for column in table.columns), strict=True):
        named = [
            f"{column.header} {cell}".strip()
            for column, cell in zip(table.columns[1:], map(str, cells), strict=True)
            if cell.strip()
        ]
        lines = broken(Text(clean(f"{first}: {', '.join(named)}")), console.width - 2)
        for i, line in enumerate(lines):
            console.print(Text("  " * bool(i)) + line, soft_wrap=True)
    if table.caption:
        print_words(console, str(table.caption))


def without(table: Table, names: Collection[str]) -> Table:
    """The same table without the columns of some headers."""
    columns = [column for column in table.columns if column.header not in names]
    made = Table(box=table.box, padding=table.padding, pad_edge=table.pad_edge, header_style=table.header_style)
    for column in columns:
        made.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap, overflow=column.overflow)
    for row in zip(*(column.cells for column in columns), strict=True):
        made.add_row(*row)
    made.caption = table.caption
    return made


def _natural(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update(max_width=10_000)).maximum


R = TypeVar("R")
Column = tuple[str, str, Callable[[R], str | Text]]
"""Title, how it is set (left, right, fill: takes the room that is left), and the cell of a row."""


def draw_table(console: Console, rows: Sequence[R], columns: Sequence[Column[R]]) -> None:
    """A table without lines; a column in which nothing was observed is left out, and named below.

    Where it is wider than the screen, columns are left out and named, and names are cut: in the column to be filled, else in the first.
    """
    if columns and all(justify != "fill" for _, justify, _ in columns):
        columns = [(columns[0][0], "fill", columns[0][2]), *columns[1:]]
    cells = {title: [cell(row) for row in rows] for title, _, cell in columns}
    absent = [title for title in cells if cells[title] and all(cell == numbers.NOT_OBSERVED for cell in cells[title])]
    others = [title for title, justify, _ in columns if justify != "fill" and title not in absent]
    headers = {title: title.strip() for title in cells}
    room = console.width - sum(widest(headers[title], cells[title]) + 2 for title in others)
    longest = max((widest(title, cells[title]) for title, justify, _ in columns if justify == "fill"), default=0)
    if longest > room:  # a header of two words takes two lines before a name is cut
        headers.update((title, headers[title].replace(" ", "\n")) for title in others)
        room = console.width - sum(widest(headers[title], cells[title]) + 2 for title in others)
    narrow: list[str] = []
    least = min(longest, MIN_NAME if console.width < WIDTH else MIN_NAME_AT_80) if longest else -2
    while room < least and len(others) > 2:  # a column less before anything in it is cut
        narrow.insert(0, others.pop())
        room += widest(headers[narrow[0]], cells[narrow[0]]) + 2
    table = Table(box=None, padding=(0, 1), pad_edge=False, show_edge=False, header_style="bold")
    shown = [column for column in columns if column[0] not in absent and column[0] not in narrow]
    for title, justify, _ in shown:
        table.add_column(
            headers[title],
            justify="right" if justify == "right" else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if justify == "fill" else None,
        )
    table.expand = longest > room  # else a short name and its numbers would be far from each other
    for i in range(len(rows)):
        table.add_row(*(_cut(cells[title][i], room if justify == "fill" else 0) for title, justify, _ in shown))
    console.print(table)
    if absent:
        print_words(console, f"not observed: {', '.join(absent)}")
    if any(title.strip() for title in narrow):
        print_words(console, f"no room here for: {', '.join(title for title in narrow if title.strip())}")


def dotted(name: str, width: int) -> str:
    """A module's name; of one that is too long its last parts, as many as there is room for: they tell it from others."""
    shown = clean(name)
    if len(shown) <= width:
        return shown
    parts = shown.split(".")[1:]
    while len(parts) > 1 and len("…." + ".".join(parts)) > width:
        del parts[0]
    return clean("…." + ".".join(parts) if parts else shown, width)


def widest(header: str, cells: Sequence[str | Text]) -> int:
    """The columns that a header and its cells take."""
    return max([*(cell_len(line) for line in header.split("\n")), *(cell_len(str(cell)) for cell in cells)])


def _cut(cell: str | Text, room: int) -> str | Text:
    """A cell of the column that takes the room that is left: its middle left out, so that a path keeps its end."""
    return clean(cell, max(room, 8)) if room and isinstance(cell, str) else cell


def console_on(out: TextIO, max_width: int = 0) -> Console:
    """A console on a stream, as wide as its terminal (and `max_width` at most); with colour as `set_color` says."""
    is_terminal = out.isatty()
    color: dict[str, Any] = {}
    if _color[0] == ALWAYS:
        color = {"force_terminal": True, "no_color": False}
    elif _color[0] == NEVER:
        color = {"no_color": True, "color_system": None}
    console = Screen(file=out, width=None if is_terminal else WIDTH, highlight=False, **color)
    if max_width and console.width > max_width:
        console.width = max_width
    return console


def as_text(draw: Callable[[Console], None]) -> str:
    """What is drawn, as plain text."""
    out = io.StringIO()
    draw(Screen(file=out, width=WIDTH, highlight=False, color_system=None))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())
