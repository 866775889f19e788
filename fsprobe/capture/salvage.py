"""A recording from what a killed fsprobe left behind.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import json
import os

from fsprobe import recording
from fsprobe.capture import audit, naming, ranks, session, tracelog
from fsprobe.capture import scratch as scratch_dir
from fsprobe.capture.sections import write_recording
from fsprobe.errors import BadInput


def salvage(scratch: "str", output: "str") -> "tuple[str, bool]":
    """Make a recording from the scratch directory of a run whose fsprobe was killed.

    Returns:
        The recording's path, and whether the run still goes on (the scratch is then left alone).

    Raises:
        BadInput: not a scratch directory of fsprobe, or nothing in it yet.
        FsprobeError: fsprobe is still at it itself, or the recording can't be written.
    """
    scratch = os.path.abspath(scratch)
    try:
        with open(os.path.join(scratch, scratch_dir.STATE), encoding="ascii") as source:
            state = json.load(source)
        command = [str(word) for word in state["command"]]
        host_name = str(state["host"])
        job = {str(name): str(value) for name, value in dict(state.get("job") or {}).items()}
    except (OSError, ValueError, LookupError, TypeError):
        raise BadInput(
            "%s is no scratch directory of fsprobe" % scratch,
            "they are named %s... in /dev/shm, $TMPDIR or /tmp" % scratch_dir.PREFIX,
        )
    log = os.path.join(scratch, scratch_dir.LOG)
    if state.get("backend") == "audit":
        try:
            audit.gather(scratch)
        except OSError as error:
            raise BadInput("%s cannot be read: %s" % (scratch, error.strerror), "nothing can be made of it")
    if not tracelog.size_bytes(log):
        raise BadInput("%s holds no log" % scratch, "the run was stopped before its command started")
    pid = tracelog.first_pid(log)
    running = bool(audit.running(scratch)) if state.get("backend") == "audit" else tracelog.is_written(log)
    # a killed fsprobe may have been writing the recording already
    unfinished = recording.part_name(str(state.pop("output", "")), int(state.get("fsprobe_pid") or 0))
    if os.path.isfile(unfinished) and not session.is_running(int(state.get("fsprobe_pid") or 0)):
        os.unlink(unfinished)
    state["salvaged"] = True
    if state.pop("streamed", False):
        state["log_truncated"] = "it was streamed, and of its log only the head was kept"
    if not state.get("log_truncated") and tracelog.has_hole(log):
        state["log_truncated"] = "the log reached --max-log, or its filesystem was nearly full"
    # without a tracer nobody has seen how the command ended
    traced = state.get("backend") != "audit"
    if state.get("exit_code") is None and traced and (not running or not session.is_running(pid)):
        status = tracelog.exit_status(log, pid)
        state["exit_code"] = status if status >= 0 else 128 - status
        state["signal"] = -status if status < 0 else None
    path = naming.output_path(output, command, naming.node_name(job, host_name), ranks.identify(job))
    write_recording(scratch, state, path, [])
    if not running:
        scratch_dir.remove(scratch)
    return path, running
