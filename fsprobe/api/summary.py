"""What a notebook shows of a profile or a comparison: the answer, four numbers, the imports, the findings."""

from __future__ import annotations

from html import escape

from fsprobe import numbers
from fsprobe.api import icicle
from fsprobe.capture import shipped
from fsprobe.model.comparison import Comparison
from fsprobe.model.finding import Finding
from fsprobe.model.profile import Profile
from fsprobe.report import comparison_facts, facts, sentences
from fsprobe.report.foreign import parts, visible

N_FINDINGS = 5
_SOFT = "opacity:.7;font-size:.9em"


def of_profile(profile: Profile) -> str:
    """A piece of HTML without scripts or references."""
    parts = []
    code = profile.manifest.exit_code
    if code:
        parts.append(f"<p><b>The command failed: exit code {code}.</b></p>")
    if profile.verdict is not None:
        parts.append(f'<p style="font-size:1.15em"><b>{_text(profile.verdict.sentence)}</b></p>')
    parts.append(f"<p>{_text(sentences.headline(profile))}</p>")
    cells = "".join(
        f'<td style="text-align:left;padding-right:2em"><span style="{_SOFT}">{_text(figure.label)}</span><br>'
        f"<b>{_text(figure.value)}</b></td>"
        for figure in facts.key_figures(profile)[:6]
    )
    parts.append(f"<table><tr>{cells}</tr></table>")
    rows = profile.metrics.by_module
    if rows:
        parts.append(icicle.draw(rows))
        parts.append(
            f'<p style="{_SOFT}">Each bar is an import, as wide as its metadata calls; point at one for its name.</p>'
        )
    found = facts.findings(profile)
    if found:
        parts.append(f"<ul>{''.join(_finding(profile, one) for one in found[:N_FINDINGS])}</ul>")
    if len(found) > N_FINDINGS:
        parts.append(f'<p style="{_SOFT}">{len(found) - N_FINDINGS} more in <code>.findings</code></p>')
    return f"<div>{''.join(parts)}</div>"


def _finding(profile: Profile, finding: Finding) -> str:
    saved = facts.saving(finding, profile)
    saved = f" <i>saves {_text(saved)}</i>" if saved else ""
    commands = "".join(f"<pre>{_text(line)}</pre>" for line in map(shipped.started, finding.commands[:1]))
    return f"<li><b>{_text(finding.code)}</b> {_text(finding.title)}{saved}<br>{_spans(finding.advice)}{commands}</li>"


def of_comparison(comparison: Comparison) -> str:
    """A table with a row for each layout and state of the cache."""
    head = "".join(
        f"<th>{name}</th>"
        for name in ("layout", "cache", "wall time", "to baseline", comparison_facts.requests_name(comparison), "")
    )
    rows = []
    for row in comparison.rows:
        wall = numbers.seconds(row.wall_s.median) if row.wall_s is not None else numbers.NOT_OBSERVED
        ratio = numbers.ratio(row.ratio_wall) if row.ratio_wall is not None else ""
        cells = (row.layout, row.cache, wall, ratio, numbers.count(row.n_requests), row.verdict)
        rows.append("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>")
    notes = "".join(f'<p style="{_SOFT}">{_text(note)}</p>' for note in comparison.notes)
    return f"<div><table><tr>{head}</tr>{''.join(rows)}</table>{notes}</div>"


def _spans(sentence: str) -> str:
    return "".join(f"<code>{_text(part)}</code>" if is_code else _text(part) for part, is_code in parts(sentence))


def _text(value: str) -> str:
    return escape(visible(value))
