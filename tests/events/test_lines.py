"""Every trap of strace's output that was met, as its literal line."""

from __future__ import annotations

import pytest

from fsprobe.events.strace.arguments import result_path
from fsprobe.model.events import Op
from tests.events.reading import calls, marks, one_call, processes, read, read_lines, rows

OWN = b"1892  1795506711.169777 (+     0.000257743) "


def test_a_line_of_our_own_command_gives_every_field() -> None:
    call = one_call(
        OWN + b'openat(AT_FDCWD</tmp>, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3</etc/ld.so.cache> <0.000089>'
    )
    assert call == (
        1892,
        257743,
        "openat",
        Op.OPEN,
        b"/etc/ld.so.cache",
        "",
        89_000,
        b'AT_FDCWD</tmp>, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC',
        b"3</etc/ld.so.cache>",
    )


@pytest.mark.parametrize(
    ("line", "path", "error"),
    [
        # ` = ` and worse in names: in the arguments as they are, in the result's annotation with < and > escaped
        (b'openat(AT_FDCWD</tmp>, "/d/x = y", O_RDWR) = 3</d/x = y> <0.000060>', b"/d/x = y", ""),
        (b'newfstatat(AT_FDCWD</tmp>, "/d/) = 3</x>", 0x7f, 0) = -1 ENOENT (No such file or directory) <0.000043>',
         b"/d/) = 3</x>", "ENOENT"),
        (rb'openat(AT_FDCWD</tmp>, "/d/) = 3<x>", O_RDWR) = 3</d/) = 3\74x\76> <0.000060>', b"/d/) = 3<x>", ""),
        (b'openat(AT_FDCWD</tmp>, "/d/) = 5", O_RDWR) = 3</d/) = 5>', b"/d/) = 5", ""),
        (b'mkdir("/d/) = 0", 0777)                 = -1 EEXIST (File exists)', b"/d/) = 0", "EEXIST"),
        # a name that looks like the end of a cut line
        (b'newfstatat(AT_FDCWD</tmp>, "/d/<unfinished ...>", 0x7f, 0) = -1 ENOENT (No such file or directory) <0.000035>',
         b"/d/<unfinished ...>", "ENOENT"),
        (rb'openat(AT_FDCWD</tmp>, "/d/<unfinished ...>", O_RDWR) = 3</d/\74unfinished ...\76> <0.000054>',
         b"/d/<unfinished ...>", ""),
        # escapes: \74 \76 in annotations only, \" in both, octal as short as the next character allows
        (rb'newfstatat(3</d/a\74b\76>, "x", 0x7f, 0) = -1 ENOENT (No such file or directory)', b"/d/a<b>/x", "ENOENT"),
        (rb'newfstatat(3</d/q\"q>, "q\"q", 0x7f, 0) = -1 ENOENT (No such file or directory) <0.1>', b'/d/q"q/q"q', "ENOENT"),
        (rb'newfstatat(3</d/a, \"b>, "x", 0x7f, 0) = 0 <0.000001>', b'/d/a, "b/x', ""),
        (rb'access("/d/\1", F_OK) = 0 <0.000001>', b"/d/\x01", ""),
        (rb'access("/d/\0015", F_OK) = 0 <0.000001>', b"/d/\x015", ""),
        (rb'access("/d/\377\376\n\t\\", F_OK) = 0 <0.000001>', b"/d/\xff\xfe\n\t\\", ""),
        (rb'openat(AT_FDCWD<\x2f\x74>, "\x61\x3c", O_RDWR) = 3<\x2f\x74\x2f\x61\x3c>', b"/t/a<", ""),
        # deleted: outside the brackets strace knows; inside it is what readlink said, and may be a name
        (b'newfstatat(3</d/gone>(deleted), "r", 0x7f, 0) = -1 ENOENT (No such file or directory) <0.000040>',
         b"/d/gone/r", "ENOENT"),
        (b'newfstatat(AT_FDCWD</d/gone (deleted)>, "r", 0x7f, 0) = -1 ENOENT (No such file or directory) <0.000038>',
         b"/d/gone (deleted)/r", "ENOENT"),
        # relative to the root, to a descriptor, to a device as -yy writes it
        (b'newfstatat(AT_FDCWD</>, "etc", 0x7f, 0) = 0 <0.000001>', b"/etc", ""),
        (b'openat(3</dev/null<char 1:3>>, "x", O_RDONLY) = -1 ENOTDIR (Not a directory)', b"/dev/null/x", "ENOTDIR"),
        # no path to read, no path at all, an empty one
        (b"stat(0x10, 0x7ffd0) = -1 EFAULT (Bad address) <0.000005>", b"", "EFAULT"),
        (b'stat("", 0x7ffd0) = -1 ENOENT (No such file or directory)', b"", "ENOENT"),
        (b'readlinkat(5</d/link>, "", "target", 4096) = 6 <0.000005>', b"/d/link", ""),
        # results that are neither number nor ENAME
        (b'open("/d/fifo", O_RDONLY) = ? ERESTARTSYS (To be restarted if SA_RESTART is set) <0.5>', b"/d/fifo", "ERESTARTSYS"),
        (b'open("/d/fifo", O_RDONLY) = ?', b"/d/fifo", "?"),
        (b'open("/d/fifo", O_RDONLY) = ? <unavailable>', b"/d/fifo", "?"),
        # old names, no annotations, padding
        (b'open("/etc/passwd", O_RDONLY)           = 3', b"/etc/passwd", ""),
        (b'lstat("/etc", {st_mode=S_IFDIR|0755, st_size=4096, ...}) = 0', b"/etc", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("head", [b"", b"77    ", b"[pid    77] ", b"77    08:30:01.169777 ", OWN])
def test_path_and_error_of_odd_lines(head: bytes, line: bytes, path: bytes, error: str) -> None:
    # The first line shows that the log has annotations, so that the second takes the short way where there is one.
    for before in ((), (head + b'openat(AT_FDCWD</tmp>, "/e", O_RDONLY) = 3</e> <0.000001>',)):
        events, quality = read(*before, head + line)
        assert quality.n_unparsed == 0, quality.unparsed_examples
        call = calls(events)[-1]
        assert (call.path, call.error) == (path, error)


@pytest.mark.parametrize(
    "line",
    [
        b'newfstatat(3</f>, "", {st_mode=S_IFREG|0644, st_size=5, ...}, AT_EMPTY_PATH) = 0 <0.000040>',
        b'newfstatat(3, "", {st_mode=S_IFREG|0644, st_size=5, ...}, AT_EMPTY_PATH) = 0',
        b'statx(3</f>, "", AT_STATX_SYNC_AS_STAT|AT_EMPTY_PATH, STATX_ALL, {stx_mask=STATX_ALL, ...}) = 0 <0.000040>',
        b"statx(3</f>, NULL, AT_EMPTY_PATH, STATX_ALL, {stx_mask=STATX_ALL, ...}) = 0",
        b"utimensat(3</f>, NULL, [UTIME_NOW, UTIME_NOW], 0) = 0",
        b"fstat(3</f>, {st_mode=S_IFREG|0644, st_size=5, ...}) = 0",
        b'getcwd("/tmp", 1024) = 5',
        b'read(3</f>, "x = -1 ENOENT (no)", 4096) = 18',
        b"close(3</f>) = 0",
        b"fchdir(3</d>) = 0",
        b"syscall_0x1b7(0x1, 0x2) = 0",
    ],
)
def test_calls_without_a_path_are_counted_and_are_no_calls(line: bytes) -> None:
    events, quality = read(b"7 " + line)
    assert (calls(events), quality.n_unparsed) == ([], 0)
    assert quality.other_calls == {line.partition(b"(")[0].decode(): 1}
    assert quality.other_errors == {}


def test_errors_of_calls_without_a_path_are_counted() -> None:
    _, quality = read(
        b"7 ioctl(3, TCGETS, 0x7f) = -1 ENOTTY (Inappropriate ioctl for device)",
        b'7 newfstatat(9, "", 0x7f, AT_EMPTY_PATH) = -1 EBADF (Bad file descriptor)',
        b'7 getcwd(0x7f, 1) = -1 ERANGE (Numerical result out of range)',
        b"7 read(0, 0x7f, 1) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)",
    )  # fmt: skip
    assert quality.other_errors == {"ioctl": 1, "newfstatat": 1, "getcwd": 1, "read": 1}


def test_a_directory_is_listed_by_its_descriptor() -> None:
    for line in (
        rb"getdents64(4</d/a\74b>, 0x556e18a43cb0 /* 2 entries */, 32768) = 48 <0.000041>",
        rb"getdents64(4</d/a\74b>(deleted), 0x556e18a43cb0 /* 0 entries */, 32768) = 0 <0.000041>",
        rb"getdents(4</d/a\74b>, 0x556e18a43cb0 /* 2 entries */, 32768) = 48 <0.000041>",
    ):
        call = one_call(OWN + line)
        assert (call.op, call.path) == (Op.LIST, b"/d/a<b")
    assert one_call(OWN + b"getdents64(4</>, 0x55 /* 2 entries */, 32768) = 48 <0.000041>").path == b"/"


def test_result_path_is_the_resolved_one() -> None:
    call = one_call(OWN + b'openat(AT_FDCWD</>, "/etc/localtime", O_RDONLY) = 3</usr/share/zoneinfo/Etc/UTC> <0.0001>')
    assert (call.path, result_path(call)) == (b"/etc/localtime", b"/usr/share/zoneinfo/Etc/UTC")


def test_each_restart_is_its_own_call() -> None:
    events, quality = read(
        b'9 openat(AT_FDCWD</>, "/fifo", O_RDONLY) = ? ERESTARTSYS (To be restarted if SA_RESTART is set) <1.2>',
        b"9 --- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---",
        b'9 openat(AT_FDCWD</>, "/fifo", O_RDONLY) = 3</fifo> <0.1>',
    )
    assert rows(events) == [("openat", b"/fifo", "ERESTARTSYS"), ("openat", b"/fifo", "")]
    assert (quality.n_unfinished, quality.n_unparsed) == (0, 0)


def test_a_call_cut_in_its_arguments_is_put_together() -> None:
    events, quality = read(
        b'7 newfstatat(AT_FDCWD</p>, "x",  <unfinished ...>',
        b'8 access("/y", F_OK <unfinished ...>',
        b"7 <... newfstatat resumed>{st_mode=S_IFREG|0644, st_size=5, ...}, 0) = 0 <0.000004>",
        b"8 <... access resumed> )           = -1 ENOENT (No such file or directory) <0.000004>",
    )
    assert rows(events) == [("newfstatat", b"/p/x", ""), ("access", b"/y", "ENOENT")]
    assert calls(events)[0].args == b'AT_FDCWD</p>, "x", {st_mode=S_IFREG|0644, st_size=5, ...}, 0'
    assert quality == type(quality)(n_lines=4, has_tids=True, has_durations=True)


def test_calls_that_never_return_are_counted_and_said() -> None:
    events, quality = read(
        b'7 openat(AT_FDCWD</>, "/fifo1", O_RDONLY <unfinished ...>',
        b'8 openat(AT_FDCWD</>, "/fifo2", O_RDONLY <unfinished ...>',
        b'9 openat(AT_FDCWD</>, "/fifo3", O_RDONLY <unfinished ...>',
        b"7 <... openat resumed> <unfinished ...>) = ?",
        b"8 +++ killed by SIGKILL (core dumped) +++",
    )
    assert rows(events) == [("openat", b"/fifo%d" % n, "?") for n in (1, 2, 3)]
    assert [process[:1] + process[4:] for process in processes(events)] == [("killed", b"SIGKILL")]
    assert calls(events)[0].args == b'AT_FDCWD</>, "/fifo1", O_RDONLY'
    assert (quality.n_unfinished, quality.n_partial, quality.n_unparsed) == (3, 0, 0)


def test_an_attached_log_begins_with_second_halves() -> None:
    events, quality = read(
        b"7 <... openat resumed>) = 3",
        b"8 <... futex resumed>) = 0",
        b'7 restart_syscall(<... resuming interrupted read ...>) = 1',
        b'7 access("/x", F_OK) = 0',
    )  # fmt: skip
    assert rows(events) == [("access", b"/x", "")]
    assert (quality.n_partial, quality.n_unparsed) == (1, 0)
    assert quality.other_calls == {"futex": 1, "restart_syscall": 1}


def test_markers_are_marks_and_never_calls() -> None:
    events, quality = read(
        OWN + b'faccessat2(-1, "fsprobe>numpy", F_OK, 0) = -1 EBADF (Bad file descriptor) <0.000038>',
        OWN + b'faccessat(-1, "fsprobe<numpy", F_OK) = -1 EBADF (Bad file descriptor) <0.000038>',
        OWN + b'faccessat2(-1, "fsprobe!hook 3.11 \\"x", F_OK, 0) = -1 EBADF (Bad file descriptor) <0.000038>',
        OWN
        + b'faccessat2(-1, "\\x66\\x73\\x70\\x72\\x6f\\x62\\x65\\x3e\\x61", F_OK, 0) = -1 EBADF (Bad file descriptor)',
    )
    assert [(mark.kind, mark.name) for mark in marks(events)] == [
        ("begin", b"numpy"),
        ("end", b"numpy"),
        ("note", b'hook 3.11 "x'),
        ("begin", b"a"),
    ]
    assert (calls(events), quality.other_calls) == ([], {})


@pytest.mark.parametrize(
    "line",
    [
        b'faccessat2(3</d>, "fsprobe>numpy", F_OK, 0) = -1 ENOENT (No such file or directory)',
        b'faccessat2(-1, "fsprobe", F_OK, 0) = -1 EBADF (Bad file descriptor)',
        b'faccessat2(-1, "fsprobe=x", F_OK, 0) = -1 EBADF (Bad file descriptor)',
        b'newfstatat(-1, "fsprobe>x", 0x7f, 0) = -1 EBADF (Bad file descriptor)',
        b'access("fsprobe>x", F_OK) = -1 ENOENT (No such file or directory)',
    ],
)
def test_what_only_resembles_a_marker_is_a_call(line: bytes) -> None:
    events, _ = read(OWN + line)
    assert (len(calls(events)), marks(events)) == (1, [])


def test_a_marker_that_libc_sends_twice_counts_once() -> None:
    unknown = b'faccessat2(-1, "fsprobe>a", F_OK, 0) = -1 ENOSYS (Function not implemented)'
    again = b'faccessat(-1, "fsprobe>a", F_OK) = -1 EBADF (Bad file descriptor)'
    events, _ = read(b"7 " + unknown, b"7 " + again, b"7 " + unknown, b"7 " + again)
    assert len(marks(events)) == 2
    events, _ = read(
        b'7 faccessat2(-1, "fsprobe>a", F_OK, 0 <unfinished ...>',
        b"7 <... faccessat2 resumed>) = -1 ENOSYS (Function not implemented)",
        b'7 faccessat(-1, "fsprobe>a", F_OK <unfinished ...>',
        b"7 <... faccessat resumed>) = -1 EBADF (Bad file descriptor)",
    )
    assert len(marks(events)) == 1


def test_io_uring_is_seen() -> None:
    assert not read(b"7 close(3) = 0")[1].io_uring
    assert read(b"7 io_uring_setup(8, {flags=0}) = 4")[1].io_uring


def test_failed_execs_of_a_path_search_are_calls_and_no_program_starts() -> None:
    events, _ = read(
        b'7 execve("/a/true", ["true"], 0x7f /* 3 vars */) = -1 ENOENT (No such file or directory)',
        b'7 execve("/b/true", ["true"], 0x7f /* 3 vars */) = 0',
    )
    assert rows(events) == [("execve", b"/a/true", "ENOENT"), ("execve", b"/b/true", "")]
    assert processes(events) == [("exec", 7, None, 7, b"/b/true")]


def test_lines_that_are_not_understood_are_counted_and_the_first_five_kept() -> None:
    junk = [b"Hello, world %d" % n for n in range(7)]
    events, quality = read(b'7 access("/x", F_OK) = 0', *junk, b"7 openat(AT_FDCWD, \"/e = 3")  # fmt: skip
    assert (len(events), quality.n_unparsed) == (1, 8)
    assert quality.unparsed_examples == junk[:5]


def test_a_relative_path_without_any_directory_stays_as_written() -> None:
    line = b'newfstatat(AT_FDCWD, "rel", 0x7f, 0) = -1 ENOENT (No such file or directory)'
    assert one_call(line).path == b"rel"
    assert one_call(line, cwd=b"/w").path == b"/w/rel"


def test_a_log_cut_in_mid_line_says_so() -> None:
    whole = b'7 access("/x", F_OK) = -1 ENOENT (No such file or directory) <0.000038>\n'
    # Up to `7 ` nothing of the call is there; from the bracket on the call is complete but for its duration.
    begins, is_complete = 3, whole.index(b" <")
    for cut in range(begins, len(whole) - 1):
        events, quality = read_lines([whole, whole[:cut]])
        # an error's name alone is a result too: the audit backend writes no message
        named = whole.index(b" (No")
        if cut in (is_complete, is_complete + 1, named, named + 1):
            assert (len(calls(events)), quality.n_partial) == (2, 0)
        else:
            assert (len(calls(events)), quality.n_partial) == (1, 1), whole[:cut]
        assert (quality.n_unparsed, quality.unparsed_examples) == (0, [])


def test_chatter_of_strace_is_understood() -> None:
    _, quality = read(
        b"strace: Process 12 attached",
        b"Process 12 attached",
        b"Process 13 attached (waiting for parent)",
        b"strace: Process 12 detached",
        b"[ Process PID=12 runs in 32 bit mode. ]",
        b"12 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=13} ---",
        b"12 --- stopped by SIGSTOP ---",
        b" > /usr/lib/libc.so.6(__open+0x5) [0x1]",
        b"",
        b"% time     seconds  usecs/call     calls    errors syscall",
        b"------ ----------- ----------- --------- --------- ----------------",
        b"  0.00    0.000000           0         1         1 access",
        b"100.00    0.000000           0         1         1 total",
    )
    assert quality.n_unparsed == 0
    assert read(b"7 close(3) = 0", b"100.00    0.000000           0         1         1 total")[1].n_unparsed == 1


@pytest.mark.parametrize("name", [b"???", b"????"])
def test_a_thread_that_ended_before_strace_could_ask_for_its_call(name: bytes) -> None:
    """As strace 6.1 writes it when a process is killed, ends or becomes another program while its threads work."""
    events, quality = read(
        b"7 " + name + b"()           = ?",
        b"8 " + name + b"( <unfinished ...>",
        b"9 futex(0x7f73cb14e6f4, FUTEX_WAIT, 2, NULL <unfinished ...>",
        b"8 <... " + name + b" resumed>) = ?",
        b"9 <... futex resumed>) = ?",
        b"8 +++ killed by SIGKILL +++",
        b'9 access("/x", F_OK) = 0',
    )
    assert (quality.n_unparsed, quality.n_partial, quality.n_unfinished) == (0, 0, 0)
    assert quality.other_calls == {}
    assert rows(events) == [("access", b"/x", "")]
