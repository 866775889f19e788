"""What the layout tests are made of: small real environments, a plain user, and a look at what is left behind."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
IN_CI = os.environ.get("CI") == "true"
USER = 4242
"""Not 65534: that is what an unmapped owner looks like, and would hide mistakes."""


def need(*tools: str, root: bool = False) -> None:
    """Skip with a reason where something is missing; in CI that is a failure."""
    missing = [tool for tool in tools if not (os.path.exists(tool) if tool.startswith("/") else shutil.which(tool))]
    if missing:
        (pytest.fail if IN_CI else pytest.skip)(f"{', '.join(missing)} missing on this machine")
    if root and os.geteuid() != 0:
        (pytest.fail if IN_CI else pytest.skip)("needs root to make mounts and a second user")


def base_python() -> str:
    """The interpreter that environments are made from."""
    return os.path.realpath(sys.executable)


def public_python() -> str:
    """An interpreter that any user may run, at least 3.10."""
    for program in (base_python(), "/usr/bin/python3", "/usr/local/bin/python3"):
        code = "import sys, venv; sys.exit(sys.version_info < (3, 10))"
        if os.path.exists(program) and _as_user_plainly([program, "-I", "-c", code]).returncode == 0:
            return program
    (pytest.fail if IN_CI else pytest.skip)("no Python 3.10 that a plain user may run")
    raise AssertionError


_THROUGH_SHELL = ("sh", "-c", 'exec "$@"', "sh")
"""setpriv itself still has root's rights when it looks up its command; a shell after it has not."""


def _as_user_plainly(argv: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    line = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--", *_THROUGH_SHELL, *argv]
    return subprocess.run(line, capture_output=True, cwd="/")


def make_venv(at: Path, *, pip: bool = False, python: str | None = None) -> Path:
    """A real environment with two planted distributions; every .py has its .pyc."""
    clean = clean_environment()
    options = [] if pip else ["--without-pip"]
    subprocess.run([python or base_python(), "-m", "venv", *options, str(at)], check=True, env=clean)
    site = site_of(at)
    plant(
        site, "apples", "1.0", {"apples/__init__.py": "from apples import core\n", "apples/core.py": "kind = 'image'\n"}
    )
    plant(site, "pears", "2.1", {"pears.py": "import apples\nSIZE = 7\n", "pears_data/big.bin": "x" * 70_000})
    compile_all(at)
    return at


def site_of(venv: Path) -> Path:
    return next((venv / "lib").glob("python3*/site-packages"))


def plant(site: Path, name: str, version: str, files: Mapping[str, str]) -> None:
    """Write a distribution the way an installer does: files, dist-info, RECORD."""
    for path, content in files.items():
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        os.utime(target, (1_600_000_000.25, 1_600_000_000.25))  # a source is older than its environment
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    rows = [*files, f"{info.name}/METADATA", f"{info.name}/RECORD"]
    (info / "RECORD").write_text("".join(f"{row},,\n" for row in rows))


def compile_all(venv: Path) -> None:
    subprocess.run(
        [str(venv / "bin" / "python"), "-I", "-m", "compileall", "-q", str(site_of(venv))],
        env=clean_environment(),
        check=True,
    )


def clean_environment(**more: str) -> dict[str, str]:
    """This process's variables without those that change what Python does."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON") and key != "CI"}
    return {**kept, **more}


def fsprobe_argv(*words: str, python: str | None = None) -> list[str]:
    """The command line `fsprobe WORDS`."""
    return [python or sys.executable, "-m", "fsprobe", *words]


def fsprobe_environment(**more: str) -> dict[str, str]:
    import click

    return clean_environment(PYTHONPATH=f"{REPOSITORY}:{Path(click.__file__).parent.parent}", **more)


def fsprobe(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run fsprobe to its end."""
    return subprocess.run(
        fsprobe_argv(*words),
        **{"capture_output": True, "env": fsprobe_environment(), "timeout": 60, **options},  # type: ignore[call-overload, no-any-return]
    )


_AS_USER = """
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
mknod -m 666 "$1/fuse" c 10 229
cp /etc/passwd "$1/passwd"
echo "fsprobe-test:x:$2:$2::$3:/bin/sh" >> "$1/passwd"
mount --bind "$1/fuse" /dev/fuse
mount --bind "$1/passwd" /etc/passwd
home=$3 user=$2
shift 3
export HOME="$home" TMPDIR="$home"
exec setpriv --reuid=$user --regid=$user --clear-groups --inh-caps=-all -- sh -c 'exec "$@"' sh "$@"
"""


def as_user_argv(scratch: Path, home: Path, argv: Sequence[str]) -> list[str]:
    """Run `argv` as a plain user who may open /dev/fuse, as on a normal distribution; only there, and only for it."""
    scratch.mkdir(exist_ok=True)
    prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _AS_USER, "sh"]
    return [*prefix, str(scratch), str(USER), str(home), *argv]


def snapshot(root: Path) -> dict[str, tuple[int, int, str]]:
    """Path -> (mode, mtime in ns, digest of the content or the link's target), for the root and everything below it."""
    seen = {}
    for path in [root, *sorted(root.rglob("*"))]:
        info = path.lstat()
        if path.is_symlink():
            content = os.readlink(path)
        else:
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        seen[str(path.relative_to(root))] = (info.st_mode, info.st_mtime_ns, content)
    return seen


def left_behind(word: str) -> list[str]:
    """Processes that have `word` in their command line, and mounts and loop devices that have it in their line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                line = Path("/proc", name, "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                state = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[0]
            except (OSError, ValueError):
                continue
            if word in line and state != "Z":
                found.append(f"process {name}: {line}")
    found += [f"mount: {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if word in line]
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if word in backing.read_text():
                found.append(f"loop device of {backing.read_text().strip()}")
        except OSError:
            continue
    return found


@contextmanager
def user_home() -> Iterator[Path]:
    """A directory that belongs to the plain user, at a place that it can reach (pytest's own are closed to others)."""
    home = Path(tempfile.mkdtemp(prefix="fsprobe-home-", dir="/var/tmp"))
    os.chown(home, USER, USER)
    try:
        yield home
    finally:
        shutil.rmtree(home)
