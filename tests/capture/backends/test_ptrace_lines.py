"""The comparison that the end-to-end tests of the tracer rest on: it must see a difference where there is one."""

from __future__ import annotations

from tests.capture.backends.ptrace_lines import per_thread

LOG = b"""\
11    1.000001 (+     0.000000000) openat(AT_FDCWD</p>, "a", O_RDONLY) = 3</p/a> <0.000001>
11    1.000002 (+     0.000000001) vfork( <unfinished ...>
12    1.000003 (+     0.000000001) stat("x = y", {st_mode=S_IFREG|0644, st_size=1, ...}) = 0 <0.000001>
11    1.000004 (+     0.000000001) <... vfork resumed>) = 12 <0.000002>
12    1.000005 (+     0.000000001) exit_group(0) = ?
12    1.000006 (+     0.000000001) +++ exited with 0 +++
"""


def test_calls_cut_in_two_are_joined_and_ids_are_roles() -> None:
    assert per_thread(LOG) == [
        [
            'openat(AT_FDCWD</p>, "a", O_RDONLY) = 3</p/a>',
            "vfork() = TID",
        ],
        ['stat("x = y", {st_mode=S_IFREG|0644, st_size=1, ...}) = 0', "exit_group(0) = ?", "+++ exited with 0 +++"],
    ]


def test_a_changed_path_error_or_flag_shows() -> None:
    for old, new in ((b'"a"', b'"b"'), (b"O_RDONLY", b"O_WRONLY"), (b"= 0 <", b"= -1 EIO (x) <"), (b"0644", b"0600")):
        assert per_thread(LOG.replace(old, new)) != per_thread(LOG)
