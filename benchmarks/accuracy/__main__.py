"""How exact fsprobe's numbers are: `python -m benchmarks.accuracy`."""

import sys

from benchmarks.accuracy.measure import main

if __name__ == "__main__":
    sys.exit(main())
