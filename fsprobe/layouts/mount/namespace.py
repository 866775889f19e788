"""Run a command with X mounted over Y, seen by that command alone: the one primitive of exec, compare and run --image.

X is a SquashFS image, a directory, or an image under a writable overlay. The mount lives in a mount namespace of the
command; the caller's is never touched. (Where only the setuid helper of FUSE can mount, the image is in the caller's
namespace for the moment that bubblewrap needs to take it over, below a private directory.)

`enter_argv` gives a prefix for any command line, so that a tracer can be started inside.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from fsprobe.errors import EXIT_OWN_FAILURE, BadInput, FsprobeError, MachineCannot
from fsprobe.layouts.mount.methods import Way, hint_for, plan_ways, read_host_facts
from fsprobe.layouts.mount.mounting import leave, prepare
from fsprobe.layouts.mount.own_program import own_program
from fsprobe.layouts.mount.spec import Entered, Spec, checked
from fsprobe.layouts.mount.supervision import Ended, NotReady, end_like, run_supervised, start_and_exec


def run_inside(spec: Spec, argv: Sequence[str | bytes]) -> tuple[Ended, Entered]:
    """Run `argv` with `spec` mounted, as this process's stdin, stdout and stderr, and clean up.

    Args:
        spec: what appears where.
        argv: the command; empty to try the mount only.

    Raises:
        BadInput: see `checked`.
        MachineCannot: no way works; lists each with its reason.
        FsprobeError: the command can't be started (126, 127).
    """
    spec = checked(spec)
    ways = plan_ways(read_host_facts(), spec.kind)
    if spec.way:
        ways = [way for way in ways if way.name == spec.way]
        if not ways:
            raise BadInput(f"no way is called {spec.way} for {spec.kind}")
    tried: list[Way] = []
    for way in ways:
        if not way.why_not:
            meeting = os.path.join(tempfile.gettempdir(), f"fsprobe-mount-{secrets.token_hex(8)}")
            try:
                ended = run_supervised(partial(prepare, spec, way, meeting), argv)
            except NotReady as error:
                way = replace(way, why_not=str(error))
            else:
                return ended, Entered(way=way.name, mount_how=ended.told["mount_how"], fstype=ended.told["fstype"])
            finally:
                leave(meeting)  # nothing is there, unless the supervisor was killed
        tried.append(way)
    reasons = "; ".join(f"{way.name}: {way.why_not}" for way in tried)
    raise MachineCannot(
        f"{spec.source} can't be mounted over {spec.at} for one command here. Tried: {reasons}",
        hint_for(tried, spec.kind),
    )


def choose_way(spec: Spec) -> Entered:
    """Mount and unmount once to learn how it works here; errors as `run_inside`."""
    return run_inside(spec, [])[1]


def enter_argv(spec: Spec) -> list[str]:
    """A prefix: `[*enter_argv(spec), *command]` runs the command inside, with its exit code and signals.

    The prefix itself fails with 125 and a line on stderr. Set `spec.way` (from `choose_way`) to try nothing else. It uses this
    interpreter with the standard library alone and reads neither PYTHON* variables nor the working directory.
    """
    spec = checked(spec)
    options = [("--kind", spec.kind), ("--source", spec.source), ("--at", spec.at)]
    options += [("--upper", spec.upper)] if spec.upper else []
    options += [("--way", spec.way)] if spec.way else []
    return [*own_program(), "enter", *(part for option in options for part in option), "--"]


def main() -> None:
    """The program behind `enter_argv` (and, inside bubblewrap, behind `start_argv`)."""
    verb, *rest = sys.argv[1:]
    if verb == "start":
        start_and_exec(int(rest[0]), rest[1:])
    cut = rest.index("--")
    values = dict(zip(rest[0:cut:2], rest[1:cut:2], strict=True))
    try:
        ended, _ = run_inside(Spec(**{key[2:]: value for key, value in values.items()}), rest[cut + 1 :])
    except FsprobeError as error:
        own = isinstance(error, BadInput | MachineCannot)
        sys.stderr.write(f"fsprobe: {error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        sys.exit(EXIT_OWN_FAILURE if own else error.exit_code)
    end_like(ended.status)
