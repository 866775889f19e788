"""A real Slurm of two nodes on this machine, without systemd: started and stopped by the tests that need it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import clean_environment

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "scancel", "sinfo")
NODES = ("n1", "n2")
KILL_WAIT_S = 5
_CONF = """\
ClusterName=fsprobe
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={place}/munge.sock
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool.%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
KillWait={kill_wait}
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={first} NodeHostname={host} NodeAddr=127.0.0.1 Port={first_port} CPUs=4 RealMemory=1000 State=UNKNOWN
NodeName={second} NodeHostname={host} NodeAddr=127.0.0.1 Port={second_port} CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Say why Slurm can't be started here ("" when it can)."""
    missing = [name for name in PROGRAMS if _find(name) is None]
    if missing:
        return f"no Slurm here: {', '.join(missing)} (apt: slurm-wlm munge)"
    return "" if os.getuid() == 0 else "slurmd and slurmctld are started as root"


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True, slots=True)
class Slurm:
    """A cluster that runs."""

    place: Path

    @property
    def environment(self) -> dict[str, str]:
        """For commands that speak to it."""
        return clean_environment(SLURM_CONF=str(self.place / "slurm.conf"))

    def popen(self, words: Sequence[str], *options: str) -> subprocess.Popen[bytes]:
        """Start `srun` with a command."""
        return subprocess.Popen(
            ["srun", *options, *words], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, words: Sequence[str], *options: str) -> tuple[int, bytes, bytes]:
        """Run a command under `srun`; exit code, stdout, stderr."""
        process = self.popen(words, *options)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        return process.returncode, out, err


def _free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def running() -> Iterator[Slurm]:
    """Start munge, a controller and two slurmd; stop them and take everything away in the end."""
    # a short name: the path of a socket has 107 bytes at most
    place = Path(tempfile.mkdtemp(prefix="slurm"))
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *options: str) -> None:
        program = _find(name)
        assert program is not None
        with open(place / f"{name}.out", "ab") as out:
            environment = clean_environment(SLURM_CONF=str(place / "slurm.conf"))
            started.append(subprocess.Popen([program, *options], stdout=out, stderr=out, env=environment))

    try:
        ports = _free_ports(3)
        (place / "state").mkdir()
        for node in NODES:
            (place / f"spool.{node}").mkdir()
        key = place / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        place.chmod(0o755)
        host = socket.gethostname().split(".")[0]
        conf = _CONF.format(
            host=host,
            place=place,
            port=ports[0],
            first=NODES[0],
            second=NODES[1],
            first_port=ports[1],
            second_port=ports[2],
            kill_wait=KILL_WAIT_S,
        )
        (place / "slurm.conf").write_text(conf)
        files = [f"--{kind}={place}/munge.{end}" for kind, end in (("key-file", "key"), ("socket", "sock"))]
        files += [f"--pid-file={place}/munge.pid", f"--log-file={place}/munge.log", f"--seed-file={place}/munge.seed"]
        start("munged", "--foreground", "--force", *files)
        _wait(lambda: (place / "munge.sock").exists(), place)
        start("slurmctld", "-D", "-f", str(place / "slurm.conf"))
        for node in NODES:
            start("slurmd", "-D", "-f", str(place / "slurm.conf"), "-N", node)
        cluster = Slurm(place)
        _wait(lambda: _n_idle(cluster) == len(NODES), place)
        yield cluster
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(place, ignore_errors=True)


def _n_idle(cluster: Slurm) -> int:
    done = subprocess.run(
        ["sinfo", "-h", "-N", "-o", "%T"], env=cluster.environment, capture_output=True, check=False, timeout=20
    )
    return done.stdout.split().count(b"idle")


def _wait(ready: object, place: Path, limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not ready():  # type: ignore[operator]
        if time.monotonic() > end:
            told = "\n".join(
                file.read_text("utf-8", "replace")[-800:] for file in [*place.glob("*.log"), *place.glob("*.out")]
            )
            raise RuntimeError(f"Slurm did not start:\n{told}")
        time.sleep(0.05)
