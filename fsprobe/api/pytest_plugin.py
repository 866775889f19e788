"""Limits in pytest: what a program's start may ask of the filesystem, as a test.

    @pytest.mark.fsprobe(max_metadata=5000)
    def test_start(fsprobe_run):
        fsprobe_run("import mypackage")

The code runs in a fresh interpreter under `fsprobe run`; where a limit is exceeded the test fails with the imports that account
for it. Nothing of fsprobe is loaded before a test asks for it.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fsprobe.api.profile import Profile

LIMITS = {"max_metadata": "metadata", "max_not_found": "not_found", "max_requests": "requests"}
OTHERS = ("baseline", "tolerance", "backend")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "fsprobe(max_metadata, max_not_found, max_requests, baseline, tolerance, backend): limits for what the test runs by "
        "the fixture fsprobe_run; see fsprobe's docs/python.md",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A marked test that can't run anything under fsprobe would guard nothing."""
    if item.get_closest_marker("fsprobe") is not None and "fsprobe_run" not in getattr(item, "fixturenames", ()):
        pytest.fail("a test marked `fsprobe` takes the fixture fsprobe_run, and runs its code by it", pytrace=False)


@pytest.fixture
def fsprobe_run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Profile]]:
    """`fsprobe_run(code)` runs Python code, `fsprobe_run([word, ...])` a command, and gives the profile.

    The limits of the marker hold for each run. A command that fails fails the test, unless `check=False`.
    """
    marker = request.node.get_closest_marker("fsprobe")
    given = dict(marker.kwargs) if marker is not None else {}
    wrong = [name for name in given if name not in (*LIMITS, *OTHERS)] + [
        str(one) for one in (marker.args if marker else ())
    ]
    if wrong:
        pytest.fail(
            f"the marker `fsprobe` has no {', '.join(wrong)}; it has {', '.join((*LIMITS, *OTHERS))}", pytrace=False
        )
    n_runs = 0

    def run(code_or_command: str | Sequence[str], *, check: bool = True) -> Profile:
        nonlocal n_runs
        __tracebackhide__ = True
        from fsprobe.api import runs
        from fsprobe.errors import FsprobeError

        n_runs += 1
        command = code_or_command
        if isinstance(command, str):
            command = [sys.executable, "-c", command]
        try:
            profile = runs.run(command, backend=given.get("backend", "auto"))
            problem = examined(profile, given, check)
        except FsprobeError as error:
            problem = f"{error.message}\nhint: {error.hint}" if error.hint else error.message
        if problem:
            pytest.fail(problem, pytrace=False)
        return profile

    yield run
    if marker is not None and not n_runs:
        pytest.fail("the test is marked `fsprobe` and ran nothing by fsprobe_run", pytrace=False)


def examined(profile: Profile, given: dict[str, Any], check: bool) -> str:
    """What `fsprobe check` says of a run that is over its limits; "" where it keeps to them."""
    from fsprobe.api import runs
    from fsprobe.cli.check import examine
    from fsprobe.report.terminal import limits

    wanted = {key: given.get(name) for name, key in LIMITS.items()}
    baseline = runs.open(given["baseline"]).value if given.get("baseline") else None
    if baseline is None and all(n is None for n in wanted.values()):
        code = profile.exit_code
        return f"the command ended with exit code {code}" if check and code else ""
    answer = examine(profile.value, baseline, wanted, float(given.get("tolerance", 0)), ignore_exit_code=not check)
    if answer.passed:
        return ""
    said = io.StringIO()
    limits.show(answer, said)
    return said.getvalue().rstrip()
