"""fsprobe compare: the same program in several layouts of one environment, or two recordings."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from fsprobe import experiment, pipeline
from fsprobe.analysis import compare
from fsprobe.cli.failures import say
from fsprobe.errors import EXIT_NO, EXIT_USAGE, BadInput, FsprobeError
from fsprobe.model import JsonObject
from fsprobe.recording import Recording
from fsprobe.report import comparison as comparison_report

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
@click.option("--runs", default=7, show_default=True, type=click.IntRange(1, 1000), help="Timed runs of each layout.")
@click.option(
    "--cache",
    type=click.Choice(["cold", "warm", "both"]),
    default="warm",
    show_default=True,
    help="State of the client's cache.",
)
@click.option("--make-cold", default="", metavar="CMD", help="Shell command that empties it, where you are not root.")
@click.option("--keep", is_flag=True, help="Keep the copies and images that are made.")
@click.option("--show-output", is_flag=True, help="Let the command's output through (on stderr).")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@click.option("-o", "--output", type=click.Path(), help="Write the comparison, with its traced runs, to this file.")
@click.argument("words", nargs=-1, metavar="[A.fsprobe B.fsprobe | -- CMD...]")
def command(
    env: str | None,
    flash: str | None,
    layouts: tuple[str, ...],
    squashfs: str | None,
    overlay: str | None,
    image_dir: str | None,
    runs: int,
    cache: str,
    make_cold: str,
    keep: bool,
    show_output: bool,
    as_json: bool,
    output: str | None,
    words: tuple[str, ...],
) -> int:
    """Compare layouts of the environment --env for one command, or two recordings.

    The plain environment is the baseline. Calls are counted in one traced run a layout, times in untraced runs taken in
    turn. The command's output goes to files beside -o.
    """
    if env is None:
        if len(words) != 2:
            raise FsprobeError(
                "nothing to compare",
                "fsprobe compare --env VENV --squashfs -- python app.py, or two recordings",
                EXIT_USAGE,
            )
        return compare_recordings(words[0], words[1], as_json)
    if not words:
        raise FsprobeError("no command given", "fsprobe compare --env VENV --squashfs -- python app.py", EXIT_USAGE)
    plan = experiment.Plan(
        env=Path(env).absolute(),
        command=list(words),
        copies={"flash": Path(flash)} if flash else {},
        existing=parse_layouts(layouts),
        squashfs=None if squashfs in (None, NEW) else Path(str(squashfs)),
        with_squashfs=squashfs is not None,
        overlay=None if overlay in (None, NEW) else Path(str(overlay)),
        with_overlay=overlay is not None,
        image_dir=Path(image_dir) if image_dir else None,
        n_runs=runs,
        caches=experiment.CACHES if cache == "both" else (cache,),
        make_cold=make_cold,
        keep=keep,
        output_dir=None if show_output else output_directory(output),
    )
    with comparison_report.progress(sys.stderr) as progress:
        result, recordings = experiment.run(plan, progress=progress)
    if output:
        experiment.write(output, result, recordings)
        say(f"comparison: {output}")
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        comparison_report.show(result, sys.stdout)
    if plan.output_dir is not None:
        say(f"the command's output is in {plan.output_dir}")
    return 0


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


def output_directory(output: str | None) -> Path:
    """Where the command's output goes: beside the comparison, else in the working directory."""
    place = Path(f"{output or 'fsprobe-compare'}.output")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FsprobeError(
            f"cannot make {place}: {error.strerror}", "name another place with -o, or use --show-output", 3
        ) from error
    return place.absolute()


def compare_recordings(first: str, second: str, as_json: bool) -> int:
    """Two recordings side by side; exit code 1 when they made different calls."""
    if "job" in (Recording(first).kind, Recording(second).kind):
        return compare_jobs(first, second, as_json)
    left, right = pipeline.read(first), pipeline.read(second)
    differences = compare.call_differences(left.tally, right.tally)
    result: JsonObject = {
        "format": left.profile["format"],
        "kind": "comparison",
        "baseline": first,
        "rows": [recording_row(first, left.profile), recording_row(second, right.profile)],
        "differences": {second: differences},
        "notes": ["one traced run each: times say nothing, the calls do"],
    }
    if first == second:
        raise BadInput("both recordings are the same file")
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        comparison_report.show(result, sys.stdout)
    return EXIT_NO if differences["n_paths"] else 0


def compare_jobs(first: str, second: str, as_json: bool) -> int:
    """Two merged jobs side by side, by what all their ranks did; exit code 1 when the totals differ."""
    profiles = []
    for file in (first, second):
        opened = Recording(file)
        if opened.kind != "job":
            raise BadInput(f"{file} is no job, but the other one is", "make one of its ranks: fsprobe merge DIR -o FILE")
        opened.verify()
        profiles.append(opened.manifest)
    sizes = [profile["job"]["n_ranks_traced"] for profile in profiles]
    notes = ["one traced run each: times say nothing, the calls do"]
    if sizes[0] != sizes[1]:
        notes.append(f"{sizes[0]} ranks were traced in one, {sizes[1]} in the other: totals are not alike")
    result: JsonObject = {
        "format": profiles[0]["format"],
        "kind": "comparison",
        "baseline": first,
        "rows": [recording_row(first, profiles[0]), recording_row(second, profiles[1])],
        "differences": {},
        "notes": notes,
    }
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        comparison_report.show(result, sys.stdout)
    return EXIT_NO if result["rows"][0]["metrics"] != result["rows"][1]["metrics"] else 0


def recording_row(name: str, profile: JsonObject) -> JsonObject:
    """One recording, or one job, as a row of a comparison."""
    metrics, manifest = profile["metrics"], profile["manifest"]
    layout = manifest.get("layout") or {}
    mounts = metrics["by_mount"]
    wall = manifest.get("wall_s")
    return {
        "layout": manifest.get("label") or name,
        "kind": layout.get("kind", "plain"),
        "where": layout.get("where", ""),
        "fstype": mounts[0]["fstype"] if mounts else None,
        "mount_how": layout.get("mount_how", ""),
        "cache": manifest.get("cache", "unknown"),
        "wall_s": {"median": wall, "min": wall, "max": wall, "runs": [wall]} if wall is not None else None,
        "cpu_s": None,
        "metrics": {
            key: metrics[key]
            for key in (
                "n_open",
                "n_stat",
                "n_readlink",
                "n_list",
                "n_exec",
                "n_change",
                "n_missing",
                "n_metadata",
                "n_paths",
            )
        },
        "requests": (profile["requests"] or {}).get("by_mount", {}),
        "server_requests": None,
        "ratio_wall": None,
        "ratio_requests": None,
        "clear": None,
        "verdict": "",
    }
