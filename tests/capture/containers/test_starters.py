"""Which commands start a container, and the command line with the recorder in it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from fsprobe.capture import options as run_options
from fsprobe.capture.containers import entering, words
from fsprobe.capture.machine import starters
from fsprobe.errors import FsprobeError

PROGRAMS = "apptainer singularity podman docker nerdctl enroot shifter sarus ch-run srun mpirun sudo".split()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A PATH on which every starter and launcher is."""
    place = tmp_path_factory.mktemp("bin")
    for name in PROGRAMS:
        (place / name).write_text("#!/bin/sh\n")
        (place / name).chmod(0o755)
    return {"PATH": f"{place}:{os.environ['PATH']}"}


def entered(line: str, environment: dict[str, str]) -> str:
    found = starters.find(shlex.split(line), environment)
    assert found is not None
    entry = words.take_apart(found, environment)
    return shlex.join(found.whole(entry.words("/p", ["REC", "--", *entry.command])))


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("apptainer exec x.sif python a.py", "apptainer exec -B /p:/p x.sif REC -- python a.py"),
        ("/opt/b/singularity exec x.sif ls", "/opt/b/singularity exec -B /p:/p x.sif REC -- ls"),
        (
            "apptainer -q -c a.conf exec -eB /a:/b --env=A=1 --env B=2 --nv -u x.sif ls -- -B",
            "apptainer -q -c a.conf exec -eB /a:/b --env=A=1 --env B=2 --nv -u -B /p:/p x.sif REC -- ls -- -B",
        ),
        ("apptainer exec -B/a -H /h x.sif ls", "apptainer exec -B/a -H /h -B /p:/p x.sif REC -- ls"),
        ("apptainer run x.sif a b", "apptainer exec -B /p:/p x.sif REC -- /.singularity.d/runscript a b"),
        (
            "env -u X A=1 nice -n 5 timeout -k 3 9 apptainer exec x.sif ls",
            "env -u X A=1 nice -n 5 timeout -k 3 9 apptainer exec -B /p:/p x.sif REC -- ls",
        ),
        (
            "nice bash -c \"apptainer exec 'x y.sif' python -c 'f(1); g()'\"",
            "nice bash -c "
            + shlex.quote("exec apptainer exec -B /p:/p 'x y.sif' REC -- python -c " + shlex.quote("f(1); g()")),
        ),
        ("ch-run -c /w img -- python a.py", "ch-run -c /w img -- REC -- python a.py"),
    ],
)
def test_the_recorder_goes_in_before_the_command(line: str, right: str, environment: dict[str, str]) -> None:
    assert entered(line, environment) == right


@pytest.mark.parametrize(
    ("line", "to_type"),
    [
        (
            "srun -n 4 -p test apptainer exec x.sif ls",
            "srun -n 4 -p test fsprobe run -o rec/ -- apptainer exec x.sif ls",
        ),
        ("mpirun -np 2 apptainer exec x.sif ls", "mpirun -np 2 fsprobe run -o rec/ -- apptainer exec x.sif ls"),
        ("sudo -u me singularity exec x ls", "sudo -u me fsprobe run -o rec/ -- singularity exec x ls"),
        ("bash -lc 'cd $W && apptainer exec x.sif ls'", "fsprobe run -o rec/ -- apptainer ..."),
        (
            "podman run x ls",
            "podman run --rm -v $PWD:/fsprobe IMAGE python3 /fsprobe/fsprobe-rec.pyz -o /fsprobe/ -- CMD",
        ),
        ("docker exec c ls", "docker run --rm -v $PWD:/fsprobe IMAGE"),
        ("enroot start n ls", "enroot start --mount $PWD:/fsprobe NAME python3"),
        ("shifter --image=x ls", "shifter --volume=$PWD:/fsprobe --image=IMAGE python3"),
        ("sarus run x ls", "sarus run --mount=type=bind,source=$PWD,destination=/fsprobe IMAGE python3"),
        ("apptainer shell x.sif", "apptainer exec -B $PWD:/fsprobe IMAGE"),
        ("apptainer build x.sif y", "apptainer exec -B $PWD:/fsprobe IMAGE"),
        ("apptainer exec instance://x ls", "apptainer exec -B $PWD:/fsprobe IMAGE"),
        ("apptainer exec --new-thing a x.sif ls", "apptainer exec -B $PWD:/fsprobe IMAGE"),
        ("apptainer exec x.sif", "apptainer exec -B $PWD:/fsprobe IMAGE"),
        ("apptainer", "apptainer exec -B $PWD:/fsprobe IMAGE"),
        ("ch-run -t img -- ls", "ch-run -b $PWD:/mnt/0 IMAGE -- python3"),
    ],
)
def test_what_can_not_be_entered_is_refused_with_the_line_to_type(
    line: str, to_type: str, environment: dict[str, str]
) -> None:
    found = starters.find(shlex.split(line), environment)
    assert found is not None
    with pytest.raises(FsprobeError) as caught:
        words.take_apart(found, environment)
    assert to_type in caught.value.hint
    assert caught.value.exit_code == 125


@pytest.mark.parametrize(
    "line",
    [
        "python a.py apptainer exec x",
        "echo apptainer",
        "srun -n4 python3 a.py --engine podman",
        "bash -c 'echo singularity is fun'",
        "bash script apptainer",
        "env",
        "timeout 3",
        "nice -n",
        "bash -c",
        "bash -c '\"'",
    ],
)
def test_other_commands_are_none(line: str, environment: dict[str, str]) -> None:
    assert starters.find(shlex.split(line), environment) is None
    assert starters.mentioned(shlex.split(line), environment) == ""


def test_a_link_and_an_image_that_starts_itself(environment: dict[str, str], tmp_path: Path) -> None:
    place = environment["PATH"].split(":")[0]
    (tmp_path / "box").symlink_to(f"{place}/apptainer")
    assert entered(f"{tmp_path}/box exec x.sif ls", environment).endswith("-B /p:/p x.sif REC -- ls")
    image = tmp_path / "app.sif"
    image.write_bytes(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0")
    image.chmod(0o755)
    right = f"apptainer --quiet exec -B /p:/p {image} REC -- /.singularity.d/runscript a"
    assert entered(f"{image} a", environment) == right


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('#!/bin/bash\nsingularity --silent exec "$I" python "$@"\n', "singularity"),
        ("#!/usr/bin/env bash\nexec /opt/bin/apptainer exec x.sif python\n", "apptainer"),
        ("#!/bin/sh\nsshfs host: mnt\n", "sshfs"),
        ("#!/bin/sh\n# apptainer exec x\necho x\n", ""),
        ("#!/usr/bin/python3\napptainer exec x\n", ""),
    ],
)
def test_a_script_is_looked_into(text: str, name: str, environment: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "run"
    script.write_text(text)
    script.chmod(0o755)
    assert starters.mentioned([str(script)], environment) == name
    assert starters.mentioned(["nice", str(script)], environment) == name
    assert starters.find([str(script)], environment) is None


def test_the_environment_inside_is_as_it_would_be() -> None:
    given = {"APPTAINER_BIND": "/a:/b,/p", "SINGULARITY_BIND": "/p:/p", "A": "/p"}
    assert entering.own_binds_removed(given, "/p") == {"APPTAINER_BIND": "/a:/b", "SINGULARITY_BIND": "", "A": "/p"}


def test_the_recorder_inside_is_asked_the_same() -> None:
    given = "--backend ptrace --label x --max-log 5M --wait-descendants 2 --no-markers --counters -q".split()
    asked = run_options.parse([*given, "--", "apptainer"])
    inner = run_options.parse([*entering.inner_options(asked, "/p"), "--", "ls"])
    assert inner.exchange == "/p"
    for name in (
        "backend",
        "label",
        "max_log_bytes",
        "wait_descendants_s",
        "no_markers",
        "counters",
        "quiet",
        "markers",
    ):
        assert getattr(inner, name) == getattr(asked, name)


def test_each_run_looks_anew(tmp_path: Path) -> None:
    """One process may record many runs, and a program be another one by then."""
    program = tmp_path / "start"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    environment = {"PATH": str(tmp_path)}
    assert starters.find(["start"], environment) is None
    assert starters.known("start", environment) == (str(program), b"#!/bin/sh\n")
    program.rename(tmp_path / "apptainer")
    program.symlink_to("apptainer")
    found = starters.find(["start"], environment)
    assert found is not None
    assert found.name == "apptainer"
    assert starters.known("none", environment) == ("", b"")
