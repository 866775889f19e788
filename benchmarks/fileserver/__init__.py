"""A simulated file server: shows a directory through /dev/fuse, slowly, and counts every request.

    from benchmarks.fileserver import serve, share_cap

    with serve("/scratch/venv", "/mnt/venv", meta_ms=1.0, log_paths=True) as server:
        subprocess.run(["/mnt/venv/bin/python", "-c", "import numpy"])
        print(server.counters().lookup, server.paths()[:10])

Pure Python, standard library only, no libfuse. `kernel` mounts and speaks the protocol of /dev/fuse, `answers` hold what
is read and changed, `pacing` lets a request take its time, `counters` hold the numbers. `running_server` starts a
`mount_keeper`, which mounts and forks the `server`.
"""

from benchmarks.fileserver.counters import Counters
from benchmarks.fileserver.pacing import SharedCap, share_cap
from benchmarks.fileserver.running_server import Server, serve

__all__ = ["Counters", "Server", "SharedCap", "serve", "share_cap"]
