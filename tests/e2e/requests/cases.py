"""Hypothesis strategies of small trees and of the calls that a program makes in them, for tests of the request model.

Left out is what no trace of a program can show, and what the model says so of: whether a file was there before an O_CREAT
or a rename that succeeded and that no other call had asked for (an lstat goes before), and the text of a link that the run
itself removed (a readlink goes before).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Operation = list[Any]
Tree = dict[str, Any]
"""Name -> a tree, bytes of a file, ("#!", interpreter) of a script, or (target,) of a link; TOP stands for the tree's place."""

TOP = "<top>"
NAMES = st.sampled_from(["a", "b", "c", "d"])
PARTS = st.sampled_from(["a", "b", "c", "d", "a", "b", "c", "d", "..", "."])


@st.composite
def relative(draw: st.DrawFn) -> str:
    """A path of one to four names, dots and double slashes among them."""
    path = "/".join(draw(st.lists(PARTS, min_size=1, max_size=4)))
    shape = draw(st.integers(0, 9))
    if shape == 0:
        path = path.replace("/", "//", 1)
    return path + {1: "/", 2: "/.", 3: "/.."}.get(shape, "")


ABSOLUTE = relative().map(lambda path: f"{TOP}/{path}")
PATHS = st.one_of(ABSOLUTE, ABSOLUTE, ABSOLUTE, relative())

_LEAVES = st.one_of(
    st.sampled_from([b"", b"x" * 10, b"x" * 200_000]),
    st.tuples(st.just("#!"), st.one_of(st.sampled_from(["/bin/true", "/no/such"]), ABSOLUTE)),
    st.tuples(st.one_of(relative(), relative(), ABSOLUTE)),
)
TREES: st.SearchStrategy[Tree] = st.dictionaries(
    NAMES, st.recursive(_LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12), max_size=4
)

_OPEN_FLAGS = st.sampled_from(
    [
        os.O_RDONLY,
        os.O_RDONLY,
        os.O_RDONLY | os.O_DIRECTORY,
        os.O_RDONLY | os.O_NOFOLLOW,
        os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW,
        os.O_PATH,
        os.O_PATH | os.O_NOFOLLOW,
        os.O_WRONLY,
        os.O_RDWR,
    ]
)
_CREATE_FLAGS = st.sampled_from(
    [
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
        os.O_WRONLY | os.O_CREAT | os.O_APPEND,
        os.O_RDWR | os.O_CREAT | os.O_EXCL,
        os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW,
    ]
)


def _calls(*parts: Any) -> st.SearchStrategy[list[Operation]]:
    return st.tuples(*parts).map(lambda call: [list(call)])


_ONE_PATH = st.sampled_from("stat stat stat lstat readlink listdir listdir chdir fchdir peek run statvfs".split())
READING = st.one_of(
    _calls(_ONE_PATH, PATHS),
    _calls(_ONE_PATH, PATHS),
    _calls(st.just("open"), PATHS, _OPEN_FLAGS),
    _calls(st.just("stat_at"), PATHS, relative(), st.booleans()),
    _calls(st.just("access"), PATHS, st.just(os.R_OK)),
)
WRITING = st.one_of(
    _calls(st.sampled_from(["mkdir", "rmdir"]), PATHS),
    st.tuples(PATHS, _CREATE_FLAGS).map(lambda call: [["stat", call[0]], ["lstat", call[0]], ["open", *call]]),
    PATHS.map(lambda path: [["readlink", path], ["unlink", path]]),
    st.tuples(PATHS, ABSOLUTE).map(
        lambda two: [["readlink", two[0]], ["readlink", two[1]], ["lstat", two[1]], ["rename", *two]]
    ),
    _calls(st.just("symlink"), relative(), PATHS),
    _calls(st.just("link"), PATHS, ABSOLUTE),
)


def sequences(calls: st.SearchStrategy[list[Operation]]) -> st.SearchStrategy[list[Operation]]:
    """What one program does; parts of it in a forked child."""
    some = st.lists(calls, min_size=1, max_size=5).map(lambda groups: [call for group in groups for call in group])
    parts = st.one_of(some, some, some.map(lambda inner: [["fork", inner]]))
    return st.lists(parts, min_size=1, max_size=3).map(lambda groups: [call for group in groups for call in group])


def build(tree: Tree, place: Path, top: str) -> None:
    """Make a tree at `place`; `top` is where the program will see it."""
    place.mkdir()
    for name, what in tree.items():
        path = place / name
        if isinstance(what, dict):
            build(what, path, top)
        elif isinstance(what, bytes):
            path.write_bytes(what)
        elif what[0] == "#!":
            path.write_text(f"#!{what[1].replace(TOP, top)}\n")
            path.chmod(0o755)
        else:
            path.symlink_to(what[0].replace(TOP, top))


def at(operations: list[Operation], top: str) -> list[Operation]:
    """The same operations with TOP replaced."""
    return [
        [
            part.replace(TOP, top) if isinstance(part, str) else at(part, top) if isinstance(part, list) else part
            for part in call
        ]
        for call in operations
    ]
