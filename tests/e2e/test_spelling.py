"""A path has many spellings: whatever doubles slashes or puts `.` in between, the report of a run stays the same."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fsprobe import loading, pipeline
from fsprobe.model.events import plain
from fsprobe.model.profile import Profile
from tests.conftest import clean_environment

_QUOTED = re.compile(rb'"(/[^"]*)"')
PROGRAM = "import json, email.message, os\nfor i in range(30): os.path.exists('/proj/data/%d' % i)\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"//proj/lib", b"/proj/lib"),
        (b"///a/.//b", b"/a/b"),
        (b"/a/./././b", b"/a/b"),
        (b"/", b"/"),
        (b"//", b"/"),
        # these may lead elsewhere: a link at the end is followed, `..` goes up from where a link led to
        (b"/a/../b", b"/a/../b"),
        (b"/a/b/", b"/a/b/"),
        (b"/a/.", b"/a/."),
        # names that only look alike
        (b"/a/.b/..c/...", b"/a/.b/..c/..."),
        (b"/.../x", b"/.../x"),
        (b"", b""),
        (b"relative", b"relative"),
    ],
)
def test_one_spelling(path: bytes, expected: bytes) -> None:
    assert plain(path) == expected


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("spelling")
    (place / "p.py").write_text(PROGRAM)
    words = ["strace", "-f", "-y", "-ttt", "-T", "-o", "log", sys.executable, "p.py"]
    subprocess.run(words, cwd=place, env=clean_environment(), check=True)
    return (place / "log").read_bytes()


def read(folder: Path, log: bytes) -> Profile:
    (folder / "log").write_bytes(log)
    prefix = sys.base_prefix.encode()
    mounts = b"22 1 0:20 / / rw - ext4 /dev/x rw\n31 22 0:45 / /proj rw - nfs4 srv:/proj rw\n"
    mounts += b"32 22 0:46 / %b rw - lustre mgs:/p rw\n" % prefix
    loading.load_logs([folder / "log"], str(folder / "a.fsprobe"), mounts=mounts)
    return pipeline.analyse(folder / "a.fsprobe")


@pytest.mark.parametrize("between", [b"//", b"/./", b"/.//"])
def test_a_report_does_not_depend_on_the_spelling(between: bytes, log: bytes, tmp_path: Path) -> None:
    choose = random.Random(between)

    def otherwise(match: re.Match[bytes]) -> bytes:
        head, *rest = match[1].split(b"/")
        return b'"%b"' % b"".join([head, *((between if choose.random() < 0.4 else b"/") + name for name in rest)])

    lines = log.splitlines(keepends=True)
    other = b"".join(line if b"execve(" in line else _QUOTED.sub(otherwise, line, count=1) for line in lines)
    assert other != log
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    expected, found = read(first, log), read(second, other)
    assert found.metrics.by_path == expected.metrics.by_path
    assert replace(found, manifest=expected.manifest) == expected
