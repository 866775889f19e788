"""A program that waits in a known way: PLACE N_STATS N_READS N_FAULTS CPU_S. It ends by saying, in s, what its CPU clock shows and how long
it waited for a processor."""

import mmap
import os
import sys
import time

PAGE = 4096
STRIDE = 64 * PAGE
"""Further than a client reads ahead."""


def main() -> None:
    """Look up names that are not there, read pages, touch mapped pages, compute."""
    place, n_stats, n_reads, n_faults, cpu_s = sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5])
    for n in range(n_stats):
        os.path.exists(f"{place}/gone{n}")
    with open(place + "/read.bin", "rb", buffering=0) as source:
        os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for n in range(n_reads):
            os.pread(source.fileno(), 100, n * STRIDE)
    with open(place + "/mapped.bin", "rb", buffering=0) as source:
        os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            mapped.madvise(mmap.MADV_RANDOM)
            for n in range(n_faults):
                mapped[n * STRIDE]
    until = time.process_time() + cpu_s
    while time.process_time() < until:
        sum(range(1000))
    with open("/proc/self/schedstat") as source:
        print(time.process_time(), int(source.read().split()[1]) / 1e9)


if __name__ == "__main__":
    main()
