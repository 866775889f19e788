"""A root of Debian's sid suite: the newest CPythons, glibc, strace and Apptainer, beside the Debian that runs the tests.

Made once (some 10 s and 300 MB) and kept in pytest's own temporary directory for later sessions.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsprobe.cli import recorder
from tests.conftest import ROOT, need

SCRIPT = Path(__file__).with_name("sid_root.sh")
PACKAGES = (
    "python3.14 python3.15 strace coreutils bash dash grep sed findutils util-linux mount procps base-files libc-bin "
    "squashfs-tools squashfuse fuse3 apptainer"
).split()
PYTHONS = ("3.14", "3.15")
MAKING_S = 300
PATH = "/usr/bin:/bin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Sid:
    """The root, and how to run something in it."""

    path: Path

    def run(
        self, command: Sequence[str], *, cwd: str = "/", limit_s: float = 60.0, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the root, with nothing in its environment but PATH and `variables`."""
        words = ["/bin/bash", str(SCRIPT), "enter", str(self.path), "env", "-i", "-C", cwd]
        words += [f"{name}={value}" for name, value in {"PATH": PATH, "LANG": "C.UTF-8", **variables}.items()]
        return subprocess.run([*words, *command], capture_output=True, timeout=limit_s, stdin=subprocess.DEVNULL)

    def inside(self, path: Path) -> str:
        """What a path below the root is called in it."""
        return "/" + str(path.relative_to(self.path))


def why_not() -> str:
    """What is missing here to make such a root; "" when nothing is."""
    missing = [name for name in ("apt-get", "dpkg", "unshare", "pivot_root") if not find(name)]
    if missing:
        return "no " + ", ".join(missing) + " here"
    return "" if os.geteuid() == 0 else "only root can enter another root"


def find(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def make_root(base: Path) -> Path:
    """Make the root below `base`, unless a session before this one has."""
    content = SCRIPT.read_bytes() + " ".join(PACKAGES).encode()
    root = base / f"sid-{hashlib.sha256(content).hexdigest()[:12]}"
    with open(base / f"{root.name}.lock", "w") as lock:  # who comes meanwhile waits for it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            _make(root)
    return root


def _make(root: Path) -> None:
    partial = root.with_name(f"{root.name}.{os.getpid()}")
    try:
        done = subprocess.run(
            ["/bin/bash", str(SCRIPT), "make", str(partial), *PACKAGES],
            capture_output=True,
            timeout=MAKING_S,
            env=machine_environment(os.environ),
        )
        need(done.returncode == 0, f"no root of sid: {done.stderr.decode('utf-8', 'replace')[-300:]}")
        partial.rename(root)
    except subprocess.TimeoutExpired:
        need(False, f"no root of sid within {MAKING_S} s")
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def machine_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with a PATH that has mount and dpkg on it, whatever the tests changed."""
    return {**environment, "PATH": environment.get("PATH", "") + ":" + PATH, "LC_ALL": "C.UTF-8"}


def get(base: Path) -> Sid:
    """The root, made below `base` where it is not there yet; skips where it can't be made, which is a failure under CI."""
    reason = why_not()
    need(not reason, reason)
    return Sid(make_root(base))


@contextlib.contextmanager
def recorder_in(sid: Sid) -> Iterator[str]:
    """The recorder that travels, in the root."""
    target = sid.path / "tmp" / f"rec-{os.getpid()}.pyz"
    recorder.build(target)
    yield sid.inside(target)
    target.unlink()


@contextlib.contextmanager
def source_in(sid: Sid) -> Iterator[str]:
    """fsprobe's own source in the root, with what a terminal report needs, all pure Python: a value for PYTHONPATH."""
    target = sid.path / "tmp" / f"source-{os.getpid()}"
    shutil.copytree(ROOT / "fsprobe", target / "fsprobe", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("click", "jinja2", "markdown_it", "markupsafe", "mdurl", "pygments", "rich"):
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        place = Path(found.origin).parent
        shutil.copytree(place, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    yield sid.inside(target)
    shutil.rmtree(target)
