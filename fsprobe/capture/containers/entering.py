"""Record a command in a container: the starter runs untraced, the recorder inside, and the recording is brought out.

A tracer around the starter would also trace what serves the image (FUSE), and wait for ever for a page of the image that
only its own stopped tracee can deliver.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe import files
from fsprobe.capture import naming, shipped
from fsprobe.capture.containers import words
from fsprobe.capture.directories import own_files
from fsprobe.capture.machine import host, ranks
from fsprobe.capture.process.signals import SignalsHeld
from fsprobe.capture.process.start import Launch, start
from fsprobe.capture.process.wait import wait
from fsprobe.errors import FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fsprobe.capture.machine.starters import Found
    from fsprobe.capture.options import RunOptions
    from fsprobe.capture.process.wait import Outcome

PREFIX = "fsprobe-into-"
OUT = "out"
MODE = 0o600
"""Of a recording."""
_BIND_VARIABLES = ("APPTAINER_BIND", "SINGULARITY_BIND")


def record(
    options: "RunOptions",
    found: "Found",
    environment: "Mapping[str, str]",
    carry: "Callable[[str], object] | None" = None,
    warn: "Callable[[str], None] | None" = None,
) -> "tuple[str, Outcome, list[str]]":
    """Run a command that starts a container, with the recorder in it.

    Args:
        options: what was asked for.
        found: the starter in the command.
        environment: the command's.
        carry: writes the recorder that travels to a path; None: this is that recorder, and copies itself.
        warn: called with what is to be said before the command starts.

    Returns:
        Path of the recording ("" where none came out), how the command ended, and lines that the user should read.

    Raises:
        FsprobeError: it can't be entered, or not with these options (125); the command is not there (127, 126).
    """
    entry = words.take_apart(found, environment)
    if options.image:
        raise FsprobeError(
            "--image mounts outside of the container", "let the container mount it: -B IMG:PATH:image-src=/"
        )
    if options.stream:
        raise FsprobeError("--stream does not reach into a container", "leave --stream away")
    host.check_command(options.command, environment)
    path = naming.output_path(
        options.output, entry.command, naming.node_name(environment, os.uname().nodename), ranks.identify(environment)
    )
    path = os.path.abspath(path) if options.output else path
    naming.check(path, naming.page_path(path, options.page, ranks.identify(environment)), options.force)
    try:
        files.check(path)
    except OSError as error:
        raise FsprobeError("cannot write %s: %s" % (path, error.strerror), "name another place with -o")
    place = _make_place(options, environment, entry.binds)
    try:
        recorder = os.path.join(place, words.RECORDER)
        if carry is not None:
            carry(recorder)
        else:
            _copy_own_archive(recorder)
        os.mkdir(os.path.join(place, OUT), 0o700)
        inside = words.inside(place, entry.command, inner_options(options, place))
        command = found.whole(entry.words(place, inside))
        launch = Launch(command, environment, host.find_program(command[0], environment)[0] or "")
        if warn is not None:
            warn(
                "%s is not traced: the recorder goes into the container with it, and traces %s there"
                % (os.path.basename(entry.head[0]), os.path.basename(entry.command[0]))
            )
        with SignalsHeld() as held:
            outcome = wait(start(launch, held), [], held, 0.0)
            appeared: "list[str]" = []
            path = path if options.force else naming.free_name(path, appeared)
            made, why_not = _bring_out(place, path)
    except BaseException:
        own_files.remove(place)
        raise
    if made and why_not:
        return "", outcome, ["%s can't be written: %s; the recording is %s" % (path, why_not, made)]
    own_files.remove(place)
    return (
        (path, outcome, appeared) if made else ("", outcome, ["no recording came out of the container: %s" % why_not])
    )


def own_binds_removed(environment: "dict[str, str]", place: "str") -> "dict[str, str]":
    """The environment in a container without what binding `place` into it added."""
    ours = (place, "%s:%s" % (place, place))
    for name in _BIND_VARIABLES:
        if name in environment:
            environment[name] = ",".join(one for one in environment[name].split(",") if one not in ours)
    return environment


def inner_options(options: "RunOptions", place: "str") -> "list[str]":
    """The options of the recorder inside, as it was asked for outside."""
    given = ["--exchange", place, "-o", os.path.join(place, OUT), "--backend", options.backend]
    given += ["--max-log", str(options.max_log_bytes), "--wait-descendants", "%g" % options.wait_descendants_s]
    given += ["--import-timing", options.markers]
    given += ["--label", options.label] if options.label else []
    for is_wanted, flag in ((options.no_markers, "--no-markers"), (options.counters, "--counters")):
        given += [flag] if is_wanted else []
    return given + (["--quiet"] if options.quiet else [])


def _make_place(options: "RunOptions", environment: "Mapping[str, str]", is_bound: "bool") -> "str":
    """A private directory that the container will show under the same name.

    Raises:
        FsprobeError: there is none.
    """
    places = [options.tmp_dir] if options.tmp_dir else [environment.get("TMPDIR", ""), "/tmp", "/var/tmp"]
    if not is_bound:
        places = ["/tmp"]
    reason = ""
    for one in places:
        real = os.path.realpath(one)
        if not one or any(letter in real for letter in ":,\\\"'"):  # they part the words of a bind path
            continue
        place = os.path.join(real, PREFIX + os.urandom(6).hex())
        try:
            os.mkdir(place, 0o700)
            return place
        except OSError as error:
            reason = "%s: %s" % (real, error.strerror)
    raise FsprobeError(
        "no directory for the recording on its way out of the container" + (" (%s)" % reason if reason else ""),
        "name a node-local directory with --tmp-dir",
    )


def _copy_own_archive(target: "str") -> "None":
    """Raises: FsprobeError: this fsprobe is no archive."""
    archive = shipped.archive()
    if not archive:
        raise FsprobeError("there is no recorder to take into the container", "start it with `fsprobe run`")
    with open(archive, "rb") as source, open(target, "xb") as out:
        for block in iter(lambda: source.read(1 << 20), b""):
            out.write(block)


def _bring_out(place: "str", path: "str") -> "tuple[str, str]":
    """Copy the recording to its path; gives what came out of the container ("" for nothing), and what went wrong."""
    out, found = os.path.join(place, OUT), ""
    try:
        names = [os.path.join(out, name) for name in os.listdir(out) if name.endswith(".fsprobe")]
        if not names:
            return "", "the recorder did not write one"
        # one that was written while the command went on holds less than the last
        found = max(names, key=os.path.getmtime)
        with own_files.reader(found) as source, files.Replacing(path, MODE) as target:
            for block in iter(lambda: source.read(1 << 20), b""):
                target.write(block)
    except OSError as error:
        return found, error.strerror or str(error)
    return found, ""
