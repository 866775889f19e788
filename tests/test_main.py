"""How fsprobe finds its own modules: as Python would, at fewer metadata calls."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections import Counter
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path

import pytest

import fsprobe
from fsprobe.__main__ import Shortcut
from fsprobe.events.strace.parser import parse
from fsprobe.model.events import METADATA_OPS, Call, ParseQuality
from tests.conftest import ROOT, clean_environment

PACKAGE = Path(fsprobe.__file__).parent
SOURCES = [
    file
    for file in sorted(PACKAGE.rglob("*.py"))
    if "hook" not in file.relative_to(PACKAGE).parts and file.parent != PACKAGE
]


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_a_module_is_found_where_python_finds_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shortcut, "finds_own", True)  # pytest loads fsprobe, a plugin, its own way
    name = name_of(file)
    above = [str(file.parent.parent if file.name == "__init__.py" else file.parent)]
    ours, pythons = Shortcut.find_spec(name, above), PathFinder.find_spec(name, above)
    assert ours is not None
    assert pythons is not None
    for what in ("name", "origin", "cached", "submodule_search_locations", "has_location", "parent"):
        assert getattr(ours, what) == getattr(pythons, what), what
    assert isinstance(ours.loader, SourceFileLoader)
    assert isinstance(pythons.loader, SourceFileLoader)
    assert ours.loader.get_filename(name) == str(file)
    assert ours.loader.path_stats(str(file)) == pythons.loader.path_stats(str(file))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("numpy", None),
        ("json.decoder", ["/nowhere"]),
        ("no_such", None),
        ("fsprobe2.x", [str(PACKAGE)]),
        ("fsprobe.no_such", [str(PACKAGE)]),
        ("fsprobe.report.html.templates", [str(PACKAGE / "report" / "html")]),
    ],
)
def test_anything_else_is_left_to_the_other_finders(name: str, path: list[str] | None) -> None:
    assert Shortcut.find_spec(name, path) is None


@pytest.mark.parametrize("name", [*sorted(sys.stdlib_module_names), "json.decoder", "xml.dom.minidom", "os.path"])
def test_the_standard_library_is_found_where_python_finds_it(name: str) -> None:
    above = PathFinder.find_spec(name.partition(".")[0])
    for part in name.split(".")[1:-1]:
        assert above is not None
        above = PathFinder.find_spec(f"{above.name}.{part}", above.submodule_search_locations)
    path = above.submodule_search_locations if above is not None and "." in name else None
    if "." in name and path is None:
        return  # of a module, which has none
    ours, pythons = Shortcut.find_spec(name, path), PathFinder.find_spec(name, path)
    if ours is None:  # built in, frozen, or elsewhere: left to the others
        assert (
            pythons is None or pythons.origin is None or "." not in str(pythons.origin) or name.startswith("_sysconfig")
        )
        return
    assert pythons is not None
    for what in ("name", "origin", "cached", "submodule_search_locations", "has_location", "parent"):
        assert getattr(ours, what) == getattr(pythons, what), what
    assert isinstance(ours.loader, type(pythons.loader))


def test_the_package_is_the_one_that_this_module_lies_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command loads `fsprobe.__main__` before `fsprobe`; out of an archive Python finds it."""
    monkeypatch.setattr(Shortcut, "finds_own", True)
    ours, pythons = Shortcut.find_spec("fsprobe"), PathFinder.find_spec("fsprobe", [str(PACKAGE.parent)])
    assert ours is not None
    assert pythons is not None
    assert (ours.origin, ours.cached, ours.submodule_search_locations) == (
        pythons.origin,
        pythons.cached,
        pythons.submodule_search_locations,
    )
    monkeypatch.setattr(Shortcut, "finds_own", False)
    assert Shortcut.find_spec("fsprobe") is None


def test_no_module_lies_beside_a_package_of_its_name() -> None:
    """Python takes the package then, `Shortcut` the module."""
    assert [file for file in SOURCES if file.with_suffix("").is_dir()] == []


def test_from_an_archive_python_finds_them(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for file in sorted(PACKAGE.rglob("*.py")):
            archive.write(file, file.relative_to(PACKAGE.parent))
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from fsprobe import __main__\n"
        "try: __main__.main()\n"
        "finally: print(__main__.Shortcut.finds_own, sys.modules['json'].__spec__.origin, sys.modules['fsprobe.cli.run'].__file__)"
    )
    words = [sys.executable, "-I", "-c", code, str(tmp_path / "x.zip"), "run", "--no-such-option"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith(f"False {json.__file__} {tmp_path}/x.zip/"), done.stderr
    assert not list(tmp_path.rglob("*.snapshot"))


def recorders_calls(tmp_path: Path, strace_program: str, *options: str) -> list[Call]:
    """The metadata calls of `run` that concern fsprobe's own files; its byte code is below `tmp_path`."""
    log, cache = tmp_path / "log", tmp_path / "cache"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from fsprobe.__main__ import main; sys.exit(main())"
    words = [sys.executable, "-I", "-X", f"pycache_prefix={cache}", *options, "-c", code]
    words += ["run", "--record-only", "-q", "--force", "-o", str(tmp_path / "x.fsprobe"), "--", "/bin/true"]
    # only the recorder itself: strace can't trace a process that is traced already
    tracer = [strace_program, "-q", "-o", str(log), "-e", "trace=%file,getdents64", *words]
    subprocess.run(tracer, check=True, env=clean_environment(CI=""), capture_output=True)
    own = (bytes(PACKAGE) + b"/", bytes(cache) + bytes(PACKAGE) + b"/")
    return [
        event
        for event in parse(log.read_bytes().splitlines(keepends=True), ParseQuality())
        if isinstance(event, Call) and event.op in METADATA_OPS and event.path.startswith(own)
    ]


def test_an_import_of_fsprobes_own_is_a_stat_or_two_calls_more(tmp_path: Path, strace_program: str) -> None:
    recorders_calls(tmp_path, strace_program)  # the byte code is there the second time
    with_snapshot = recorders_calls(tmp_path, strace_program, "-B")
    (snapshot,) = (tmp_path / "cache").rglob("start.*.snapshot")
    snapshot.unlink()
    calls = recorders_calls(tmp_path, strace_program, "-B")
    below = Counter(call.op.value for call in calls)
    n_modules = len({call.path for call in calls if call.path.endswith(b".pyc") and not call.error})
    assert n_modules > 20
    # listed by the recorder itself: the directory of what it puts into the target
    hook = {bytes(PACKAGE / "capture" / "hook")}
    assert {call.path for call in calls + with_snapshot if call.op.value == "list"} <= hook
    assert below["open"] + below["stat"] <= 3 * n_modules + 20
    # this is no installed package: each source is looked at, and no byte code opened but of the two modules before
    opened = {call.path for call in with_snapshot if call.op.value == "open" and call.path.endswith(b".pyc")}
    assert len(opened) == 2
    assert len(with_snapshot) <= n_modules + 30


@pytest.mark.parametrize(
    ("words", "status"), [(["run", "-o", "x.fsprobe", "--", "sh", "-c", "exit 7"], 7), (["--help"], 4)]
)
def test_without_the_packages_that_it_needs_it_says_so(tmp_path: Path, words: list[str], status: int) -> None:
    """An installation that is not whole: one line, and the command's own exit code where one has run."""
    bare = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from fsprobe.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", bare, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=clean_environment(),
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert "pip install" in done.stderr
