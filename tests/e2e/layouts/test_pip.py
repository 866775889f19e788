"""pip inside `exec --writable`: it works, and leaves image and environment as they were."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from fsprobe.layouts.mount.namespace import enter_argv
from fsprobe.layouts.mount.spec import Spec
from tests.layouts.environments import (
    as_user_argv,
    clean_environment,
    fsprobe,
    make_venv,
    need,
    public_python,
    site_of,
    snapshot,
    user_home,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("who", ["root", "user"])
def test_pip_installs_and_removes(tmp_path: Path, who: str) -> None:
    need("mksquashfs", "unsquashfs", "squashfuse_ll", "/dev/fuse", root=True)
    with user_home() as home:
        python = public_python()
        venv = make_venv(home / "venv", pip=True, python=python)
        image = home / "env.sqsh"
        if who == "root":
            assert fsprobe("pack", str(venv), "-o", str(image)).returncode == 0
        else:
            subprocess.run(["chown", "-R", "--reference", home, home], check=True)
            line = ["mksquashfs", venv, image, "-quiet", "-no-progress"]
            subprocess.run(as_user_argv(tmp_path / "s", home, list(map(str, line))), check=True, capture_output=True)
        before, content = snapshot(venv), image.read_bytes()
        wheel = make_wheel(home)
        program = str(venv / "bin" / "python")
        script = (
            f"{program} -m pip -q install --no-index {wheel} && {program} -m pip -q uninstall -y pears && "
            f"{program} -c 'import grapes; print(grapes.n, grapes.__file__)'"
        )
        spec = Spec(kind="overlay", source=str(image), at=str(venv))
        line = [*enter_argv(spec), "sh", "-c", script]
        if who == "user":
            line = as_user_argv(tmp_path / "s", home, [python, *line[1:]])
        done = subprocess.run(line, capture_output=True, text=True, env=clean_environment())
        assert (done.returncode, done.stdout) == (0, f"5 {site_of(venv)}/grapes.py\n"), done.stderr
        assert image.read_bytes() == content
        assert snapshot(venv) == before


def make_wheel(directory: Path) -> Path:
    wheel = directory / "grapes-1.0-py3-none-any.whl"
    info = "grapes-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("grapes.py", "n = 5\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: grapes\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"grapes.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return wheel
