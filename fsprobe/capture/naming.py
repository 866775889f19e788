"""What a recording is called: never the same name for two ranks, containers or runs.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
import stat
import time

from fsprobe import files
from fsprobe.capture.machine import ranks
from fsprobe.errors import EXIT_USAGE, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NAME_PART = 60
"""Letters of the command that a recording's default name holds; a file name has 255 at most."""
FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""Source: PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h."""


def output_path(output: "str", command: "list[str]", host: "str", rank: "ranks.Rank | None") -> "str":
    """Where a recording goes.

    Args:
        output: what -o said: a file, in a job with the rank put into its name; a directory that is there, or a name that
            ends in `/` (which is then made), with a default name in it; "" for a default name in the working directory.
        command: the command's words.
        host: the node's name.
        rank: this process in its job.

    Raises:
        FsprobeError: the directory can't be made.
    """
    if not output:
        return default_name(command, host, rank)
    if output.endswith("/"):
        try:
            files.make_directories(output)
        except OSError as error:
            raise FsprobeError("cannot make the directory %s: %s" % (output, error.strerror), "name another with -o")
    if os.path.isdir(output):
        return os.path.join(output, default_name(command, host, rank))
    return ranks.tagged(output, rank)


def path_in(directory: "str", command: "list[str]", host: "str", rank: "ranks.Rank | None") -> "str":
    """A default name in a directory that is there and takes files, as all ranks of a job find it but the first; else "".

    The name is made of time and process, and so nobody else's: it need not be looked up.

    Args:
        directory: what -o said; only with `/` at its end. One behind a link is not taken: somebody else may have put it there.
        command, host, rank: see `output_path`.
    """
    if not directory.endswith("/"):
        return ""
    try:
        is_plain = stat.S_ISDIR(os.lstat(directory.rstrip("/") or "/").st_mode)
    except OSError:
        return ""
    if not is_plain or not os.access(directory, os.W_OK | os.X_OK):
        return ""
    return os.path.join(directory, default_name(command, host, rank))


def page_path(recording: "str", page: "str", rank: "ranks.Rank | None") -> "str":
    """Where the report of a run goes that -o or --format asked for; "" for nowhere.

    Args:
        recording: the recording's path.
        page: the report's name, or its suffix where it goes by the recording's name.
        rank: this process in its job.
    """
    if page.startswith(".") and "/" not in page:
        return recording[: -len(".fsprobe")] + page if recording.endswith(".fsprobe") else recording + page
    return ranks.tagged(page, rank) if page else ""


def existing(path: "str", hint: "str" = "--force replaces it; or name another with -o") -> "FsprobeError":
    """The error of a file that is there and is not overwritten unasked (exit code 2)."""
    return FsprobeError("%s is there already" % path, hint, EXIT_USAGE)


def look(path: "str", cwd: "str" = "") -> "tuple[bool, str]":
    """Whether a file is there, and why none can be put there, as far as two calls can tell it; "" where they see nothing in the way.

    What they can't tell: room on the disk, quotas, links of other users (`files.check` looks for those). `cwd` is the working
    directory where that is known, which saves each rank a call.
    """
    is_there = False
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            path = os.path.realpath(path)
            mode = os.stat(path).st_mode
        is_there = stat.S_ISREG(mode)
        if not is_there:
            return False, str(files.no_file(mode).strerror)
    except FileNotFoundError:
        pass
    except OSError as error:
        return False, str(error.strerror)
    directory = os.path.dirname(path)
    try:
        # a working directory that was removed still says that it can be written to
        if os.access(directory or cwd or os.getcwd(), os.W_OK | os.X_OK):
            return is_there, ""
    except FileNotFoundError:
        return is_there, "the working directory is gone"
    if os.path.isdir(directory or "."):
        return is_there, "the directory %s is not writable for you" % (directory or ".")
    return is_there, "no such directory: %s" % directory


def check(path: "str", page: "str" = "", replaces: "bool" = False, cwd: "str" = "") -> "None":
    """A recording, or its page, that can't be written is told before the command starts.

    Args:
        path: where the recording shall be; "" where that is known.
        page: where the report goes; "" for nowhere.
        replaces: files that are there may be replaced.
        cwd: see `look`.

    Raises:
        FsprobeError: a file is there (exit code 2); or what `look` finds (125, as of wrong usage of `run`).
    """
    for output in filter(None, (path, "" if files.is_stream(page) else page)):
        is_there, why_not = look(output, cwd)
        if is_there and not replaces:
            raise existing(output)
        if why_not:
            import shlex  # not needed where all is well

            directory = os.path.dirname(output)
            is_missing = bool(directory) and not os.path.lexists(directory)
            raise FsprobeError(
                "cannot write %s: %s" % (output, why_not),
                "make it (mkdir -p %s), or name another place with -o" % shlex.quote(directory)
                if is_missing
                else "name another place with -o",
            )


def free_name(path: "str", warnings: "list[str]") -> "str":
    """The path, or one like it (`x-2.fsprobe` for `x.fsprobe`) where a file appeared there while a command ran.

    It is the command's own, or another run's, and stays; that is added to `warnings`.
    """
    if not os.path.isfile(path):
        return path
    stem, suffix = os.path.splitext(path)
    directory, name = os.path.split(stem)
    n, found = 1, path
    while os.path.lexists(found):
        n += 1
        ending = "-%d%s" % (n, suffix)
        found = os.path.join(directory, files.cut_name(name, len(os.fsencode(ending))) + ending)
    warnings.append("%s appeared meanwhile, and stays: the recording is %s" % (path, found))
    return found


def default_name(command: "list[str]", host: "str", rank: "ranks.Rank | None") -> "str":
    """Command, rank, host, time and process as a file name."""
    words = [os.path.basename(word)[:MAX_NAME_PART] for word in command[:1]]
    scripts = [os.path.basename(word) for word in command[1:] if word.endswith(".py")]
    if not scripts and words[0].startswith("python") and "-m" in command[1:-1]:
        scripts = [command[command.index("-m") + 1]]
    words += [word[:MAX_NAME_PART] for word in scripts[:1]]
    if rank is not None:
        words.append("rank%04d" % rank.number)
    stem = "-".join([*words, host.split(".")[0], time.strftime("%Y%m%d-%H%M%S"), _process()])
    # ASCII alone: what the working directory's filesystem and the next tool make of other letters is not known
    name = "".join(letter if (letter.isalnum() and letter < "\x7f") or letter in "-._" else "_" for letter in stem)
    return name.lstrip("-.") + ".fsprobe"


def _process() -> "str":
    # in containers every process may be number 2 of its own namespace
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = FIRST_PID_NAMESPACE
    if namespace == FIRST_PID_NAMESPACE:
        return str(os.getpid())
    return "%s.%d" % (namespace.strip("pid:[]"), os.getpid())


def node_name(environment: "Mapping[str, str]", host: "str") -> "str":
    """The node as the batch system calls it, which also tells two daemons on one host apart; else the host's name."""
    return environment.get("SLURMD_NODENAME") or host
