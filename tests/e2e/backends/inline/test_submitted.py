"""A job that is submitted from inside a run, and runs when that is over: as if it had been submitted without fsprobe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.backends.inline.conftest import Record

SUBMIT = '#!/bin/sh\ncat /proc/self/environ >"$1.environment"\ncp "$1" "$1.submitted"\n'
JOB = f"""#!/bin/sh
ls /etc/hostname
{sys.executable} -c 'import json; print(json.dumps([1]))'
sh -c 'echo inside; exit 3'
echo "code $?"
cat /no/such/file
exit 5
"""


@pytest.mark.parametrize("name", ["sbatch", "submit"])
def test_a_submitted_job_is_as_alone(name: str, record: Record, tmp_path: Path) -> None:
    """`sbatch` is known and gets no LD_AUDIT; what is not known hands on one that does nothing."""
    (tmp_path / "bin").mkdir()
    submit, job = tmp_path / "bin" / name, tmp_path / "job"
    submit.write_text(SUBMIT)
    submit.chmod(0o755)
    job.write_text(JOB)
    assert (
        record([sys.executable, "-c", f"import subprocess; subprocess.run([{str(submit)!r}, {str(job)!r}])"]).status
        == 0
    )
    exported = Path(f"{job}.environment").read_bytes().split(b"\0")
    environment = dict(os.fsdecode(line).split("=", 1) for line in exported if line)
    assert ("LD_AUDIT" in environment) == (name != "sbatch")
    alone = subprocess.run(["/bin/sh", str(job)], capture_output=True, timeout=60)
    later = subprocess.run(["/bin/sh", f"{job}.submitted"], env=environment, capture_output=True, timeout=60)
    assert (later.returncode, later.stdout, later.stderr) == (alone.returncode, alone.stdout, alone.stderr)
    assert alone.returncode == 5
