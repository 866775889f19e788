"""What the recorder itself leaves out of a log: the same events, and no values that nothing reads."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fsprobe.analysis.attribution.program_names import label_of, without_hook
from fsprobe.capture.backends.inline import arguments
from fsprobe.events.strace.arguments import exec_argv
from fsprobe.privacy.log import call_values
from tests.events.reading import one_call, read_lines
from tests.privacy.test_log_cutting import LOGS, told

HEAD = b"77    1795506711.000012 (+     0.000000100) "


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_a_real_log_gives_the_same_events(log: Path) -> None:
    data = log.read_bytes()
    cut = call_values.cut_block(data)
    assert cut.count(b"\n") == data.count(b"\n")
    before, quality = read_lines(data.splitlines(keepends=True))
    after, new_quality = read_lines(cut.splitlines(keepends=True))
    assert told(after) == told(before)
    for one in (quality, new_quality):
        one.unparsed_examples = []
    assert new_quality == quality


@pytest.mark.parametrize(
    ("call", "kept"),
    [
        (b'execve("/usr/bin/git", ["git", "SECRET"], 0x7ffd /* 9 vars */) = 0', b'execve("/usr/bin/git", ["git"], 0x7ffd /* 9 vars */) = 0'),
        (b'execve("/bin/x", ["SECRET"], 0x7ffd /* 9 vars */ <unfinished ...>', b'execve("/bin/x", ["x"], 0x7ffd /* 9 vars */ <unfinished ...>'),
        (b'execve("/bin/x", ["x", "SEC]\\"RET"...], ["T=SECRET]"]) = 0', b'execve("/bin/x", ["x"], []) = 0'),
        (b'execve("/bin/x", ["x", "SECRET", ...], 0x7 /* 3 vars */) = 0', b'execve("/bin/x", ["x"], 0x7 /* 3 vars */) = 0'),
        (b'execveat(3</x>, "", ["a", "SECRET"], 0x7, AT_EMPTY_PATH) = 0', b'execveat(3</x>, "", ["a"], 0x7, AT_EMPTY_PATH) = 0'),
        (b'execve("/bin/sh", ["sh", "-c", "SECRET"], 0x7) = 0', b'execve("/bin/sh", ["sh", "-c", ""...], 0x7) = 0'),
        (b'execve("/usr/bin/env", ["env", "A=SECRET", "-u", "SECRET", "python"], 0x7) = 0', b'execve("/usr/bin/env", ["env", "python"], 0x7) = 0'),
        (b'execve("/usr/bin/env", ["env", "-S", "python SECRET"], 0x7) = 0', b'execve("/usr/bin/env", ["env", ""...], 0x7) = 0'),
        (b'execve("/bin/bash", ["bash", "-o", "pipefail", "-c", "SECRET"], 0x7) = 0', b'execve("/bin/bash", ["bash", "-c", ""...], 0x7) = 0'),
        (b'execve("/bin/dash", ["dash", "-s", "SECRET"], 0x7) = 0', b'execve("/bin/dash", ["dash", "-s"], 0x7) = 0'),
        (b'execve("/p/python3", ["python3", "-XSECRET", "-W", "SECRET", "a.py"], 0x7) = 0', b'execve("/p/python3", ["python3", "a.py"], 0x7) = 0'),
        (b'setxattr("/x", "user.SECRET", "SECRET", 6, 0) = 0', b'setxattr("/x", ""..., ""..., 6, 0) = 0'),
        (b'<... getxattr resumed>"SECRET", 255) = 6', b'<... getxattr resumed>""..., 255) = 6'),
        (b'listxattr("/x", "user.SECRET\\0", 256) = 12', b'listxattr("/x", ""..., 256) = 12'),
        (b'mount("//s/SECRET", "/m", "cifs", 0, "password=SECRET") = 0', b'mount(""..., "/m", "cifs", 0, ""...) = 0'),
        (b'mount("/dev/sda1", "/m", "ext4", 0, NULL) = 0', b'mount("/dev/sda1", "/m", "ext4", 0, NULL) = 0'),
        (b'openat(AT_FDCWD, "/xattr/execve(\\"", O_RDONLY) = 3', b'openat(AT_FDCWD, "/xattr/execve(\\"", O_RDONLY) = 3'),
        (b'readlink("/mount (x", "SECRET", 99) = 6', b'readlink("/mount (x", "SECRET", 99) = 6'),
    ],
)  # fmt: skip
def test_what_stays_of_a_call(call: bytes, kept: bytes) -> None:
    assert call_values.cut_block(HEAD + call + b"\n") == HEAD + kept + b"\n"
    assert call_values.cut_block(HEAD + call) == HEAD + kept


def test_the_command_itself_keeps_its_arguments() -> None:
    line = HEAD + b'execve("/bin/x", ["x", "a\\nb"], 0x7 /* 3 vars */) = 0\n'
    assert call_values.cut_block(line, (b"x", b"a\nb")) == line
    assert call_values.cut_block(line, (b"x",)) != line


def test_a_shell_below_the_command_is_not_the_command() -> None:
    command = (b"sh", b"-c", b"./job")
    for code in (rb"mysql -p\"SECRET\"", rb"printf SECRET\n", rb"echo SECRET\303\244"):
        line = b'7 execve("/bin/sh", ["sh", "-c", "%s"], 0x7 /* 3 vars */) = 0' % code
        assert b"SECRET" not in call_values.cut_line(line, command)
        own = code.decode("unicode_escape").encode("latin-1")
        assert call_values.cut_line(line, (*command[:2], own)) == line
        joined = b"sh\0-c\0%s\0" % own
        assert b"SECRET" not in arguments.cut_words(joined, b"sh", command)
        assert arguments.cut_words(b"/bin/" + joined, b"sh", (*command[:2], own)) == b"/bin/" + joined


@pytest.mark.parametrize(
    "argv",
    [
        b"python -u -X importtime -m pkg.mod SECRET",
        b"python -W ignore::SECRET -E run.py SECRET",
        b"python -Ic SECRET",
        b"python3.11 -c from_multiprocessing_SECRET",
        b"bash -e script.sh SECRET",
        b"sh -ec SECRET",
        b"env A=SECRET prog SECRET",
        b"other SECRET",
    ],
)
def test_analysis_reads_the_same_of_what_stays(argv: bytes) -> None:
    words = argv.split()
    line = b'7 execve("/p/%s", [%s], 0x7 /* 1 var */) = 0' % (words[0], b", ".join(b'"%s"' % word for word in words))
    kept = exec_argv(one_call(call_values.cut_line(line)))
    assert b"SECRET" not in b" ".join(kept)
    assert label_of(b"/p/" + words[0], kept) == label_of(b"/p/" + words[0], words)
    assert without_hook(kept) == without_hook(words)


def test_it_is_written_in_the_syntax_of_python_3_6() -> None:
    source = Path(call_values.__file__).read_text()
    ast.parse(source, feature_version=(3, 6))
    assert "__future__" not in source
    assert [line for line in source.splitlines() if line.startswith(("import ", "from "))] == ["import re"]
