"""Where layouts are measured: slow filesystems at one latency, what a client waits for them, and a machine that is quiet."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fileserver import Server, serve
from benchmarks.layouts.report import LAYOUTS
from benchmarks.layouts.waits import Work, waits_s

READ_SHARE = 0.5
"""A read takes this share of a metadata request."""
FLASH_SHARE = 0.3
"""The flash-like filesystem answers in this share of the time."""
N_CALIBRATION = 120
N_FIRST = 20
"""Requests that are not timed: a server that was just started is slower at first."""
PATIENCE_S = 2.0
"""How long one run waits for other work to end."""
CELL_PATIENCE_S = 100.0
"""How long all runs of a cell wait together."""
BUSY_SHARE = 0.25
"""A machine whose CPUs are busier than this is not quiet."""


@dataclass(slots=True, kw_only=True)
class Scene:
    """Slow filesystems, and how to ask and to reset them."""

    servers: list[Server]
    calibration: Server
    flash_calibration: Server
    work: Work = field(default_factory=Work)
    latencies_s: dict[str, list[float]] = field(default_factory=dict)
    n_emptied: int = 0

    def counters(self) -> Mapping[str, int]:
        """What all of them were asked, added up."""
        total: dict[str, int] = {}
        for server in self.servers:
            for name, n in server.counters().as_json().items():
                total[name] = total.get(name, 0) + n
        return total

    def empty(self) -> None:
        """Every client cold; once a round the latency is measured, so that it is of the same minutes as the runs."""
        with ThreadPoolExecutor(len(self.servers)) as pool:
            list(pool.map(Server.remount, self.servers))
        if self.n_emptied % len(LAYOUTS) == 0:
            self.calibrate("", self.calibration)
            self.calibrate("flash ", self.flash_calibration)
        self.n_emptied += 1

    def calibrate(self, prefix: str, server: Server) -> None:
        """Note what a client waits for one request of each kind, s."""
        server.remount()
        found = waits_s(self._modules(server), lambda: server.counters().as_json(), self.work)
        for name, wait_s in found.items():
            self.latencies_s.setdefault(prefix + name, []).append(wait_s)

    @staticmethod
    def _modules(server: Server) -> list[tuple[bytes, bytes]]:
        """Source and byte code that a cold client does not know yet."""
        modules = [
            (os.path.join(server.mnt, b"f%03d.py" % number), os.path.join(server.mnt, b"f%03d.pyc" % number))
            for number in range(N_CALIBRATION)
        ]
        for name, _ in modules[:N_FIRST]:
            os.lstat(name)
        return modules[N_FIRST:]


@contextmanager
def scene(env: Path, images: Path, flash: Path, small: Path, latency_ms: float, scratch: Path) -> Iterator[Scene]:
    """Serve everything at one latency."""

    def slow(src: Path, mount: Path, share: float = 1.0) -> Server:
        mount.mkdir(exist_ok=True)
        ms = latency_ms * share
        return stack.enter_context(serve(src, mount, meta_ms=ms, read_ms=ms * READ_SHARE))

    with ExitStack() as stack:
        yield Scene(
            servers=[
                slow(env, env),
                slow(images, scratch / "mnt-images"),
                slow(flash, scratch / "mnt-flash", FLASH_SHARE),
            ],
            calibration=slow(small, scratch / "mnt-slow"),
            flash_calibration=slow(small, scratch / "mnt-fast", FLASH_SHARE),
        )


def busy_share(span_s: float = 0.1) -> float:
    """Share of the machine's CPU time that somebody uses, over a moment in which we sleep."""

    def look() -> tuple[int, int]:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]

    before = look()
    time.sleep(span_s)
    after = look()
    return 1 - (after[1] - before[1]) / max(after[0] - before[0], 1)


@dataclass(slots=True, kw_only=True)
class Patience:
    """Waits before each run until the machine is quiet; called as the experiment's progress."""

    left_s: float = CELL_PATIENCE_S
    waited_s: float = 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        """Wait, unless there is no patience left."""
        begin = time.monotonic()
        limit = min(PATIENCE_S, self.left_s)
        while time.monotonic() - begin < limit and busy_share() > BUSY_SHARE:
            pass
        took = time.monotonic() - begin
        self.left_s -= took
        self.waited_s += took


def cpu_stalled_s() -> float | None:
    """Seconds since the boot in which some process waited for a CPU; None where the kernel does not say."""
    try:
        return int(Path("/proc/pressure/cpu").read_text().split("total=", 1)[1].split()[0]) / 1e6
    except (OSError, IndexError, ValueError):
        return None
