"""How fast strace logs are read: `python -m benchmarks.parse_speed`."""

import sys

from benchmarks.parse_speed.measure import main

if __name__ == "__main__":
    sys.exit(main())
