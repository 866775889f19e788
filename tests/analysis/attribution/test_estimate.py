"""Imports estimated without marks: what the import system does by its rules is found again, and nothing more is claimed."""

from __future__ import annotations

from fsprobe.analysis.counting.estimated import by_package, expected_error
from fsprobe.analysis.counting.profile import by_module as rows_by_module
from fsprobe.model.profile import Metrics
from fsprobe.model.rows import FAILED_IMPORTS, INSTALLED, PROGRAM, UNASSIGNED
from tests.analysis.attribution.logs import (
    LIB,
    MAIN,
    SITE,
    START,
    directory,
    looked,
    module,
    opened,
    package,
    rows_of,
    searched,
    tally_of,
    visited,
)

FIRST = [*visited("/work"), *visited(LIB), *module(LIB, "json")]
"""The first import of a script in /work."""


def modules(*groups: list[str]) -> list[str]:
    """Whose calls the last lines of a log are: one name a line after the script."""
    rows, _ = rows_of([*START, *MAIN, *(line for group in groups for line in group)])
    return [row.module for row in rows][len(START) + len(MAIN) :]


def test_what_is_asked_on_the_way_to_a_module_is_its_own() -> None:
    search = searched("/work", LIB, SITE)
    found = modules(FIRST, search, package(SITE, "pkg"), searched(f"{SITE}/pkg"), module(f"{SITE}/pkg", "inner"))
    assert found == ["json"] * len(FIRST) + ["pkg"] * 7 + ["pkg.inner"] * 4


def test_a_programs_data_between_imports_are_the_programs() -> None:
    data = [looked(f"/data/set/item{number}.bin", found=False) for number in range(30)]
    found = modules(FIRST, data, searched("/work", LIB), module(LIB, "colorsys"))
    assert found[len(FIRST) :] == [PROGRAM] * 30 + ["colorsys"] * 5


def test_a_programs_directories_are_no_search_path() -> None:
    data = [directory(f"/data/set/{number}") for number in range(30)]
    found = modules(FIRST, data, searched("/work", LIB), module(LIB, "colorsys"))
    assert found[len(FIRST) :] == [PROGRAM] * 30 + ["colorsys"] * 5


def test_a_search_without_end_is_an_import_that_failed() -> None:
    search = searched("/work", LIB, SITE)
    found = modules(FIRST, search, package(SITE, "pkg"), search, search, searched("/work", LIB), module(LIB, "ast"))
    assert found[-11:] == [FAILED_IMPORTS] * 6 + ["ast"] * 5


def test_what_paths_do_not_tell_is_not_assigned() -> None:
    scan = [opened(f"/etc/conf.d/{number}") for number in range(20)]
    search = searched("/work", LIB, SITE)
    first, second = [*search, *package(SITE, "one")], [*search, *package(SITE, "two")]
    assert modules(FIRST, first, scan, second)[len(FIRST) + len(first) :] == [UNASSIGNED] * 20 + ["two"] * len(second)
    # between modules of one package it is that package's
    inner = [*searched(f"{SITE}/one"), *module(f"{SITE}/one", "inner")]
    assert modules(FIRST, first, scan, inner)[len(FIRST) + len(first) :] == ["one"] * 20 + ["one.inner"] * 4
    # after the last module it is the program's
    assert modules(FIRST, first, scan)[len(FIRST) + len(first) :] == [PROGRAM] * 20


def test_who_reads_the_metadata_of_packages_is_not_told() -> None:
    scan = [opened(f"{SITE}/dist{number}-1.0.dist-info/entry_points.txt") for number in range(20)]
    scan.append(looked(f"{SITE}/one-1.0.dist-info"))
    search = searched("/work", LIB, SITE)
    first, second = [*search, *package(SITE, "one")], [*search, *package(SITE, "two")]
    n = len(FIRST) + len(first)
    assert modules(FIRST, first, scan, second)[n:] == [INSTALLED] * 21 + ["two"] * len(second)
    # neither is it that package's between two of its modules, nor is the old form, a file, anybody's
    inner = [*searched(f"{SITE}/one"), *module(f"{SITE}/one", "inner")]
    old = [opened(f"{SITE}/dist-1.0-py3.11.egg-info")]
    assert modules(FIRST, first, scan, old, inner)[n:] == [INSTALLED] * 22 + ["one.inner"] * 4
    # after the last module it is the program's
    assert modules(FIRST, first, scan)[n:] == [PROGRAM] * 21
    tally, notes = tally_of([*START, *MAIN, *FIRST, *first, *scan, *second])
    assert expected_error(tally, notes) == 0
    metrics = Metrics(by_module=rows_by_module(tally, notes, timed=False))
    assert (metrics.n_unowned, metrics.n_of_no_import) == (21, 21)


def test_a_source_that_is_read_again_is_no_import() -> None:
    search = searched("/work", LIB, SITE)
    first = [*search, *package(SITE, "one"), *searched(f"{SITE}/one"), *module(f"{SITE}/one", "a")]
    again = [looked(f"{SITE}/one/a.py"), opened(f"{SITE}/one/a.py")]
    found = modules(FIRST, first, again, [*search, *package(SITE, "two")])
    # of the package that is at work: it looks at its own files
    assert found[len(FIRST) + len(first) :] == ["one.a"] * 2 + ["two"] * 7


def test_the_script_is_no_import() -> None:
    rows, notes = rows_of([*START, *MAIN, *MAIN, *FIRST])
    assert [row.phase for row in rows[len(START) : len(START) + 2]] == ["run", "run"]
    assert "p" not in notes.imports


def test_directories_first_seen_while_site_runs_belong_to_site() -> None:
    added = visited("/src/editable")
    site = [*START, *visited(LIB), *visited(SITE), *added]
    rows, _ = rows_of([*site, *MAIN, *visited("/work"), *searched(LIB), *module(LIB, "json")])
    phases = [row.phase for row in rows]
    assert phases[len(START) : len(site)] == ["site"] * (len(site) - len(START))
    assert phases[-4:] == ["import"] * 4


def test_many_calls_between_modules_of_a_package_may_be_those_of_the_one_that_imported_it() -> None:
    """nbconvert imports jupyter_core, asks 3,700 times for its templates, and then calls what imports jupyter_core's next module."""
    search = searched("/work", LIB, SITE)
    outer, other = [*search, *package(SITE, "one")], [*search, *package(SITE, "two")]
    inner = [*searched(f"{SITE}/two"), *module(f"{SITE}/two", "inner")]
    for n, owner in ((100, "two"), (101, UNASSIGNED)):
        scan = [opened(f"/etc/conf.d/{number}") for number in range(n)]
        assert modules(FIRST, outer, other, scan, inner)[-n - 4 : -4] == [owner] * n
        assert modules(FIRST, other, scan, inner)[-n - 4 : -4] == ["two"] * n, "nobody else has imported it"


def test_the_expected_error_is_told_from_the_log_alone() -> None:
    search = searched("/work", LIB, SITE)
    sure = [*START, *MAIN, *FIRST, *search, *package(SITE, "one")]
    assert expected_error(*tally_of(sure)) == 0
    scan = [opened(f"/etc/conf.d/{number}") for number in range(6)]
    tally, notes = tally_of([*sure, *scan, *search, *package(SITE, "two")])
    # opens of imports: the two directories of the first visits, json, one and two, and the six of the scan
    assert expected_error(tally, notes) == round(6 / 11, 4)
    packages = by_package(tally.by_module)
    assert packages[UNASSIGNED].own.n_open == 6
    assert packages["one"].cumulative.n_metadata == 7


def test_calls_of_a_forked_process_know_what_its_parent_loaded() -> None:
    search = searched("/work", LIB, SITE)
    fork = "1 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f) = 2"
    child = [line.replace("1 ", "2 ", 1) for line in [*search, *package(SITE, "two")]]
    rows, _ = rows_of([*START, *MAIN, *FIRST, *search, *package(SITE, "one"), fork, *child])
    assert [row.module for row in rows if row.process.pid == 2] == ["two"] * 7
