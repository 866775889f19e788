"""The options of `fsprobe run`: one table for the parser, the help and the README.

Not click: importing it costs 400 metadata calls, and this runs on the filesystem that is under suspicion.
Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

from fsprobe.capture.machine import ranks
from fsprobe.errors import EXIT_OWN_FAILURE, FsprobeError

DEFAULT_MAX_LOG = "2G"
DEFAULT_WAIT_DESCENDANTS_S = 5.0
AUTO = "auto"
BACKENDS = (AUTO, "strace", "ptrace", "audit", "inline")

# (name, attribute, metavar or "" for a flag, default, help)
OPTIONS = [
    (
        "-o, --output",
        "output",
        "FILE",
        "",
        "The recording, or a directory for it [default: named after command, host, time and pid].",
    ),
    ("--backend", "backend", "|".join(BACKENDS), "auto", "How to observe [default: auto]."),
    ("--no-markers", "no_markers", "", "", "Put nothing into the target; imports are then an estimate."),
    ("--record-only", "record_only", "", "", "Write the recording, don't analyse it."),
    (
        "--ranks",
        "ranks",
        "LIST",
        "all",
        "In a job: trace only these ranks (0,8-15, one-per-node, all), run the others untouched [default: all].",
    ),
    ("--label", "label", "TEXT", "", "A word for this run in reports."),
    ("--tmp-dir", "tmp_dir", "DIR", "", "Where the log is kept meanwhile [default: /dev/shm, $TMPDIR or /tmp]."),
    (
        "--counters",
        "counters",
        "",
        "",
        "Also read what the clients of NFS and Lustre count meanwhile, of the whole node.",
    ),
    (
        "--stream",
        "stream",
        "",
        "",
        "Keep no log: count while the command runs, in bounded memory (no predicted requests).",
    ),
    ("--max-log", "max_log", "SIZE", DEFAULT_MAX_LOG, "Bound of the log, as 500M or 2G [default: 2G]."),
    (
        "--wait-descendants",
        "wait_descendants",
        "SECONDS",
        "5",
        "How long to wait for processes that outlive the command [default: 5].",
    ),
    ("--image", "image", "IMG", "", "Mount this SquashFS image for the command alone ..."),
    ("--at", "at", "PATH", "", "... over this path."),
    ("-q, --quiet", "quiet", "", "", "No live line, no report: only errors."),
]
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


class HelpWanted(Exception):
    """--help or -h stands among the options; what stands after the command's name is the command's."""


def parse(words: "list[str]") -> "RunOptions":
    """Parse what follows `fsprobe run`: options, then the command (after `--`, or from the first word that is no option).

    Raises:
        FsprobeError: wrong usage (exit code 125).
        HelpWanted: help was asked for.
    """
    known = {}
    for names, attribute, metavar, _, _ in OPTIONS:
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
        name, equals, value = word.partition("=")
        if not word.startswith("--") and len(word) > 2:
            name, equals, value = word[:2], "=", word[2:]
        if name in ("--help", "-h"):
            raise HelpWanted
        if name not in known:
            raise usage("run has no option %s" % name)
        attribute, takes_value = known[name]
        if takes_value and not equals:
            if not rest:
                raise usage("%s needs a value" % name)
            value = rest.pop(0)
        elif equals and not takes_value:
            raise usage("%s takes no value" % name)
        given[attribute] = value if takes_value else "yes"
    if not rest:
        raise usage("no command given", "fsprobe run -- python train.py")
    return _checked(given, rest)


def _checked(given: "dict[str, str]", command: "list[str]") -> "RunOptions":
    options = RunOptions()
    options.command = command
    for name in ("output", "ranks", "label", "tmp_dir", "image", "at", "exchange"):
        setattr(options, name, given.get(name, ""))
    for name in ("no_markers", "record_only", "counters", "stream", "quiet"):
        setattr(options, name, name in given)
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
    if bool(options.image) != bool(options.at):
        raise usage(
            "--image and --at go together", "fsprobe run --image env.sqsh --at /path/of/venv -- python train.py"
        )
    return options
