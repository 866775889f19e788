"""Replays file operations from a JSON file: what the tests of the request model trace. Standard library, no imports of size."""

import json
import os
import sys


def play(ops):
    held = []
    for name, *args in ops:
        try:
            one(name, args, held)
        except OSError:
            pass
    for descriptor in held:
        os.close(descriptor)
    os.chdir("/")


def one(name, args, held):
    if name == "open":
        os.close(os.open(args[0], args[1], 0o666))
    elif name == "stat_at":
        directory = os.open(args[0], os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.stat(args[1], dir_fd=directory, follow_symlinks=args[2])
        finally:
            os.close(directory)
    elif name == "fchdir":
        held.append(os.open(args[0], os.O_RDONLY))
        os.fchdir(held[-1])
    elif name == "peek":
        with os.scandir(args[0]) as entries:
            next(entries, None)
    elif name == "run":
        pid = os.posix_spawn(args[0], [args[0]], {})
        os.waitpid(pid, 0)
    elif name == "fork":
        pid = os.fork()
        if pid == 0:
            play(args[0])
            os._exit(0)
        os.waitpid(pid, 0)
    elif name == "listxattr":
        os.listxattr(args[0])
    else:
        getattr(os, name)(*args)


with open(sys.argv[1]) as source:
    for sequence in json.load(source):
        play(sequence)
