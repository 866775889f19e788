"""The parts of a recording, made of what lies in a scratch directory.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import json
import os

from fsprobe.capture.backends import text_log
from fsprobe.capture.backends.audit import waiting
from fsprobe.capture.backends.strace import shield
from fsprobe.capture.directories import own_files
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.lookups import collect
from fsprobe.capture.machine import host, mounts
from fsprobe.recording import file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

N_EXECS_LOOKED_AT = 50
MOUNTS = "mounts"
"""The mount table of a program that was attached to, in the scratch directory."""


def write_state(scratch: "str", state: "dict[str, Any]", table: "bytes" = b"") -> "None":
    """Write the facts into the scratch directory; that it fails is no reason to stop a run.

    Args:
        scratch: the directory.
        state: the manifest so far.
        table: the mounts of the process that is recorded, where they may be others than fsprobe's own.
    """
    try:
        if table:
            with open(os.path.join(scratch, MOUNTS), "xb") as mounts_file:
                mounts_file.write(table)
        path = os.path.join(scratch, scratch_dir.STATE)
        with open(path + ".new", "w", encoding="utf-8") as target:
            json.dump(state, target)
        os.replace(path + ".new", path)
    except OSError:
        pass


def write_recording(
    scratch: "str", state: "dict[str, Any]", path: "str", warnings: "list[str]", streamed: "Any" = None
) -> "None":
    """Make the recording from what lies in the scratch directory; `streamed` is what `record`'s `consume` returned.

    Raises:
        FsprobeError: it can't be written; the scratch is as it was.
    """
    log = os.path.join(scratch, scratch_dir.LOG)
    own = str(state.get("shield") or "")
    programs = programs_of(log, own) if streamed is None else streamed.programs()
    state["privileged"] = privileged_execs(programs) if state.get("uid") else []
    for program, gain in state["privileged"]:
        warnings.append(
            "%s (%s) was started and lost that by being traced; run fsprobe inside the container instead"
            % (program, gain)
        )
    table, is_here = _mount_table(scratch)
    if not is_here:
        found = {}  # type: dict[str, Any]  # in another mount namespace the same paths may be other files
    elif streamed is None:
        found = collect.collect(log, own)
    else:
        found = collect.distributions(streamed.site_names())
    file.write(
        path,
        "recording",
        [
            ("manifest", json.dumps(state, indent=1, sort_keys=True).encode("ascii")),
            ("log", text_log.blocks(log, own)) if streamed is None else ("tally", streamed.blocks()),
            ("marks", _marks_blocks(os.path.join(scratch, scratch_dir.MARKS))),
            ("mounts", table),
            ("lookups", json.dumps(found).encode("ascii")),
        ],
    )


def _mount_table(scratch: "str") -> "tuple[bytes, bool]":
    """The mounts of what was recorded, and whether they are this process's."""
    here = mounts.read_own()
    try:
        with own_files.reader(os.path.join(scratch, MOUNTS)) as source:
            table = source.read()
    except OSError:
        return here, True
    return table, table == here


def programs_of(log: "str", own: "str" = "") -> "list[bytes]":
    """Programs that were started in the run, the first ones, without the shield at `own`."""
    paths = {}  # type: dict[bytes, None]
    try:
        with own_files.reader(log) as source:
            for number, line in enumerate(source):
                if number == 0 and shield.is_own(line, own):
                    continue
                if b" execve(" in line and b" = 0" in line and len(paths) < N_EXECS_LOOKED_AT:
                    paths[line.split(b'"', 2)[1]] = None
    except (OSError, IndexError):
        pass
    return list(paths)


def privileged_execs(paths: "list[bytes]") -> "list[list[str]]":
    """Which of the programs have setuid, setgid or file capabilities: [path, what it has]."""
    gains = [(os.fsdecode(path), host.privilege_of(os.fsdecode(path))) for path in paths[:N_EXECS_LOOKED_AT]]
    return [[path, gain] for path, gain in gains if gain]


def _marks_blocks(directory: "str") -> "Iterator[bytes]":
    """Each file of the hooks, led by a line `@name size`."""
    for name in sorted(os.listdir(directory)):
        if name.startswith(waiting.CALLS):
            continue  # they are the log
        try:
            with own_files.reader(os.path.join(directory, name)) as source:
                data = source.read()
        except OSError:
            continue
        yield b"@%s %d\n" % (os.fsencode(name), len(data))
        yield data
