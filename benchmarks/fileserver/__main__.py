"""python -m benchmarks.fileserver SRC MNT [options] [-- CMD...]: serve a tree, run a command, print what was asked."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.fileserver.counters import Counters
from benchmarks.fileserver.running_server import serve
from fsprobe.errors import EXIT_NOT_FOUND, FsprobeError


def main(arguments: list[str]) -> int:
    """Return CMD's exit code, 0 without CMD."""
    own, command = _split_command(arguments)
    options = _parser().parse_args(own)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with serve(
            options.src,
            options.mnt,
            meta_ms=options.meta_ms,
            read_ms=options.read_ms,
            mb_per_s=options.mb_per_s,
            cap=options.cap,
            ttl_s=options.ttl_s,
            negative_ttl_s=options.negative_ttl_s,
            log_paths=options.log is not None,
            writable=options.writable,
            threads=options.threads,
        ) as server:
            try:
                exit_code = _run(command) if command else _wait()
            finally:
                counted = server.counters()
                if options.log:
                    lines = (op.encode() + b" " + path + b"\0" for op, path in server.paths())
                    Path(options.log).write_bytes(b"".join(lines))
                _print(counted, as_json=options.json)
    except FsprobeError as error:
        print(f"fileserver: {error.message}\n  {error.hint}", file=sys.stderr)
        return error.exit_code
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fileserver",
        usage="%(prog)s SRC MNT [options] [-- CMD...]",
        description="Show the tree SRC at MNT as a parallel filesystem would: slowly, every request counted.",
        epilog="Without CMD it serves until SIGINT or SIGTERM. The counters go to standard error.",
    )
    parser.add_argument("src", metavar="SRC")
    parser.add_argument("mnt", metavar="MNT", help="an existing directory; may be SRC itself")
    parser.add_argument("--meta-ms", type=float, default=1.0, help="latency of a metadata request (default 1)")
    parser.add_argument("--read-ms", type=float, default=0.5, help="latency of a READ or WRITE (default 0.5)")
    parser.add_argument("--mb-per-s", type=float, help="bandwidth that all reads share, 10^6 bytes/s")
    parser.add_argument("--cap", type=float, help="metadata requests a second")
    parser.add_argument("--ttl-s", type=float, help="how long names and attributes are kept (default for ever)")
    parser.add_argument("--negative-ttl-s", type=float, help="how long 'no such name' is kept (default as --ttl-s)")
    parser.add_argument("--writable", action="store_true", help="let the client change SRC")
    parser.add_argument("--threads", type=int, default=32, help="requests in flight at once (default 32)")
    parser.add_argument("--log", metavar="FILE", help="write 'op path' of every request, NUL-terminated")
    parser.add_argument("--json", action="store_true", help="print the counters as JSON")
    return parser


def _split_command(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _run(command: list[str]) -> int:
    try:
        exit_code = subprocess.call(command)
    except OSError as error:
        print(f"fileserver: {command[0]}: {error.strerror}", file=sys.stderr)
        return EXIT_NOT_FOUND
    return 128 - exit_code if exit_code < 0 else exit_code


def _wait() -> int:
    print("fileserver: serving; end it with Ctrl-C", file=sys.stderr, flush=True)
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return 0


def _print(counted: Counters, *, as_json: bool) -> None:
    values = counted.as_json()
    if as_json:
        print(json.dumps(values), file=sys.stderr)
        return
    for name, value in values.items():
        if value:
            print(f"{name:>18} {value:>12,}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
