"""Builds the inline recorder's .so and ships it as plain data; everything else is in pyproject.toml.

It needs no libc, no Python and no symbol version, so the wheel stays `py3-none-any`. Where there is no gcc, or another
architecture, the wheel is built without it: `fsprobe doctor` says so, and the other backends are there.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from setuptools import setup
from setuptools.command.build_py import build_py

PLACE = Path("fsprobe", "capture", "backends", "inline")


def builder() -> ModuleType:
    """The module that builds it, loaded by its path: fsprobe itself need not be importable here."""
    spec = importlib.util.spec_from_file_location(
        "fsprobe_inline_build", Path(__file__).resolve().parent / PLACE / "build.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BuildWithRecorder(build_py):
    """Adds the .so to what is built; in an editable install it goes beside its sources."""

    def run(self) -> None:
        super().run()
        build = builder()
        place = Path(__file__).resolve().parent if self.editable_mode else Path(self.build_lib)
        out = place / "fsprobe" / build.NAME
        os.makedirs(out.parent, exist_ok=True)
        reason = build.build(str(out))
        if reason:
            print(f"the inline recorder is left out: {reason}", file=sys.stderr)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        built = Path(self.build_lib) / "fsprobe" / "fsprobe-inline.so"
        return [*super().get_outputs(include_bytecode), *([str(built)] if built.exists() else [])]


setup(cmdclass={"build_py": BuildWithRecorder})
