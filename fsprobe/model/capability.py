"""Capabilities: what a recording can show. What it can't is "not observed", never 0; who recorded it does not matter.

Standard library only, syntax of Python 3.6: recorders write these into a recording's manifest.
"""

from enum import Enum


class Capability(str, Enum):
    """One kind of things that a way of recording sees."""

    LOADER = "loader"
    """What the dynamic loader does, and an interpreter before it runs Python code."""
    RESULTS = "results"
    """Whether a call failed, and why."""
    DURATIONS = "durations"
    """How long each call took, the tracing overhead included."""
    TRUE_DURATIONS = "true_durations"
    """How long each call took without any tracing overhead."""
    READS = "reads"
    """Reads of files and how much they gave, not only opens."""
    STATS = "stats"
    """Calls that look at a name and open nothing: stat, access, readlink."""
    CHILDREN = "children"
    """Processes that the program starts."""
    FOREIGN_PROGRAMS = "foreign_programs"
    """Programs that are not Python, and interpreters that fsprobe's hook does not reach."""
