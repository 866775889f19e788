"""The colour of a package in a page: as a rule the same on every page, in light and dark; another one beside a package of that colour."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

OTHER, STANDARD_LIBRARY = 0, 1
N_HUES = 8
"""Slots 2 to 9: that many colours keep apart for every kind of colour blindness (`--p2` to `--p9` of the style sheet)."""
SETTLED = (
    ("numpy", "jax", "seaborn", "mpi4py"),
    ("pandas", "torch", "tensorflow", "h5py"),
    ("scipy", "torchvision", "keras", "netCDF4"),
    ("matplotlib", "transformers", "dask", "numba"),
    ("sklearn", "jaxlib", "xarray", "pyarrow"),
    ("sympy", "joblib", "pytz", "polars"),
    ("dateutil", "networkx", "PIL", "distributed"),
    ("typing_extensions", "cupy", "fsspec", "yaml"),
)
"""Packages that are often imported together have different colours; any other has that of its name's checksum."""
_SLOTS = {name: 2 + number for number, names in enumerate(SETTLED) for name in names}


def top_of(module: str) -> str:
    """The package that a module's name begins with; what is no module keeps its name."""
    return module if module.startswith("(") else module.partition(".")[0]


def slot_of(package: str) -> int:
    """The colour of a package: `OTHER` for what is none, `STANDARD_LIBRARY`, or 2 to 9."""
    if package.startswith("("):
        return OTHER
    if package in sys.stdlib_module_names:
        return STANDARD_LIBRARY
    known = _SLOTS.get(package)
    return 2 + zlib.crc32(package.encode("utf-8", "surrogateescape")) % N_HUES if known is None else known


def touching(parents: Mapping[str, str | None], sums: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """The modules whose bars touch in the icicle: each with the one above it, and with the next one in its row.

    Args:
        parents: module -> the one above it, None at the top.
        sums: what a module's bar is as wide as; the widest stands first.
    """
    children: dict[str | None, list[str]] = {}
    for name, above in parents.items():
        children.setdefault(above, []).append(name)
        if above is not None:
            yield name, above
    row: list[str | None] = [None]
    while row:
        below = [
            name for above in row for name in sorted(children.get(above, ()), key=lambda name: (-sums[name], name))
        ]
        yield from pairwise(below)
        row = list(below)


def slots(modules: Iterable[str], pairs: Iterable[tuple[str, str]] = ()) -> dict[str, int]:
    """Package -> colour, for the packages of some modules.

    Args:
        modules: the most important ones first: they keep their colours.
        pairs: modules that stand beside each other. Of two packages of one colour the later one gets another, where one of
            the eight is free.
    """
    beside: dict[str, set[str]] = {}
    for one, other in pairs:
        one, other = top_of(one), top_of(other)
        if one != other:
            beside.setdefault(one, set()).add(other)
            beside.setdefault(other, set()).add(one)
    found: dict[str, int] = {}
    for package in dict.fromkeys(map(top_of, modules)):
        slot = slot_of(package)
        if slot > STANDARD_LIBRARY:
            taken = {found.get(other) for other in beside.get(package, ())}
            ahead = (2 + (slot - 2 + step) % N_HUES for step in range(N_HUES))
            slot = next((one for one in ahead if one not in taken), slot)
        found[package] = slot
    return found
