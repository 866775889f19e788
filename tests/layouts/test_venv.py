"""pyvenv.cfg and .pyc files, compared with what interpreters themselves say."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
from pathlib import Path

import pytest

from fsprobe.layouts.scan import venv as environments
from fsprobe.layouts.scan.walk import walk
from tests.layouts.environments import clean_environment, site_of

Mode = py_compile.PycInvalidationMode


def check(venv: Path) -> environments.Pycs:
    read = environments.read_venv(str(venv))
    assert read is not None
    assert read.magic is not None
    return environments.check_pycs(walk(str(venv)), read, read.magic)


def test_a_real_environment_is_read(venv: Path) -> None:
    read = environments.read_venv(str(venv))
    assert read is not None
    assert read.minor is not None
    assert read.version.startswith("{}.{}.".format(*read.minor))
    assert [os.fsencode(site_of(venv).relative_to(venv))] == list(read.site_dirs)
    assert not read.system_site
    base = environments.find_base(read)
    assert os.path.samefile(base.program, venv / "bin" / "python")
    assert base.stdlib.endswith("python{}.{}".format(*read.minor))


def test_a_directory_is_no_environment(tmp_path: Path) -> None:
    assert environments.read_venv(str(tmp_path)) is None


def test_fresh_pycs_are_valid(venv: Path) -> None:
    pycs = check(venv)
    assert pycs.n_sources == 3
    assert (pycs.missing, pycs.stale) == ((), ())


@pytest.mark.parametrize("mode", list(Mode))
def test_each_kind_of_pyc_is_judged_as_the_interpreter_judges_it(venv: Path, mode: Mode) -> None:
    source = site_of(venv) / "pears.py"
    py_compile.compile(str(source), invalidation_mode=mode, doraise=True)
    assert check(venv).stale == ()
    os.utime(source, (1, 1))
    by_time = mode is Mode.TIMESTAMP
    assert (check(venv).stale != ()) is by_time is _is_recompiled(venv, "pears")
    py_compile.compile(str(source), invalidation_mode=mode, doraise=True)
    before = source.stat()
    source.write_text(source.read_text().replace("7", "8"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    by_content = mode is Mode.CHECKED_HASH
    assert (check(venv).stale != ()) is by_content is _is_recompiled(venv, "pears")


def _is_recompiled(venv: Path, module: str) -> bool:
    done = subprocess.run(
        [str(venv / "bin" / "python"), "-B", "-v", "-c", f"import {module}"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return f"/__pycache__/{module}." not in "".join(line for line in done.stderr.splitlines() if "matches" in line)


def test_missing_damaged_and_foreign_ones(venv: Path) -> None:
    site = site_of(venv)
    read = environments.read_venv(str(venv))
    assert read is not None
    cache = site / "apples" / "__pycache__"
    (cache / f"core.{read.cache_tag}.pyc").unlink()
    foreign = cache / f"__init__.{read.cache_tag}.pyc"
    foreign.write_bytes(b"\0\0\r\n" + foreign.read_bytes()[4:])
    pears = site / "__pycache__" / f"pears.{read.cache_tag}.pyc"
    pears.write_bytes(pears.read_bytes()[:9])
    prefix = os.fsencode(site.relative_to(venv))
    pycs = check(venv)
    assert pycs.missing == (prefix + b"/apples/core.py",)
    assert set(pycs.stale) == {prefix + b"/apples/__init__.py", prefix + b"/pears.py"}


@pytest.mark.parametrize("minor", sorted(environments._MAGIC))
def test_the_magic_numbers_are_those_of_the_interpreters(minor: tuple[int, int]) -> None:
    name = "python{}.{}".format(*minor)
    places = list(Path.home().glob(f".pyenv/versions/{minor[0]}.{minor[1]}.*/bin/python"))
    program = str(places[0]) if places else shutil.which(name)
    code = "import importlib.util as u; print(int.from_bytes(u.MAGIC_NUMBER[:2], 'little'))"
    done = subprocess.run([program, "-c", code], capture_output=True, text=True) if program else None
    if done is None or done.returncode:
        pytest.skip(f"no {name} on this machine")
    assert int(done.stdout) == environments._MAGIC[minor]
