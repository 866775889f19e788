"""The import tree: every module once, no circle, sums that reach the total."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fsprobe.report.html.import_tree import import_tree
from tests.report.profiles import counts, hand_built, module


def test_a_circle_is_cut_above_the_module_that_holds_the_others() -> None:
    rows = hand_built().metrics.by_module
    assert rows is not None
    tree = import_tree(rows)
    assert tree.chain("a") == ["a.b", "a"]
    assert tree.n_cut == 1
    assert tree.chain("big.core") == ["big", "big.core"]


def test_a_cut_module_hangs_under_its_package_outside_of_the_circle() -> None:
    rows = [
        module("p", None, counts(1, 1), 9),
        module("p.q.r", "p.q", counts(1, 1), 7, n_imports=2),
        module("p.q", "p.q.r", counts(1, 1), 5),
    ]
    assert import_tree(rows).chain("p.q") == ["p", "p.q.r", "p.q"]


def test_a_parent_that_has_no_row_is_no_parent() -> None:
    assert import_tree([module("m", "gone", counts(1, 1), 2)]).chain("m") == ["m"]


names = st.sampled_from([f"{top}{rest}" for top in "abcd" for rest in ("", ".x", ".x.y", ".z")])


@given(st.dictionaries(names, st.tuples(st.one_of(st.none(), names), st.integers(0, 50), st.integers(0, 90))))
def test_any_parents_make_a_tree_that_sums_to_the_total(table: dict[str, tuple[str | None, int, int]]) -> None:
    rows = [module(key, parent, counts(n, 1), cum) for key, (parent, n, cum) in table.items()]
    tree = import_tree(rows)
    assert sorted(tree.order) == sorted(table)
    sums = tree.totals("n_metadata")
    tops = [key for key, parent in tree.parents.items() if parent is None]
    assert sum(sums[key] for key in tops) == sum(row.n_metadata for row in rows)
    for key in table:
        chain = tree.chain(key)
        assert len(chain) == len(set(chain))
        parent = tree.parents[key]
        assert parent is None or tree.order.index(parent) < tree.order.index(key)
        assert parent is None or sums[parent] >= sums[key]
