"""Whether somebody still has a ring mapped."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from fsprobe.capture.backends.inline import processes, ringfile
from tests.capture.backends.inline import recorded


@pytest.mark.parametrize("has_leases", [True, False])
def test_as_long_as_it_is_mapped(has_leases: bool, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_leases:

        def refuse(*_: object) -> None:
            raise OSError(errno.EINVAL, "no leases here")

        monkeypatch.setattr(fcntl, "fcntl", refuse)
    ring = recorded.scratch() / f"mapped.{has_leases}"
    ringfile.create(str(ring), 1000, 2000)
    try:
        assert not processes.is_in_use(str(ring)), "there is a ring, and nobody uses it"
        environ = ringfile.environment(dict(os.environ), str(library), str(ring))
        with subprocess.Popen(["/bin/cat"], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"x")
            process.stdin.flush()
            assert process.stdout.read(1) == b"x"
            assert processes.is_in_use(str(ring))
            assert processes.is_in_use(str(ring)), "looking leaves nothing behind"
            process.stdin.close()
        assert not processes.is_in_use(str(ring))
    finally:
        ring.unlink()
    assert not processes.is_in_use(str(ring)), "it is not there"
