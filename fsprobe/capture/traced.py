"""Record one command in a process of its own, so that its output can be sent to a file: what comparing layouts needs.

    python -I -S -c CODE ROOT OUT SETTINGS -- CMD...     (see `argv`)

SETTINGS is JSON: `enter` (the prefix that enters a layout), `layout` (what the manifest says of it), `label`. What is
recorded with an empty `enter` and a command line that enters a layout itself is the mounting.
"""

import json
import os
import sys

from fsprobe.capture import record
from fsprobe.capture.options import RunOptions
from fsprobe.errors import EXIT_OWN_FAILURE, FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_LOG_BYTES = 2 << 30
_CODE = "import sys; sys.path.append(sys.argv.pop(1)); from fsprobe.capture.traced import main; sys.exit(main())"


def argv(out: "str", enter: "list[str]", layout: "dict[str, Any]", command: "list[str]") -> "list[str]":
    """The command line that records `command` into `out`. It reads neither PYTHON* variables nor the working directory."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    settings = json.dumps({"enter": enter, "layout": layout})
    return [sys.executable, "-I", "-S", "-c", _CODE, root, out, settings, "--"] + command


def main() -> "int":
    """Record; our exit code is the command's."""
    out, settings = sys.argv[1], json.loads(sys.argv[2])
    options = RunOptions()
    options.command = sys.argv[4:]
    options.output = out
    options.label = str(settings["layout"].get("label") or "")
    options.max_log_bytes = MAX_LOG_BYTES
    options.wait_descendants_s = 5.0
    try:
        recorded = record.record(options, enter=settings["enter"], layout=settings["layout"])
    except FsprobeError as error:
        os.write(2, ("fsprobe: %s\n" % error.message).encode("utf-8", "backslashreplace"))
        return EXIT_OWN_FAILURE
    return recorded.outcome.exit_code
