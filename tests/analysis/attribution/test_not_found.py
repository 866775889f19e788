"""Why lookups failed: each kind of path by what asks for it; the right reasons were told by eye from runs of 22 programs."""

from __future__ import annotations

import pytest

from fsprobe.analysis.attribution import not_found
from fsprobe.analysis.attribution.attribute import Attributed, ProcessInfo
from fsprobe.analysis.attribution.not_found import WhyNotFound, settled
from fsprobe.model.events import Call, Op

SITE = "/venv/lib/python3.11/site-packages"
CASES = [
    (f"{SITE}/pkg-1.0.dist-info/entry_points.txt", "open", "import", not_found.METADATA),
    (f"{SITE}/pkg.egg-info/PKG-INFO", "open", "run", not_found.METADATA),
    ("/work/__editable__.pkg-1.0.finder.__path_hook__", "stat", "import", not_found.EDITABLE),
    (f"{SITE}/numpy/../numpy.libs/tls/x86_64", "stat", "import", not_found.LIBRARY),
    (f"{SITE}/torch/lib/glibc-hwcaps/x86-64-v4/libpthread.so.0", "open", "import", not_found.LIBRARY),
    ("/lib/x86_64-linux-gnu/tls", "stat", "import", not_found.LIBRARY),
    ("/opt/libfoo.so.3", "open", "run", not_found.LIBRARY),
    (f"{SITE}/pkg/_c.cpython-311-x86_64-linux-gnu.so", "stat", "import", not_found.SUFFIX),
    ("/opt/py/lib/python3.11/encodings/__init__.abi3.so", "stat", "init", not_found.SUFFIX),
    ("/usr/local/bin/node", "stat", "import", not_found.PROGRAM),
    ("/root/.pyenv/shims/bash", "stat", "run", not_found.PROGRAM),
    ("/opt/py/bin/python3.11", "stat", "init", not_found.PROGRAM),
    ("/opt/py/share/locale/en/LC_MESSAGES/messages.mo", "stat", "run", not_found.LOCALE),
    ("/usr/lib/locale/locale-archive", "open", "init", not_found.LOCALE),
    (f"{SITE}/pkg/__pycache__/a.cpython-311.pyc", "open", "import", not_found.BYTECODE),
    (f"{SITE}/pkg/__pycache__", "stat", "import", not_found.BYTECODE),
    (f"{SITE}/google/__init__.py", "stat", "import", not_found.NAMESPACE),
    ("/opt/py/bin/pybuilddir.txt", "open", "init", not_found.START),
    ("/venv/bin/pyvenv.cfg", "stat", "site", not_found.START),
    ("/opt/lib/python311.zip", "stat", "init", not_found.START),
    ("/opt/py/lib/python311.zip", "open", "run", not_found.SYS_PATH),
    ("/work/test_a.py/pyvenv.cfg", "stat", "run", not_found.CONFIGURATION),
    ("/home/me/.config/app", "stat", "run", not_found.CONFIGURATION),
    ("/etc/mime.types", "stat", "import", not_found.CONFIGURATION),
    ("/work/pyproject.toml", "stat", "run", not_found.CONFIGURATION),
    ("/usr/local/share/jupyter/templates/lab", "stat", "run", not_found.SHARED_DATA),
    ("/home/me/.cache/app/x", "stat", "run", not_found.CACHE),
    ("/sys/fs/cgroup/cpu.max", "open", "run", not_found.MACHINE),
    ("/dev/shm/sem.mp-1", "open", "run", not_found.OTHER),
    ("/work/_ops.py", "stat", "run", not_found.SOURCE),
    ("/data/set/item1.bin", "stat", "run", not_found.OTHER),
]


def row(path: str, op: str, phase: str) -> Attributed:
    kind = Op(op)
    syscall = {"open": "openat", "stat": "newfstatat", "exec": "execve"}[op]
    call = Call(1, None, syscall, kind, path.encode(), "ENOENT", None, b"", b"-1 ENOENT (No such file or directory)")
    return Attributed(call, phase, "", (), ProcessInfo(1, 0))


@pytest.mark.parametrize(("path", "op", "phase", "reason"), CASES)
def test_each_kind_has_its_name(path: str, op: str, phase: str, reason: str) -> None:
    assert WhyNotFound([])(row(path, op, phase)) == reason


def test_sys_path_is_what_the_interpreters_said() -> None:
    why = WhyNotFound([{"path": ["/nfs/gone", "/opt/py/lib/python311.zip"]}])
    assert why(row("/nfs/gone", "stat", "init")) == not_found.SYS_PATH
    assert why(row("/opt/py/lib/python311.zip", "stat", "init")) == not_found.SYS_PATH


def test_other_lookups_of_the_run_tell_some_reasons() -> None:
    found = settled(
        {
            (not_found.LIBRARY, b"/x/_solib/_U_S/libfoo.so"): 1,
            (not_found.OTHER, b"/x/_solib/_U_S"): 1,
            (not_found.PROGRAM, b"/usr/bin/cbc"): 1,
            (not_found.PROGRAM, b"/sbin/cbc"): 1,
            (not_found.OTHER, b"/opt/tools/cbc"): 2,
            (not_found.OTHER, b"/data/cbc.txt"): 1,
        }
    )
    assert found[not_found.LIBRARY, b"/x/_solib/_U_S"] == 1
    assert found[not_found.PROGRAM, b"/opt/tools/cbc"] == 2
    assert found[not_found.OTHER, b"/data/cbc.txt"] == 1
