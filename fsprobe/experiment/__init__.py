"""Compare layouts of one environment: build them, run the command in each, count and time, and say what it means.

The environment appears at its own path in every layout (a private mount namespace), so the program is the same to the
letter. Counts come from one traced run a layout; times from untraced runs, taken in turn in a recorded order, because a
shared machine drifts.
"""

from fsprobe.experiment.compare import run
from fsprobe.experiment.interruption import Interrupted
from fsprobe.experiment.plan import BASELINE, CACHES, Announcement, Image, Plan
from fsprobe.experiment.summarise import extract, write

__all__ = ["BASELINE", "CACHES", "Announcement", "Image", "Interrupted", "Plan", "extract", "run", "write"]
