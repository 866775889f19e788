"""A guess at the caches looks at what servers and disks answered, wherever these are mounted."""

from __future__ import annotations

import pytest

from fsprobe.analysis.counting.tally import PathTally, Tally
from fsprobe.analysis.time.cache import guess
from fsprobe.analysis.time.paths import TallyPaths
from fsprobe.model.rows import Counts, MountRow

MEMORY = MountRow(key="/project", fs_class="memory")
SERVER = MountRow(key="/project/env", fs_class="network")
ROOT = MountRow(key="/", fs_class="local")
SLOW, FAST = 1_000_000, 10_000


def tally(**places: int) -> Tally:
    """100 paths in each place, of which the slowest call took so many ns."""
    made = Tally()
    for name, ns in places.items():
        for number in range(100):
            path = b"/%b/f%d" % (name.replace("_", "/").encode(), number)
            made.by_path[path] = PathTally(counts=Counts(n_stat=1), max_ns=ns)
    return made


@pytest.mark.parametrize(
    ("made", "mounts", "expected"),
    [
        # a server's mount below one in memory
        (tally(project_env=SLOW), [MEMORY, SERVER, ROOT], "cold"),
        (tally(project_env=FAST), [MEMORY, SERVER, ROOT], "warm"),
        (tally(project_env=SLOW, project=FAST), [MEMORY, SERVER, ROOT], "cold"),
        # what lies in memory says nothing
        (tally(project=FAST), [MEMORY, SERVER, ROOT], ""),
        (tally(project_environment=FAST), [MEMORY, SERVER, ROOT], ""),
        (tally(usr=FAST, project_env=SLOW), [MEMORY, SERVER, ROOT], "cold"),
        (tally(usr=FAST, project_env=FAST), [MEMORY, SERVER, ROOT], "warm"),
    ],
)
def test_of_which_paths_it_is_made(made: Tally, mounts: list[MountRow], expected: str) -> None:
    assert guess(TallyPaths(made), FAST, mounts) == expected
