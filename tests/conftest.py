"""Fixtures that all tests share: fsprobe as a command, the interpreters of this machine, and what is missing here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from fsprobe.model.profile import Profile

if TYPE_CHECKING:
    from tests.sid import Sid

# CI looks at the same examples in each run, so that a failure is of the change and not of the day; no deadline, since a machine
# that is busy with something else is no defect
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def stop_ignoring() -> None:
    """What a shell ignores for the tests (`make test &` in a script, nohup), the programs that they start would ignore too.

    A handler is not inherited, as being ignored is. The tests themselves go on when the terminal does not: who wrote nohup wanted that.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else lambda *_: None)


stop_ignoring()
ROOT = Path(__file__).resolve().parent.parent
FSPROBE = (
    sys.executable,
    "-I",
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from fsprobe.__main__ import main; sys.exit(main())",
)
"""fsprobe's command line. Isolated, so that what a test does to PYTHONPATH, sitecustomize and the like is the target's alone."""
LIMIT_S = 60.0


def need(condition: object, reason: str) -> None:
    """Skip with a reason; under CI what is missing is a failure."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def strace_program() -> str:
    """The strace on PATH."""
    program = shutil.which("strace")
    need(program, "no strace on PATH")
    assert program is not None
    return program


def find_interpreters() -> dict[str, str]:
    """CPython 3.6 and later on this machine, under pyenv's root or on PATH: {version: real path}, oldest first."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    places = [str(path) for path in versions.glob("*/bin/python3")]
    places += [path for minor in range(6, 14) if (path := shutil.which(f"python3.{minor}"))]
    found = {(sys.version_info.major, sys.version_info.minor): os.path.realpath(sys.executable)}
    for place in places:
        done = subprocess.run(
            [place, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, check=False
        )
        words = done.stdout.split()
        if done.returncode == 0 and len(words) == 2 and (int(words[0]), int(words[1])) >= (3, 6):
            found.setdefault((int(words[0]), int(words[1])), os.path.realpath(place))
    return {f"{major}.{minor}": found[major, minor] for major, minor in sorted(found)}


INTERPRETERS = find_interpreters()


@pytest.fixture(params=list(INTERPRETERS))
def interpreter(request: pytest.FixtureRequest) -> str:
    """Path of each interpreter that is there, one after the other."""
    return INTERPRETERS[request.param]


def as_shown(profile: Profile, *modules: str) -> set[str]:
    """Modules as a profile shows them: by package where the paths tell too little of the imports."""
    if profile.metrics.imports_by == "module":
        return set(modules)
    assert profile.quality.n_estimated > 0
    return {module.partition(".")[0] for module in modules}


def clean_environment(**changes: str | None) -> dict[str, str]:
    """This environment without what tells Python anything, and with `changes` (None takes a variable away)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") and name != "_"}
    for name, value in changes.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    return environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a program ended, and what it wrote."""

    status: int
    """As subprocess has it: minus the signal that ended it."""
    out: bytes
    err: bytes
    recording: Path = field(default=Path("none"), compare=False)

    @property
    def own_lines(self) -> list[str]:
        """What fsprobe itself said."""
        return [line for line in self.err.decode("utf-8", "replace").splitlines() if line.startswith("fsprobe: ")]


def run_plain(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    cwd: Path | None = None,
    before: Callable[[], None] | None = None,
) -> Done:
    """Run a command as it is; `before` runs in the child before it."""
    done = subprocess.run(
        list(command),
        input=stdin,
        capture_output=True,
        timeout=LIMIT_S,
        cwd=cwd,
        env=dict(env) if env is not None else clean_environment(),
        preexec_fn=before,
        check=False,
    )
    return Done(status=done.returncode, out=done.stdout, err=done.stderr)


@dataclass(frozen=True, slots=True)
class Fsprobe:
    """`fsprobe run` with a scratch place of the test's own."""

    tmp: Path

    def command(
        self, command: Sequence[str], options: Sequence[str] = ("-q",), recording: Path | None = None
    ) -> list[str]:
        """The command line that records `command`."""
        words = ["run", "--record-only", "--force", "-o", str(recording or self.tmp / "x.fsprobe"), *options]
        if not any(option.startswith("--tmp-dir") for option in options):
            words += ["--tmp-dir", str(self.scratch)]
        return [*FSPROBE, *words, "--", *command]

    @property
    def scratch(self) -> Path:
        """Where the scratch directories are made."""
        place = self.tmp / "scratch"
        place.mkdir(exist_ok=True)
        return place

    def left(self) -> list[str]:
        """What lies in the scratch place; empty when all is well."""
        return sorted(os.listdir(self.scratch))

    def __call__(
        self,
        command: Sequence[str],
        *,
        options: Sequence[str] = ("-q",),
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        cwd: Path | None = None,
        before: Callable[[], None] | None = None,
    ) -> Done:
        """Record a command; what was recorded before is taken away."""
        recording = self.tmp / "x.fsprobe"
        recording.unlink(missing_ok=True)
        done = run_plain(self.command(command, options), env=env, stdin=stdin, cwd=cwd, before=before)
        return Done(status=done.status, out=done.out, err=done.err, recording=recording)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """The command line, called in this process, ignores interrupts once all is done; programs of later tests would inherit that."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        return (yield)
    finally:
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@pytest.fixture(scope="session")
def sid(tmp_path_factory: pytest.TempPathFactory) -> Sid:
    """A root of Debian's sid suite, with CPython 3.14 and 3.15; see `tests.sid`."""
    from tests import sid as newest

    # a worker of pytest-xdist has its directory in that of its session
    own = tmp_path_factory.getbasetemp()
    return newest.get((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own).parent)


@pytest.fixture
def run_fsprobe(tmp_path: Path, strace_program: str) -> Fsprobe:
    """`fsprobe run --record-only -q`; call it with the command's words."""
    return Fsprobe(tmp_path)


@pytest.fixture
def run_same(run_fsprobe: Fsprobe) -> Callable[..., Done]:
    """Run a command twice, alone and recorded, and require that both did the same; gives the recorded one."""

    def run(command: Sequence[str], **how: object) -> Done:
        options = how.pop("options", ("-q",))
        plain = run_plain(command, **how)  # type: ignore[arg-type]
        traced = run_fsprobe(command, options=options, **how)  # type: ignore[arg-type]
        assert (traced.status, traced.out, traced.err) == (plain.status, plain.out, plain.err)
        assert traced.recording.exists()
        assert run_fsprobe.left() == []
        return traced

    return run
