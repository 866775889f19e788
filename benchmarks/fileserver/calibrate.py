"""python -m benchmarks.fileserver.calibrate > FILE: how fast the server is at most, and how well it keeps a cap. JSON.

Times depend on the machine and on what else it does: read them as "this is what the server adds", not as a result.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.fileserver.pacing import share_cap
from benchmarks.fileserver.running_server import serve

N_DIRECTORIES, N_FILES = 20, 250
N_RUNS = 5
CAPS_PER_S = (1_000, 5_000, 10_000)
N_CLIENTS = (1, 4, 16)
_RUN_S = 2.0
_CLIENT = """
import os, sys
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    os.lstat(f"{sys.argv[1]}/d{number // 250 % 20}/f{number % 250}")
"""


def main() -> None:
    """Measure, print."""
    with tempfile.TemporaryDirectory(prefix="fileserver-calibrate-") as scratch:
        src = Path(scratch) / "src"
        for directory in range(N_DIRECTORIES):
            (src / f"d{directory}").mkdir(parents=True)
            for number in range(N_FILES):
                (src / f"d{directory}" / f"f{number}").touch()
        result = {
            "machine": {"n_cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
            "lookup_floor_us": measure_floor(src, Path(scratch)),
            "caps": [measure_cap(src, Path(scratch), cap, n) for cap in CAPS_PER_S for n in N_CLIENTS],
        }
    json.dump(result, sys.stdout, indent=1)
    print()


def measure_floor(src: Path, scratch: Path) -> dict[str, float]:
    """Return us per cold LOOKUP by one client without any latency: median, min and max of `N_RUNS` runs."""
    (scratch / "floor").mkdir()
    runs = []
    with serve(src, scratch / "floor", meta_ms=0, read_ms=0) as server:
        for _ in range(N_RUNS):
            server.remount()
            server.reset()
            start_s = time.monotonic()
            for directory in range(N_DIRECTORIES):
                for number in range(N_FILES):
                    os.lstat(f"{scratch}/floor/d{directory}/f{number}")
            runs.append((time.monotonic() - start_s) / server.counters().lookup * 1e6)
    return {"median": statistics.median(runs), "min": min(runs), "max": max(runs), "n_runs": N_RUNS}


def measure_cap(src: Path, scratch: Path, ops_per_s: int, n_clients: int) -> dict[str, float]:
    """Return what `n_clients` mounts with one client each got of a cap together; ratio 1 is exact."""
    n_each = min(N_DIRECTORIES * N_FILES, round(ops_per_s * _RUN_S / n_clients))
    with ExitStack() as running:
        cap = running.enter_context(share_cap(ops_per_s))
        clients = []
        for number in range(n_clients):
            mnt = scratch / f"cap-{ops_per_s}-{n_clients}-{number}"
            mnt.mkdir()
            running.enter_context(serve(src, mnt, meta_ms=0, read_ms=0, cap=cap))
            command = [sys.executable, "-I", "-S", "-c", _CLIENT, str(mnt), str(n_each)]
            clients.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        time.sleep(0.5)  # until all are at their readline
        n_before, start_s = cap.n_turns, time.monotonic()
        for client in clients:
            assert client.stdin is not None
            client.stdin.close()
        exit_codes = [client.wait() for client in clients]
        if any(exit_codes):
            raise RuntimeError("a client failed")
        elapsed_s, n_requests = time.monotonic() - start_s, cap.n_turns - n_before
    reached = n_requests / elapsed_s
    return {"cap_per_s": ops_per_s, "n_clients": n_clients, "n_requests": n_requests, "reached_per_s": reached,
            "ratio": reached / ops_per_s}  # fmt: skip


if __name__ == "__main__":
    main()
