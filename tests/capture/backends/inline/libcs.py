"""Other C libraries than the machine's: Debian's packages, fetched by apt with directories of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SUITES = {"bullseye": "2.31", "bookworm": "2.36", "trixie": "2.41", "sid": "2.4"}
"""Debian's suite -> the beginning of its glibc's version."""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
OBJECTS = ("libc.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0", "librt.so.1")


def fetch(suite: str, place: Path) -> tuple[Path | None, str]:
    """Unpack a suite's libc6, and coreutils for programs that run with it; gives the directory of its objects, or why not."""
    root, why = unpack(suite, place, ["libc6", "coreutils"])
    if root is None:
        return None, why
    for directory in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"):
        if (root / directory / "libc.so.6").exists():
            return root / directory, ""
    return None, f"glibc of {suite}: its package has no libc.so.6"


def unpack(suite: str, place: Path, packages: list[str]) -> tuple[Path | None, str]:
    """Fetch and unpack packages below `place`; gives their root directory, or None and why not."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            return None, f"there is no {tool}"
    for name in ("lists/partial", "cache/archives/partial", "unpacked"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "status").touch()
    signed = f"[signed-by={KEYRING}] " if os.path.exists(KEYRING) else ""
    (place / "sources.list").write_text(f"deb {signed}http://deb.debian.org/debian {suite} main\n")
    options = {
        "Dir::Etc::sourcelist": str(place / "sources.list"),
        "Dir::Etc::sourceparts": "/nonexistent",
        "Dir::State": str(place),
        "Dir::State::lists": str(place / "lists"),
        "Dir::State::status": str(place / "status"),
        "Dir::Cache": str(place / "cache"),
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    try:
        for step in (["update", "-qq"], ["download", "-qq", *packages]):
            done = subprocess.run(["apt-get", *words, *step], cwd=place, capture_output=True, text=True, timeout=120)
            if done.returncode:
                return None, f"apt-get {step[0]} for {suite}: {done.stderr.strip()[-200:]}"
        for package in place.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(place / "unpacked")], check=True, timeout=60)
    except (subprocess.SubprocessError, OSError) as error:
        return None, f"packages of {suite}: {error}"
    return place / "unpacked", ""
