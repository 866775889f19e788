"""The colour of a package in a page: the same on every page, in light and dark, whatever else was imported."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable

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


def slots(modules: Iterable[str]) -> dict[str, int]:
    """Package -> colour, for the packages of some modules."""
    return {package: slot_of(package) for package in dict.fromkeys(map(top_of, modules))}
