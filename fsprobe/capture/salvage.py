"""A recording from what a killed fsprobe left behind.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import os

from fsprobe import files, foreign_json
from fsprobe.capture import backends, naming
from fsprobe.capture.directories import hook_place, own_files
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.machine import ranks
from fsprobe.capture.process.wait import end_facts, is_running
from fsprobe.capture.sections import write_recording
from fsprobe.errors import EXIT_BAD_INPUT, BadInput, FsprobeError
from fsprobe.recording import file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from fsprobe.capture.backends.protocol import Backend

MAX_STATE_BYTES = 16 << 20
"""Of the facts of a run; the command line is the largest of them, 2 MiB at most on most machines."""


def salvage(scratch: "str", output: "str", force: "bool" = False) -> "tuple[str, bool]":
    """Make a recording from the scratch directory of a run whose fsprobe was killed.

    Args:
        scratch: the directory.
        output: the recording, or a directory for it; "" for a name of fsprobe's own.
        force: replace what is there.

    Returns:
        The recording's path, and whether the run still goes on (the scratch is then left alone).

    Raises:
        BadInput: not a scratch directory of fsprobe, another user's, or nothing in it yet.
        FsprobeError: fsprobe is still at it itself, or the recording can't be written.
    """
    scratch = os.path.abspath(scratch)
    try:
        directory = own_files.open_directory(scratch)
    except FileNotFoundError:
        raise _no_scratch(scratch)
    except OSError as error:
        raise BadInput(
            "%s is not taken: %s" % (scratch, "it is no directory" if _is_no_directory(scratch) else error.strerror),
            "only a directory that your own run of fsprobe left behind can be salvaged",
        )
    try:
        return _salvage(scratch, "/proc/self/fd/%d" % directory, _read_state(scratch, directory), output, force)
    finally:
        os.close(directory)


def left_behind(environment: "Mapping[str, str]") -> "list[tuple[float, str, list[str]]]":
    """This user's runs on this node whose fsprobe is gone and whose scratch directory is there.

    Args:
        environment: names the places where scratch directories are made.

    Returns:
        Of each, the newest first: when it began (s since the epoch), the directory, its command's words.
    """
    found = []
    for path in scratch_dir.left_behind(environment):
        try:
            directory = own_files.open_directory(path)
        except OSError:
            continue  # it ended meanwhile
        try:
            state = _read_state(path, directory)
            begun_s = os.stat(scratch_dir.STATE, dir_fd=directory).st_mtime
        except (BadInput, OSError):
            continue
        finally:
            os.close(directory)
        if not is_running(state["fsprobe_pid"]):
            found.append((begun_s, path, state["command"]))
    return sorted(found, reverse=True)


def _is_no_directory(path: "str") -> "bool":
    return os.path.islink(path) or not os.path.isdir(path)


def _no_scratch(scratch: "str") -> "BadInput":
    return BadInput(
        "%s is no scratch directory of fsprobe" % scratch,
        "they are named %s... in /dev/shm, $TMPDIR or /tmp" % scratch_dir.PREFIX,
    )


def _read_state(scratch: "str", directory: "int") -> "dict[str, Any]":
    try:
        with own_files.reader(scratch_dir.STATE, directory) as source:
            state = foreign_json.loads(source.read(MAX_STATE_BYTES).decode("ascii"))
        if not isinstance(state["command"], list) or not state["command"] or not isinstance(state["host"], str):
            raise ValueError
        state["command"] = [str(word) for word in state["command"]]
        state["job"] = {str(name): str(value) for name, value in dict(state.get("job") or {}).items()}
        state["fsprobe_pid"] = int(state.get("fsprobe_pid") or 0)
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        raise _no_scratch(scratch)
    return dict(state)


def _salvage(scratch: "str", held: "str", state: "dict[str, Any]", output: "str", force: "bool") -> "tuple[str, bool]":
    """Read through `held`, the directory as it was opened; its name may be another's by now."""
    observers = _observers(scratch, held, state)
    reasons = [one.recover(scratch) for one in observers]
    running = any(one.is_going_on(scratch) for one in observers)
    _forget_unfinished(state.pop("output", ""), state["fsprobe_pid"])
    state["salvaged"] = True
    if state.pop("streamed", False):
        state["log_truncated"] = "it was streamed, and of its log only the head was kept"
    if not state.get("log_truncated") and any(reasons):
        state["log_truncated"] = next(filter(None, reasons))
    # without a tracer nobody has seen how the command ended
    status = observers[0].status_of_ended(running) if state.get("exit_code") is None else None
    if status is not None:
        state.update(end_facts(status))
    node = naming.node_name(state["job"], state["host"])
    try:
        path = naming.output_path(output, state["command"], node, ranks.identify(state["job"]))
    except FsprobeError as error:
        error.exit_code = EXIT_BAD_INPUT
        raise
    if not force and os.path.isfile(path):
        raise naming.existing(path)
    write_recording(held, state, path, [], observers)
    if not running:
        hook_place.remove(str(state.get("hook_dir") or ""), str(state.get("scratch") or scratch))
        scratch_dir.remove(scratch)
    return path, running


def _observers(scratch: "str", held: "str", state: "dict[str, Any]") -> "list[Backend]":
    """The backends of the run, with what the killed fsprobe knew."""
    found: "list[Backend]" = []
    for name in str(state.get("backend")).split(backends.SEVERAL):
        try:
            one = backends.named(name)
        except KeyError:
            raise BadInput("%s is of the unknown backend %s" % (scratch, name), "upgrade fsprobe")
        one.settle(held, os.path.join(held, name) if found else held)
        one.resume(state)
        found.append(one)
    return found


def _forget_unfinished(output: "Any", pid: "int") -> "None":
    """Remove what a killed fsprobe had written of the recording, if that is what it is: the caller's own, beginning as one."""
    if not isinstance(output, str) or not output.startswith("/") or pid <= 0 or is_running(pid):
        return
    try:
        with files.Place(files.part_name(output, pid), follow_last=False) as place:
            with own_files.reader(place.name, place.directory) as source:
                head = source.read(len(file.MAGIC))
            if file.MAGIC.startswith(head):
                os.unlink(place.name, dir_fd=place.directory)
    except (OSError, ValueError):
        pass
