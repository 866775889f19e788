"""Births, exits, execs; children that speak before their parent's clone returns; working directories."""

from __future__ import annotations

from fsprobe.events.strace import lineage
from fsprobe.model.events import Call, Event, Process
from tests.events.reading import calls, one_call, processes, read, rows

FORK = b"clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f)"
THREAD = b"clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD, stack_size=0x7ff}"


def births(events: list[Event]) -> list[tuple[str, int, int]]:
    return [(one.kind, one.tid, one.child) for one in processes(events) if one.kind in ("fork", "thread")]


def order(events: list[Event]) -> list[tuple[str, int]]:
    return [(one.kind if isinstance(one, Process) else "call", one.tid) for one in events]


def test_fork_thread_and_vfork_in_one_line() -> None:
    events, quality = read(
        b"7 " + FORK + b" = 8",
        b"7 " + THREAD + b" => {parent_tid=[9]}, 88) = 9",
        b"7 vfork() = 10",
        b"7 " + FORK + b" = -1 EAGAIN (Resource temporarily unavailable)",
    )
    assert births(events) == [("fork", 7, 8), ("thread", 7, 9), ("fork", 7, 10)]
    assert quality.n_unparsed == 0
    assert quality.other_calls == {"clone": 2, "clone3": 1, "vfork": 1}
    assert quality.other_errors == {"clone": 1}


def test_a_child_that_speaks_first_belongs_to_the_only_clone_under_way() -> None:
    events, _ = read(
        b"7 " + THREAD + b" <unfinished ...>",
        b'8 access("/x", F_OK) = 0',
        b"7 <... clone3 resumed> => {parent_tid=[8]}, 88) = 8 <0.000104>",
        b'7 access("/y", F_OK) = 0',
    )
    assert order(events) == [("thread", 7), ("call", 8), ("call", 7)]
    assert births(events) == [("thread", 7, 8)]


def test_two_clones_under_way_are_told_apart_by_what_they_return() -> None:
    events, _ = read(
        b"7 vfork( <unfinished ...>",
        b'8 access("/8", F_OK) = 0',
        b"7 <... vfork resumed>) = 8",
        b"7 vfork( <unfinished ...>",
        b"8 vfork( <unfinished ...>",
        b'30 access("/30", F_OK) = 0',
        b'31 access("/31", F_OK <unfinished ...>',
        b'30 vfork( <unfinished ...>',
        b'32 access("/32", F_OK) = 0',
        b"8 <... vfork resumed>) = 30",
        b"31 <... access resumed>) = 0",
        b"30 <... vfork resumed>) = 32",
        b"7 <... vfork resumed>) = 31",
    )  # fmt: skip
    assert sorted(births(events)) == [("fork", 7, 8), ("fork", 7, 31), ("fork", 8, 30), ("fork", 30, 32)]
    assert sorted(call.path for call in calls(events)) == [b"/30", b"/31", b"/32", b"/8"]
    for child, path in ((8, b"/8"), (30, b"/30"), (31, b"/31"), (32, b"/32")):
        birth = next(at for at, one in enumerate(events) if isinstance(one, Process) and one.child == child)
        first = next(at for at, one in enumerate(events) if isinstance(one, Call) and one.path == path)
        assert birth < first


def test_held_children_do_not_fill_the_memory(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("fsprobe.events.strace.lines.MAX_HELD", 10)
    assert lineage.MAX_HELD == 100_000
    events, _ = read(
        b"5 vfork() = 7",
        b"7 vfork( <unfinished ...>",
        b"5 vfork( <unfinished ...>",
        *[b'30 access("/30", F_OK) = 0'] * 50,
        b"7 <... vfork resumed>) = 30",
        b"5 <... vfork resumed>) = 31",
    )
    assert len(calls(events)) == 50
    assert births(events) == [("fork", 5, 7), ("fork", 7, 30), ("fork", 5, 31)]  # 30 is told of, though late


def test_in_a_pid_namespace_the_child_is_the_one_that_appears() -> None:
    events, _ = read(
        b"7007 vfork( <unfinished ...>",
        b'7008 access("/x", F_OK) = 0',
        b"7007 <... vfork resumed>) = 2",
        b"7007 " + FORK + b" = 3",
        b'7009 access("/y", F_OK) = 0',
        b"7007 " + FORK + b" = 9000",
        b'7010 access("/z", F_OK) = 0',
    )
    assert births(events) == [("fork", 7007, 7008), ("fork", 7007, 7009), ("fork", 7007, 7010)]
    events, _ = read(b"7007 " + FORK + b" = 3 /* 7020 in strace's PID NS */", b'7020 access("/y", F_OK) = 0')
    assert births(events) == [("fork", 7007, 7020)]


def test_a_number_may_be_smaller_than_the_parents_when_pids_wrap() -> None:
    events, _ = read(b"32767 " + FORK + b" = 300", b'300 access("/y", F_OK) = 0', b"32767 " + FORK + b" = 301")
    assert births(events) == [("fork", 32767, 300), ("fork", 32767, 301)]


def test_a_pid_that_is_used_again_is_a_new_process() -> None:
    events, _ = read(
        b"7 " + FORK + b" = 8",
        b"8 exit_group(1) = ?",
        b"8 +++ exited with 1 +++",
        b"7 " + FORK + b" = 8",
        b'8 access("/x", F_OK) = 0',
    )
    assert order(events) == [("fork", 7), ("exit", 8), ("fork", 7), ("call", 8)]


def test_exits_are_told_once_with_their_status() -> None:
    events, _ = read(b"7 exit_group(3) = ?", b"7 +++ exited with 3 +++")
    assert processes(events) == [("exit", 7, None, 0, b"3")]
    events, _ = read(b"7 exit_group(3) = ?")  # strace -qq leaves the other line out
    assert processes(events) == [("exit", 7, None, 0, b"3")]
    events, _ = read(b"7 exit(0 <unfinished ...>", b"7 <... exit resumed>) = ?", b"7 +++ exited with 0 +++")
    assert processes(events) == [("exit", 7, None, 0, b"0")]
    events, _ = read(b"7 +++ killed by SIGSEGV (core dumped) +++")
    assert processes(events) == [("killed", 7, None, 0, b"SIGSEGV")]


def test_a_threads_execve_under_seccomp_bpf_is_printed_as_an_error_that_it_is_not() -> None:
    events, quality = read(
        b"6771 " + THREAD + b" => {parent_tid=[6780]}, 88) = 6780",
        b'6771 openat(AT_FDCWD</tmp>, "/fifo", O_RDONLY <unfinished ...>',
        b'6780 execve("/bin/true", ["true", "a\\"b", "c\\n"], 0x7ffdd0b14ae0 /* 34 vars */ <pid changed to 6771 ...>',
        b"6771 +++ superseded by execve in pid 6780 +++",
        b"6771 <... execve resumed>) = -1 (errno 18446744073709551595) <0.001129>",
        b'6771 access("/x", F_OK) = 0',
    )
    assert rows(events) == [("openat", b"/fifo", "?"), ("execve", b"/bin/true", ""), ("access", b"/x", "")]
    assert [call.tid for call in calls(events)] == [6771, 6780, 6771]
    assert processes(events)[1:] == [("exec", 6780, None, 6771, b"/bin/true")]
    assert (quality.n_unparsed, quality.n_partial, quality.n_unfinished) == (0, 0, 1)


def test_a_threads_execve_without_seccomp_bpf() -> None:
    events, quality = read(
        b"6828 futex(0x7f, FUTEX_WAIT, 0, NULL <unfinished ...>",
        b'6837 execve("/bin/true", ["true"], 0x7ffd /* 34 vars */ <unfinished ...>',
        b"6828 +++ superseded by execve in pid 6837 +++",
        b"6828 <... execve resumed>) = 0 <0.001138>",
        b"6828 exit_group(0)   = ?",
        b"6828 +++ exited with 0 +++",
    )
    assert processes(events) == [("exec", 6837, None, 6828, b"/bin/true"), ("exit", 6828, None, 0, b"0")]
    assert (rows(events), quality.n_partial) == ([("execve", b"/bin/true", "")], 0)


def test_an_unnamed_errno_of_an_execve_is_success_and_of_others_stays() -> None:
    assert one_call(b'7 execve("/bin/true", ["true"], 0x7f) = -1 (errno 18446744073709551595)').error == ""
    assert one_call(b'7 access("/x", F_OK) = -1 (errno 600)').error == "errno 600"


def test_relative_paths_follow_chdir_fchdir_and_forks() -> None:
    events, _ = read(
        b'7 mkdir("a", 0777) = 0',
        b'7 chdir("sub") = 0',
        b'7 chdir("nowhere") = -1 ENOENT (No such file or directory)',
        b'7 mkdir("b", 0777) = 0',
        b"7 " + FORK + b" = 8",
        b'8 chdir("/other") = 0',
        b'8 mkdir("c", 0777) = 0',
        b'7 mkdir("d", 0777) = 0',
        b"7 " + THREAD + b", 88) = 9",
        b'9 chdir("/shared") = 0',
        b'7 mkdir("e", 0777) = 0',
        b"7 fchdir(3</by/fd>) = 0",
        b'9 mkdir("f", 0777) = 0',
        b'7 getcwd("/told", 1024) = 6',
        b'7 unlink("g") = 0',
        b'7 access("/abs", F_OK) = 0',
        b'7 openat(AT_FDCWD</annotated>, "/abs", O_RDONLY) = 3</abs>',
        b'7 readlink("h", "x", 4096) = 1',
        cwd=b"/start",
    )
    assert [call.path for call in calls(events) if call.syscall not in ("chdir", "access", "openat")] == [
        b"/start/a",
        b"/start/sub/b",
        b"/other/c",
        b"/start/sub/d",
        b"/shared/e",
        b"/by/fd/f",
        b"/told/g",
        b"/annotated/h",
    ]


def test_upwards_is_resolved_only_where_the_kernel_said_where_we_are() -> None:
    up = [b'7 chdir("..") = 0', b'7 mkdir("x", 0777) = 0']
    told = b'7 getcwd("/a/b/c", 1024) = 7'
    assert calls(read(told, *up)[0])[-1].path == b"/a/b/x"
    assert calls(read(told, b'7 chdir("../..") = 0', *up)[0])[-1].path == b"/x"
    assert calls(read(*up, cwd=b"/a/b")[0])[-1].path == b"/a/x"
    assert calls(read(b"7 fchdir(3</a/b>) = 0", *up)[0])[-1].path == b"/a/x"
    # `link` may lead anywhere: what the kernel was told is kept
    assert calls(read(told, b'7 chdir("link") = 0', *up)[0])[-1].path == b"/a/b/c/link/../x"
    assert calls(read(told, b'7 chdir("/link") = 0', *up)[0])[-1].path == b"/link/../x"


def test_without_annotations_descriptors_are_followed() -> None:
    events, _ = read(
        b'7 openat(AT_FDCWD, "dir", O_RDONLY|O_DIRECTORY) = 3',
        b"7 getdents64(3, 0x55 /* 2 entries */, 32768) = 48",
        b'7 newfstatat(3, "x", 0x7f, 0) = 0',
        b"7 fcntl(3, F_DUPFD_CLOEXEC, 0) = 4",
        b"7 close(3) = 0",
        b"7 getdents64(4, 0x55 /* 2 entries */, 32768) = 48",
        b"7 getdents64(3, 0x55 /* 2 entries */, 32768) = -1 EBADF (Bad file descriptor)",
        b"7 fchdir(4) = 0",
        b'7 mkdir("y", 0777) = 0',
        cwd=b"/w",
    )
    assert [call.path for call in calls(events)] == [b"/w/dir", b"/w/dir", b"/w/dir/x", b"/w/dir", b"", b"/w/dir/y"]


def test_a_log_from_the_terminal_names_its_first_process_late() -> None:
    events, quality = read(
        b'execve("/bin/sh", ["sh"], 0x7f /* 3 vars */) = 0',
        THREAD + b"strace: Process 6957 attached",
        b" => {parent_tid=[6957]}, 88) = 6957",
        b'[pid  6957] access("/x", F_OK <unfinished ...>',
        b"[pid  6955] clone(child_stack=0x7f, flags=CLONE_VM|CLONE_VFORKstrace: Process 6958 attached",
        b" <unfinished ...>",
        b"[pid  6957] <... access resumed>) = 0",
        b"[pid  6955] rt_sigprocmask(SIG_BLOCK, ~[RT_1], /usr/bin/strace: Process 6959 attached",
        b"/usr/bin/strace: Process 6960 attached",
        b"NULL, 8) = 0",
        b'[pid  6958] access("/y", F_OK) = 0',
        b"[pid  6955] <... clone resumed>) = 6958",
        b"[pid  6957] +++ exited with 0 +++",
        b"[pid  6958] +++ exited with 0 +++",
        b'access("/z", F_OK) = 0',
        b"exit_group(0) = ?",
        b"+++ exited with 0 +++",
    )
    assert [(call.tid, call.path) for call in calls(events)] == [
        (6955, b"/bin/sh"), (6957, b"/x"), (6958, b"/y"), (6955, b"/z")
    ]  # fmt: skip
    assert births(events) == [("thread", 6955, 6957), ("fork", 6955, 6958)]
    assert processes(events)[-1] == ("exit", 6955, None, 0, b"0")
    assert (quality.n_unparsed, quality.other_calls["rt_sigprocmask"]) == (0, 1)


def test_lines_without_a_pid_belong_to_the_only_process_left() -> None:
    events, _ = read(
        b"vfork() = 8",
        b"strace: Process 8 attached",
        b'[pid     8] access("/x", F_OK) = 0',
        b"[pid     7] exit_group(0) = ?",
        b"[pid     7] +++ exited with 0 +++",
        b'access("/y", F_OK) = 0',
    )
    assert [(call.tid, call.path) for call in calls(events)] == [(8, b"/x"), (8, b"/y")]
    assert births(events) == [("fork", 7, 8)]
