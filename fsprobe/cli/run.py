"""fsprobe run: trace a command, write the recording, show the report.

No click at the top: this module runs on the filesystem that is under suspicion. What it needs after the command has
ended is imported then.
"""

import os
import sys

from fsprobe.capture import naming, record
from fsprobe.capture import options as run_options
from fsprobe.capture.machine import ranks
from fsprobe.capture.process.signals import die_of
from fsprobe.capture.sections import NotRecorded
from fsprobe.cli.failures import (
    call_when_asked_to_end,
    ignore_until_the_end,
    report_broken,
    report_error,
    report_missing,
    say,
    say_at_once,
)
from fsprobe.errors import EXIT_OWN_FAILURE, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import click

    from fsprobe.analysis.streaming import fold
    from fsprobe.capture.options import RunOptions
    from fsprobe.report.terminal.live import LiveLine


def main(words: "list[str]") -> int:
    """Run `fsprobe run` with the words after it; returns the command's exit code (or dies of the command's signal)."""
    ends: "list[tuple[int, str]]" = []

    def end_now() -> None:
        # while nobody knows what became of the recording a line is still to come, and soon
        for status, path in ends:
            say_at_once(f"interrupted; the recording is {path}" if path else "interrupted")
            os._exit(ended(status, status))

    try:
        options = run_options.parse(words)
        enter, layout = enter_layout(options)
        live = start_live(options)
        recorded = record.record(
            options,
            on_start=live.start if live else None,
            on_tick=live.tick if live else None,
            warn=None if options.quiet else say,
            enter=enter,
            layout=layout,
            consume=consumer() if options.stream else None,
            carry=write_recorder,
            on_end=lambda: call_when_asked_to_end(end_now),
        )
    except run_options.HelpWanted:
        from fsprobe.cli import group

        return group.main(["run", "--help"])
    except NotRecorded as error:
        return ended(error.exit_status, report_error(error))
    except FsprobeError as error:
        return report_error(error)
    except (OSError, MemoryError) as error:
        report_broken(error)
        return EXIT_OWN_FAILURE
    status = recorded.outcome.exit_status
    ends.append((status, recorded.path))
    call_when_asked_to_end(end_now)  # of a container it was not yet done
    if live:
        live.end()
    for line in recorded.losses:
        say(line)
    try:
        for line in recorded.warnings if not options.quiet else ():
            say(line)
        if not recorded.path:
            pass  # a container from which nothing came out: said above
        elif options.record_only:
            if not options.quiet:
                say(f"wrote {recorded.path}")
        else:
            make_report(options, recorded.path)
    except FsprobeError as error:
        report_error(error)  # the command has run: its exit code is what a script that started it must see
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "fsprobe":
            report_missing(error)
        say(f"the recording is {recorded.path}")
    except Exception as error:
        say(f"the report failed ({type(error).__name__}: {error}); the recording is {recorded.path}")
    return ended(status, status)


def ended(status: int, code: int) -> int:
    """End as the command did: by its signal, where `status` is minus one, else with `code`."""
    ignore_until_the_end()
    if status < 0:
        die_of(-status)
    return code


def enter_layout(options: "RunOptions") -> "tuple[list[str] | None, dict[str, Any] | None]":
    """With --image: how to start the tracer where the image is mounted, and what the manifest shall say of that.

    Raises:
        FsprobeError: no such image or path, or no way to mount it here.
    """
    if not options.image:
        return None, None
    from dataclasses import replace

    from fsprobe.layouts.mount.namespace import choose_way, enter_argv
    from fsprobe.layouts.mount.spec import Spec, checked
    from fsprobe.layouts.pack.side_file import mismatches

    try:
        spec = checked(Spec(kind="squashfs", source=options.image, at=options.at))
        entered = choose_way(spec)
    except FsprobeError as error:
        error.exit_code = EXIT_OWN_FAILURE
        raise
    for line in mismatches(options.image, options.at, os.environ):
        say(f"warning: {line}")
    layout = {
        "label": "squashfs",
        "kind": "squashfs",
        "where": spec.source,
        "at": spec.at,
        "mount_how": entered.mount_how,
    }
    return enter_argv(replace(spec, way=entered.way)), layout


def consumer() -> "Callable[..., fold.Streamed]":
    """What `--stream` folds with, loaded before the command starts."""
    from fsprobe.analysis.streaming import fold

    return fold.consume


def write_recorder(path: str) -> None:
    """Write the recorder that travels, for a container that is entered."""
    from pathlib import Path

    from fsprobe.cli import recorder

    recorder.build(Path(path))


def start_live(options: "RunOptions") -> "LiveLine | None":
    """The live line, where it was asked for and there is a terminal to show it on."""
    if not options.live or options.quiet or sys.stderr is None or not sys.stderr.isatty():
        return None
    from fsprobe.report.terminal.live import LiveLine

    return LiveLine(sys.stderr)


def make_report(options: "RunOptions", path: str) -> None:
    """Analyse a recording, print the report to stderr (stdout is the command's), and write the page that was asked for.

    Raises:
        FsprobeError: the page can't be written, or the recording not be read.
    """
    rank = ranks.identify(os.environ)
    page = naming.page_path(path, options.page, rank)
    if options.quiet and not page:
        return
    from fsprobe import pipeline
    from fsprobe.report.terminal import console, first_screen, run

    profile = pipeline.analyse(path)
    if page:
        from fsprobe.cli import report

        report.write(profile, path, page, options.style, is_quiet=options.quiet)
    if options.quiet or sys.stderr is None:
        return
    console.set_color(options.color)
    show = run.show if options.full else first_screen.show
    try:
        show(profile, sys.stderr, recording=path)
        sys.stderr.flush()
    except (OSError, SystemExit):
        # stderr has gone (rich leaves by SystemExit then): the recording is written, and the command's exit code counts
        sys.stderr = open(os.devnull, "w")


def _command() -> "click.Command":
    # only for `fsprobe run --help` and the list of commands: parsing is done by capture.options
    import click

    parameters = []
    for names, attribute, metavar, text in run_options.OPTIONS:
        parameters.append(
            click.Option([*names.split(", "), attribute], metavar=metavar or None, is_flag=not metavar, help=text)
        )
    return click.Command(
        "run",
        params=[*parameters, click.Argument(["cmd"], nargs=-1, metavar="CMD...")],
        help="Trace CMD and say where its filesystem calls come from.\n\nCMD keeps its input, output, exit code and signals; "
        "the report goes to stderr, the recording to a file. `fsprobe run x.py`, `run -m MODULE` and `run -c CODE` take the "
        "python3 of PATH.",
        options_metavar="[OPTIONS]",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def __getattr__(name: str) -> "click.Command":
    if name == "command":
        return _command()
    raise AttributeError(name)
