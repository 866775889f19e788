"""Boot the machine that `build` laid out, and have it run jobs.

with Machine(place) as machine:
    print(machine.run("cat /proc/version"))
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

BOOT_LIMIT_S = 300
KERNEL_LINE = "console=ttyS0 panic=-1 quiet mitigations=off random.trust_cpu=on audit=0"


class MachineError(Exception):
    """The machine did not boot, or a job in it failed."""


class Machine:
    """The running machine. Jobs are shell scripts, one after the other; `share` is /share inside it.

    Args:
        place: what `build` filled.
        memory_mib: of the machine.
    """

    def __init__(self, place: Path, memory_mib: int = 1536) -> None:
        self.place = place
        self.share = place / "share"
        self._memory_mib = memory_mib
        self._process: subprocess.Popen[bytes] | None = None
        self._n_jobs = 0

    def __enter__(self) -> Machine:
        """Boot.

        Raises:
            MachineError: it did not come up in `BOOT_LIMIT_S` seconds.
        """
        shutil.rmtree(self.share, ignore_errors=True)
        for name in ("queue", "out"):
            (self.share / name).mkdir(parents=True)
        # snapshot: the disk stays as it was built, whatever the jobs write
        drive = f"file={self.place}/disk.ext4,if=virtio,format=raw,cache=unsafe,snapshot=on"
        # emulated, so that it runs alike in every CI: also where /dev/kvm is missing, or there and of no use
        words = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1"]
        words += ["-m", str(self._memory_mib), "-nodefaults", "-no-reboot", "-display", "none", "-nic", "none"]
        words += ["-kernel", f"{self.place}/vmlinuz", "-initrd", f"{self.place}/initrd.gz", "-append", KERNEL_LINE]
        words += ["-drive", drive, "-serial", f"file:{self.place}/console.log"]
        words += ["-virtfs", f"local,path={self.share},mount_tag=share,security_model=none"]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            self._wait_for(self.share / "out/ready", BOOT_LIMIT_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self.share / "stop").touch()
        self._end(20)

    def run(self, script: str, limit_s: float = 600) -> str:
        """Run a shell script in the machine and return what it printed.

        Raises:
            MachineError: it did not end in `limit_s` seconds, or with another exit code than 0.
        """
        self._n_jobs += 1
        name = f"job{self._n_jobs}"
        waiting = self.share / f".{name}"
        waiting.write_text(script)
        waiting.rename(self.share / "queue" / f"{name}.sh")
        ended = self._wait_for(self.share / f"out/{name}.rc", limit_s)
        printed = (self.share / f"out/{name}.out").read_text(errors="replace")
        if ended.read_text().strip() != "0":
            raise MachineError(f"a job ended with {ended.read_text().strip()}: {printed[-2000:]}")
        return printed

    def _wait_for(self, path: Path, limit_s: float) -> Path:
        assert self._process is not None
        end = time.monotonic() + limit_s
        while not path.exists():
            if self._process.poll() is not None:
                raise MachineError(f"the machine went off: {self._console()}")
            if time.monotonic() > end:
                raise MachineError(f"no {path.name} after {limit_s} s: {self._console()}")
            time.sleep(0.1)
        return path

    def _console(self) -> str:
        with contextlib.suppress(OSError):
            return (self.place / "console.log").read_text(errors="replace")[-2000:]
        return "(no console)"

    def _end(self, patience_s: float = 0) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
