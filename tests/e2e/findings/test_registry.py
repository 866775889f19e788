"""Every rule has a real program that triggers it and one that just does not: this table, checked against the table of rules."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from fsprobe.analysis.findings.rules import RULES

TESTS: dict[str, tuple[str, str]] = {
    "FSP001": ("mounts:TestEnvironments.test_a_venv", "mounts:TestEnvironments.test_a_venv"),
    "FSP002": (
        "savings:TestSearchPaths.test_dead_entries",
        "savings:TestSearchPaths.test_one_dead_entry_is_not_worth_a_word",
    ),
    "FSP003": ("savings:TestSearchPaths.test_library_path", "savings:TestSearchPaths.test_a_library_path_that_is_used"),
    "FSP004": (
        "savings:TestSearchPaths.test_unused_entries",
        "savings:TestSearchPaths.test_an_entry_that_gave_a_module_is_used",
    ),
    "FSP005": ("savings:TestSearchPaths.test_user_site", "savings:TestSearchPaths.test_no_user_site_directory"),
    "FSP006": ("starts:TestPathFiles.test_many", "starts:TestPathFiles.test_many"),
    "FSP007": (
        "savings:TestBytecode.test_compiled_beforehand",
        "savings:TestBytecode.test_few_modules_are_not_worth_a_word",
    ),
    "FSP008": ("savings:TestBytecode.test_refused", "savings:TestBytecode.test_few_modules_with_writing_refused"),
    "FSP009": ("savings:TestLibraries.test_package_resources", "savings:TestLibraries.test_without_package_resources"),
    "FSP010": (
        "savings:TestLibraries.test_entry_points_scanned_again",
        "savings:TestLibraries.test_just_enough_entry_points_and_one_less",
    ),
    "FSP011": ("savings:TestLibraries.test_font_list", "savings:TestLibraries.test_font_list"),
    "FSP012": ("starts:TestImages.test_squashfuse", "starts:TestImages.test_squashfuse"),
    "FSP014": ("starts:TestHelpers.test_many_that_only_start", "starts:TestHelpers.test_many_that_only_start"),
    "FSP016": (
        "savings:TestProcesses.test_spawned_workers",
        "savings:TestProcesses.test_one_worker_is_not_worth_a_word",
    ),
    "FSP017": ("mounts:TestJobs.test_ranks", "mounts:TestJobs.test_ranks"),
    "FSP018": ("mounts:TestJobs.test_nodes", "mounts:TestJobs.test_nodes"),
    "FSP019": ("mounts:TestData.test_small_files", "mounts:TestData.test_small_files"),
    "FSP020": ("mounts:TestEnvironments.test_flash", "mounts:TestEnvironments.test_flash"),
    "FSP021": ("mounts:TestEnvironments.test_conda", "mounts:TestEnvironments.test_conda"),
    "FSP022": ("savings:TestLaunchers.test_a_shim", "savings:TestLaunchers.test_a_script_of_the_user_is_no_shim"),
    "FSP023": ("savings:test_a_polling_loop", "savings:test_a_polling_loop"),
    "FSP024": (
        "savings:TestEnvironments.test_a_venv_of_another_python",
        "savings:TestEnvironments.test_a_venv_of_another_python",
    ),
    "FSP025": ("savings:TestBytecode.test_switched_off", "savings:TestBytecode.test_few_modules_with_writing_off"),
    "FSP026": ("starts:TestRunPath.test_a_long_list", "starts:TestRunPath.test_just_enough_directories_and_one_less"),
    "FSP027": ("mounts:TestData.test_caches", "mounts:TestData.test_caches"),
    "FSP028": (
        "sweeps:TestSweeps.test_files_that_are_only_looked_at",
        "sweeps:TestSweeps.test_files_that_are_only_looked_at",
    ),
    "FSP029": ("sweeps:TestRestarts.test_one_after_the_other", "sweeps:TestRestarts.test_one_after_the_other"),
    "FSP030": ("sweeps:TestWritten.test_many_files", "sweeps:TestWritten.test_many_files"),
    "FSP031": ("sweeps:TestRealPaths.test_at_import", "sweeps:TestRealPaths.test_at_import"),
}
"""Code -> the test in which a recorded program triggers it, the test in which one just does not."""

ADVICE: dict[str, str] = {
    "FSP001": "requests:test_an_environment_in_an_image",
    "FSP002": "savings:TestSearchPaths.test_dead_entries",
    "FSP003": "savings:TestSearchPaths.test_library_path",
    "FSP004": "savings:TestSearchPaths.test_unused_entries",
    "FSP005": "savings:TestSearchPaths.test_user_site",
    "FSP006": "mounts:test_an_editable_install_is_replaced",
    "FSP007": "savings:TestBytecode.test_compiled_beforehand",
    "FSP008": "savings:TestBytecode.test_refused",
    "FSP009": "savings:TestLibraries.test_package_resources",
    "FSP010": "savings:TestLibraries.test_entry_points_scanned_again",
    "FSP011": "savings:TestLibraries.test_font_list",
    "FSP012": "starts:TestImages.test_its_advice",
    "FSP014": "starts:TestHelpers.test_what_the_flags_leave_out",
    "FSP016": "savings:TestProcesses.test_spawned_pools",
    "FSP017": "mounts:TestJobs.test_ranks_in_an_image",
    "FSP018": "jobs.slurm:test_an_image_is_sent_to_the_nodes_by_each_job",
    "FSP019": "mounts:TestData.test_they_are_packed_and_counted_again",
    "FSP020": "mounts:TestEnvironments.test_flash_in_an_image",
    "FSP021": "mounts:TestEnvironments.test_conda_in_an_image",
    "FSP022": "savings:TestLaunchers.test_a_shim",
    "FSP023": "savings:test_a_polling_loop",
    "FSP024": "savings:TestEnvironments.test_a_venv_of_another_python",
    "FSP025": "savings:TestBytecode.test_switched_off",
    "FSP026": "starts:TestRunPath.test_a_long_list",
    "FSP027": "mounts:TestData.test_a_cache_is_moved_and_counted_again",
    "FSP028": "sweeps:TestSweeps.test_walked_again",
    "FSP029": "sweeps:TestRestarts.test_one_after_the_other",
    "FSP030": "sweeps:TestWritten.test_many_files",
}
"""Code -> the test that does what the finding says and measures again."""
UNTRIED = {
    "FSP031": "there is nothing to type: what it saves depends on the package's authors",
}


def find_test(name: str) -> Callable[..., Any]:
    """The function that a name of the tables stands for: module:[Class.]function."""
    module, _, path = name.partition(":")
    package, _, file = module.rpartition(".")
    found: Any = importlib.import_module(f"tests.e2e.{package or 'findings'}.test_{file}")
    for part in path.split("."):
        found = getattr(found, part)
    assert callable(found)
    return found  # type: ignore[no-any-return]


def test_every_rule_is_in_the_tables() -> None:
    codes = [rule.code for rule in RULES]
    assert sorted(TESTS) == codes
    assert sorted({*ADVICE, *UNTRIED}) == codes
    assert not set(ADVICE) & set(UNTRIED)


@pytest.mark.parametrize("code", sorted(TESTS))
def test_the_tests_are_there_and_about_the_rule(code: str) -> None:
    triggers, just_not = (inspect.getsource(find_test(name)) for name in TESTS[code])
    assert f'"{code}"' in triggers
    assert f'"{code}"' in just_not
    assert "not in" in just_not or "assert not {" in just_not or "is expected" in just_not or "check_saving" in just_not
    if code in ADVICE:
        assert f'"{code}"' in inspect.getsource(find_test(ADVICE[code]))
