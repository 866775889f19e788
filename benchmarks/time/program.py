"""A program that waits in a known way: PLACE N_STATS N_READS N_FAULTS CPU_S.

It ends by saying as JSON, in s, what its CPU clock shows and how long it waited for a processor in each part.
"""

import json
import mmap
import os
import sys
import time

PAGE = 4096
STRIDE = 64 * PAGE
"""Further than a client reads ahead."""


def queued_s() -> float:
    """How long this process has waited for a processor so far, by the scheduler's count."""
    with open("/proc/self/schedstat") as source:
        return int(source.read().split()[1]) / 1e9


def main() -> None:
    """Look up names that are not there, read pages, touch mapped pages, compute."""
    place, n_stats, n_reads, n_faults, cpu_s = sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5])
    at = [0.0, queued_s()]
    for n in range(n_stats):
        os.path.exists(f"{place}/gone{n}")
    at.append(queued_s())
    with open(place + "/read.bin", "rb", buffering=0) as source:
        os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for n in range(n_reads):
            os.pread(source.fileno(), 100, n * STRIDE)
    at.append(queued_s())
    with open(place + "/mapped.bin", "rb", buffering=0) as source:
        os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            mapped.madvise(mmap.MADV_RANDOM)
            for n in range(n_faults):
                mapped[n * STRIDE]
    at.append(queued_s())
    until = time.process_time() + cpu_s
    while time.process_time() < until:
        sum(range(1000))
    at.append(queued_s())
    parts = ("start", "metadata", "reads", "faults", "computing")
    queued = {name: after - before for name, before, after in zip(parts, at[:-1], at[1:], strict=True)}
    print(json.dumps({"cpu_s": time.process_time(), "queued_s": queued}))


if __name__ == "__main__":
    main()
