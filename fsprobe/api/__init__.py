"""fsprobe from Python: recordings as DataFrames, runs and comparisons from a notebook, limits in pytest."""
