"""What a recording can show and how its imports are marked, as its manifest says: a view asks for these, never for the backend's name.

Plain words, for every part of fsprobe. Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

LOADER = "loader"
"""Calls before the interpreter's `site`: of the dynamic loader, and of the interpreter's own start."""
RESULTS = "results"
"""Whether each call succeeded, or its error."""
STATS = "stats"
"""Names that are looked up and not opened: stat, access, readlink, wherever they come from."""
DURATIONS = "durations"
"""How long each call took, with what observing it adds."""
TRUE_DURATIONS = "true_durations"
"""How long each call took without what observing it adds."""
READS = "reads"
"""Bytes and time of reads."""
CHILDREN = "children"
"""Every process, whoever started it and whatever program it runs."""
FOREIGN_PROGRAMS = "foreign_programs"
"""Calls of programs that are not Python."""

ALL = (LOADER, RESULTS, STATS, DURATIONS, TRUE_DURATIONS, READS, CHILDREN, FOREIGN_PROGRAMS)

MARKED_BY_TIME, MARKED_BY_CALLS, MARKED_TWICE, UNMARKED = "time", "access", "both", "none"
"""How imports are marked: in files that are merged by time, by visible calls, by both (tests compare them), not at all;"""
MARKED_INSIDE, MARKED_IN_RING = "inside", "ring"
"""... by the process in its own stream, by calls that the recorder takes before the kernel sees them: no tracer is there."""
MARKED = (MARKED_BY_TIME, MARKED_BY_CALLS, MARKED_TWICE, MARKED_INSIDE, MARKED_IN_RING)
MARKED_AT_ONCE = (MARKED_BY_CALLS, MARKED_IN_RING, UNMARKED)
"""Ways that are complete while the run goes on."""
