"""fsprobe compare: the same program in several storage layouts of one environment, or two recordings."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from fsprobe import experiment, numbers, pipeline
from fsprobe.analysis.gaps import gaps
from fsprobe.capture.machine import host
from fsprobe.cli import amounts
from fsprobe.cli.compare_jobs import compare_jobs
from fsprobe.cli.failures import say
from fsprobe.cli.renamed import Renamed
from fsprobe.cli.report import json_text
from fsprobe.cli.shared_options import is_forced
from fsprobe.errors import EXIT_NO, EXIT_USAGE, BadInput, FsprobeError
from fsprobe.experiment import adoption, significance, summarise
from fsprobe.model.comparison import Comparison, LayoutRow, Spread
from fsprobe.model.formats import text
from fsprobe.model.profile import Profile
from fsprobe.recording.file import Recording
from fsprobe.report.terminal import comparison as comparison_report

NEW = "(new)"


@click.command("compare", context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": False})
@click.option("--env", type=click.Path(), help="The environment; it appears at this very path in every layout.")
@click.option("--flash", type=click.Path(), help="Copy it to this directory (another filesystem) and compare.")
@click.option("--layout", "layouts", multiple=True, metavar="LABEL=DIR", help="A copy that is there already.")
@click.option(
    "--squashfs",
    is_flag=False,
    flag_value=NEW,
    metavar="[IMG]",
    help="As a SquashFS image, packed now if none is given.",
)
@click.option("--overlay", is_flag=False, flag_value=NEW, metavar="[IMG]", help="As an image under a writable overlay.")
@click.option("--image-dir", type=click.Path(), help="Where a new image goes [default: beside the environment].")
@click.option(
    "--mount-method",
    "mount_method",
    cls=Renamed,
    formerly=["--way"],
    default="",
    metavar="NAME",
    help="Mount images in this way only: root+kernel, user+fuse, ...",
)
@click.option(
    "--runs",
    default=7,
    show_default=True,
    type=amounts.Whole(0, 1000),
    help="Timed runs of each storage layout; 0 compares calls and requests alone.",
)
@click.option(
    "--cache",
    type=click.Choice(["cold", "warm", "both"]),
    default="warm",
    show_default=True,
    help="State of the client's cache.",
)
@click.option("--make-cold", default="", metavar="CMD", help="Shell command that empties it, where you are not root.")
@click.option("--keep", is_flag=True, help="Keep the copies and images that are made.")
@click.option(
    "--keep-image", metavar="IMG", help="Keep the new image under this name if it is better, and nothing else."
)
@click.option("--show-output", is_flag=True, help="Let the command's output through (on stderr).")
@click.option("--json", "as_json", is_flag=True, help="As --format json.")
@click.option(
    "--plot", type=click.Path(), help="Draw times, with their spread, and requests to this file (.png or .svg)."
)
@click.option("-o", "--output", type=click.Path(), help="Write the comparison, with its traced runs, to this file.")
@click.argument("words", nargs=-1, metavar="[A.fsprobe B.fsprobe | -- CMD...]")
def command(
    env: str | None,
    flash: str | None,
    layouts: tuple[str, ...],
    squashfs: str | None,
    overlay: str | None,
    image_dir: str | None,
    mount_method: str,
    runs: int,
    cache: str,
    make_cold: str,
    keep: bool,
    keep_image: str | None,
    show_output: bool,
    as_json: bool,
    plot: str | None,
    output: str | None,
    words: tuple[str, ...],
) -> int:
    """Compare storage layouts of the environment --env for one command, or two recordings.

    The plain environment is the baseline. A first run writes its missing byte code. Calls are counted in one traced run a
    layout, times in interleaved untraced runs; a warm run comes right after another one that is not counted. The
    command's output goes to files beside -o. Ctrl-C ends it with what there is.

    Exit code 1: the command failed in a layout, or the two recordings made different calls.
    """
    if env is None:
        of_layouts = {
            "-o": output,
            "--plot": plot,
            "--keep-image": keep_image,
            "--squashfs": squashfs,
            "--overlay": overlay,
            "--flash": flash,
            "--layout": " ".join(layouts),
        }
        first, second = two_recordings(words, [option for option, value in of_layouts.items() if value])
        return compare_recordings(first, second, as_json)
    if not words:
        raise FsprobeError("no command given", "`fsprobe compare --env VENV --squashfs -- python app.py`", EXIT_USAGE)
    if 0 < runs < significance.MIN_RUNS:
        few = significance.MIN_RUNS
        raise FsprobeError(
            f"too few timed runs to tell two layouts apart: {runs}",
            f"--runs {few} or more; --runs 0 compares calls and requests alone",
            EXIT_USAGE,
        )
    if keep_image is not None:
        check_keeping(keep_image, image_dir, keep, runs, NEW in (squashfs, overlay))
        image_dir = os.path.dirname(os.path.abspath(keep_image))
    plan = experiment.Plan(
        env=Path(env).absolute(),
        command=list(words),
        copies={"flash": Path(flash)} if flash else {},
        existing=parse_layouts(layouts),
        images=tuple(
            experiment.Image(label=kind, kind=kind, image=None if value == NEW else Path(value), way=mount_method)
            for kind, value in (("squashfs", squashfs), ("overlay", overlay))
            if value is not None
        ),
        image_dir=Path(image_dir) if image_dir else None,
        n_runs=runs,
        caches=experiment.CACHES if cache == "both" else (cache,),
        make_cold=make_cold,
        keep=keep,
        output_dir=None if show_output else Path(f"{output or 'fsprobe-compare'}.output").absolute(),
    )
    try:
        result, unwritten = conduct(plan, output, Path(keep_image).absolute() if keep_image else None)
    except experiment.Interrupted as error:
        say(f"interrupted ({error}) before anything was counted: there is nothing to show")
        return 128 + error.number
    show(result, as_json)
    if output and unwritten is None:
        say(f"wrote {output}")
    if plan.output_dir is not None:
        say(f"the command's output is in {plan.output_dir}")
    if plot:
        from fsprobe.report import plots

        plots.comparison(result, plot)
        say(f"wrote {plot}")
    if unwritten is not None:
        raise unwritten
    if result.interrupted:
        return 128 + signal.Signals[result.interrupted]
    return EXIT_NO if any(row.is_failed for row in result.rows) else 0


def two_recordings(words: Sequence[str], given: Sequence[str]) -> tuple[str, str]:
    """The files to compare where no environment is named.

    Args:
        words: the arguments.
        given: options that go with an environment alone.

    Raises:
        FsprobeError: these are no two files, or something was given that does not go with them.
    """
    if len(words) > 1 and not os.path.lexists(words[0]) and host.find_program(words[0], os.environ)[0]:
        command_line = shlex.join(words)
        raise FsprobeError(
            f"{words[0]} is a command, and no environment is named to compare layouts of",
            f"`fsprobe compare --env VENV --squashfs -- {command_line}`; without an environment, two recordings",
            EXIT_USAGE,
        )
    if len(words) != 2:
        raise FsprobeError(
            "nothing to compare",
            "`fsprobe compare --env VENV --squashfs -- python app.py`, or two recordings",
            EXIT_USAGE,
        )
    if given:
        raise FsprobeError(
            f"{given[0]} goes with --env and a command, not with two recordings",
            "leave it out; `--format json >FILE` keeps what is compared",
            EXIT_USAGE,
        )
    return words[0], words[1]


def show(result: Comparison, as_json: bool) -> None:
    """Print a comparison."""
    if as_json:
        click.echo(json_text(result))
    else:
        comparison_report.show(result, sys.stdout)


def conduct(
    plan: experiment.Plan, output: str | None, keep_image: Path | None = None
) -> tuple[Comparison, FsprobeError | None]:
    """Run the experiment; what there is of it is in the file after every round, and whatever ends it.

    Returns:
        The comparison, and why it could not be written to the file (the runs go on all the same, and are shown).
    """
    unwritten: list[FsprobeError] = []

    def keep_in_file(result: Comparison, recordings: dict[str, bytes]) -> None:
        if not output:
            return
        try:
            experiment.write(output, result, recordings)
            unwritten.clear()
        except FsprobeError as error:
            if not unwritten:
                say(error.message)
            unwritten[:] = [error]

    kept: list[str] = []

    def keep_the_better(result: Comparison, image: Path) -> None:
        if keep_image is None:
            return
        judged = [adoption.judge(result, made.label) for made in plan.images if made.image is None]
        is_better, why = max(judged, key=lambda found: found[0])
        if is_better:
            adoption.put_in_place(image, keep_image, replace=is_forced())
        kept.append(f"kept {keep_image}: {why}" if is_better else f"the image is not kept: {why}")

    with comparison_report.progress(sys.stderr) as progress:
        result, _ = experiment.run(
            plan, progress=progress, checkpoint=keep_in_file, adopt=keep_the_better, announce=announce
        )
    for line in kept:
        say(line)
    return result, unwritten[0] if unwritten else None


def announce(what: experiment.Announcement) -> None:
    """Say what will run, how often, how long, and what it needs of the disk."""
    if what.run_s is not None:
        least, most = map(numbers.rounded_seconds, what.estimate_s)
        say(f"the first run took {numbers.seconds(what.run_s)}: about {least} to {most} in all")
        return
    times = "no timed runs"
    if what.n_runs:
        times = f"{numbers.plural(what.n_runs, 'timed run')} of each, {' and '.join(what.caches)} cache"
    say(f"{', '.join(what.layouts)}: {times}; the command starts {what.n_starts:,} times")
    for kind, place, n_bytes in what.needs:
        size = numbers.size_bytes(n_bytes)
        need = f"at most {size} (as a rule a third of it)" if kind == "image" else size
        say(f"{kind} in {place}: {need}, {'kept' if what.keeps else 'removed at the end'}")


def check_keeping(keep_image: str, image_dir: str | None, keep: bool, runs: int, is_new: bool) -> None:
    """Whether an image can be kept at all is told before the runs.

    Raises:
        FsprobeError: no image is packed, no run is timed, or two options say where it goes.
    """
    if not is_new:
        raise FsprobeError("--keep-image: no image is packed", "add --squashfs", EXIT_USAGE)
    if keep or image_dir:
        other = "--keep" if keep else "--image-dir"
        raise FsprobeError(f"--keep-image and {other} both say what stays where", f"leave {other} out", EXIT_USAGE)
    if not runs:
        raise FsprobeError("--keep-image needs timed runs", f"--runs {significance.MIN_RUNS} or more", EXIT_USAGE)


def parse_layouts(layouts: tuple[str, ...]) -> dict[str, Path]:
    """`LABEL=DIR` words as a table."""
    table = {}
    for word in layouts:
        label, equals, place = word.partition("=")
        if not equals or not label or not place:
            raise FsprobeError(
                f"{word!r} is not LABEL=DIR", "for example --layout scratch=/scratch/me/venv", EXIT_USAGE
            )
        table[label] = Path(place)
    return table


def compare_recordings(first: str, second: str, as_json: bool) -> int:
    """Two recordings side by side; exit code 1 when they made different calls."""
    kinds = {file: Recording(file).kind for file in (first, second)}
    for file, kind in kinds.items():
        if kind == "comparison":
            raise BadInput(
                f"{file} is a comparison already", f"`fsprobe report {file}` shows it; two recordings compare"
            )
    if "job" in kinds.values():
        return compare_jobs(first, second, as_json, recording_row)
    if os.path.realpath(first) == os.path.realpath(second):
        raise BadInput("both recordings are the same file", "name two")
    left, right = pipeline.read(first), pipeline.read(second)
    prefixes = [environment_of(side) for side in (left, right)]
    notes = ["one traced run each: times say nothing, the calls do"]
    renamed: dict[bytes, bytes] = {}
    if prefixes[0] and prefixes[1] and prefixes[0] != prefixes[1]:
        renamed[prefixes[1]] = prefixes[0]
        notes.append(
            f"paths below {text(prefixes[1])} in {second} are taken for those below {text(prefixes[0])} in {first}"
        )
    differences = significance.call_differences(left.tally, right.tally, renamed)
    labels = [side.profile.manifest.label or file for side, file in zip((left, right), (first, second), strict=True)]
    if labels[0] == labels[1]:
        labels = [first, second]
    counts = [
        side.requests.environment(prefix) if side.requests is not None and prefix else None
        for side, prefix in zip((left, right), prefixes, strict=True)
    ]
    lacking = [gaps(side.profile) for side in (left, right)]
    notes += [
        f"{label} holds a part of its run: {'; '.join(found)}"
        for label, found in zip(labels, lacking, strict=True)
        if found
    ]
    ratio = None if any(lacking) else summarise.ratio_of_requests(counts[1], counts[0])
    result = Comparison(
        baseline=labels[0],
        rows=tuple(
            replace(recording_row(label, side.profile), layout=label, environment_requests=found, ratio_requests=its)
            for label, side, found, its in zip(labels, (left, right), counts, (None, ratio), strict=True)
        ),
        differences={labels[1]: differences},
        notes=tuple(notes),
    )
    if as_json:
        click.echo(json_text(result))
    else:
        comparison_report.show(result, sys.stdout)
    return EXIT_NO if differences.n_paths else 0


def environment_of(analysis: pipeline.Analysis) -> bytes | None:
    """The interpreter's prefix, where the recording has it."""
    python = analysis.profile.manifest.python
    return os.fsencode(python.prefix) if python is not None and python.prefix else None


def recording_row(name: str, profile: Profile) -> LayoutRow:
    """One recording, or one job, as a row of a comparison."""
    metrics, manifest = profile.metrics, profile.manifest
    layout, wall = manifest.layout, manifest.wall_s
    rows = profile.requests.by_mount if profile.requests is not None else ()
    read = {key: found for key, found in manifest.counters.items() if found.operations and not found.why_not}
    mount = next((row.key for row in rows if row.key in read), next(iter(read), ""))
    return LayoutRow(
        layout=manifest.label or name,
        kind=layout.kind if layout is not None else "plain",
        where=layout.where if layout is not None else "",
        fstype=metrics.by_mount[0].fstype if metrics.by_mount else None,
        mount_how=layout.mount_how if layout is not None else "",
        cache=manifest.cache,
        wall_s=None if wall is None else Spread(median=wall, min=wall, max=wall, runs=(wall,)),
        metrics=summarise.layout_counts(metrics),
        requests=None if profile.requests is None else rows,
        client_counters={word: summarise.spread_of([n]) for word, n in read[mount].operations.items()}
        if mount
        else None,
        counted_mount=mount,
    )
