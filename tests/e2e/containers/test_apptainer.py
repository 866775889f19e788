"""A real Apptainer as the command: the recorder goes in, the recording comes out, the program is as it is alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsprobe import pipeline
from fsprobe.layouts.pack.usage import usage_lines
from tests import sid as newest
from tests.sid import Sid

START = "apptainer -q exec -u --no-mount bind-paths -B /usr:/usr".split()
PROGRAM = "import json, os, sys; print(sorted(k for k in os.environ if 'BIND' in k and os.environ[k])); sys.exit(7)"


@pytest.fixture(scope="module")
def recorder(sid: Sid) -> Iterator[str]:
    with newest.recorder_in(sid) as path:
        yield path


@pytest.fixture(scope="module")
def image(sid: Sid) -> Iterator[Path]:
    """A container that is a directory tree: the root's own /usr is bound into it."""
    place = sid.path / "tmp" / f"box-{os.getpid()}"
    for name in ("usr", "etc", "tmp", "proc", "dev", "sys", "root", "home", "var/tmp"):
        (place / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (place / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group", "hosts", "resolv.conf", "localtime"):
        (place / "etc" / name).touch()
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize(("before", "backend"), [(["env", "A=1", "timeout", "50"], "ptrace"), ([], "inline")])
def test_the_recorder_goes_in(sid: Sid, recorder: str, image: Path, before: list[str], backend: str) -> None:
    box = sid.inside(image)
    command = [*before, *START, box, "python3.14", "-c", PROGRAM]
    words = [
        "timeout",
        "50",
        "python3.14",
        recorder,
        "--backend",
        backend,
        "--force",
        "-o",
        f"/tmp/{backend}.fsprobe",
        "--",
        *command,
    ]
    done = sid.run(words, HOME="/root")
    alone = sid.run(command, HOME="/root")
    assert (
        (done.returncode, done.stdout)
        == (alone.returncode, alone.stdout)
        == (7, b"['APPTAINER_BIND', 'SINGULARITY_BIND']\n")
    )
    said = done.stderr.decode().splitlines()
    assert "apptainer is not traced: the recorder goes into the container with it" in said[0]
    recording = sid.path / f"tmp/{backend}.fsprobe"
    assert said[1:] == [f"fsprobe: wrote /tmp/{backend}.fsprobe"]
    profile = pipeline.analyse(str(recording))
    recording.unlink()
    assert profile.manifest.backend == backend
    assert profile.manifest.command[:2] == ("python3.14", "-c")
    assert "json" in {one.key for one in profile.metrics.by_module or ()}
    assert not list((sid.path / "tmp").glob("fsprobe-into-*"))


def test_a_signal_ends_it_all(sid: Sid, recorder: str, image: Path) -> None:
    command = f"{' '.join(START)} {sid.inside(image)} python3.14 -c 'import signal; signal.pause()'"
    # should it not end, the limit of `run` fails the test
    words = ["timeout", "-k", "30", "4", "python3.14", recorder, "-o", "/tmp/s.fsprobe", "--", "bash", "-c", command]
    done = sid.run(words, HOME="/root")
    assert done.returncode == 124, done.stderr
    (sid.path / "tmp/s.fsprobe").unlink(missing_ok=True)


@pytest.mark.parametrize("when", ["during", "after"])
def test_a_child_that_starts_a_container_is_as_alone(when: str, sid: Sid, recorder: str, image: Path) -> None:
    """The inline recorder's file is not inside: the loader there must not say so, not from a daemon after the run either."""
    place = sid.path / "tmp" / f"child-{os.getpid()}"
    place.mkdir()
    inside = sid.inside(place)
    start = f"{' '.join(START)} {sid.inside(image)} cat /etc/hosts >{inside}/out 2>&1; echo $? >{inside}/code; touch {inside}/done"
    if when == "after":
        start = f"(for i in $(seq 600); do [ -e {inside}/go ] && break; sleep 0.05; done; {start}) >/dev/null 2>&1 &"
    (place / "start.py").write_text(f"import subprocess; subprocess.run(['sh', '-c', {start!r}])")
    run = f"python3.14 {recorder} --backend inline --wait-descendants 0 -o {inside}/x.fsprobe -- python3.14 {inside}/start.py"
    # one shell around both: the root's processes end with the command that entered it
    script = f"{run}; code=$?; touch {inside}/go; for i in $(seq 600); do [ -e {inside}/done ] && break; sleep 0.05; done; exit $code"
    done = sid.run(["bash", "-c", script], HOME="/root")
    assert done.returncode == 0, done.stderr
    assert ((place / "out").read_bytes(), (place / "code").read_text()) == (b"", "0\n")
    profile = pipeline.analyse(str(place / "x.fsprobe"))
    if when == "during":
        assert [os.path.basename(name) for name in profile.quality.unseen] == ["apptainer"]
    shutil.rmtree(place)


def test_the_lines_that_adopt_an_image(sid: Sid, image: Path) -> None:
    """As `pack` and `fix` print them; the environment itself is gone, so what is imported comes from the image."""
    place = sid.path / "tmp" / f"adopted-{os.getpid()}"
    venv, box = f"/tmp/{place.name}/venv", sid.inside(image)
    try:
        assert sid.run(["python3.14", "-m", "venv", "--without-pip", venv]).returncode == 0
        (place / "venv/lib/python3.14/site-packages/pears.py").write_text("print('pears from', __file__)")
        pack = ["mksquashfs", str(place / "venv"), str(place / "venv.sqsh"), "-quiet", "-no-progress"]
        subprocess.run(pack, check=True)
        shutil.rmtree(place / "venv/lib")
        lines = usage_lines(Path(f"/tmp/{place.name}/venv.sqsh"), venv, ["python", "-c", "import pears"])[
            "with apptainer"
        ]
        assert lines[-1].count("apptainer exec") == lines[-1].count("CONTAINER.sif") == 1
        typed = "\n".join(lines).replace("CONTAINER.sif", box).replace("apptainer exec", " ".join(START))
        done = sid.run(["sh", "-c", typed], HOME="/root")
    finally:
        shutil.rmtree(place)
    assert done.stdout.decode() == f"pears from {venv}/lib/python3.14/site-packages/pears.py\n", done.stderr
