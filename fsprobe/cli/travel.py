"""The recorder that travels: `fsprobe run --record-only` as one file, built by `fsprobe recorder`.

Standard library only, syntax of Python 3.6. It also is its own tracer where there is no strace: a backend starts it again
with `--tracer`.
"""

import sys

HELP = """Usage: {name} [OPTIONS] -- CMD...
       {name} salvage DIRECTORY [-o FILE]

  fsprobe {version}, the recorder alone: traces CMD and writes a recording, which
  `fsprobe report` and `fsprobe merge` read elsewhere. CMD keeps its input,
  output, exit code and signals.

Options:
"""
NOT_HERE = ("image", "at", "record_only", "stream", "full", "style", "color", "live")
"""Options of `fsprobe run` that say nothing to the recorder alone."""
HELP_COLUMN = 32
"""Where the words of an option begin."""


def main(words: "list[str]") -> "int":
    """Run the recorder; returns the command's exit code (or dies of the command's signal)."""
    status = command_line(words)
    if sys.flags.inspect:
        from fsprobe.cli.ending import end_without_prompt

        end_without_prompt(status)
    return status


def command_line(words: "list[str]") -> "int":
    """Do what the words say; returns the exit code."""
    if words[:1] == ["--tracer"]:
        import os

        from fsprobe.capture import backends

        os._exit(backends.trace(words[1:]))
    if words[:1] == ["run"]:
        del words[0]  # a script written for `fsprobe run` stays as it is
    options = words[: words.index("--")] if "--" in words else words
    if any(word.startswith("--ranks") for word in options):
        from fsprobe.cli import untraced

        status = untraced.main(words)
        if status is not None:
            return status
    from fsprobe.cli.failures import report_error
    from fsprobe.errors import EXIT_OWN_FAILURE, FsprobeError

    try:
        if not words or words[0] in ("-h", "--help", "--version"):
            show_help(words)
            return 0 if words else EXIT_OWN_FAILURE
        if words[0] == "salvage":
            return salvage(words[1:])
        return record(words)
    except FsprobeError as error:
        return report_error(error)


def record(words: "list[str]") -> "int":
    """Record a command."""
    from fsprobe.capture import options as run_options
    from fsprobe.capture.process.signals import die_of
    from fsprobe.capture.record import record as record_run
    from fsprobe.capture.sections import NotRecorded
    from fsprobe.cli.failures import (
        call_when_asked_to_end,
        end_when_interrupted,
        ignore_until_the_end,
        report_error,
        say,
    )

    end_when_interrupted()
    try:
        options = run_options.parse(words)
    except run_options.HelpWanted:
        show_help(words)
        return 0
    if options.image:
        raise run_options.usage(
            "the recorder mounts no images", "bind the image into the container, or use `fsprobe run --image`"
        )
    if options.page:
        raise run_options.usage(
            "the recorder alone makes no reports", "name the recording FILE.fsprobe, and `fsprobe report` it elsewhere"
        )
    try:
        recorded = record_run(
            options, warn=None if options.quiet else say, on_end=lambda: call_when_asked_to_end(lambda: None)
        )
    except NotRecorded as error:
        status = report_error(error)
        ignore_until_the_end()
        if error.exit_status < 0:
            die_of(-error.exit_status)
        return status
    for line in recorded.losses:
        say(line)
    if not options.quiet:
        for line in recorded.warnings:
            say(line)
        if recorded.path and not options.exchange:
            say("wrote %s" % recorded.path)
    ignore_until_the_end()
    if recorded.outcome.exit_status < 0:
        die_of(-recorded.outcome.exit_status)
    return recorded.outcome.exit_status


def salvage(words: "list[str]") -> "int":
    """Make a recording of a scratch directory that was left behind."""
    from fsprobe.capture.options import usage
    from fsprobe.capture.salvage import salvage as salvage_run
    from fsprobe.cli.failures import say

    if len(words) not in (1, 3) or (len(words) == 3 and words[1] not in ("-o", "--output")):
        raise usage("salvage takes a directory", "%s salvage DIRECTORY -o FILE" % sys.argv[0])
    path, running = salvage_run(words[0], words[2] if len(words) == 3 else "")
    say("wrote %s" % path)
    if running:
        say("the command is still running: the recording holds what it did so far, and the scratch directory stays")
    return 0


def show_help(words: "list[str]") -> "None":
    """Print the help, or the version alone."""
    import os
    import textwrap

    import fsprobe
    from fsprobe.capture.options import OPTIONS

    if words[:1] == ["--version"]:
        print("fsprobe recorder, version %s" % fsprobe.__version__)
        return
    print(HELP.format(name=os.path.basename(sys.argv[0]), version=fsprobe.__version__), end="")
    for names, attribute, metavar, text in OPTIONS:
        if attribute not in NOT_HERE:
            name = "  " + names + (" " + metavar if metavar else "")
            if len(name) + 2 > HELP_COLUMN:
                print(name)
                name = ""
            for line in textwrap.wrap(text, 80 - HELP_COLUMN, break_on_hyphens=False):
                print(name.ljust(HELP_COLUMN) + line)
                name = ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
