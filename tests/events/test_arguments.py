"""What later stages read from a call's raw arguments."""

from __future__ import annotations

import pytest

from fsprobe.events.strace.arguments import exec_argv, link_target, open_flags, second_path
from tests.events.reading import mode_kind, one_call


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        (b'openat(AT_FDCWD</t>, "/O_CREAT", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</O_CREAT>', "O_WRONLY O_CREAT O_TRUNC"),
        (b'open("/x", O_RDONLY|O_DIRECTORY|O_NOFOLLOW) = 3', "O_RDONLY O_DIRECTORY O_NOFOLLOW"),
        (b'creat("/x", 0666) = 3', "O_CREAT O_WRONLY O_TRUNC"),
        (b'openat2(AT_FDCWD</t>, "/x", {flags=O_RDONLY|O_CLOEXEC, resolve=RESOLVE_NO_XDEV}, 24) = 3</x>',
         "O_RDONLY O_CLOEXEC RESOLVE_NO_XDEV"),
        (b'newfstatat(AT_FDCWD</t>, "/x", {st_mode=S_IFREG|0644, ...}, AT_SYMLINK_NOFOLLOW) = 0', "AT_SYMLINK_NOFOLLOW"),
        (b'newfstatat(AT_FDCWD</t>, "/AT_X, 0", {st_mode=S_IFREG|0644, ...}, 0) = 0', ""),
        (b'statx(AT_FDCWD</t>, "/x", AT_STATX_SYNC_AS_STAT|AT_SYMLINK_NOFOLLOW, STATX_ALL, {stx_mask=STATX_ALL}) = 0',
         "AT_STATX_SYNC_AS_STAT AT_SYMLINK_NOFOLLOW"),
        (b'faccessat2(AT_FDCWD</t>, "/x", F_OK, AT_EACCESS) = 0', "AT_EACCESS"),
        (b'execveat(3</x>, "", ["x"], 0x7f, AT_EMPTY_PATH) = 0', "AT_EMPTY_PATH"),
        (b'unlinkat(AT_FDCWD</t>, "/x", AT_REMOVEDIR) = 0', "AT_REMOVEDIR"),
        (b'access("/x", F_OK) = 0', ""),
    ],
)  # fmt: skip
def test_flags(line: bytes, flags: str) -> None:
    assert open_flags(one_call(line)) == frozenset(flags.split())


@pytest.mark.parametrize(
    ("line", "path", "second"),
    [
        (b'rename("/a", "/b") = 0', b"/a", b"/b"),
        (b'rename("a, \\"b", "c") = 0', b'/w/a, "b', b"/w/c"),
        (b'rename("/a", "c") = 0', b"/a", b"c"),
        (b'link("a", "/b") = 0', b"/w/a", b"/b"),
        (b'renameat2(AT_FDCWD</d>, "a", 3</e>, "b", RENAME_NOREPLACE) = 0', b"/d/a", b"/e/b"),
        (b'renameat(AT_FDCWD, "a", AT_FDCWD, "b") = 0', b"/w/a", b"/w/b"),
        (b'linkat(AT_FDCWD</d>, "a", AT_FDCWD</d>, "b", 0) = 0', b"/d/a", b"/d/b"),
        (b'symlink("../target", "link") = 0', b"/w/link", b"../target"),
        (b'symlinkat("target", 3</d>, "link") = 0', b"/d/link", b"target"),
        (b'unlink("/a") = 0', b"/a", None),
    ],
)
def test_second_path(line: bytes, path: bytes, second: bytes | None) -> None:
    call = one_call(line, cwd=b"/w")
    assert (call.path, second_path(call)) == (path, second)


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b'readlink("/l", "a\\1b", 4096) = 3', b"a\x01b"),
        (b'readlink("/l", "<unfinished ...>", 4096) = 16', b"<unfinished ...>"),
        (b'readlinkat(AT_FDCWD</t>, "/l", "target", 4096) = 6', b"target"),
        (b'readlink("/l", "long"..., 4096) = 600', None),
        (b'readlink("/l", 0x7f, 4096) = -1 EINVAL (Invalid argument)', None),
        (b'access("/l", F_OK) = 0', None),
    ],
)
def test_link_target(line: bytes, target: bytes | None) -> None:
    assert link_target(one_call(line)) == target


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'newfstatat(AT_FDCWD</t>, "/st_mode=S_IFIFO", {st_mode=S_IFDIR|0755, st_size=4096, ...}, 0) = 0', "S_IFDIR"),
        (b'stat("/x", {st_mode=S_IFREG|0644, st_size=1, ...}) = 0', "S_IFREG"),
        (b'statx(AT_FDCWD</t>, "/x", 0, STATX_ALL, {stx_mask=STATX_ALL, stx_attributes=0, stx_mode=S_IFLNK|0777}) = 0',
         "S_IFLNK"),
        (b'stat("/x", 0x7f) = -1 ENOENT (No such file or directory)', None),
        (b'access("/st_mode=S_IFREG", F_OK) = 0', None),
    ],
)  # fmt: skip
def test_mode_kind(line: bytes, kind: str | None) -> None:
    assert mode_kind(one_call(line)) == kind


def test_exec_argv() -> None:
    line = b'execve("/bin/sh", ["sh", "-c", "echo \\"a, b]\\"", "long"...], 0x7f /* 3 vars */) = 0'
    assert exec_argv(one_call(line)) == [b"sh", b"-c", b'echo "a, b]"', b"long"]
    assert exec_argv(one_call(b'execve("/bin/sh", 0x7f, 0x7f /* 3 vars */) = -1 EFAULT (Bad address)')) == []
    assert exec_argv(one_call(b'access("/x", F_OK) = 0')) == []
