"""The options of `fsprobe run`: one table for the parser and the help.

Not click: importing it costs 400 metadata calls, and this runs on the filesystem that is under suspicion.
Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe.capture.machine import ranks
from fsprobe.errors import EXIT_OWN_FAILURE, EXIT_USAGE, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_MAX_LOG = "2G"
DEFAULT_WAIT_DESCENDANTS_S = 5.0
AUTO = "auto"
BACKENDS = (AUTO, "strace", "ptrace", "audit", "inline")

# (name, attribute, metavar or "" for a flag, help)
OPTIONS = [
    (
        "-o, --output",
        "output",
        "FILE",
        "The recording, or a directory for it [default: named after command, host, time and pid]. With .html, .md, .json, "
        ".csv, .png or .svg: the report too, beside the recording.",
    ),
    ("--force", "force", "", "Replace what is there."),
    ("--backend", "backend", "|".join(BACKENDS), "How to observe [default: auto]."),
    ("--no-markers", "no_markers", "", "Put nothing into the target; imports are then an estimate."),
    ("--record-only", "record_only", "", "Write the recording, don't analyse it."),
    (
        "--ranks",
        "ranks",
        "LIST",
        "In a job: trace only these ranks (0,8-15, one-per-node, all), run the others untouched [default: all].",
    ),
    ("--label", "label", "TEXT", "A word for this run in reports."),
    ("--tmp-dir", "tmp_dir", "DIR", "Where the log is kept meanwhile [default: /dev/shm, $TMPDIR or /tmp]."),
    ("--counters", "counters", "", "Also read what the clients of NFS and Lustre count meanwhile, of the whole node."),
    ("--stream", "stream", "", "Keep no log: count while the command runs, in bounded memory (no predicted requests)."),
    ("--max-log", "max_log", "SIZE", "Bound of the log, as 500M or 2G [default: %s]." % DEFAULT_MAX_LOG),
    (
        "--wait-descendants",
        "wait_descendants",
        "SECONDS",
        "How long to wait for processes that outlive the command [default: %g]." % DEFAULT_WAIT_DESCENDANTS_S,
    ),
    ("--image", "image", "IMG", "Mount this SquashFS image for the command alone ..."),
    ("--at", "at", "PATH", "... over this path."),
    ("--full", "full", "", "The whole report at the end, as `fsprobe report` shows it."),
    ("--format", "style", "FORMAT", "The report as json, html, md, ...: in a file beside the recording."),
    ("--color", "color", "WHEN", "Colour: auto, always or never [default: auto]."),
    ("--live", "live", "", "Show calls and imports while the command runs, on one line of the terminal."),
    ("-q, --quiet", "quiet", "", "No report: only errors."),
]
FORMATS = {
    "terminal": "",
    "json": ".json",
    "html": ".html",
    "md": ".md",
    "csv": ".csv",
    "folded": ".folded",
    "speedscope": ".speedscope.json",
    "chrome": ".chrome.json",
}
"""The formats of a report, and how a file of each ends where fsprobe names it."""
SUFFIXES = {
    ".html": "html",
    ".htm": "html",
    ".md": "md",
    ".json": "json",
    ".csv": "csv",
    ".png": "plot",
    ".svg": "plot",
}
"""What the end of a file's name says of its format; a plot is no format of its own."""
RECORDING = ".fsprobe"
COLORS = ("auto", "always", "never")
WITHOUT_PYTHON = ("-m", "-c")
"""How a command begins that python3 would take."""
SCRIPTS = (".py", ".pyz")
MAX_SIZE_BYTES = 1 << 50
"""No filesystem of a node holds more."""
_MARKER_MODES = ("auto", "time", "access", "both")


class RunOptions:
    """What `fsprobe run` was asked for; every attribute of `OPTIONS`, plus the command."""

    output = ""
    backend = "auto"
    no_markers = False
    record_only = False
    stream = False
    counters = False
    label = ""
    ranks = ""
    tmp_dir = ""
    max_log_bytes = 0
    wait_descendants_s = 0.0
    image = ""
    at = ""
    quiet = False
    force = False
    full = False
    live = False
    style = ""
    color = "auto"
    page = ""
    """A report to write beside the recording: a name with its suffix, or a suffix alone; "" for none."""
    markers = "auto"  # undocumented `--import-timing=`: tests compare the ways of marking
    exchange = ""
    """Undocumented `--exchange=`: the directory that an fsprobe outside has bound into this container."""

    def __init__(self) -> "None":
        self.command: "list[str]" = []


def parse_size(text: "str") -> "int":
    """Bytes of `500M`, `2G`, `4096`, with K, M, G, T as powers of 1024.

    Raises:
        FsprobeError: not such a size.
    """
    body, unit = text.strip(), 1
    suffix = body[-1:].upper()
    if suffix in "KMGT" and suffix:
        unit = 1 << (10 * (" KMGT".index(suffix)))
        body = body[:-1]
    try:
        size = int(float(body) * unit)
    except (ValueError, OverflowError):
        size = 0
    if not 0 < size <= MAX_SIZE_BYTES:
        raise usage("%r is no size" % text, "give bytes, or a number with K, M, G or T")
    return size


def usage(message: "str", hint: "str" = "see `fsprobe run --help`") -> "FsprobeError":
    """An error of the command line."""
    return FsprobeError(message, hint, EXIT_OWN_FAILURE)


def nearest(word: "str", known: "Iterable[str]") -> "str":
    """What was perhaps meant by a word that nobody knows; "" where nothing is like it."""
    import difflib

    # without the dashes that all options share, or any two would be alike
    names = {name.lstrip("-"): name for name in known}
    found = [names[name] for name in difflib.get_close_matches(word.lstrip("-"), sorted(names), 1, 0.6)]
    return found[0] if found else ""


def _meant(word: "str", known: "Iterable[str]") -> "str":
    near = nearest(word, known)
    return "did you mean %s?" % near if near else ""


def one_of(given: "dict[str, str]", name: "str", default: "str", choices: "tuple[str, ...]") -> "str":
    """The value of an option that takes certain ones.

    Raises:
        FsprobeError: another one was given.
    """
    value = given.get(name, default)
    if value != default and value not in choices:
        option = next(row[0] for row in OPTIONS if row[1] == name)
        hint = "%s one of %s" % (_meant(value, choices), ", ".join(choices))
        raise usage("%s takes no %r" % (option, value), hint.strip())
    return value


def spelled_out(command: "list[str]") -> "list[str]":
    """The command with the interpreter that a script, `-m MODULE` or `-c CODE` leaves out: PATH's own, never fsprobe's.

    What can be run as it stands is run as it stands.
    """
    word = command[0]
    if word[:2] not in WITHOUT_PYTHON and not word.endswith(SCRIPTS):
        return command
    from fsprobe.capture.machine import host  # not for a rank that is left out and runs anything else

    if word[:2] not in WITHOUT_PYTHON:
        if not os.path.isfile(word):
            return command
        path, reason = host.find_program(word, os.environ)
        if path is not None and not reason and not host.why_not_started(path)[0]:
            return command
    name = "python3" if host.find_program("python3", os.environ)[0] else "python"
    return [name] + command


def outputs(output: "str", style: "str") -> "tuple[str, str]":
    """What -o and --format mean together.

    Returns:
        The recording as -o would name it, and the report: a file's name, or its suffix where the recording has a name that
        fsprobe makes; "" for none.

    Raises:
        FsprobeError: the name ends in what fsprobe does not know (2).
    """
    beside = FORMATS.get(style, "")
    if not output or output.endswith("/"):
        return output, beside
    stem, suffix = os.path.splitext(output)
    if suffix.lower() in SUFFIXES:
        return stem + RECORDING, output
    if suffix and suffix.lower() != RECORDING and not os.path.isdir(output):
        raise FsprobeError(
            "%s: a name that ends in %s says no format" % (output, suffix),
            "name it NAME%s, or with one of %s" % (RECORDING, ", ".join(SUFFIXES)),
            EXIT_USAGE,
        )
    if beside and not os.path.isdir(output):
        return output, (stem if suffix else output) + beside
    return output, beside


class HelpWanted(Exception):
    """--help or -h stands among the options; what stands after the command's name is the command's."""


def parse(words: "list[str]") -> "RunOptions":
    """Parse what follows `fsprobe run`: options, then the command (after `--`, or from the first word that is no option).

    Raises:
        FsprobeError: wrong usage (exit code 125).
        HelpWanted: help was asked for.
    """
    known = {}
    for names, attribute, metavar, _ in OPTIONS:
        for name in names.split(", "):
            known[name] = (attribute, bool(metavar))
    for name in ("--import-timing", "--markers"):  # the second one is its old name
        known[name] = ("markers", True)
    known["--exchange"] = ("exchange", True)
    given = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            rest.insert(0, word)
            break
        if word[:2] in WITHOUT_PYTHON:  # as python3 takes them: the rest is the command's
            rest.insert(0, word)
            break
        name, equals, value = word.partition("=")
        if not word.startswith("--") and len(word) > 2:
            name, equals, value = word[:2], "=", word[2:]
        if name in ("--help", "-h"):
            raise HelpWanted
        if name not in known:
            style = name.lstrip("-")
            hint = "did you mean --format %s?" % style if style in FORMATS else _meant(name, known)
            raise usage("run has no option %s" % name, hint or "see `fsprobe run --help`")
        attribute, takes_value = known[name]
        if takes_value and not equals:
            if not rest:
                raise usage("%s needs a value" % name)
            value = rest.pop(0)
        elif equals and not takes_value:
            raise usage("%s takes no value" % name)
        given[attribute] = value if takes_value else "yes"
    if not rest:
        raise usage("no command given", "`fsprobe run -- python train.py`")
    return _checked(given, rest)


def _checked(given: "dict[str, str]", command: "list[str]") -> "RunOptions":
    options = RunOptions()
    options.command = spelled_out(command)
    for name in ("output", "ranks", "label", "tmp_dir", "image", "at", "exchange"):
        setattr(options, name, given.get(name, ""))
    for _, name, metavar, _ in OPTIONS:
        if not metavar:
            setattr(options, name, name in given)
    options.color = one_of(given, "color", "auto", COLORS)
    options.style = one_of(given, "style", "", tuple(FORMATS))
    if "output" in given and not options.output:
        raise usage("-o needs a name", "`fsprobe run -o FILE -- CMD`")
    options.output, options.page = outputs(options.output, options.style)
    options.backend = given.get("backend", "auto")
    several = options.backend.split("+")  # two observe one run together: for comparing them
    if any(name not in BACKENDS for name in several) or (AUTO in several or len(set(several)) < len(several)) != (
        several == [AUTO]
    ):
        raise usage("%r is no backend" % options.backend, "one of " + ", ".join(BACKENDS))
    options.markers = given.get("markers", "auto")
    if options.markers not in _MARKER_MODES:
        raise usage("%r is no way to time imports" % options.markers, "one of " + ", ".join(_MARKER_MODES))
    if options.ranks:
        ranks.check(options.ranks)
    options.max_log_bytes = parse_size(given.get("max_log", DEFAULT_MAX_LOG))
    try:
        options.wait_descendants_s = float(given.get("wait_descendants", DEFAULT_WAIT_DESCENDANTS_S))
    except ValueError:
        raise usage("--wait-descendants takes seconds, not %r" % given["wait_descendants"])
    if not options.wait_descendants_s >= 0:  # nan is not, either
        raise usage("--wait-descendants can't be negative")
    if options.record_only and (options.page or options.full):
        raise usage("--record-only makes no report", "leave it away, or make the report later: `fsprobe report FILE`")
    if bool(options.image) != bool(options.at):
        raise usage(
            "--image and --at go together", "`fsprobe run --image env.sqsh --at /path/of/venv -- python train.py`"
        )
    return options
