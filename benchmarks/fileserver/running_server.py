"""Start and stop simulated file servers: `serve` is what benchmarks and tests use."""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.fileserver import counters, mount_keeper
from benchmarks.fileserver.counters import Counters
from benchmarks.fileserver.kernel import mounting
from benchmarks.fileserver.pacing import MAX_LATENCY_MS, SharedCap, share_cap
from benchmarks.fileserver.server import Settings
from fsprobe.errors import BadInput, MachineCannot

_START_TIMEOUT_S = 20
_STOP_TIMEOUT_S = 20
_REPOSITORY = str(Path(__file__).resolve().parents[2])
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from benchmarks.fileserver.mount_keeper import main; main(sys.argv[2])"

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]


@dataclass(slots=True)
class Server:
    """A running server: ask it what it counted, make it cold. After the block only `counters` still answers."""

    src: bytes
    mnt: bytes
    """Where it is mounted, symlinks resolved; the paths of the log begin with it."""
    _settings: Settings
    _memory: memoryview
    _keeper: subprocess.Popen[bytes] | None = None
    _device: bytes | None = None
    _zero: Counters = field(default_factory=Counters)
    _log_start: int = 0
    _skipped: list[tuple[int, int]] = field(default_factory=list)
    """Parts of the log that were written while the tree was mounted again."""

    def counters(self) -> Counters:
        """Return the requests since the start or the last `reset`.

        A request is counted before its reply: all that a finished system call waited for is in. RELEASE, FORGET and
        read-ahead are asynchronous and may come later.
        """
        return counters.read(self._memory) - self._zero

    def metadata_since(self, earlier: Counters) -> int:
        """Return the metadata requests since `earlier`, which `counters` returned."""
        return (self.counters() - earlier).metadata

    def reset(self) -> None:
        """Begin to count, and to log, at zero. The client's caches stay as they are (see `remount`)."""
        self._zero = counters.read(self._memory)
        self._log_start = _size(self._log)
        self._skipped.clear()

    def paths(self) -> list[tuple[str, bytes]]:
        """Return the logged requests in the order of service: name of the field in `Counters`, absolute path.

        A LOOKUP of a missing name is there twice, as `lookup` and as `negative`. A file with several hard links goes by
        the name that was looked up last, one whose names are all removed by the empty path, RENAME by the old name.
        """
        if self._log < 0:
            raise ValueError("no paths: they need log_paths=True, and are gone when the block ends")
        edges = [self._log_start, *(edge for part in self._skipped for edge in part), _size(self._log)]
        parts = zip(edges[::2], edges[1::2], strict=True)
        records = b"".join(os.pread(self._log, end - begin, begin) for begin, end in parts)
        found = []
        for record in records.split(b"\0")[:-1]:
            op, _, path = record.partition(b" ")
            found.append((op.decode(), _below(self.mnt, path)))
        return found

    def remount(self) -> None:
        """Make the client cold: unmount and mount again. Counters and log go on, without what mounting itself asks."""
        so_far, log_end = self.counters(), _size(self._log)
        _stop(self)
        _start(self)
        self._zero = counters.read(self._memory) - so_far
        self._skipped.append((log_end, _size(self._log)))

    @property
    def _log(self) -> int:
        return self._settings.log_descriptor


@contextmanager
def serve(
    src: PathLike,
    mnt: PathLike,
    *,
    meta_ms: float = 1.0,
    read_ms: float = 0.5,
    mb_per_s: float | None = None,
    cap: float | SharedCap | None = None,
    ttl_s: float | None = None,
    negative_ttl_s: float | None = None,
    log_paths: bool = False,
    writable: bool = False,
    threads: int = 32,
) -> Iterator[Server]:
    """Serve the tree `src` at the directory `mnt`, slowly and with every request counted, until the block ends.

    The server is a process of its own. However the block or the calling process ends, also by SIGKILL, the mount goes;
    if it is in use it goes lazily. `mnt` may be `src` itself: the tree then is slow at its own path. Nobody else may
    change `src` meanwhile.

    Args:
        meta_ms: latency of a metadata request (see `Counters.metadata`), ms, at most 1,000.
        read_ms: latency of READ and WRITE, ms, at most 1,000.
        mb_per_s: bandwidth that all reads and writes share, 10^6 bytes a second; None: no limit.
        cap: metadata requests a second, or one of `share_cap` for several mounts; None: no limit.
        ttl_s: how long the client may keep a name and its attributes, s; None: for ever.
        negative_ttl_s: the same for "no such name"; None: as `ttl_s`.
        log_paths: keep the path of every request (see `Server.paths`).
        writable: also create, write, rename, remove. The client then asks for attributes (GETATTR) again after a read,
            for the access time: only a read-only mount lets it keep them.
        threads: requests that can be in flight at once.

    Raises:
        BadInput: a directory is missing, or the one lies in the other.
        MachineCannot: no FUSE here, or not for this user.
    """
    for name, value in (("meta_ms", meta_ms), ("read_ms", read_ms)):
        if not 0 <= value <= MAX_LATENCY_MS:
            raise ValueError(f"{name} must be within 0 and {MAX_LATENCY_MS:g}: {value}")
    if negative_ttl_s is None:
        negative_ttl_s = ttl_s
    source, target = _directories(src, mnt)
    with ExitStack() as cleanup:
        if cap is not None and not isinstance(cap, SharedCap):
            cap = cleanup.enter_context(share_cap(cap))
        memory = _descriptor(cleanup, counters.create_memory())
        log = os.memfd_create("fileserver-log") if log_paths else -1
        settings = Settings(
            src=os.fsdecode(source),
            mnt=os.fsdecode(target),
            meta_ms=meta_ms,
            read_ms=read_ms,
            mb_per_s=mb_per_s,
            ttl_s=None if ttl_s is None or math.isinf(ttl_s) else ttl_s,
            negative_ttl_s=None if negative_ttl_s is None or math.isinf(negative_ttl_s) else negative_ttl_s,
            writable=writable,
            threads=threads,
            cap_ops_per_s=cap.ops_per_s if cap else None,
            cap_descriptor=cap.descriptor if cap else -1,
            counters_descriptor=memory,
            log_descriptor=log,
            status_descriptor=-1,
            parent=os.getpid(),
        )
        server = Server(src=source, mnt=target, _settings=settings, _memory=counters.map_memory(memory))
        cleanup.callback(_close_log, server)
        cleanup.callback(_stop, server)
        _start(server)
        server.reset()
        yield server


def _directories(src: PathLike, mnt: PathLike) -> tuple[bytes, bytes]:
    source, target = (os.path.realpath(os.fsencode(path)) for path in (src, mnt))
    for path in (source, target):
        if not os.path.isdir(path):
            raise BadInput(f"{os.fsdecode(path)} is not a directory", "make it first")
    if target.startswith(source.rstrip(b"/") + b"/"):
        raise BadInput(
            f"{os.fsdecode(target)} lies in the tree that it would show", "mount elsewhere, or over the tree itself"
        )
    return source, target


def _descriptor(cleanup: ExitStack, descriptor: int) -> int:
    cleanup.callback(os.close, descriptor)
    return descriptor


def _close_log(server: Server) -> None:
    if server._log >= 0:
        os.close(server._log)
        server._settings = replace(server._settings, log_descriptor=-1)


def _start(server: Server) -> None:
    status_read, status_write = os.pipe()
    settings = replace(server._settings, status_descriptor=status_write)
    passed = {status_write, settings.counters_descriptor, settings.log_descriptor}
    passed.add(settings.cap_descriptor)
    try:
        # -I -S: nothing of the user's site or PYTHONPATH runs in it; its own session: a terminal's Ctrl-C is for us.
        server._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", _BOOT, _REPOSITORY, mount_keeper.encode(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/",
            pass_fds=[descriptor for descriptor in passed if descriptor >= 0],
            start_new_session=True,
        )
        os.close(status_write)
        status_write = -1
        message = _read_status(status_read)
        if message != mount_keeper.READY:
            raise MachineCannot(*_reason(message))
        server._device = mounting.device_at(server.mnt)
        os.stat(server.mnt)  # a real client has the root's attributes once it has mounted
    except BaseException:
        _stop(server)
        raise
    finally:
        for descriptor in (status_read, status_write):
            if descriptor >= 0:
                os.close(descriptor)


def _below(mnt: bytes, path: bytes) -> bytes:
    return mnt if path == b"." else mnt + b"/" + path if path else b""


def _size(log: int) -> int:
    return os.fstat(log).st_size if log >= 0 else 0


def _read_status(descriptor: int) -> bytes:
    watched = select.poll()
    watched.register(descriptor, select.POLLIN)
    message = b""
    while watched.poll(_START_TIMEOUT_S * 1000):
        block = os.read(descriptor, 4096)
        message += block
        if not block:
            break
    return message


def _reason(message: bytes) -> tuple[str, str]:
    try:
        text, hint = json.loads(message)
    except ValueError:
        return "the simulated file server did not start", "its own message is above"
    return text, hint


def _stop(server: Server) -> None:
    process, server._keeper = server._keeper, None
    if process is None:
        return
    try:
        process.terminate()
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()  # its server goes with it
        process.wait()
    # If the keeper was killed it left its mount behind.
    mounting.unmount(server.mnt, server._device)
