"""Calls that make, remove and rename names: what they ask for, and what the names mean after them."""

from __future__ import annotations

from fsprobe.analysis.requests.dentries import DIRECTORY, FILE, LINK, MISSING, SOME, UNKNOWN, Place
from fsprobe.analysis.requests.name_tree import Tree
from fsprobe.analysis.requests.steps import EXCHANGE, FOLLOW, Step

_DOTS = frozenset({b"", b".", b".."})


def _new_name(tree: Tree, path: bytes, error: str) -> Place | None:
    """Walk to a name that is to be made: it is asked for whatever is known."""
    head, _, name = path.rstrip(b"/").rpartition(b"/")
    if name in _DOTS:
        tree.walk(path, error, follow=True)
        return None
    directory = tree.directory(head, error)
    if directory is None:
        return None
    return tree.last(directory, name, error, follow=False, creates=True, afresh=True)


def make(tree: Tree, step: Step) -> None:
    """A directory, a link or a node is made."""
    place = _new_name(tree, step.path, step.error)
    if place is None or step.error:
        return
    kind = {"m": DIRECTORY, "s": LINK}[step.syscall[0]]
    if step.syscall.startswith("mknod"):
        kind = SOME
    made = tree.bind(place, kind)
    if kind == LINK:
        tree.learn_link(made, step.second)
        made.target = step.second
    tree.change(place.parent, made)


def hard_link(tree: Tree, step: Step) -> None:
    """A name is made for what has one already."""
    # an error may be about either name
    error = step.error if step.error in ("", "ENOENT", "ENOTDIR") else "EEXIST"
    old = tree.walk(step.path, error, follow=bool(step.flags & FOLLOW), is_exec=True)
    if step.second is None or (step.error and (old is None or old.kind == MISSING)):
        return
    place = _new_name(tree, step.second, step.error)
    if place is None or step.error:
        return
    if old is not None:
        tree.use(old)
    made = tree.bind(place, FILE)
    if old is not None:
        made.target, made.size, made.is_read = old.target, old.size, old.is_read
        made.kind = old.kind if old.kind not in (UNKNOWN, MISSING) else FILE
    tree.change(place.parent, made)


def remove(tree: Tree, step: Step) -> None:
    """A name is taken away."""
    place = _existing_name(tree, step.path, step.error)
    if place is not None and not step.error:
        gone = tree.bind(place, MISSING, is_cached=False)
        tree.change(place.parent, gone, place)


def _existing_name(tree: Tree, path: bytes, error: str) -> Place | None:
    head, _, name = path.rstrip(b"/").rpartition(b"/")
    directory = tree.directory(head, error)
    if directory is None or name in _DOTS:
        return None
    return tree.last(directory, name, error, follow=False)


def rename(tree: Tree, step: Step) -> None:
    """A name is given to something else, whatever had it."""
    old_directory = tree.directory(step.path.rstrip(b"/").rpartition(b"/")[0], step.error)
    if step.second is None or step.second[:1] != b"/":
        return
    head, _, name = step.second.rstrip(b"/").rpartition(b"/")
    directory = tree.directory(head, step.error) if old_directory is not None else None
    if directory is None or name in _DOTS:
        return
    # an error that is not ENOENT is about both names: they are there, as something
    error = step.error if step.error in ("", "ENOENT", "EXDEV") else "EEXIST"
    if error == "EXDEV":
        return
    name_before = step.path.rstrip(b"/").rpartition(b"/")[2]
    if old_directory is None or name_before in _DOTS:
        return
    old = tree.last(old_directory, name_before, error, follow=False)
    if old is None or old.kind == MISSING:
        return
    new = tree.last(directory, name, error, follow=False, creates=True, afresh=True)
    if new is None or step.error or new is old:
        return
    old_home, new_home = old.parent, new.parent
    if step.flags & EXCHANGE:
        return
    tree.move(old, new)
    tree.change(old_home, old, new)
    if new_home is not None:
        new_home.is_listed = False
