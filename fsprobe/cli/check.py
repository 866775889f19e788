"""fsprobe check: whether a run stays within limits, for a build that guards the start-up of a program."""

from __future__ import annotations

import sys

import click

from fsprobe import capabilities
from fsprobe.analysis import limits
from fsprobe.cli import amounts
from fsprobe.cli.renamed import Renamed
from fsprobe.cli.report import json_text, load
from fsprobe.errors import EXIT_DONE, EXIT_NO, EXIT_USAGE, BadInput, FsprobeError
from fsprobe.model.answers import Check, LimitRow
from fsprobe.model.comparison import Comparison
from fsprobe.model.profile import Profile
from fsprobe.report import facts, request_facts
from fsprobe.report.terminal import limits as report


class Percent(click.ParamType[float]):
    """`5%` or `5`."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number of per cent.

        Raises:
            click.UsageError: not a number of 0 or more.
        """
        try:
            number = float(str(value).strip().removesuffix("%"))
        except ValueError:
            number = -1.0
        if not 0 <= number <= amounts.MAX_AMOUNT:
            self.fail(f"{amounts.shown(value)} is not a percentage, such as 5%", param, ctx)
        return number


@click.command("check", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path())
@click.option("--max-metadata", "metadata", type=amounts.Whole(), help="At most so many metadata calls.")
@click.option(
    "--max-not-found",
    "not_found",
    cls=Renamed,
    formerly=["--max-missing"],
    type=amounts.Whole(),
    help="At most so many failed lookups (not found).",
)
@click.option(
    "--max-requests",
    "requests",
    type=amounts.Whole(),
    help="At most so many server requests, cold cache (predicted).",
)
@click.option("--baseline", type=click.Path(), help="Not more of any of them than in this recording.")
@click.option(
    "--tolerance",
    type=Percent(),
    default="0",
    help="So much more than in the baseline is allowed, e.g. 5%.  [default: 0]",
)
@click.option("--ignore-exit-code", is_flag=True, help="Pass even if the recorded command failed.")
@click.option("--format", "style", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
def command(
    file: str,
    metadata: int | None,
    not_found: int | None,
    requests: int | None,
    baseline: str | None,
    tolerance: float,
    ignore_exit_code: bool,
    style: str,
) -> int:
    """Check that FILE, a recording, stays within limits: for tests of a program's start-up.

    Exit code 0: it does. 1: it does not, or the recorded command failed; the imports that account for it are listed.
    3: it can't be told, e.g. because the recording is not complete.
    """
    given = {"metadata": metadata, "not_found": not_found, "requests": requests}
    if baseline is None and all(n is None for n in given.values()):
        raise FsprobeError(
            "nothing to check", "give a limit, e.g. --max-metadata 3000, or a --baseline recording", EXIT_USAGE
        )
    profile = _profile(file)
    before = None if baseline is None else _profile(baseline)
    answer = examine(profile, before, given, tolerance, ignore_exit_code)
    if style == "json":
        click.echo(json_text(answer))
    else:
        report.show(answer, sys.stdout)
    return EXIT_DONE if answer.passed else EXIT_NO


def _profile(file: str) -> Profile:
    profile = load(file)
    if isinstance(profile, Comparison):
        raise BadInput(f"{file} is a comparison", "check one recording, and give the other as --baseline")
    return profile


def examine(
    profile: Profile,
    baseline: Profile | None,
    given: dict[str, int | None],
    tolerance_percent: float,
    ignore_exit_code: bool = False,
) -> Check:
    """What the check found.

    Args:
        profile: of the run.
        baseline: of the run that it must not exceed, or None.
        given: the limits, by the keys of `limits.NAMES`.
        tolerance_percent: how much more than the baseline is allowed.
        ignore_exit_code: a failed command is no reason to fail.

    Raises:
        BadInput: it can't be told.
    """
    notes = []
    if baseline is not None:
        reason = limits.incomparable(profile, baseline)
        if reason:
            raise BadInput(f"these two do not compare: {reason}", "record both in the same way, see --backend")
        reason = limits.untrustworthy(baseline)
        if reason:
            raise BadInput(f"the baseline can't be used: {reason}", "record it again")
        notes = [f"note: {text}" for text in limits.different_conditions(profile, baseline)]
    rows = []
    for limit in _limits(baseline, given, tolerance_percent):
        n = limits.counted(profile, limit.name)
        if n is None:
            if limit.is_explicit:
                raise BadInput(
                    "requests are not predicted for this recording",
                    "they need a log: record without --stream",
                )
            notes.append(f"note: {limits.NAMES[limit.name]} are not compared: none were predicted for this recording")
            continue
        what = request_facts.name_of(profile) if limit.name == "requests" else limits.NAMES[limit.name]
        grouping, found = limits.offenders(profile, baseline, limit.name) if n > limit.n_most else (None, [])
        rows.append(
            LimitRow(
                name=limit.name,
                what=what,
                n=n,
                n_most=limit.n_most,
                because=limit.because,
                grouping=grouping,
                offenders=tuple(found),
            )
        )
    is_over = any(row.is_exceeded for row in rows)
    reason = unusable(profile)
    if reason and not is_over:
        raise BadInput(f"it can't be told whether the limits are kept: {reason}", "record the run again")
    if reason:
        notes.append(f"note: {reason}; the counts are at least these")
    if profile.manifest.lacks(capabilities.FOREIGN_PROGRAMS):
        notes.append(
            "note: no tracer: only what interpreters noted is counted, not the dynamic loader, not other programs"
        )
    code = profile.manifest.exit_code
    return Check(
        failure=f"the command itself ended with exit code {code}" if code and not ignore_exit_code else "",
        baseline=None if baseline is None else facts.command_line(baseline.manifest),
        limits=tuple(rows),
        notes=tuple(notes),
    )


def unusable(profile: Profile) -> str:
    """Why a run's counts are too small to acquit it; "" where they are all there."""
    if not profile.metrics.by_process:
        return "no process was observed"
    return limits.untrustworthy(profile)


def _limits(baseline: Profile | None, given: dict[str, int | None], tolerance_percent: float) -> list[limits.Limit]:
    found = [
        limits.Limit(name=name, n_most=n, because=f"--max-{name.replace('_', '-')} {n}")
        for name, n in given.items()
        if n is not None
    ]
    if baseline is None:
        return found
    more = f" + {tolerance_percent:g}%" if tolerance_percent else ""
    for name in limits.NAMES:
        n = limits.counted(baseline, name)
        if n is not None:
            n_most = limits.allowed(n, tolerance_percent)
            found.append(limits.Limit(name=name, n_most=n_most, because=f"baseline {n:,}{more}", is_explicit=False))
    return found
