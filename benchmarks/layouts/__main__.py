"""Storage layouts on the simulated file server: `python -m benchmarks.layouts`."""

import sys

from benchmarks.layouts.measure import main

if __name__ == "__main__":
    sys.exit(main())
