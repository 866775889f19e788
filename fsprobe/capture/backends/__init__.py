"""Which backend a run gets, and where each one is: strace, our own ptrace tracer, the hooks inside the target alone, or the
recorder in its loader and C library.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

from fsprobe.errors import FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsprobe.capture.backends.protocol import Backend, Machine
    from fsprobe.capture.options import RunOptions

AUTO = "auto"
SEVERAL = "+"
"""Between the names of backends that observe one run together; the first one's log is the recording's."""


def _strace() -> "Backend":
    from fsprobe.capture.backends.strace.backend import Strace

    return Strace()


def _ptrace() -> "Backend":
    from fsprobe.capture.backends.ptrace.backend import Ptrace

    return Ptrace()


def _audit() -> "Backend":
    from fsprobe.capture.backends.audit.backend import Audit

    return Audit()


def _inline() -> "Backend":
    from fsprobe.capture.backends.inline.backend import Inline

    return Inline()


TABLE = {"strace": _strace, "ptrace": _ptrace, "audit": _audit, "inline": _inline}
"""Every backend, in the order in which `auto` tries them. Each is loaded when it is asked for."""


def named(name: "str") -> "Backend":
    """A backend for one run.

    Raises:
        KeyError: there is none of that name.
    """
    return TABLE[name]()


def every() -> "Iterator[Backend]":
    """All of them, in the order of `TABLE`."""
    for make in TABLE.values():
        yield make()


def best(machine: "Machine") -> "Backend":
    """The backend that `auto` takes: the first that nothing speaks against, else the first that works.

    Its `why` says what kept it from those before it.

    Raises:
        FsprobeError: none works here.
    """
    reasons = []  # type: list[str]
    works = harmful = None  # type: Backend | None
    for one in every():
        if one.by_name_alone:
            continue
        against = one.why_not(machine)
        harm = "" if against else one.why_harmful(machine)
        if harm:
            harmful, against = harmful or one, harm
        elif not against:
            against = one.why_rather_not(machine)
            if works is None or not against:
                works = one
                works.why = "; ".join(reasons)
            if not against:
                break
        if against not in reasons:
            reasons.append(against)
    works = works or harmful
    if works is None:
        raise FsprobeError("no backend works here: " + "; ".join(reasons), "see `fsprobe doctor`")
    return works


def choose(options: "RunOptions", machine: "Machine") -> "list[Backend]":
    """The backends of a run, the leading one first, and how each marks imports.

    Raises:
        FsprobeError: one of them can't work here, or not as it was asked for.
    """
    if options.backend == AUTO:
        chosen = [best(machine)]
    else:
        chosen = [named(name) for name in options.backend.split(SEVERAL)]
        for one in chosen:
            why = one.why_not(machine)
            if why:
                raise FsprobeError(why, one.remedy)
    if options.stream:
        if len(chosen) > 1:
            raise FsprobeError("--stream takes one backend", "leave --stream away, or name one backend")
        if not chosen[0].can_stream:
            raise FsprobeError("--stream needs a tracer, not the backend %s" % chosen[0].name, "leave --stream away")
    way = _way_to_mark(chosen, options)
    for one in chosen:
        one.markers = way
    return chosen


def _way_to_mark(chosen: "list[Backend]", options: "RunOptions") -> "str":
    """How imports are marked, in a way that every backend reads."""
    lead = chosen[0]
    ways = [way for way in lead.ways_to_mark if all(way in one.ways_to_mark for one in chosen)]
    if not ways:
        raise FsprobeError(
            "%s mark imports in different ways" % " and ".join(one.name for one in chosen), "record one after the other"
        )
    wanted = "none" if options.no_markers else options.markers
    if options.stream:
        # not above: our own tracer is a program below this package, and starts with few modules
        from fsprobe.capabilities import MARKED_AT_ONCE

        ways = [way for way in ways if way in MARKED_AT_ONCE]
        if wanted not in MARKED_AT_ONCE + (AUTO,):
            raise FsprobeError(
                "--stream can't merge marks by time: they are complete only at the end", "leave the option away"
            )
    if wanted == AUTO:
        return ways[0]
    if wanted not in ways:
        raise lead.why_not_marked(wanted)
    return wanted


def data_files() -> "list[str]":
    """What the backends read at run time beside their modules, as paths below `fsprobe/capture`."""
    return sorted({name for one in every() for name in one.data_files})


def trace(words: "list[str]") -> "int":
    """Be the tracer that a backend started out of an archive: see `ptrace.entry.command`."""
    from fsprobe.capture.backends.ptrace import tracer

    return tracer.main(words)
