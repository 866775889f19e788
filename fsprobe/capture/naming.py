"""What a recording is called: never the same name for two ranks, containers or runs.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os
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


def placed(path: "str", output: "str") -> "str":
    """The recording's path; that its directory is missing is told before the command runs, not after.

    Args:
        path: see `output_path`.
        output: what -o said. Where it names a directory that one is there, and is not asked for again.

    Raises:
        FsprobeError: the directory is not there (exit code 2).
    """
    directory = os.path.dirname(path)
    if directory and directory == os.path.dirname(output) and not output.endswith("/") and not os.path.isdir(directory):
        raise FsprobeError(
            "%s: there is no directory %s" % (path, directory), "make it: mkdir -p %s" % directory, EXIT_USAGE
        )
    return path


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


def refuse_existing(path: "str", hint: "str" = "--force replaces it; or name another with -o") -> "None":
    """What is there is not overwritten unasked.

    Raises:
        FsprobeError: a file is there (exit code 2).
    """
    if path and not files.is_stream(path) and os.path.isfile(path):
        raise FsprobeError("%s is there already" % path, hint, EXIT_USAGE)


def free_name(path: "str", warnings: "list[str]") -> "str":
    """The path, or one like it (`x-2.fsprobe` for `x.fsprobe`) where a file appeared there while a command ran.

    It is the command's own, or another run's, and stays; that is added to `warnings`.
    """
    if not os.path.isfile(path):
        return path
    stem, suffix = os.path.splitext(path)
    n = 2
    while os.path.lexists("%s-%d%s" % (stem, n, suffix)):
        n += 1
    found = "%s-%d%s" % (stem, n, suffix)
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
