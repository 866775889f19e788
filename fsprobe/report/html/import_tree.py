"""The import tree of a profile: every module once, under one parent, so that widths add up to the total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fsprobe.model.rows import ModuleRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTree:
    """A forest over the rows of `by_module`."""

    rows: Sequence[ModuleRow]
    parents: Mapping[str, str | None]
    """key -> key of the parent, None at the top; free of cycles."""
    n_cut: int
    """How many modules were moved because the recorded parents led round in a circle."""
    order: Sequence[str] = field(default_factory=tuple)
    """Keys, every parent before its children."""

    def chain(self, key: str) -> list[str]:
        """The modules from the top down to `key`."""
        names = [key]
        while (parent := self.parents[names[-1]]) is not None:
            names.append(parent)
        return names[::-1]

    def totals(self, name: str) -> dict[str, float]:
        """What each module and all that stands under it sums to, of a self count such as `n_metadata`.

        Rows that do not have the count (None) add nothing. As every module stands once, the tops sum to the total.
        """
        sums = {row.key: float(getattr(row, name) or 0) for row in self.rows}
        for key in reversed(self.order):
            parent = self.parents[key]
            if parent is not None:
                sums[parent] += sums[key]
        return sums


def import_tree(rows: Sequence[ModuleRow]) -> ImportTree:
    """Build the tree of `by_module` rows by their `parent`.

    `parent` is the most frequent importer, and importers can stand in a circle: `import a.b` begins a.b, which
    imports a, whose `__init__` imports a.b. A circle is cut above its module with the most cumulative calls (the one
    that contains the others), which then hangs under its nearest package outside of the circle.
    """
    by_key = {row.key: row for row in rows}
    parents: dict[str, str | None] = {
        key: row.parent if row.parent in by_key and row.parent != key else None for key, row in by_key.items()
    }
    n_cut = 0
    done: set[str] = set()
    for start in by_key:
        walked: list[str] = []
        key: str | None = start
        while key is not None and key not in done:
            if key in walked:
                circle = walked[walked.index(key) :]
                cut = max(circle, key=lambda name: (by_key[name].n_metadata_cum, by_key[name].n_imports))
                parents[cut] = _package_outside(cut, set(circle), parents)
                n_cut += 1
                break
            walked.append(key)
            key = parents[key]
        done.update(walked)
    return ImportTree(rows=rows, parents=parents, n_cut=n_cut, order=_downwards(parents))


def _package_outside(name: str, circle: set[str], parents: Mapping[str, str | None]) -> str | None:
    """The nearest dotted ancestor of `name` whose own chain does not come back to the circle."""
    while "." in name:
        name = name.rpartition(".")[0]
        if name not in parents or name in circle:
            continue
        seen: set[str] = set()
        above: str | None = name
        while above is not None and above not in seen and above not in circle:
            seen.add(above)
            above = parents[above]
        if above is None:
            return name
    return None


def _downwards(parents: Mapping[str, str | None]) -> list[str]:
    children: dict[str | None, list[str]] = {}
    for key, parent in parents.items():
        children.setdefault(parent, []).append(key)
    order: list[str] = []
    ahead = list(reversed(children.get(None, [])))
    while ahead:
        key = ahead.pop()
        order.append(key)
        ahead.extend(reversed(children.get(key, [])))
    return order
