"""fsprobe explain: what a finding means, where its threshold comes from, and how its saving is computed."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from pathlib import Path

import click

from fsprobe.analysis.findings.rules import RULES, Rule, explanation
from fsprobe.analysis.findings.thresholds import DEFAULTS, Threshold, Thresholds
from fsprobe.errors import EXIT_USAGE, FsprobeError
from fsprobe.foreign_numbers import count

WIDTH = 96
_HEADINGS = {
    "Seen": "What was seen",
    "Costs": "Why it costs",
    "Do": "What to do",
    "Saving": "How the saving is computed",
}

FAMILIES = {
    "environment": ("Environments", "Where an environment lies, and what of it is searched."),
    "bytecode": ("Bytecode", "Modules that are compiled from source at each start."),
    "lookups": ("Lookups", "Search paths that lead nowhere, and one path asked for again and again."),
    "libraries": (
        "Packages",
        "Python packages that look at many files: pkg_resources, entry points, font lists, caches.",
    ),
    "sweeps": ("Many paths at once", "Directories walked, files looked at or written by the thousand."),
    "data": ("Data and images", "Data sets of many small files, and images that are served slowly."),
    "launchers": ("Starting Python", "Start-up flags, and launchers between the command and the interpreter."),
    "workers": ("Workers", "Worker processes that import again what the program has imported."),
    "processes": ("Ranks and nodes", "Many processes that start from one environment."),
}
"""A file of rules each: title and what its rules are about, in the order of the documentation."""


@click.command("explain", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("code", required=False)
@click.option("--markdown", is_flag=True, help="Everything, as a page of documentation.")
@click.option("--thresholds", type=click.Path(), help="Show the thresholds as this JSON or TOML file changes them.")
def command(code: str | None, markdown: bool, thresholds: str | None) -> None:
    """Explain the finding CODE; without CODE, list all codes and thresholds."""
    table = DEFAULTS if thresholds is None else _read(thresholds)
    if markdown:
        click.echo(to_markdown(table), nl=False)
    else:
        click.echo(fitted(listing(table) if code is None else to_text(find_rule(code), table)), nl=False)


def _read(path: str) -> Thresholds:
    from fsprobe.analysis.findings.thresholds import read

    return read(Path(path))


def _width() -> int:
    return min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)


def fitted(lines: str) -> str:
    """Lines that are wider than a terminal, broken between words; as they are where there is none."""
    if not sys.stdout.isatty():
        return lines
    found = []
    for line in lines.splitlines():
        below = " " * (len(line) - len(line.lstrip()) + 8)
        found += textwrap.wrap(line, _width(), subsequent_indent=below, break_long_words=False) or [""]
    return "\n".join(found) + "\n"


def find_rule(code: str) -> Rule:
    """The rule of a code, however it is written: FSP002, fsp2, 2.

    Raises:
        FsprobeError: there is no such code.
    """
    digits = code.upper().removeprefix("FSP")
    for rule in RULES:
        if rule.code == f"FSP{count(digits) or 0:03}":
            return rule
    raise FsprobeError(f"there is no finding {code}", "`fsprobe explain` lists all codes", EXIT_USAGE)


def listing(table: Thresholds) -> str:
    """All codes with their titles, then all thresholds."""
    lines = [f"{rule.code}  {rule.title}" for rule in RULES]
    lines += ["", "Thresholds (info, warn, critical):"]
    lines += [f"  {row.name:30} {bounds(row)}  {row.unit}" for row in table.values()]
    return "\n".join(lines) + "\n"


def bounds(row: Threshold) -> str:
    """The three bounds of a threshold."""
    return ", ".join("-" if bound is None else f"{bound:,.10g}" for bound in (row.info, row.warn, row.critical))


def to_text(rule: Rule, table: Thresholds) -> str:
    """The explanation of one rule for a terminal."""
    title, parts = explanation(rule)
    lines = [f"{rule.code}: {title}"]
    for name, heading in _HEADINGS.items():
        if name in parts:
            lines += ["", heading, *_indented(parts[name])]
    for name in rule.thresholds:
        row = table[name]
        lines += [
            "",
            f"Threshold {name}",
            *_indented(f"{bounds(row)} (info, warn, critical) {row.unit}. Source: {row.source}."),
        ]
    lines += ["", "Source", *_indented(rule.source)]
    lines += ["", f"Audience: {rule.audience}"]
    return "\n".join(lines) + "\n"


def _indented(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _width() if sys.stdout.isatty() else WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
    )


def to_markdown(table: Thresholds) -> str:
    """All rules and thresholds as one page."""
    lines = ["# Findings", ""]
    for rule in RULES:
        lines += _section(rule, table)
    lines += ["## Thresholds", "", *_threshold_rows(table)]
    return "\n".join(lines) + "\n"


def pages(table: Thresholds) -> dict[str, str]:
    """The same as the pages of docs/findings by name: the contents, a page a family of rules, the thresholds."""
    families = {family: [rule for rule in RULES if _family(rule) == family] for family in FAMILIES}
    index = [
        "# Findings",
        "",
        "A finding says what was seen, why it costs, and what to do. `fsprobe explain CODE` prints it.",
    ]
    found = {}
    for family, rules in families.items():
        title, about = FAMILIES[family]
        lines = [f"# {title}", "", f"{about} [All findings](index.md)", ""]
        index += ["", f"## [{title}]({family}.md)", "", about, "", "| code | finding |", "|---|---|"]
        for rule in rules:
            anchor = _anchor(f"{rule.code}: {rule.title}")
            lines.append(f"- [{rule.code}](#{anchor}): {_escaped(rule.title)}")
            index.append(f"| [{rule.code}]({family}.md#{anchor}) | {_escaped(rule.title)} |")
        lines.append("")
        for rule in rules:
            lines += _section(rule, table)
        found[f"{family}.md"] = "\n".join(lines[:-1]) + "\n"
    index += ["", "[Thresholds](thresholds.md) of all findings, with their sources."]
    about = "From which value on a finding is information, a warning, or critical. `--thresholds FILE` of `fsprobe report` changes them."
    found["index.md"] = "\n".join(index) + "\n"
    found["thresholds.md"] = "\n".join(["# Thresholds", "", about, "", *_threshold_rows(table)]) + "\n"
    return found


def _family(rule: Rule) -> str:
    return rule.look.__module__.rpartition(".")[2]


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _section(rule: Rule, table: Thresholds) -> list[str]:
    title, parts = explanation(rule)
    lines = [f"## {rule.code}: {title}", ""]
    for name, heading in _HEADINGS.items():
        if name in parts:
            lines += [f"**{heading}.** {_escaped(parts[name])}", ""]
    for name in rule.thresholds:
        lines += [f"**Threshold** `{name}`: {bounds(table[name])} (info, warn, critical), {table[name].unit}.", ""]
    return [*lines, f"**Source.** {_escaped(rule.source)}", ""]


def _threshold_rows(table: Thresholds) -> list[str]:
    lines = ["| name | info, warn, critical | unit | source |", "|---|---|---|---|"]
    return lines + [
        f"| `{row.name}` | {bounds(row)} | {_escaped(row.unit)} | {_escaped(row.source)} |" for row in table.values()
    ]


def _escaped(text: str) -> str:
    # `*.dist-info` and the like are no emphasis; code spans stay as they are
    pieces = text.split("`")
    return "`".join(
        p if n % 2 else p.replace("*", "\\*").replace("_", "\\_").replace("|", "\\|") for n, p in enumerate(pieces)
    )
