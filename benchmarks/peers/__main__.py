"""What other tools say: `python -m benchmarks.peers`."""

import sys

from benchmarks.peers.measure import main

if __name__ == "__main__":
    sys.exit(main())
