"""A job: the recordings of its ranks go in, one profile comes out. Reading them is mapped over an executor.

    files = gather([directory])         # headers only: who is who, and what can't be read
    profile = merge(files, executor)    # a stream: in memory are one chunk a worker, and the sum

Chunks are cut by node and rank and added in that order, so the result does not depend on who did the work.
"""

from fsprobe.jobs.reading.chunks import read_chunk
from fsprobe.jobs.reading.recordings import Files, gather
from fsprobe.jobs.total import merge, write

__all__ = ["Files", "gather", "merge", "read_chunk", "write"]
