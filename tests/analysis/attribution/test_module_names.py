"""Which module a path is, by its letters and by what was loaded before."""

from __future__ import annotations

import pytest

from fsprobe.analysis.attribution import module_names
from fsprobe.analysis.attribution.module_names import SPELLINGS, ModuleNames

SITE = b"/env/lib/python3.11/site-packages"
LIB = b"/usr/lib/python3.11"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (SITE + b"/pandas/core/__pycache__/api.cpython-311.pyc", "pandas.core.api"),
        (SITE + b"/pandas/__pycache__/__init__.cpython-311.pyc", "pandas"),
        (SITE + b"/pandas/_libs/json.cpython-311-x86_64-linux-gnu.so", "pandas._libs.json"),
        (SITE + b"/pandas/_libs/lib.cpython-311-x86_64-linux-gnu.so", "pandas._libs.lib"),
        (SITE + b"/libarrow.abi3.so", "libarrow"),
        (SITE + b"/pyarrow/libarrow.so", None),
        (SITE + b"/six.py", "six"),
        (LIB + b"/json/decoder.py", "json.decoder"),
        (LIB + b"/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so", "_json"),
        (b"/work/__pycache__/p.cpython-311.pyc", "p"),
        (b"/work/__pycache__/__pycache__/p.cpython-311.pyc", "p"),
        (SITE + b"/numpy.libs/libscipy_openblas64_-ff651d7f.so", None),
        (b"/usr/lib/x86_64-linux-gnu/libc.so.6", None),
        (SITE + b"/pandas/api.txt", None),
        (SITE + b"/pandas/.py", None),
        (SITE + b"/pandas/api.py\n", None),
        (SITE + b"/pandas", None),
        (b"p.py", None),
        (b"", None),
    ],
)
def test_a_file_says_which_module_it_is(path: bytes, name: str | None) -> None:
    assert ModuleNames().loads(path) == name


def test_a_directory_is_a_package_once_it_was_loaded() -> None:
    names, other = ModuleNames(), ModuleNames()
    names.note("pkg", b"/work/pkg/__init__.py")
    assert (names.loads(b"/work/pkg/inner.py"), other.loads(b"/work/pkg/inner.py")) == ("pkg.inner", "inner")
    assert (names.seeks(b"/work/pkg/inner.py"), other.seeks(b"/work/pkg/inner.py")) == ("pkg.inner", None)


def test_what_is_remembered_of_paths_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_names, "MAX_SPELLINGS", 50)
    SPELLINGS.clear()
    names = ModuleNames()
    assert {names.loads(SITE + b"/m%d.py" % number) for number in range(200)} == {f"m{n}" for n in range(200)}
    assert len(SPELLINGS) <= 50
