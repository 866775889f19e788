"""A stand-in for a parallel filesystem: shows a directory through /dev/fuse, slowly, and counts every request.

    from benchmarks.fileserver import serve, share_cap

    with serve("/scratch/venv", "/mnt/venv", meta_ms=1.0, log_paths=True) as server:
        subprocess.run(["/mnt/venv/bin/python", "-c", "import numpy"])
        print(server.counters().lookup, server.paths()[:10])

Pure Python, standard library only, no libfuse: its kernel interface is `protocol`, its answers are `operations` and
`changes`, its time is `pacing`, its numbers are `counters`. `serving` starts a `keeper`, which mounts and forks `server`.
"""

from benchmarks.fileserver.counters import Counters
from benchmarks.fileserver.pacing import SharedCap, share_cap
from benchmarks.fileserver.serving import Server, serve

__all__ = ["Counters", "Server", "SharedCap", "serve", "share_cap"]
